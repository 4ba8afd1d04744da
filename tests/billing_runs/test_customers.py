"""A company's customers from ``congto sim customers``, loaded at once by ``congto registry bulk``, and billed."""

from datetime import date
from pathlib import Path

import numpy as np
import psycopg
import pytest

from billing_core.codes import Category
from billing_core.quote import quote
from billing_core.quote_request import QuoteRequest
from deploy.cli import main
from ingest_server.billing.period import Period
from ingest_server.billing.run import Plan, run_billing
from ingest_server.database import migrate
from ingest_server.registry.bulk import load_bulk
from protocols.errors import UsageError
from simulators.customers import month_beginnings, registers_of, write_customers

AUGUST = date(2026, 8, 1)


def test_the_same_seed_gives_the_same_registers_and_they_never_fall() -> None:
    numbers = np.arange(10_000, dtype=np.int64)
    days = month_beginnings(AUGUST, 14)
    index = registers_of(numbers, days, 7)
    assert (np.diff(index, axis=1) >= 0).all()
    assert np.array_equal(index, registers_of(numbers, days, 7))
    assert not np.array_equal(index, registers_of(numbers, days, 8))
    assert [days[4], days[5], days[-1]] == [date(2026, 12, 1), date(2027, 1, 1), date(2027, 10, 1)]


@pytest.mark.integration
def test_customers_are_loaded_billed_as_quoted_and_their_snapshot_is_that_of_their_readings(
    database: str, tmp_path: Path
) -> None:
    write_customers(tmp_path / "tables", 1200, AUGUST, months=2, seed=3)
    migrate(database)
    with psycopg.connect(database) as connection:
        loaded = load_bulk(connection, tmp_path / "tables")
        assert (loaded["customer"], loaded["reading_book"], loaded["register"]) == (1200, 3, 3600)
        snapshot = connection.execute(
            "select count(*) from daily_register d join reading r using (channel_id, value)"
            " where civil_midnight(r.measured_at) and civil_day(r.measured_at) = d.taken_on"
        ).fetchone()
        assert snapshot == (3600,)
    summary = run_billing(database, Period.of_month("2026-08"), Plan(workers=2, chunk_points=500))
    assert (summary.billed, summary.held) == (1200, 0)
    index = registers_of(np.arange(1200, dtype=np.int64), month_beginnings(AUGUST, 2), 3)
    with psycopg.connect(database) as connection:
        rows = connection.execute(
            "select total, households from bill join bill_terms using (terms_id) order by metering_point_id limit 40"
        ).fetchall()
    for customer, (total, households) in enumerate(rows):
        energy = int(index[customer, 1] - index[customer, 0])
        answer = quote(
            QuoteRequest(
                category=Category.RESIDENTIAL,
                start_on=AUGUST,
                end_on=date(2026, 8, 31),
                energy_wh=energy,
                households=households,
            )
        )
        assert total == answer.total


