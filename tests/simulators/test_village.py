"""Villages: the one that comes with congto, and files that are refused."""

from collections import Counter
from datetime import date, timedelta

import pytest

from protocols.errors import UsageError
from simulators.registers import START_WH_MAX
from simulators.vietnam_days import DAY_MS, local_midnight_ms
from simulators.village import BusKind, load_village, parse_village, previous_month

OCTOBER = date(2026, 10, 1)
SMALL = """
name = "Two houses"
seed = 5
[[bus]]
id = "line"
gateway = "gw"
kind = "modbus_rtu"
baud = 9600
faults = { drop = 3 }
[[meter]]
id = "A"
bus = "line"
model = "eastron_sdm120"
address = 1
kind = "household"
size_kwh = 200
place = "hanoi"
silent = [{ from = "2 06:30", to = "2 24:00" }]
[meter.contract]
anything = { goes = [1, "two"] }
[[meter]]
id = "B"
bus = "line"
model = "eastron_sdm630"
address = 2
kind = "solar"
size_kwh = 200
place = "da_nang"
panels_w = 4000
"""


def small(**changes):
    text = SMALL
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new, 1)
    return parse_village(text, "small.toml", starts_on=OCTOBER)


def test_the_village_of_the_demo_is_as_its_issue_wants_it():
    village = load_village(None, starts_on=OCTOBER)
    assert len(village.meters) >= 24
    assert len({meter.model_key for meter in village.meters}) == 5
    kinds = Counter(bus.kind for bus in village.buses)
    assert kinds[BusKind.MODBUS_RTU] + kinds[BusKind.DLMS_HDLC] == 3
    assert kinds[BusKind.MODBUS_TCP] == 1
    assert len(village.gateways) == 2
    silent = {meter.bus.kind.protocol.value: meter.device.silent for meter in village.meters if meter.device.silent}
    assert silent.keys() == {"modbus", "dlms"}
    ((start, end),) = silent["dlms"]
    assert end - start == DAY_MS
    contracts = [meter.contract for meter in village.meters]
    assert Counter(each["category"] for each in contracts) > Counter(
        {"residential": 15, "business": 2, "production": 1, "hospital_school": 1, "lighting_admin": 1}
    )
    assert len([each for each in contracts if "solar_regime" in each]) == 3
    assert all(len(each["customer"]) == 13 for each in contracts)
    assert len({each["customer"] for each in contracts}) == len(contracts)


def test_three_rates_and_reactive_energy_are_measured_where_the_contract_needs_them():
    for meter in load_village(None, starts_on=OCTOBER).meters:
        measured = {str(each.obis) for each in meter.device.model.measurements}
        needs = {"1.0.1.8.0"}
        if meter.contract.get("three_rates"):
            needs |= {"1.0.1.8.1", "1.0.1.8.2", "1.0.1.8.3"}
        if "solar_regime" in meter.contract:
            needs.add("1.0.2.8.0")
        if meter.contract["category"] == "production":
            needs.add("1.0.3.8.0")
        assert needs <= measured, meter.name


def test_float_meters_of_the_village_keep_their_watt_hours_for_years():
    """16,384 kWh is where a float32 of kWh loses single watt-hours."""
    village = load_village(None, starts_on=OCTOBER)
    for meter in village.meters:
        if meter.model_key.startswith("eastron"):
            for obis in ("1.0.1.8.0", "1.0.2.8.0", "1.0.3.8.0"):
                assert meter.true_wh(obis, local_midnight_ms(OCTOBER + timedelta(days=365))) < 16_384_000, meter.name
    assert 3 * START_WH_MAX < 16_384_000 // 2


def test_a_month_in_the_village_looks_like_its_contracts():
    village = load_village(None, starts_on=OCTOBER)
    start, end = village.starts_at_ms, local_midnight_ms(date(2026, 11, 1))
    used = {meter.name: meter.true_wh("1.0.1.8.0", end) - meter.true_wh("1.0.1.8.0", start) for meter in village.meters}
    for meter in village.meters:
        assert 0.4 < used[meter.name] / 1000 / meter.consumer.size_kwh < 1.7, meter.name


