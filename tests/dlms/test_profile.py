"""Profiles: columns equal rows whatever the layout, nulls are filled as the standard says, times are UTC."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.dlms import axdr, profile
from protocols.dlms.cosem_time import date_time_of, decode_date_time, encode_date_time, epoch_seconds
from protocols.dlms.data import (
    NULL,
    Data,
    Tag,
    array,
    double_long_unsigned,
    integer,
    items_of,
    long_unsigned,
    octets,
    structure,
    unsigned,
)
from protocols.dlms.objects import ScalerUnit, scale, scaler_unit_of, to_base
from protocols.dlms.plan import read_profile
from protocols.dlms.quirks import Quirks, RangeDeviation
from protocols.dlms.selective import CLOCK, CaptureObject, Entries, Range, capture_object_of, decode_selection
from protocols.dlms.services import BufferResult
from protocols.dlms.xdlms.get import GetRequestNormal
from protocols.dlms.xdlms.references import Attribute, Invoke, Selection
from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.obis import Obis
from tests.dlms.line import Shelf, connected, hdlc_line
from tests.dlms.vectors import load

START = datetime(2026, 3, 1, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
ENERGY = CaptureObject(3, Obis.parse("1.0.1.8.0"), 2)
STATUS = CaptureObject(1, Obis.parse("0.0.96.10.1"), 2)
PROFILE = Obis.parse("1.0.99.1.0")

SIMPLE = st.one_of(
    st.just(NULL),
    st.integers(0, 2**32 - 1).map(double_long_unsigned),
    st.integers(-128, 127).map(integer),
    st.integers(-(2**63), 2**63 - 1).map(lambda value: Data(Tag.LONG64, value)),
    st.booleans().map(lambda value: Data(Tag.BOOLEAN, value)),
    st.binary(max_size=140).map(octets),
    st.binary(min_size=12, max_size=12).map(lambda value: Data(Tag.DATE_TIME, value)),
    st.binary(min_size=4, max_size=4).map(lambda value: Data(Tag.FLOAT32, value)),
    st.just(structure(unsigned(1), NULL)),
)


def cells_of(rows: list[Data]) -> list[list[profile.Cell]]:
    simple = (Tag.FLOAT32, Tag.STRUCTURE)
    return [
        [cell if cell.tag in simple else cell.content for cell in items_of(row)]  # type: ignore[misc]  # simple ones
        for row in rows
    ]


@given(st.integers(1, 5).flatmap(lambda width: st.lists(st.lists(SIMPLE, min_size=width, max_size=width), max_size=12)))
def test_columns_equal_rows_whatever_the_rows_are(cells: list[list[Data]]) -> None:
    rows = [structure(*row) for row in cells]
    buffer = profile.decode_buffer(axdr.encode(array(*rows)))
    assert buffer.row_count == len(rows)
    assert [list(row) for row in zip(*buffer.columns, strict=True)] == cells_of(rows)


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 2**32 - 1)), min_size=1, max_size=200))
def test_null_compressed_rows_come_out_as_if_they_were_not(rows: list[tuple[bool, bool, int]]) -> None:
    """The meter leaves out what follows from the row before; the table cannot tell."""
    sent, expected, last = [], [], 0
    for number, (null_time, null_value, value) in enumerate(rows):
        first = number == 0
        last = last if null_value and not first else value
        expected.append(last)
        time = octets(encode_date_time(START + number * QUARTER))
        sent.append(
            structure(
                double_long_unsigned(value) if first or not null_value else NULL,
                time if first or not null_time else NULL,
            )
        )
    buffer = profile.decode_buffer(axdr.encode(array(*sent)))
    table = profile.interpret(buffer, (ENERGY, CLOCK), period_s=900)
    assert table.column(ENERGY) == expected
    assert table.at == [int((START + number * QUARTER).timestamp()) for number in range(len(rows))]


def test_a_compact_array_of_rows_is_read_too() -> None:
    rows = [structure(unsigned(number), octets(bytes(12))) for number in range(5)]
    buffer = profile.decode_buffer(axdr.encode(Data(Tag.COMPACT_ARRAY, tuple(rows))))
    assert buffer.columns == ([0, 1, 2, 3, 4], [bytes(12)] * 5)


ROW = axdr.encode(structure(unsigned(1), unsigned(2)))


@pytest.mark.parametrize(
    ("hexed", "message"),
    [
        ("", "array of rows"),
        ("0600000001", "found double-long-unsigned"),
        ("0184ffffffff", "4294967295 rows"),
        ("0102" + ROW.hex(), "2 rows|row of 2"),
        ("0101" + ROW.hex() + "00", "1 octets follow"),
        ("0102" + ROW.hex() + "02031101", "row of 2 columns"),
        ("0102" + ROW.hex() + "02021101", "expected|ends"),
        ("0101" + "0202110107", "unknown data type 7|ends"),
    ],
)
def test_a_broken_buffer_is_refused_with_its_reason(hexed: str, message: str) -> None:
    with pytest.raises(RemoteProtocolError, match=message):
        profile.decode_buffer(bytes.fromhex(hexed))


def test_rows_that_do_not_match_the_capture_objects_are_refused() -> None:
    buffer = profile.decode_buffer(axdr.encode(array(structure(unsigned(1), unsigned(2)))))
    with pytest.raises(RemoteProtocolError, match="2 columns, but 1"):
        profile.interpret(buffer, (CLOCK,), period_s=900)
    with pytest.raises(RemoteProtocolError, match="no column is a clock"):
        profile.interpret(buffer, (ENERGY, STATUS), period_s=900)
    with pytest.raises(RemoteProtocolError, match="neither a date-time nor null"):
        profile.interpret(buffer, (CLOCK, ENERGY), period_s=900)


def test_an_empty_buffer_is_an_empty_table() -> None:
    table = profile.interpret(profile.decode_buffer(b"\x01\x00", 2), (CLOCK, ENERGY), period_s=900)
    assert (table.at, table.column(ENERGY)) == ([], [])
    with pytest.raises(KeyError):
        table.column(STATUS)


@given(st.integers(946_684_800, 4_070_908_800), st.integers(-720, 840), st.booleans())
def test_instants_survive_the_wire(seconds: int, deviation: int, said: bool) -> None:
    instant = datetime.fromtimestamp(seconds, UTC)
    encoded = encode_date_time(instant, deviation, specify_deviation=said)
    moment = decode_date_time(encoded)
    assert (moment.deviation_minutes is None) is not said
    assert moment.at(deviation) == instant
    assert date_time_of(octets(encoded)) == moment
    assert epoch_seconds([encoded, encoded], deviation) == [int(instant.timestamp())] * 2


def test_vietnamese_time_is_seven_hours_before_utc_in_deviation() -> None:
    encoded = encode_date_time(datetime(2026, 1, 1, 0, 0, tzinfo=UTC))
    assert encoded.hex() == "07ea01010407000000fe5c00"
    inverted = encoded[:9] + (420).to_bytes(2, "big") + encoded[11:]
    assert decode_date_time(inverted).at(inverted=True) == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "hexed", ["ffffffffffffffffff8000ff", "07ea021e04000000008000ff", "07e9fd01ff02000000ff0000", "07ea0101ff"]
)
def test_a_wildcard_or_an_impossible_date_is_no_instant(hexed: str) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_date_time(bytes.fromhex(hexed)).at(-420)
    with pytest.raises(RemoteProtocolError):
        epoch_seconds([bytes.fromhex(hexed)], -420)


@pytest.mark.parametrize(
    ("value", "scaler", "base"), [(1234, -2, 12), (1250, -2, 13), (-1250, -2, -13), (7, 3, 7000), (0, -18, 0)]
)
def test_scaling_rounds_once_to_the_nearest(value: int, scaler: int, base: int) -> None:
    assert scale(value, scaler) == base


def test_registers_come_in_the_base_unit_of_their_code() -> None:
    volts = scaler_unit_of(structure(integer(-1), Data(Tag.ENUM, 35)))
    assert to_base(2305, volts, Obis.parse("1.0.32.7.0")) == 230_500
    assert to_base(1234, ScalerUnit(1, 30), ENERGY.obis) == 12340
    with pytest.raises(RemoteProtocolError, match="is in V, expected Wh"):
        to_base(1, volts, ENERGY.obis)
    with pytest.raises(RemoteProtocolError, match="no base unit is known"):
        to_base(1, ScalerUnit(0, 30), Obis.parse("0.0.96.7.21"))
    with pytest.raises(RemoteProtocolError, match="scaler of 100"):
        scaler_unit_of(structure(integer(100), Data(Tag.ENUM, 30)))


def test_selections_survive_the_wire() -> None:
    first, last = (octets(encode_date_time(START + n * QUARTER)) for n in (0, 96))
    for chosen in (Range(first, last, CLOCK, (CLOCK, ENERGY)), Entries(1, 10, 2, 3)):
        assert decode_selection(chosen.selection()) == chosen
    assert capture_object_of(ENERGY.to_data()) == ENERGY
    with pytest.raises(RemoteProtocolError, match="selector 7"):
        decode_selection(Selection(7, NULL))


def test_the_published_range_request_comes_out_octet_by_octet() -> None:
    """Iskraemeco, 2017: one hour at deviation -60; only the clock status (80, summer time) is the sender's own."""
    (vector,) = (v for v in load("xdlms") if v["name"] == "get-request-range-15min-profile-iskra-2017")
    midnight = datetime(2017, 9, 30, 23, 0, tzinfo=UTC)
    (request,) = read_profile(PROFILE, midnight, midnight + timedelta(hours=1), deviation_minutes=-60)
    apdu = GetRequestNormal(Invoke(1), request.attribute, request.selection).encode()
    assert apdu.hex() == vector["hex"].replace("ffc480", "ffc400")


