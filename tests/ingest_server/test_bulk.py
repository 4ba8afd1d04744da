"""`congto import` and `congto export` with a real database."""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.cli import main
from deploy.runtime.processes import wait_until
from ingest_server.bulk import load
from ingest_server.bulk.csv_file import write_csv
from ingest_server.bulk.places import STRANGE, Places
from ingest_server.bulk.row import Row
from ingest_server.database import connect, migrate
from ingest_server.pipeline.store import open_connection
from ingest_server.registry import load_registry
from protocols.telemetry.reading import Quality, Reading
from tests.ingest_server.processes import DEADLINE_S
from tests.ingest_server.stored_directly import HALF_HOUR_MS, START_MS, message, registry, store_transactions

pytestmark = pytest.mark.integration

CHANNELS = '["1.0.1.8.0", "1.0.1.29.0"]'


@pytest.fixture
def dsn(database, monkeypatch):
    migrate(database)
    with connect(database) as connection:
        load_registry(connection, registry("g1", 2, CHANNELS) + registry("g2", 1, CHANNELS), "test.toml")
    monkeypatch.setenv("CONGTO_DSN", database)
    return database


def readings(obis="1.0.1.8.0", count=30):
    return [
        Reading(meter, obis, START_MS + step * HALF_HOUR_MS, 1000 * step + 7, step % 2 * Quality.PROFILE)
        for meter in ("g1-M0", "g1-M1", "g2-M0")
        for step in range(count)
    ]


def csv_file(path, found):
    with path.open("w", encoding="utf-8", newline="") as out:
        write_csv((Row(each) for each in found), out)
    return str(path)


def imported(capsys, *words, status=0):
    capsys.readouterr()
    assert main(["import", *words, "--json"]) == status
    return json.loads(capsys.readouterr().out)


def stored(dsn):
    with connect(dsn) as connection:
        rows = connection.execute("""
            select meter_id, obis, (extract(epoch from measured_at) * 1000)::bigint, value, quality
            from reading join channel using (channel_id) order by 1, 2, 3
        """)
        return [Reading(*row) for row in rows]


def test_what_is_exported_as_csv_comes_in_again_elsewhere_and_twice(dsn, tmp_path, capsys):
    first = csv_file(tmp_path / "first.csv", readings())
    assert imported(capsys, first)["new"] == 90
    assert imported(capsys, first)["duplicate"] == 90
    out = str(tmp_path / "out.csv")
    assert main(["export", out]) == 0
    with connect(dsn) as connection:
        connection.execute("truncate reading")
    assert imported(capsys, out)["new"] == 90
    assert stored(dsn) == sorted(readings())
    assert main(["export", str(tmp_path / "day.csv"), "--meter", "g2-M0", "--to", "2025-09-30"]) == 0
    assert (tmp_path / "day.csv").read_text() == "meter,obis,at,value,quality\n"
    assert main(["export", out, "--meter", "nobody"]) == 2
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []


def test_nem12_keeps_its_qualities_on_the_way_in_and_out(dsn, tmp_path, capsys):
    values = ",".join(f"{number}.25" for number in range(48))
    text = (
        "100,NEM12,202510020000,a,b\n200,g1-M0,E1,E1,E1,N1,,KWH,30,\n"
        f"300,20251001,{values},V,,,,\n400,1,20,A,,\n400,21,30,E52,,\n400,31,48,S14,,\n900\n"
    )
    (tmp_path / "in.nem").write_text(text)
    assert imported(capsys, str(tmp_path / "in.nem"), "--utc-offset", "7")["new"] == 48
    before = stored(dsn)
    assert {row.quality for row in before} == {0, Quality.ESTIMATED, Quality.SUBSTITUTED}
    assert main(["export", str(tmp_path / "out.nem"), "--format", "nem12", "--utc-offset", "7"]) == 0
    out = (tmp_path / "out.nem").read_text()
    assert "400,21,30,E52,,\n400,31,48,S14,,\n" in out
    with connect(dsn) as connection:
        connection.execute("truncate reading, reading_flag")
    assert imported(capsys, str(tmp_path / "out.nem"), "--utc-offset", "7")["new"] == 48
    assert stored(dsn) == before


def test_a_method_is_not_kept_for_a_reading_that_says_another_value(dsn, tmp_path, capsys):
    """The day's third interval is there with another value, the fourth with the same."""
    begin_ms = START_MS + 1_800_000
    there = [Reading("g1-M0", "1.0.1.29.0", begin_ms + n * 1_800_000, value) for n, value in ((2, 7), (3, 3250))]
    store_transactions(dsn, [[message("g1", 1, there)]])
    values = ",".join(f"{number}.25" for number in range(48))
    text = f"100,NEM12,202510020000,a,b\n200,g1-M0,E1,E1,E1,N1,,KWH,30,\n300,20251001,{values},E52,,,,\n900\n"
    (tmp_path / "in.nem").write_text(text)
    found = imported(capsys, str(tmp_path / "in.nem"), "--utc-offset", "7", status=1)
    assert (found["new"], found["duplicate"], found["conflict"]) == (46, 1, 1)
    select = "select reading_flag_of(channel_id, measured_at) from reading order by measured_at"
    with connect(dsn) as connection:
        flags = [flag for (flag,) in connection.execute(select)]
    assert flags == ["E52", "E52", None, *["E52"] * 45]