@pytest.mark.parametrize("seed", [0, 2**63 - 1])
def test_the_seed_decides_everything(seed):
    at = local_midnight_ms(date(2026, 10, 20)) + 1234567

    def truth(seed):
        village = load_village(None, starts_on=OCTOBER, seed=seed)
        return [(each.true_wh("1.0.1.8.0", at), each.secret, each.serial) for each in village.meters]

    assert truth(seed) == truth(seed)
    assert truth(seed) != truth(seed ^ 1)


def test_energy_does_not_depend_on_the_month_that_is_replayed():
    """The start moves the registers' beginning, never what flows."""
    at = [local_midnight_ms(date(2026, 10, 3)), local_midnight_ms(date(2026, 10, 9))]
    flows = []
    for month in (date(2026, 9, 1), date(2026, 10, 1)):
        meter = load_village(None, starts_on=month).meters[0]
        flows.append(meter.true_wh("1.0.1.8.0", at[1]) - meter.true_wh("1.0.1.8.0", at[0]))
    assert flows[0] == flows[1]


def test_what_a_file_says_is_what_the_village_holds():
    village = small()
    first, second = village.meters
    assert first.contract == {"anything": {"goes": [1, "two"]}}
    assert second.contract == {}
    start = village.starts_at_ms + DAY_MS
    assert first.device.silent == ((start + 390 * 60_000, start + DAY_MS),)
    assert first.bus.faults.drop == 3
    (bus,) = village.agent_buses({"buses": {"line": {"port": "/somewhere"}}})
    assert (bus.gateway, bus.port, bus.tcp, bus.meters) == ("gw", "/somewhere", None, village.meters)
    assert first.secret == ""
    assert first.secret_env == "CONGTO_SECRET_A"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed = 5", "seed = 5\nsede = 6", r"sede: unknown key; did you mean 'seed'"),
        ("baud = 9600", "baud = 9600\nbuad = 1", r"bus\[1\]\.buad: unknown key"),
        ("baud = 9600", "baud = 1", r"bus\[1\]\.baud: found 1; expected 300 to 921600"),
        ("drop = 3", "drop = 1001", r"faults\.drop: found 1001"),
        ('id = "line"', 'id = "../line"', r"bus\[1\]\.id: found '\.\./line'"),
        ("address = 2", "address = 1", r"meter\[2\]\.address: 1 is taken on bus 'line'"),
        ("address = 2", "address = 248", r"meter\[2\]\.address: found 248; expected 1 to 247"),
        ('id = "B"', 'id = "A"', r"meter\[2\]\.id: 'A' is the id of two meters"),
        ('bus = "line"', 'bus = "wire"', r"meter\[1\]\.bus: found 'wire'; expected one of line"),
        ("eastron_sdm630", "eastron_sdm631", r"'eastron_sdm631': unknown; known models"),
        ("eastron_sdm630", "dlms_residential", r"meter\[2\]\.model: dlms_residential speaks dlms"),
        ("panels_w = 4000", "", r"meter\[2\]\.panels_w: found 0 with kind solar"),
        ("2 06:30", "2 24:01", r"silent\[1\]\.from: found '2 24:01'"),
        ("2 06:30", "0 06:30", r"expected day 1 to 31"),
        ("2 06:30", "3 06:30", r"silent\[1\]\.to: ends before it begins"),
        ("2 06:30", "half past six", r"expected the day and the time of day"),
        ('place = "hanoi"', 'place = "hue"', r"meter\[1\]\.place: found 'hue'"),
        ("size_kwh = 200", 'size_kwh = "200"', r"expected an integer"),
        ("[[bus]]", "[[bus", r"not TOML"),
    ],
)
def test_a_file_with_a_mistake_is_refused_with_place_and_cure(old, new, message):
    with pytest.raises(UsageError, match=message) as refused:
        small(change=(old, new))
    assert "small.toml" in str(refused.value) or "model" in str(refused.value)


def test_a_village_without_meters_and_a_file_that_is_not_there_are_refused(tmp_path):
    with pytest.raises(UsageError, match="needs one at least"):
        parse_village('name = "x"\nseed = 1\n', "x.toml", starts_on=OCTOBER)
    with pytest.raises(UsageError, match="can't be read"):
        load_village(tmp_path / "none.toml", starts_on=OCTOBER)


def test_the_previous_month_is_a_calendar_month():
    assert previous_month(date(2026, 1, 31)) == date(2025, 12, 1)
    assert previous_month(date(2026, 3, 1)) == date(2026, 2, 1)
