import re
from pathlib import Path

import pytest

from deploy.cli import main
from ingest_server.database import connect, migrate
from ingest_server.registry import load_registry
from ingest_server.registry.file import parse_registry
from ingest_server.registry.overview import load_overview
from protocols.errors import UsageError

CONTRACT = Path(__file__).parents[2] / "docs/contracts/registry.md"
EXAMPLE = re.search(r"```toml\n(.*?)```", CONTRACT.read_text(encoding="utf-8"), re.DOTALL)[1]
SECOND_METER = """
[[meter]]
id = "M-0002"
gateway = "gw-01"
model = "eastron_sdm120"
"""


def test_the_documents_example_is_a_registry():
    found = parse_registry(EXAMPLE, "example.toml")
    assert [channel.obis for channel in found.channels] == ["1.0.1.8.0", "1.0.2.8.0"]
    assert found.contracts[0].category == "residential"
    assert found.places["meter", "M-0001"] == "example.toml: meter[1]"


def test_a_meter_without_channels_has_all_that_its_model_measures():
    found = parse_registry(SECOND_METER, "two.toml")
    assert ("M-0002", "1.0.32.7.0", "mV") in found.channels
    assert found.meters[0].digits == 9


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('id = "gw-01"', 'id = "gw/01"', "f.toml: gateway[1].id: id 'gw/01': expected 1 to 64"),
        ('id = "gw-01"', 'name = "gw-01"', "f.toml: gateway[1].id: missing"),
        ("digits = 6", "digit = 6", "f.toml: meter[1].digit: unknown key; did you mean 'digits'?"),
        ("interval_min = 30", "interval_min = 7", "f.toml: meter[1].interval_min: 7 minutes do not divide a day"),
        ("digits = 6", "digits = 3", "f.toml: meter[1].digits: found 3; expected 4 to 12"),
        ('"eastron_sdm120"', '"eastron_sdm12"', "f.toml: meter[1].model: found 'eastron_sdm12'; expected one of"),
        ('"1.0.2.8.0"]', '"1.0.1.8.0"]', "f.toml: meter[1].channels: an OBIS code stands twice"),
        ('"1.0.2.8.0"]', '"1.0.1"]', "f.toml: meter[1].channels: OBIS code '1.0.1'"),
        ('"1.0.2.8.0"]', "7]", "f.toml: meter[1].channels: expected a list of OBIS codes"),
        ('id = "PD01000012345"', 'id = "PD0100"', "f.toml: customer[1].id: found 'PD0100'; expected 13"),
        ("Nguyễn", "Nguy\\u0000n", "f.toml: customer[1].name: found"),
        ("T00:00:00+07:00", "T00:00:00", "installation[1].installed_at: found 2025-01-01 00:00:00 without an offset"),
        ("# removed_at = 2025", "removed_at = 2024", "installation[1].removed_at: 2024-11-15"),
        ("multiplier = 1 ", "multiplier = 0 ", "installation[1].multiplier: found 0"),
        ("# valid_to = 2025", "valid_to = 2024", "contract[1].valid_to: 2024-12-31 is before valid_from"),
        ("# voltage", "voltage", "contract[1].voltage: remove it"),
        ('"residential" ', '"business" ', "contract[1].voltage: missing; expected one of lt6"),
        ('"residential" ', '"home" ', "contract[1].category: found 'home'"),
        ("valid_from = 2025-01-01", 'valid_from = "2025"', "contract[1].valid_from: expected a date such as"),
    ],
)
def test_a_wrong_file_is_refused_naming_file_key_and_cure(old, new, message):
    assert old in EXAMPLE
    with pytest.raises(UsageError) as refused:
        parse_registry(EXAMPLE.replace(old, new), "f.toml")
    assert message in str(refused.value)


@pytest.mark.parametrize("table", ["gateway", "meter", "customer", "metering_point", "installation", "contract"])
def test_what_stands_twice_is_refused(table):
    text = re.search(rf"\[\[{table}\]\].*?(?=\n\[\[|\Z)", EXAMPLE, re.DOTALL)[0]
    with pytest.raises(UsageError, match=rf"{table}\[2\].*stands twice; the first is {table}\[1\]: keep one"):
        parse_registry(text + "\n" + text.replace("20115023", "7"), "f.toml")


def test_one_serial_on_two_meters_is_refused():
    with pytest.raises(UsageError, match=r"meter\[2\].serial: '20115023' is also the serial of M-0001"):
        parse_registry(EXAMPLE + SECOND_METER + 'serial = "20115023"', "f.toml")


@pytest.fixture(scope="module")
def registered(module_database):
    migrate(module_database)
    with connect(module_database) as connection:
        load_registry(connection, EXAMPLE, "example.toml")
        yield connection


@pytest.mark.integration
def test_the_same_file_again_changes_nothing(registered):
    summary = load_registry(registered, EXAMPLE, "example.toml")
    assert set(summary.changed.values()) == {0}
    assert summary.given["channel"] == 2
    assert load_overview(registered)["gateways"][0]["models"] == {"eastron_sdm120": 1}


