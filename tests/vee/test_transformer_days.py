"""A transformer's days are balanced although meters behind it have gaps, by the figures that are believed of them."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from deploy.cli import main
from ingest_server.billing.gather import Selection
from ingest_server.billing.period import Period
from ingest_server.vee.cases import Case, queue_of
from ingest_server.vee.midnights import load_midnights
from ingest_server.vee.run import run_vee
from tests.billing_runs.district import EXPORT, GATEWAY, IMPORT, OCTOBER, RATES, Customer, District, household
from tests.vee.village import HALF_HOUR, NOW

pytestmark = pytest.mark.integration
DAYS, HOMES, PER_DAY = 60, 12, 48  # from the third of September on
BEGIN = OCTOBER.start_at - timedelta(days=28)
STEP_ON, WRONG = 40, 3  # the 13th of October
Load = Callable[..., str]


@pytest.fixture
def load(district: District, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    monkeypatch.setenv("CONGTO_DSN", district.dsn)

    def loaded(text: str, status: int = 0) -> str:
        path = tmp_path / "meters.toml"
        path.write_text(text, encoding="utf-8")
        assert main(["meters", "load", str(path), "--as", "Lan", "--language", "en"]) == status
        out = capsys.readouterr()
        return out.out + out.err

    return loaded


def transformer(name: str = "TBA-1", feeder: str = "f", meter: str = "T-1", since: str = "2026-01-01", **more: str):
    rest = "".join(f"{key} = {value}\n" for key, value in more.items())
    return (
        f'[[transformer]]\nid = "{name}"\nfeeder = "{feeder}"\nmeter = "{meter}"\nvalid_from = {since}\n'
        f'source = "line diagram"\n{rest}'
    )


def station(district: District, feeder: str = "f", meter: str = "T-1") -> None:
    district.copy("meter (meter_id, gateway_id, model, digits)", [(meter, GATEWAY, "test", 6)])
    district.copy("channel (meter_id, obis, unit)", [(meter, IMPORT, "Wh")])
    district.connection.execute("update meter set feeder = %s where meter_id <> %s", [feeder, meter])


def street(district: District, load: Load, *, counted: float, taken: float) -> list[Customer]:
    """Enter twelve homes behind a transformer, half-hourly, of which each loses midnights, hours and days of readings.

    From a day on one of them counts and takes other shares of what it did.
    """
    rng = np.random.default_rng(7)
    usual = rng.integers(80, 250, (HOMES, 1)) * (1 + 0.5 * np.sin(np.arange(PER_DAY) / 4))
    energy = (np.tile(usual, DAYS) * rng.uniform(0.7, 1.3, (HOMES, DAYS * PER_DAY))).astype(np.int64)
    truly = energy.copy()
    changed = slice(STEP_ON * PER_DAY, None)
    truly[WRONG, changed] = np.rint(energy[WRONG, changed] * taken)
    energy[WRONG, changed] = np.rint(energy[WRONG, changed] * counted)
    supplied = np.rint(truly.sum(axis=0) * 1.02).astype(np.int64)
    kept = rng.random((HOMES, DAYS * PER_DAY + 1)) > 0.02
    for home in range(HOMES):
        kept[home, PER_DAY * np.arange(home % 4, DAYS + 1, 4)] = False  # a quarter of the midnights: each day lacks one
        silent = PER_DAY * (3 + 4 * home) + 10
        kept[home, silent : silent + 2 * PER_DAY] = False
    customers = [household(number) for number in range(1, HOMES + 1)]
    district.add(customers)
    station(district)
    district.connection.execute("delete from reading")
    channels = dict(district.rows("select meter_id, channel_id from channel"))
    rows = [*((channels[each.meter], *both) for each, *both in zip(customers, energy, kept, strict=True))]
    rows.append((channels["T-1"], supplied, np.ones(DAYS * PER_DAY + 1, dtype=bool)))
    with district.connection.cursor().copy("copy reading from stdin") as copy:
        for channel, used, there in rows:
            for slot, shown in enumerate([0, *np.cumsum(used).tolist()]):
                if there[slot]:
                    copy.write_row((channel, BEGIN + slot * HALF_HOUR, 1_000_000 + shown, 0))
    load(transformer())
    return customers


def stations(district: District, selection: Selection = Selection(), period: Period = OCTOBER) -> list[Case]:  # noqa: B008
    return [case for case in queue_of(district.connection, period, selection).cases if not case.obis]


def test_a_meter_that_counts_two_thirds_is_named_although_no_day_has_all_of_its_neighbours_midnights(
    district: District, load: Load
) -> None:
    customers = street(district, load, counted=2 / 3, taken=1)
    outcome = run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW)
    assert outcome.findings["V15"] == 1
    assert outcome.balances_left == 1  # the month's ends were not read everywhere: V43 has nothing to say
    [case] = stations(district)
    [(rule, day, evidence)] = case.reasons
    assert (rule, evidence["metering_point_id"], evidence["to"]) == ("V15", customers[WRONG].point, "2026-10-31")
    assert abs((day - date(2026, 10, 13)).days) <= 2
    assert abs(evidence["factor"] - 2 / 3) < 0.1
    assert case.rules == {"V15": (2, 4)}
    again = run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW)
    assert "V15" not in again.findings
    assert district.value("select count(*) from transformer_balance") == 1


def test_a_home_that_takes_two_thirds_from_a_day_on_is_left_alone(district: District, load: Load) -> None:
    street(district, load, counted=2 / 3, taken=2 / 3)
    outcome = run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW)
    assert "V15" not in outcome.findings
    assert (stations(district), district.value("select count(*) from transformer_balance")) == ([], 0)


def test_a_lost_midnight_lies_on_the_line_between_the_readings_around_it(district: District) -> None:
    one, two = household(1), household(2)
    district.add([one, two])
    district.connection.execute("delete from reading")
    for at, value in ((-24, 100), (-5, 1_000), (1, 1_600), (24, 9_000), (48, 9_900)):
        district.store(one.meter, IMPORT, OCTOBER.start_at + timedelta(hours=at), value)
    for at in (-24, 24, 48):
        district.store(two.meter, IMPORT, OCTOBER.start_at + timedelta(hours=at), 5_000)
    channels = np.array([row[0] for row in district.rows("select channel_id from channel order by meter_id")])
    found = load_midnights(
        district.connection, channels, OCTOBER.first_on - timedelta(days=1), np.ones((2, 4), dtype=bool)
    )
    assert found.known.tolist() == [[True] * 4, [True, False, True, True]]
    assert found.index_wh[0].tolist() == [100, 1_500, 9_000, 9_900]


def balanced(district: District, load: Load, customers: list[Customer], supplied: int) -> int:
    """Enter customers behind one transformer, and run; return how many balances are not known."""
    district.add(customers)
    station(district)
    district.store("T-1", IMPORT, OCTOBER.start_at, 0)
    district.store("T-1", IMPORT, OCTOBER.end_at, supplied)
    load(transformer())
    return run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW).balances_left


def test_a_meter_without_a_total_counts_by_its_three_rates(district: District, load: Load) -> None:
    rates = Customer(number=2, registers=dict.fromkeys(RATES, (0, 40_000)), category="business", three_rates=True)
    assert balanced(district, load, [household(1, energy_wh=100_000), rates], 230_000) == 0
    assert district.rows("select delivered_wh, points from transformer_balance") == [(220_000, 2)]


def test_a_meter_without_a_register_of_what_it_takes_is_told_and_its_feeder_is_not_balanced_without_it(
    district: District, load: Load
) -> None:
    some = Customer(number=2, registers=dict.fromkeys((RATES[0], EXPORT), (0, 40_000)), category="business")
    assert balanced(district, load, [household(1), some], 230_000) == 1
    [unknown] = district.rows("select severity, evidence -> 'unknown' from transformer_balance")
    assert unknown == (4, {"meters_without_register": 1})
    [case] = stations(district)
    told = {"meter_id": some.meter, "metering_point_id": some.point}
    assert (case.point, case.score_wh, case.reasons) == ("TBA-1", 0, [("V05", OCTOBER.first_on, told)])
    assert not stations(district, Selection(("PD01000000009001",)))


def test_a_meter_that_was_a_transformers_own_once_is_told_like_any_other_at_a_customer_and_one_that_is_now_is_not(
    district: District, load: Load
) -> None:
    once, now = (Customer(number=number, registers={EXPORT: (0, 40_000)}, category="business") for number in (2, 3))
    own = [("TBA-8", "gone", once.meter, "2025-01-01", "2026-03-31", "x", "Lan")]
    own.append(("TBA-9", "elsewhere", now.meter, "2025-01-01", None, "x", "Lan"))
    district.add([household(1), once, now])
    district.copy("transformer (transformer_id, feeder, meter_id, valid_from, valid_to, source, entered_by)", own)
    assert balanced(district, load, [], 230_000) == 1
    assert district.value("select evidence -> 'unknown' from transformer_balance") == {"meters_without_register": 1}
    [case] = stations(district)
    told = {"meter_id": once.meter, "metering_point_id": once.point}
    assert case.reasons == [("V05", OCTOBER.first_on, told)]


def test_a_register_that_went_through_zero_within_the_month_is_balanced(district: District, load: Load) -> None:
    rolled = Customer(number=1, registers={IMPORT: (999_950_000, 50_000)}, multiplier=40_000)
    assert balanced(district, load, [rolled], 4_100_000_000) == 0
    assert district.rows("select supplied_wh, delivered_wh from transformer_balance") == [
        (4_100_000_000, 4_000_000_000)
    ]


def test_a_transformer_whose_own_meter_was_not_read_is_counted_as_not_known(district: District, load: Load) -> None:
    assert balanced(district, load, [household(1)], 170_000) == 0
    district.forget("T-1", IMPORT, OCTOBER.end_at)
    assert run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW).balances_left == 1
    newest = "select evidence from transformer_balance order by version desc limit 1"
    assert district.value(newest) == {"unknown": {"transformer": 1}}  # what was told before no longer stands
    assert main(["vee", "run", "--period", "2026-10", "--as", "Lan"]) == 0  # nobody's bill waits for it


def test_two_transformers_of_one_feeder_at_one_time_are_refused_and_one_after_the_other_are_not(
    district: District, load: Load
) -> None:
    district.add([household(1), household(2)])
    station(district)
    district.copy("meter (meter_id, gateway_id, model, digits)", [("T-2", GATEWAY, "test", 6)])
    other = transformer("TBA-2", meter="T-2", since="2026-07-01")
    said = load(transformer() + other, status=2)
    assert "transformer[1].feeder: 'f' is that of transformer 'TBA-2' from 2026-07-01 on" in said.replace("\n", " ")
    assert "expected one transformer a feeder: give the other's last day (valid_to)" in said.replace("\n", " ")
    assert district.value("select count(*) from transformer") == 0
    load(transformer())
    assert "'f' is that of transformer 'TBA-1' from 2026-01-01 on" in load(other, status=2).replace("\n", " ")
    district.connection.execute("update meter set feeder = 'g' where meter_id = %s", [household(2).meter])
    one_meter = transformer("TBA-3", feeder="g")
    assert "'T-1' is that of transformer 'TBA-1' from" in load(one_meter, status=2).replace("\n", " ")
    load(transformer(valid_to="2026-06-30") + other)
    assert district.value("select count(*) from transformer") == 3


def test_a_feeder_that_no_meter_hangs_on_and_a_check_meter_that_is_the_points_own_are_refused(
    district: District, load: Load
) -> None:
    one = household(1)
    district.add([one])
    station(district)
    assert "'F-71' is no meter's feeder in the registry" in load(transformer(feeder="F-71"), status=2)
    text = (
        f'[[check_meter]]\nmetering_point = "{one.point}"\nmeter = "{one.meter}"\nvalid_from = 2026-01-01\nsource = "x"'
    )
    assert f"'{one.meter}' is the meter that {one.point} is billed by" in load(text, status=2).replace("\n", " ")


def exchange(district: District, one: Customer, at_slot: int) -> None:
    """Take a home's meter down within a day, and hang another there that begins at zero."""
    at = BEGIN + at_slot * HALF_HOUR
    district.copy("meter (meter_id, gateway_id, model, digits, feeder)", [("M-new", GATEWAY, "test", 6, "f")])
    district.copy("channel (meter_id, obis, unit)", [("M-new", IMPORT, "Wh")])
    district.connection.execute("update installation set removed_at = %s where metering_point_id = %s", [at, one.point])
    district.copy("installation (metering_point_id, meter_id, installed_at, multiplier)", [(one.point, "M-new", at, 1)])
    [[old, new]] = district.rows(
        "select max(channel_id) filter (where meter_id = %s), max(channel_id) filter (where meter_id = 'M-new')"
        " from channel",
        [one.meter],
    )
    last = district.value("select max(value) from reading where channel_id = %s and measured_at <= %s", [old, at])
    district.connection.execute(
        "insert into reading select %s, measured_at, value - %s, quality from reading"
        " where channel_id = %s and measured_at > %s",
        [new, last, old, at],
    )
    district.connection.execute("delete from reading where channel_id = %s and measured_at > %s", [old, at])