def test_a_meter_that_refuses_the_deviation_or_more_than_a_day_is_asked_its_way() -> None:
    quirks = Quirks(range_deviation=RangeDeviation.UNSPECIFIED, days_per_range_max=1)
    requests = read_profile(PROFILE, START, START + timedelta(days=2, hours=1), quirks=quirks)
    bounds = []
    for request in requests:
        assert request.selection is not None
        chosen = decode_selection(request.selection)
        assert isinstance(chosen, Range)
        for bound in (chosen.first, chosen.last):
            assert date_time_of(bound).deviation_minutes is None
            bounds.append(date_time_of(bound).at(-420) - START)
    assert [bound.total_seconds() / 3600 for bound in bounds[::2]] == [0, 24, 48]
    assert bounds[-1] == timedelta(days=2, hours=1)
    with pytest.raises(LocalProtocolError, match="empty"):
        read_profile(PROFILE, START, START - QUARTER)


def test_a_range_is_read_from_a_meter_to_utc() -> None:
    rows = [(START + n * QUARTER, 1000 + n) for n in range(960)]

    def buffer(selection: Selection | None) -> Data:
        assert selection is not None
        chosen = decode_selection(selection)
        assert isinstance(chosen, Range)
        first, last = date_time_of(chosen.first).at(), date_time_of(chosen.last).at()
        found = [(at, value) for at, value in rows if first <= at <= last]
        return array(
            *(
                structure(NULL if n else octets(encode_date_time(at)), double_long_unsigned(value), long_unsigned(0))
                for n, (at, value) in enumerate(found)
            )
        )

    attribute = Attribute(7, PROFILE, 2)
    line = connected(hdlc_line(Shelf({attribute: buffer})))
    columns = (CLOCK, ENERGY, STATUS)
    (request,) = read_profile(PROFILE, START + 4 * QUARTER, START + 99 * QUARTER)
    (event,) = line.ask(request)
    assert isinstance(event, BufferResult)
    table = profile.interpret(profile.decode_buffer(event.octets, 3), columns, period_s=900)
    assert table.at == [int(at.timestamp()) for at, _ in rows[4:100]]
    assert table.column(ENERGY) == [value for _, value in rows[4:100]]