@pytest.mark.integration
def test_a_file_may_hold_only_what_is_new_or_changed(registered):
    summary = load_registry(registered, SECOND_METER, "two.toml")
    assert (summary.changed["meter"], summary.changed["channel"]) == (1, summary.given["channel"])
    changed = load_registry(registered, SECOND_METER + "digits = 5", "two.toml").changed
    assert (changed["meter"], changed["channel"]) == (1, 0)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            SECOND_METER.replace("gw-01", "gw-09"),
            r"f.toml: meter\[1\].gateway: 'gw-09' is neither in this file nor in the database",
        ),
        (
            (
                '[[customer]]\nid = "PD01000099999"\nname = "Trần"\n'
                '[[metering_point]]\nid = "PD01000099999001"\ncustomer = "PD01000099999"\n'
                '[[installation]]\nmetering_point = "PD01000099999001"\nmeter = "M-0001"\n'
                "installed_at = 2025-06-01T00:00:00+07:00"
            ),
            r"f.toml: installation\[1\].installed_at: .* lies within the installation of M-0001 at PD01000012345001",
        ),
        (
            '[[contract]]\nmetering_point = "PD01000012345001"\nvalid_from = 2025-06-01\ncategory = "residential"',
            r"f.toml: contract\[1\].valid_from: 2025-06-01 lies within the contract from 2025-01-01 to now",
        ),
    ],
)
def test_what_does_not_fit_the_database_is_refused_and_leaves_nothing(registered, text, message):
    with pytest.raises(UsageError, match=message):
        load_registry(registered, text, "f.toml")
    assert registered.execute("select count(*) from customer").fetchone() == (1,)
    assert registered.execute("select count(*) from contract").fetchone() == (1,)


@pytest.mark.integration
def test_the_command_loads_and_shows(database, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("CONGTO_DSN", database)
    (tmp_path / "village.toml").write_text(EXAMPLE, encoding="utf-8")
    assert main(["registry", "load", str(tmp_path / "village.toml")]) == 0
    assert re.search(r"meter +1 given +1 new or changed", capsys.readouterr().out)
    assert main(["registry", "show"]) == 0
    assert re.search(r"gw-01 +unknown +never +1 × eastron_sdm120", capsys.readouterr().out)
    with connect(database) as connection:
        connection.execute("update gateway set last_contact_at = '2026-05-01T17:30:00+07:00'")
    assert main(["registry", "show"]) == 0
    assert re.search(r"gw-01 +unknown +2026-05-01T10:30:00Z +1 × eastron_sdm120", capsys.readouterr().out)
    assert main(["registry", "load", str(tmp_path / "absent.toml")]) == 2


@pytest.mark.integration
def test_a_meter_exchange_and_a_new_contract_follow_on_the_old_ones(registered):
    exchange = f"""{SECOND_METER}
        [[installation]]
        metering_point = "PD01000012345001"
        meter = "M-0001"
        installed_at = 2025-01-01T00:00:00+07:00
        removed_at = 2025-06-01T09:00:00+07:00
        [[installation]]
        metering_point = "PD01000012345001"
        meter = "M-0002"
        installed_at = 2025-06-01T09:00:00+07:00
        [[contract]]
        metering_point = "PD01000012345001"
        valid_from = 2025-01-01
        valid_to = 2025-05-31
        category = "residential"
        [[contract]]
        metering_point = "PD01000012345001"
        valid_from = 2025-06-01
        category = "business"
        voltage = "lt6"
    """
    changed = load_registry(registered, exchange, "exchange.toml").changed
    assert (changed["installation"], changed["contract"]) == (2, 2)
    assert set(load_registry(registered, exchange, "exchange.toml").changed.values()) == {0}
    back = exchange.replace("2025-06-01T09:00:00+07:00\n        [[inst", "2025-06-01T09:00:01+07:00\n        [[inst")
    with pytest.raises(UsageError, match=r"installation\[2\].installed_at: .* lies within the installation of M-0001"):
        load_registry(registered, back, "exchange.toml")


GENERATION_METER = SECOND_METER.replace("M-0002", "G-0001") + (
    '[[installation]]\nmetering_point = "PD01000012345001"\nmeter = "G-0001"\n'
    'installed_at = 2025-01-01T00:00:00+07:00\nrole = "generation"\n'
)


def test_a_meter_of_generation_may_be_hung_up_together_with_the_one_that_bills():
    found = parse_registry(EXAMPLE + GENERATION_METER, "f.toml")
    assert [(each.meter_id, each.role) for each in found.installations] == [
        ("M-0001", "supply"),
        ("G-0001", "generation"),
    ]
    other = GENERATION_METER.partition("[[inst")
    twice = EXAMPLE + GENERATION_METER + other[1] + other[2].replace("G-0001", "M-0001")
    with pytest.raises(UsageError, match=r"PD01000012345001 from 2025-01-01 .* as generation stands twice; the first"):
        parse_registry(twice, "f.toml")


@pytest.mark.integration
def test_both_meters_of_one_instant_are_stored_and_the_same_file_again_changes_nothing(database):
    migrate(database)
    with connect(database) as connection:
        assert load_registry(connection, EXAMPLE + GENERATION_METER, "f.toml").changed["installation"] == 2
        assert set(load_registry(connection, EXAMPLE + GENERATION_METER, "f.toml").changed.values()) == {0}
        third = GENERATION_METER.replace("G-0001", "G-0002").replace("2025-01-01T00", "2025-01-01T09")
        with pytest.raises(UsageError, match=r"f\.toml: installation\[1\].* lies within the installation of G-0001"):
            load_registry(connection, third, "f.toml")