@pytest.mark.integration
@pytest.mark.parametrize(
    ("file", "change", "told"),
    [
        (
            "metering_point.tsv",
            ("PA00000000001\t", "PA99990000001\t"),
            "metering_point.customer_id names what is not there",
        ),
        ("customer.tsv", ("name", "nom"), "column 'nom' is unknown; known are address, customer_id, name"),
        ("customer.tsv", ("name", "na\udcffme"), r"customer\.tsv: line 1: found octet 0xff, which is not UTF-8 here"),
        (
            "customer.tsv",
            ("PA00000000001\t", "PA00000000001\t\udcff"),
            r"invalid byte sequence .*\(COPY customer, line 2",
        ),
        ("meter.tsv", ("M00000001\t", "M00000000\t"), "duplicate key value violates unique constraint"),
        (
            "contract.tsv",
            ("\tresidential\t", "\tproduction\t"),
            "PA00000000000001, valid_from 2020-01-01: no act in force from then on prices production at None, only",
        ),
        ("contract.tsv", ("\tresidential\t", "\thome\t"), "prices home at None, only at no voltage; correct category"),
        ("contract.tsv", ("households", "rate_plan"), "PA00000000000001: rate plan '1' is not there"),
        ("register.tsv", ("\n2\t", "\n2x\t"), "found something other than whole numbers"),
        ("register.tsv", ("\n2\t", "\n2\t7\t"), "found a line without exactly 3 numbers"),
        ("contract.tsv", ("2020-01-01", "2020-13-01"), "date/time field value out of range"),
    ],
)
def test_files_with_a_mistake_are_told_and_nothing_is_loaded(
    database: str, tmp_path: Path, file: str, change: tuple[str, str], told: str
) -> None:
    write_customers(tmp_path / "tables", 5, AUGUST)
    path = tmp_path / "tables" / file
    text = path.read_text(encoding="utf-8")
    assert change[0] in text
    path.write_text(text.replace(*change, 1), encoding="utf-8", errors="surrogateescape")
    migrate(database)
    with psycopg.connect(database) as connection:
        with pytest.raises(UsageError, match=told):
            load_bulk(connection, tmp_path / "tables")
        connection.rollback()
        assert connection.execute("select count(*) from customer").fetchone() == (0,)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("columns", "row", "told"),
    [
        (
            "rate_plan\ttwo_component\tvoltage",
            "production\thome\ttrue\tlt6",
            "rate_plan: a plan is for one use and has its own price of demand; remove one of the two",
        ),
        (
            "rate_plan\tuses",
            'residential\thome\t[{"category": "business", "voltage": "lt6", "share_percent": 40}]',
            "rate_plan: a plan is for one use",
        ),
        ("tenants\tvoltage", "business\t4\tlt6", "tenants: four tenants are one household of a residential contract"),
        ("three_rates\trefused_three_rates\tvoltage", "business\ttrue\ttrue\tlt6", "refused_three_rates: the meter"),
    ],
)
def test_contracts_that_contradict_themselves_are_refused_as_in_a_registrys_file(
    database: str, tmp_path: Path, columns: str, row: str, told: str
) -> None:
    migrate(database)
    write_customers(tmp_path / "tables", 5, AUGUST)
    more = tmp_path / "more"
    more.mkdir()
    header = f"metering_point_id\tvalid_from\tcategory\t{columns}\n"
    (more / "contract.tsv").write_text(f"{header}PA00000000002001\t2026-01-01\t{row}\n", encoding="utf-8")
    with psycopg.connect(database) as connection:
        load_bulk(connection, tmp_path / "tables")
        connection.execute("insert into rate_plan (name, effective_on, figures) values ('home', '2020-01-01', '{}')")
        connection.commit()
        with pytest.raises(UsageError) as refused:
            load_bulk(connection, more)
        assert f"contract.tsv: PA00000000002001: {told}" in str(refused.value)
        assert "nothing was loaded" in str(refused.value)
        connection.rollback()
        assert connection.execute("select count(*) from contract").fetchone() == (5,)


@pytest.mark.integration
def test_a_company_is_loaded_part_by_part_and_a_part_that_was_refused_leaves_no_trace(
    database: str, tmp_path: Path
) -> None:
    migrate(database)
    for part, (first, count) in enumerate(((0, 1000), (1000, 700), (1000, 700))):
        write_customers(tmp_path / str(part), count, AUGUST, seed=3, first=first)
    orphan = tmp_path / "1" / "installation.tsv"
    text = orphan.read_text(encoding="utf-8")
    orphan.write_text(text.replace("\tM00001699\t", "\tM99999999\t"), encoding="utf-8")
    with psycopg.connect(database) as connection:
        load_bulk(connection, tmp_path / "0")
        with pytest.raises(UsageError, match=r"installation\.meter_id names what is not there"):
            load_bulk(connection, tmp_path / "1")
        connection.rollback()
        load_bulk(connection, tmp_path / "2")
        rows = connection.execute(
            "select right(meter_id, 8)::integer, array_agg(value order by taken_on) from daily_register"
            " join channel using (channel_id) join installation using (meter_id) group by 1 order by 1"
        ).fetchall()
        assert connection.execute("select count(*) from reading_book").fetchone() == (4,)
    numbers = np.arange(1700, dtype=np.int64)
    index = registers_of(numbers, month_beginnings(AUGUST, 1), 3)
    assert rows == [(number, own) for number, own in zip(numbers.tolist(), index.tolist(), strict=True)]


@pytest.mark.parametrize("first", [-500, 250, 99_999_500])
def test_a_part_begins_with_a_reading_book(tmp_path: Path, first: int) -> None:
    with pytest.raises(UsageError, match="expected a multiple of 500"):
        write_customers(tmp_path / "tables", 1000, AUGUST, first=first)


@pytest.mark.integration
def test_the_two_commands_follow_one_another(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CONGTO_DSN", database)
    directory = str(tmp_path / "tables")
    assert main(["sim", "customers", "--count", "10", "--from", "2026-08", "--directory", directory]) == 0
    assert "load it with congto registry bulk" in capsys.readouterr().out
    assert main(["sim", "customers", "--count", "10", "--from", "2026-08", "--directory", directory]) == 2
    assert "expected an empty directory" in capsys.readouterr().err
    assert main(["sim", "customers", "--count", "0", "--from", "2026-08", "--directory", directory]) == 2
    assert main(["sim", "customers", "--count", "1", "--from", "August", "--directory", directory]) == 2
    assert "expected a month as YYYY-MM" in capsys.readouterr().err
    assert main(["registry", "bulk", directory, "--json"]) == 0
    assert main(["registry", "bulk", str(tmp_path)]) == 2
    assert "found none of gateway.tsv" in capsys.readouterr().err