def test_a_reading_by_hand_has_its_own_quality_and_never_overwrites(dsn, tmp_path, capsys):
    taken, other = readings(count=1)[:2]
    store_transactions(dsn, [[message("g1", 1, [taken])]])
    by_hand = [taken._replace(value=taken.value + 1), other]
    found = imported(capsys, csv_file(tmp_path / "hand.csv", by_hand), "--manual", status=1)
    assert (found["new"], found["conflict"]) == (1, 1)
    assert stored(dsn) == [taken, other._replace(quality=Quality.MANUAL)]
    with connect(dsn) as connection:
        assert connection.execute("select value, quality from reading_conflict").fetchall() == [(8, Quality.MANUAL)]
        # A file is no gateway: it has no sequences that could be missed.
        assert connection.execute("select count(*) from gateway_sequence").fetchone() == (1,)


def test_an_import_that_broke_off_goes_on_where_it_was(dsn, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(load, "CHUNK_ROWS", 20)
    path = csv_file(tmp_path / "long.csv", readings())
    with connect(dsn) as connection:
        # The third chunk is refused by the database, as by a full disk.
        connection.execute("alter table bulk_import add check (rows < 50)")
    with pytest.raises(Exception, match="bulk_import"):
        main(["import", path])
    assert len(stored(dsn)) == 40
    with connect(dsn) as connection:
        connection.execute("alter table bulk_import drop constraint bulk_import_rows_check")
    found = imported(capsys, path)
    assert (found["skipped"], found["new"], found["duplicate"]) == (40, 50, 0)
    assert stored(dsn) == sorted(readings())
    assert imported(capsys, path)["skipped"] == 0


def test_an_import_that_is_killed_goes_on_and_stores_each_reading_once(dsn, tmp_path, capsys):
    many = [
        Reading(meter, "1.0.1.8.0", START_MS + step * 60_000, step)
        for meter in ("g1-M0", "g1-M1", "g2-M0")
        for step in range(100_000)
    ]
    path = csv_file(tmp_path / "many.csv", many)
    process = subprocess.Popen([sys.executable, "-m", "deploy.cli", "import", path])
    with connect(dsn) as connection:
        connection.autocommit = True
        assert wait_until(lambda: connection.execute("select from bulk_import").rowcount == 1, DEADLINE_S)
    process.kill()
    assert process.wait(DEADLINE_S) == -signal.SIGKILL
    found = imported(capsys, path)
    assert 0 < found["skipped"] < len(many)
    assert found["skipped"] + found["new"] + found["duplicate"] == len(many)
    with connect(dsn) as connection:
        assert connection.execute("select count(*), sum(value) from reading").fetchone() == (
            len(many),
            sum(each.value for each in many),
        )


def test_a_change_of_the_registry_is_noticed_while_a_file_is_imported(dsn):
    async def find_twice():
        async with await open_connection(dsn) as connection:
            places = Places()
            await places.watch(connection)
            pairs = [("g2-M0", "1.0.1.8.0"), ("M-9", "1.0.1.8.0")]
            before, _ = await places.find(connection, pairs)
            assert [places.gateways[before[0]], before[1]] == ["g2", STRANGE]
            with connect(dsn) as other:
                load_registry(other, registry("g2", 1, CHANNELS).replace("g2-M0", "M-9"), "test.toml")
            await connection.execute("select")  # as each transaction does
            after, channel_id = await places.find(connection, pairs)
            assert [places.gateways[each] for each in after] == ["g2", "g2"]
            assert (channel_id > 0).all()

    asyncio.run(find_twice())


def test_rows_of_strange_meters_are_left_out_and_told(dsn, tmp_path, capsys):
    strange = [each._replace(meter="M-9") for each in readings(count=2)[:2]]
    path = csv_file(tmp_path / "strange.csv", [*readings(count=2), *strange])
    found = imported(capsys, path, status=1)
    assert (found["new"], found["left_out"], found["strange"]) == (6, 2, ["M-9"])
    with connect(dsn) as connection:
        load_registry(connection, registry("g2", 1, CHANNELS).replace("g2-M0", "M-9"), "test.toml")
    found = imported(capsys, path)
    assert (found["new"], found["duplicate"]) == (2, 6)
    assert len(stored(dsn)) == 8


def test_bad_lines_are_quarantined_with_their_numbers_and_the_others_stored(dsn, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(load, "CHUNK_ROWS", 40)
    path = csv_file(tmp_path / "some.csv", readings())
    found = (tmp_path / "some.csv").read_text().splitlines()
    found[3:3] = ["g1-M0,1.0.1.8.0,yesterday,7,ACTUAL", "g1-M0,1.0.1.8.0"]
    found[60] = found[60].replace(",1.0.1.8.0,", ",1.0.1.8,")
    (tmp_path / "some.csv").write_text("\n".join(found))
    expected = sorted(readings())
    del expected[57]
    for _ in range(2):
        told = imported(capsys, path, status=1)
        assert (told["new"] + told["duplicate"], told["quarantined"]) == (89, 3)
        assert [text.split(":")[0] for text in told["wrong"]] == ["line 4", "line 5", "line 61"]
        assert stored(dsn) == expected
    with connect(dsn) as connection:
        kept = connection.execute("select topic, payload, reason, times from quarantine order by 1, 3").fetchall()
    assert [(topic, payload.count(b"\n") + 1, times) for topic, payload, _, times in kept] == [
        ("import/some.csv", 2, 2),
        ("import/some.csv", 1, 2),
    ]
    assert kept[0][1].startswith(b"4: g1-M0,1.0.1.8.0,yesterday,7,ACTUAL\n5: ")
    assert kept[0][2].startswith("some.csv: line 4: at 'yesterday'")
    assert kept[0][2].endswith("and 1 more lines")
    assert main(["ingest", "readmit"]) in (0, 1)  # they are no messages, and stay
    assert stored(dsn) == expected


def test_rows_in_the_future_and_of_strange_channels_are_quarantined_by_gateway(dsn, tmp_path, capsys):
    good = readings(count=2)
    later = [each._replace(measured_at_ms=4_000_000_000_000) for each in good[::2]]
    other = [each._replace(obis="1.0.2.8.0") for each in good[:1]]
    mixed = [row for rows in zip(good[:3], later, strict=True) for row in rows] + other + good[3:]
    found = imported(capsys, csv_file(tmp_path / "mixed.csv", mixed), status=1)
    assert (found["new"], found["quarantined"], found["left_out"]) == (6, 4, 0)
    ahead = "measured_at is more than a day ahead of the server's clock"
    assert found["refused"] == {"channel g1-M0 1.0.2.8.0 not registered at gateway g1": 1, ahead: 3}
    assert stored(dsn) == sorted(good)
    with connect(dsn) as connection:
        kept = connection.execute("select gateway_id, kind, count(*) from quarantine group by 1, 2 order by 1, 2")
        assert kept.fetchall() == [("g1", "future", 1), ("g1", "unregistered", 1), ("g2", "future", 1)]


def test_one_key_twice_in_a_file_is_stored_once_and_another_value_is_a_conflict(dsn, tmp_path, capsys):
    good = readings(count=3)
    again = [*good, good[0], good[5]._replace(value=999_999_999)]
    found = imported(capsys, csv_file(tmp_path / "twice.csv", again), status=1)
    assert (found["new"], found["duplicate"], found["conflict"]) == (9, 1, 1)
    assert stored(dsn) == sorted(good)
    with connect(dsn) as connection:
        assert connection.execute("select gateway_id, value from reading_conflict").fetchall() == [("g1", 999_999_999)]


def test_a_file_that_cannot_be_read_is_refused(dsn, tmp_path, capsys):
    (tmp_path / "bytes").write_bytes(b"meter,obis\xff")
    assert main(["import", str(tmp_path / "bytes")]) == 2
    assert "expected meter,obis,at,value,quality" in capsys.readouterr().err
    (tmp_path / "nem").write_bytes(b"100,NEM12,202510010000,A,B\n100,\xd0\n")
    assert main(["import", str(tmp_path / "nem")]) == 2
    assert f"{tmp_path / 'nem'}: line 2: found octet 0xd0, which is not UTF-8 here" in capsys.readouterr().err
    assert main(["import", str(tmp_path / "nothing")]) == 2
    assert main(["export", str(tmp_path / "no" / "where")]) == 2
    assert "expected a text file in UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["--meter", "nobody"],
        ["--gateway", "nobody"],
        ["--from", "2025-10-02", "--to", "2025-10-01"],
        ["--to", "9999-12-31"],
    ],
)
def test_an_export_of_what_is_not_there_to_be_asked_for_is_refused_and_leaves_no_file(dsn, tmp_path, words):
    assert main(["export", str(tmp_path / "out.csv"), *words]) == 2
    assert list(tmp_path.iterdir()) == []


def test_each_reading_that_is_quarantined_has_its_reason_printed(dsn, tmp_path, capsys):
    """A register below 0 is no reading; a power is: it flows both ways."""
    good = readings(count=2)
    path = Path(csv_file(tmp_path / "kinds.csv", [*good, good[0]._replace(obis="1.0.99.8.0")]))
    bad = ("g1-M0,1.0.1.8.0,2025-10-01T09:00:00Z,-500000,ACTUAL", "g1-M0,1.0.1.8.0,yesterday,7,ACTUAL")
    path.write_text(path.read_text("utf-8") + "\n".join(bad) + "\n", "utf-8")
    assert main(["import", str(path)]) == 1
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("6 readings new, 0 there already, 0 in conflict, 3 quarantined, 0 left out")
    assert [line.partition(":")[0] for line in told[1:]] == ["quarantined"] * 3
    assert "line 9: value -500000: 1.0.1.8.0 is a register that counts up from 0 and is never below; read" in told[1]
    assert "line 10: at 'yesterday'" in told[2]
    assert told[3] == "quarantined: 1 reading: channel g1-M0 1.0.99.8.0 not registered at gateway g1"
