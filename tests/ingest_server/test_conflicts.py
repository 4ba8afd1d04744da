"""Two values for one reading are shown with the one that stands."""

import json
import re

import pytest

from deploy.cli import main
from ingest_server.database import connect, migrate
from ingest_server.registry import load_registry
from protocols.telemetry.reading import Quality, Reading
from tests.ingest_server.stored_directly import GENERATION, START_MS, message, registry, store_transactions

pytestmark = pytest.mark.integration

INSTALLED = """
[[customer]]
id = "PD01000012345"
name = "Hoa"
[[metering_point]]
id = "PD01000012345001"
customer = "PD01000012345"
[[installation]]
metering_point = "PD01000012345001"
meter = "g1-M0"
installed_at = 2025-09-01T00:00:00+07:00
"""


def test_conflicts_are_listed_with_the_value_that_stands(database, monkeypatch, capsys):
    migrate(database)
    monkeypatch.setenv("CONGTO_DSN", database)
    with connect(database) as connection:
        load_registry(connection, registry("g1", 2) + registry("g2", 1), "test.toml")
    assert main(["ingest", "conflicts"]) == 0
    assert capsys.readouterr().out == "0 conflicts, 0 of them decided; 0 shown\n"
    first = [Reading(f"{name}", "1.0.1.8.0", START_MS, 5) for name in ("g1-M0", "g1-M1")]
    second = [each._replace(value=9, quality=Quality.PROFILE | Quality.CLOCK_UNCERTAIN) for each in first]
    theirs = Reading("g2-M0", "1.0.1.8.0", START_MS, 1)
    later = theirs._replace(value=2)
    store_transactions(
        database,
        [
            [message("g1", 1, first), message("g2", 1, [theirs])],
            [message("g1", 2, second)],
            [message("g2", 2, [later])],
        ],
    )
    with connect(database) as connection:
        connection.execute("delete from reading using channel c where c.channel_id = reading.channel_id"
                           " and meter_id = 'g1-M1'")  # fmt: skip
    assert main(["ingest", "conflicts"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" ")[0] for line in lines] == ["g2-M0", "g1-M0", "g1-M1", "3"]
    assert re.fullmatch(
        r"g1-M0 1\.0\.1\.8\.0 2025-09-30T17:00:00Z: 5 Wh stands, 9 Wh \(PROFILE\+CLOCK_UNCERTAIN\) came from g1, "
        rf"batch 2 of {GENERATION}, at \S+Z",
        lines[1],
    )
    assert ": nothing stands, 9 Wh" in lines[2]
    assert main(["ingest", "conflicts", "--gateway", "g1", "--meter", "g1-M0", "--json"]) == 1
    shown = json.loads(capsys.readouterr().out)
    assert (shown["count"], shown["conflicts"][0]["stands"], shown["conflicts"][0]["value"]) == (1, 5, 9)
    assert main(["ingest", "conflicts", "--newest", "1"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "3 conflicts, 0 of them decided; 1 shown"
    assert main(["ingest", "conflicts", "--newest", "0"]) == 2
    assert main(["ingest", "conflicts", "--gateway", "nobody"]) == 2
    assert main(["ingest", "conflicts", "--meter", "nobody"]) == 2


def test_a_conflict_of_which_two_people_have_said_what_counts_is_decided(database, monkeypatch, capsys):
    migrate(database)
    monkeypatch.setenv("CONGTO_DSN", database)
    with connect(database) as connection:
        load_registry(connection, registry("g1", 1) + INSTALLED, "test.toml")
    first = Reading("g1-M0", "1.0.1.8.0", START_MS, 5000)
    store_transactions(database, [[message("g1", 1, [first])], [message("g1", 2, [first._replace(value=9000)])]])
    edit = ["vee", "edit", "--as", "Lan", "--note", "read again", "--point", "PD01000012345001"]
    assert main([*edit, "--at", "2025-10-01T00:00:00+07:00", "--value-wh", "9000", "--json"]) == 0
    (change,) = json.loads(capsys.readouterr().out)["changes"]
    assert main(["ingest", "conflicts"]) == 1
    assert main(["vee", "approve", str(change), "--as", "Minh", "--note", "seen on the photograph"]) == 0
    capsys.readouterr()
    assert main(["ingest", "conflicts"]) == 0
    line, summary = capsys.readouterr().out.splitlines()
    assert line.endswith("; decided: 9000 Wh counts")
    assert summary == "1 conflicts, 1 of them decided; 1 shown"
    with connect(database) as connection:
        assert connection.execute("select value from reading").fetchall() == [(5000,)]
        assert connection.execute("select value from reading_conflict").fetchall() == [(9000,)]
