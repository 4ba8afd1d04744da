"""How a DLMS model is entered and what it may do wrong are data, read strictly."""

import pytest

from protocols.dlms.quirks import STRICT, Quirks, RangeDeviation
from protocols.errors import UsageError
from protocols.meters.catalogue import load_model, model_keys
from protocols.meters.dlms_rules import AUTHENTICATED_ENCRYPTED, MECHANISMS, quirks_of
from protocols.meters.dlms_settings import MECHANISMS as WORDS
from protocols.meters.dlms_settings import SECURITIES
from protocols.meters.model import MeterModel, parse_model
from protocols.obis import Obis

GOOD = """
name = "A meter"
version = 1
protocol = "dlms"
source = "its manual"
certainty = "constructed"
[serial]
baud = 9600
parity = "N"
stop_bits = 1
[dlms]
client_sap = 1
server_logical = 1
mechanism = "high-sha256"
security = "authenticated"
with_list = false
association = "reopened"
counter = "0.0.43.1.0"
relay = "0.0.96.3.10"
[dlms.quirks]
days_per_range_max = 1
range_deviation = "unspecified"
trailing_octets = true
[logs]
fraud = "0.0.99.98.1"
[measurements.import_active]
obis = "1.0.1.8.0"
class = 3
attribute = 2
unit = "Wh"
"""


def model(text: str = GOOD) -> MeterModel:
    return parse_model(text, "a_meter")


def test_what_a_model_says_is_what_is_used() -> None:
    found = model()
    assert found.dlms is not None
    assert (found.dlms.association, found.dlms.security) == ("reopened", "authenticated")
    assert (found.dlms.counter, found.dlms.relay) == (Obis(0, 0, 43, 1, 0), Obis(0, 0, 96, 3, 10))
    assert [(log.name, log.obis) for log in found.logs] == [("fraud", Obis(0, 0, 99, 98, 1))]
    quirks = quirks_of(found.dlms.quirks, "a_meter.toml: dlms.quirks")
    assert quirks == Quirks(days_per_range_max=1, range_deviation=RangeDeviation.UNSPECIFIED, trailing_octets=True)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"high-sha256"', '"high-sha2"', "expected one of none, low"),
        ('"authenticated"', '"secret"', "expected one of none, authenticated"),
        ('"authenticated"', '"none"\ngeneral = true', "say with which security"),
        ('"reopened"', '"closed"', "expected one of as needed"),
        ("with_list = false", "with_list = false\nlist_items_max = 65", "expected 1 to 64"),
        ("with_list = false", "with_list = false\nsuite = 3", "expected 0 to 2"),
        ('fraud = "0.0.99.98.1"', 'fraud = "0.0.99"', "0.0.99"),
        ("trailing_octets = true", "trailing_octets = 1.5", "expected a text"),
    ],
)
def test_settings_that_can_not_be_are_refused_naming_the_key(old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(UsageError) as refused:
        model(GOOD.replace(old, new, 1))
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"trailing_octet": True}, "x.toml: dlms.quirks.trailing_octet: unknown quirk; did you mean 'trailing_octets'"),
        ({"trailing_octets": 1}, "found 1; expected true or false"),
        ({"days_per_range_max": True}, "found True; expected 1 to 1000"),
        ({"days_per_range_max": 0}, "found 0; expected 1 to 1000"),
        ({"range_deviation": "none"}, "expected one of given, unspecified"),
    ],
)
def test_a_quirk_that_is_none_is_refused_naming_the_key(written: dict[str, bool | int | str], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        quirks_of(written, "x.toml: dlms.quirks")
    assert message in str(refused.value)


def test_every_model_has_quirks_that_there_are() -> None:
    for key in model_keys():
        settings = load_model(key).dlms
        if settings is not None:
            assert quirks_of(settings.quirks, key) is not None


def test_no_quirk_means_strict_and_every_word_has_its_meaning() -> None:
    assert quirks_of({}, "x") == STRICT
    assert tuple(MECHANISMS) == WORDS
    assert tuple(AUTHENTICATED_ENCRYPTED) == SECURITIES