@pytest.mark.parametrize(("counted", "named"), [(2 / 3, 1), (1, 0)])
def test_an_exchange_within_a_day_neither_silences_the_feeder_nor_is_anybody_blamed_for_it(
    district: District, load: Load, counted: float, named: int
) -> None:
    customers = street(district, load, counted=counted, taken=1)
    exchange(district, customers[5], 36 * PER_DAY + 20)
    newcomer = household(90)
    district.add([newcomer])
    district.connection.execute("update meter set feeder = 'f' where meter_id = %s", [newcomer.meter])
    district.connection.execute(
        "update installation set installed_at = %s where metering_point_id = %s", [NOW, newcomer.point]
    )
    run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW)
    told = [evidence["metering_point_id"] for case in stations(district) for _, _, evidence in case.reasons]
    assert told == [customers[WRONG].point][:named]


def test_a_meter_that_is_read_once_a_month_leaves_its_feeders_days_unknown(district: District, load: Load) -> None:
    customers = street(district, load, counted=2 / 3, taken=1)
    district.connection.execute(
        "delete from reading r using channel c where c.channel_id = r.channel_id and c.meter_id = %s"
        " and extract(day from civil_day(measured_at)) > 1",
        [customers[0].meter],
    )
    assert "V15" not in run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW).findings
