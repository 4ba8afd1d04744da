"""What holds for every message, and what every bad message leads to."""

import json
import string
import time

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.telemetry.batch import (
    AT_MS_MAX,
    AT_MS_MIN,
    MESSAGE_OCTETS_MAX,
    ROWS_MAX,
    SEQUENCE_MAX,
    TEXT_OCTETS_MAX,
    VALUE_MAX,
    decode_batch,
    decode_header,
    decompress,
    encode_batch,
)
from protocols.telemetry.canonical import decode_canonical, decode_readings
from protocols.telemetry.fields import INTEGER_MAX
from protocols.telemetry.reading import Reading, reading_digest
from protocols.telemetry.receipt import DayTaken, Receipt, State, Status, decode_receipt, decode_status
from protocols.telemetry.sequences import ranges
from protocols.telemetry.topics import Kind, Topic, parse_topic

GENERATION = "5f0c2e9a1b7d4463"
DECODE_S_MAX = 5.0  # of processor time, on a slow machine that does other things too; the usual is milliseconds
identifiers = st.text(string.ascii_letters + string.digits, min_size=1, max_size=1).flatmap(
    lambda first: st.text(string.ascii_letters + string.digits + "._-", max_size=63).map(lambda rest: first + rest)
)
generations = st.text("0123456789abcdef", min_size=16, max_size=16)
sequences = st.integers(1, SEQUENCE_MAX)
readings = st.builds(
    Reading,
    meter=identifiers,
    obis=st.sampled_from(["1.0.1.8.0", "1.0.2.8.0", "1.0.1.8.1", "1.0.32.7.0", "1.0.1.8.0.101"]),
    measured_at_ms=st.integers(AT_MS_MIN, AT_MS_MAX),
    value=st.integers(-VALUE_MAX, VALUE_MAX),
    quality=st.integers(0, 127),
)
unique_readings = st.lists(readings, min_size=1, max_size=40, unique_by=lambda reading: reading[:3])


@given(identifiers, generations, sequences, unique_readings)
def test_what_is_encoded_is_decoded(gateway, generation, sequence, rows):
    batch = decode_batch(encode_batch(gateway, generation, sequence, rows))
    assert (batch.gateway, batch.generation, batch.sequence) == (gateway, generation, sequence)
    assert sorted(batch.readings()) == sorted(rows)


@given(unique_readings, st.randoms())
def test_the_order_of_the_readings_makes_no_difference(rows, random):
    shuffled = random.sample(rows, len(rows))
    assert encode_batch("g", GENERATION, 1, shuffled) == encode_batch("g", GENERATION, 1, rows)
    assert reading_digest(shuffled) == reading_digest(rows)


@given(unique_readings, st.data())
def test_one_reading_missing_doubled_or_altered_changes_the_digest(rows, data):
    at = data.draw(st.integers(0, len(rows) - 1))
    reading = rows[at]
    altered = reading._replace(value=reading.value - 1 if reading.value > 0 else reading.value + 1)
    rest = rows[:at] + rows[at + 1 :]
    assert len({reading_digest(each) for each in (rows, rest, [*rows, reading], [*rest, altered])}) == 4


@given(st.sets(st.integers(1, 60)))
def test_ranges_hold_exactly_the_sequences(numbers):
    receipt = decode_receipt(Receipt("gw-01", GENERATION, ranges(numbers)).encode())
    assert [each for first, last in receipt.sequences for each in range(first, last + 1)] == sorted(numbers)
    assert all(
        last + 1 < first for (_, last), (first, _) in zip(receipt.sequences, receipt.sequences[1:], strict=False)
    )


@given(
    st.builds(
        Status,
        gateway=identifiers,
        state=st.sampled_from(State),
        at_ms=st.integers(AT_MS_MIN, AT_MS_MAX),
        generation=generations,
        spooled=sequences,
        taken=sequences,
        version=st.just("0.1.0"),
        days=st.dictionaries(st.dates(), st.tuples(st.integers(0, INTEGER_MAX), st.integers(0, (1 << 64) - 1))).map(
            lambda found: tuple(DayTaken(on, *rest) for on, rest in sorted(found.items()))
        ),
    )
)
def test_a_status_comes_back_as_it_was(status):
    assert decode_status(status.encode()) == status


@given(identifiers, st.sampled_from(Kind))
def test_a_topic_comes_back_as_it_was(gateway, kind):
    assert parse_topic(str(Topic(gateway, kind))) == (gateway, kind)


@pytest.mark.parametrize(
    "topic",
    ["", "congto/v1/gw/other", "congto/v2/gw/status", "x/congto/v1/gw/status", "congto/v1//status", "a" * 65535],
)
def test_a_topic_of_another_kind_is_refused(topic):
    with pytest.raises(RemoteProtocolError, match="topic"):
        parse_topic(topic)


@given(st.binary(max_size=300))
def test_rubbish_is_refused_and_nothing_else_happens(data):
    for take in (decode_batch, decode_readings, decode_header, decode_receipt, decode_status):
        with pytest.raises(RemoteProtocolError):
            take(data)


def message(**changes):
    whole = {
        "schema": "congto.readings.v1",
        "gateway": "gw-01",
        "generation": GENERATION,
        "sequence": 17,
        "channels": [["M-0001", "1.0.1.8.0"]],
        "channel": [0, 0],
        "at": [1759251600000, 1800000],
        "value": [1204331, 208],
        "quality": [0, 0],
    }
    return json.dumps(whole | changes).encode()


def in_the_encoders_form(text):
    return json.dumps(json.loads(text), separators=(",", ":")).encode()


@given(identifiers, generations, sequences, unique_readings)
def test_the_fast_way_takes_what_the_encoder_writes(gateway, generation, sequence, rows):
    payload = encode_batch(gateway, generation, sequence, rows)
    fast = decode_canonical(decompress(payload))
    if all(abs(step) < 10**18 for step in json.loads(decompress(payload))["value"]):
        assert fast == decode_batch(payload)
    assert decode_readings(payload) == decode_batch(payload)


@given(unique_readings, st.data())
def test_the_fast_way_takes_nothing_that_the_strict_way_refuses(rows, data):
    """Any octets of a good message are replaced, doubled or left out; what the fast way takes, both take alike."""
    text = decompress(encode_batch("gw-01", GENERATION, 17, rows))
    for _ in range(data.draw(st.integers(1, 3))):
        at, end = sorted(data.draw(st.tuples(*[st.integers(0, len(text))] * 2)))
        put = data.draw(st.sampled_from([b"", b"0", b"-", b",", b"]", b"[", b"9" * 18, text[at:end] * 2]) | st.binary())
        text = text[:at] + put + text[min(end, at + 20) :]
    fast = decode_canonical(text)
    if fast is not None:
        assert fast == decode_batch(text)


@given(
    st.lists(st.integers(-1, 2), min_size=1, max_size=4),
    st.lists(st.sampled_from([0, 1, -1, AT_MS_MIN, AT_MS_MAX, 1800000]), min_size=1, max_size=4),
    st.lists(st.sampled_from([0, 1, -1, 10**18 - 1, 1 - 10**18, VALUE_MAX]), min_size=1, max_size=4),
    st.lists(st.integers(-1, 129), min_size=1, max_size=4),
)
def test_the_fast_way_decides_on_columns_as_the_strict_way_does(channel, at, value, quality):
    pairs = [["M-0001", "1.0.1.8.0"], ["M-0001", "1.0.2.8.0"]]
    changed = message(channels=pairs, channel=channel, at=at, value=value, quality=quality)
    text = in_the_encoders_form(changed)
    try:
        strict = decode_batch(text)
    except RemoteProtocolError:
        strict = None
    if strict is None or all(abs(step) < 10**18 for step in value):
        assert decode_canonical(text) == strict


def test_what_the_fast_way_remembers_is_not_mixed_up():
    one, two = (in_the_encoders_form(message(channels=[[meter, "1.0.1.8.0"]])) for meter in ("M-1", "M-2"))
    taken = [decode_canonical(text).channels for text in (one, two, one)]
    assert taken == [(("M-1", "1.0.1.8.0"),), (("M-2", "1.0.1.8.0"),), (("M-1", "1.0.1.8.0"),)]
    assert taken[0] is taken[2]


def test_a_value_written_into_the_channels_does_not_pass_the_fast_way():
    text = in_the_encoders_form(message()).replace(b'"]],', b'"]],"value":[1,2],')
    with pytest.raises(RemoteProtocolError, match="twice"):
        decode_readings(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(list(json.loads(message()))), json_values, min_size=1))
def test_any_field_of_any_other_kind_is_refused_or_read_as_it_stands(changes):
    data = message(**changes)
    try:
        batch = decode_batch(data)
    except RemoteProtocolError:
        return
    assert json.loads(data)["sequence"] == batch.sequence
    assert len(batch) == len(list(batch.readings()))


def replaced(old, new):
    whole = message()
    assert old in whole
    return whole.replace(old, new)


BAD = {
    "empty": b"",
    "not JSON": b"hello",
    "not an object": b"[]",
    "nesting 100,000 of lists": b"[" * 100_000,
    "nesting 100,000 of objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "nesting 9 in a field nobody asked for": message(other=[[[[[[[[[1]]]]]]]]]),
    "10 MB": b" " * 10_000_000,
    "4 MiB of brackets, packed": zstandard.compress(b"[]" * (TEXT_OCTETS_MAX // 2)),
    "duplicate keys": replaced(b'"sequence": 17', b'"sequence": 17, "sequence": 18'),
    "NaN": replaced(b"1204331", b"NaN"),
    "Infinity": replaced(b"1204331", b"-Infinity"),
    "1e400": replaced(b"1204331", b"1e400"),
    "over 2^63": replaced(b"1204331", b"9223372036854775808"),
    "a sum over 2^62": message(value=[VALUE_MAX, 1]),
    "a number of a million digits": replaced(b"1204331", b"1" * 1_000_000),
    "columns of numbers of 4,300 digits": message(
        channel=list(range(200)), at=[10**4299] * 200, value=[10**4299] * 200, quality=[0] * 200
    ),
    "a float for an integer": message(value=[1204331.0, 208]),
    "true for an integer": message(value=[True, 208]),
    "null for an integer": message(value=[None, 208]),
    "a lone surrogate in a name": replaced(b'"gw-01"', rb'"\ud800"'),
    "a lone surrogate in a meter": replaced(b'"M-0001"', rb'"\udfff"'),
    "NUL in a name": replaced(b'"gw-01"', rb'"gw\u0000"'),
    "NUL as a byte": replaced(b'"gw-01"', b'"gw\0"'),
    "invalid UTF-8": replaced(b'"gw-01"', b'"gw\xff"'),
    "UTF-16": message().decode().encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + message(),
    "an unknown schema": message(schema="congto.readings.v2"),
    "a schema of the wrong kind": message(schema=["congto.readings.v1"]),
    "no rows": message(channel=[], at=[], value=[], quality=[]),
    "no channels": message(channels=[]),
    "too many rows": message(**dict.fromkeys(("channel", "at", "value", "quality"), [0] * (ROWS_MAX + 1))),
    "too many channels": message(channels=[[f"M-{number}", "1.0.1.8.0"] for number in range(ROWS_MAX + 1)]),
    "columns of different lengths": message(quality=[0]),
    "a channel that is not there": message(channel=[0, 1]),
    "a negative channel": message(channel=[-1, 0]),
    "a channel twice": message(channels=[["M-0001", "1.0.1.8.0"], ["M-0001", "1.0.1.8.0.255"]]),
    "a line end in a meter": message(channels=[["M-1\nM-2", "1.0.1.8.0"]]),
    "a line end after a meter": message(channels=[["M-1\n", "1.0.1.8.0"]]),
    "a channel of numbers": message(channels=[[1, 2]]),
    "channels that are no pairs": message(channels=["M-", "1."]),
    "a channel of three parts": message(channels=[["M-0001", "1.0.1.8.0", "x"]]),
    "an OBIS code out of range": message(channels=[["M-0001", "1.0.1.8.256"]]),
    "the same time twice": message(at=[1759251600000, 0]),
    "times that go back": message(at=[1759251600000, -1800000]),
    "channels out of order": message(
        channels=[["M-0001", "1.0.1.8.0"], ["M-0001", "1.0.2.8.0"]], channel=[1, 0], at=[1759251600000, 1]
    ),
    "1970": message(at=[0, 1800000]),
    "2262": message(at=[9223372036854, 1800000]),
    "before 1970": message(at=[-1, 1800000]),
    "a quality with unknown flags": message(quality=[0, 128]),
    "sequence 0": message(sequence=0),
    "a sequence over 2^53": message(sequence=1 << 53),
    "a sequence in a text": message(sequence="17"),
    "a generation in capitals": message(generation=GENERATION.upper()),
    "a gateway with a slash": message(gateway="gw/01"),
    "a gateway with a wildcard": message(gateway="+"),
    "a gateway of 65 characters": message(gateway="g" * 65),
    "a bomb that says its size": zstandard.compress(bytes(100 << 20)),
    "a bomb that does not": zstandard.ZstdCompressor(write_content_size=False).compress(bytes(100 << 20)),
    "a bomb in a bomb": zstandard.compress(zstandard.compress(bytes(100 << 20))),
    "two frames": zstandard.compress(message()) + zstandard.compress(message()),
    "half a frame": zstandard.compress(message())[:-20],
    "a frame with a bit over": bytearray(zstandard.compress(message()))[:-1] + b"\xff",
}


@pytest.mark.parametrize("decode", [decode_batch, decode_readings])
@pytest.mark.parametrize("name", BAD)
def test_a_bad_message_is_refused_in_bounded_time(name, decode):
    started = time.process_time()
    with pytest.raises(RemoteProtocolError) as refused:
        decode(bytes(BAD[name]))
    assert time.process_time() - started < DECODE_S_MAX
    reason = str(refused.value)
    assert reason.isprintable()  # it is logged and stored
    assert len(reason) < 500


@pytest.mark.parametrize(
    "data",
    [
        b'{"schema":"congto.status.v1","gateway":"gw-01","state":"asleep"}',
        b'{"schema":"congto.receipt.v1","gateway":"gw-01","generation":"5f0c2e9a1b7d4463","sequences":[[2,1]]}',
        b'{"schema":"congto.receipt.v1","gateway":"gw-01","generation":"5f0c2e9a1b7d4463","sequences":[[0,1]]}',
        b'{"schema":"congto.receipt.v1","gateway":"gw-01","generation":"5f0c2e9a1b7d4463","sequences":[1]}',
        b'{"schema":"congto.receipt.v1","gateway":"gw-01","generation":"5f0c2e9a1b7d4463","sequences":5}',
        (
            rb'{"schema":"congto.status.v1","gateway":"gw-01","state":"online","at":1759251600000,'
            rb'"generation":"5f0c2e9a1b7d4463","spooled":0,"taken":0,"version":"\ud800"}'
        ),
        (
            b'{"schema":"congto.status.v1","gateway":"gw-01","state":"online","at":1,'
            b'"generation":"5f0c2e9a1b7d4463","spooled":0,"taken":0,"version":"1"}'
        ),
    ],
)
def test_a_bad_status_or_receipt_is_refused(data):
    for take in (decode_status, decode_receipt):
        with pytest.raises(RemoteProtocolError) as refused:
            take(data)
        assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    "days",
    [
        {},
        [["2025-10-01", 48]],
        [["2025-10-01", True, "9f0c2e9a1b7d4463"]],
        [["2025-10-01", -1, "9f0c2e9a1b7d4463"]],
        [["2025-10-01", 1 << 63, "9f0c2e9a1b7d4463"]],
        [["2025-02-30", 48, "9f0c2e9a1b7d4463"]],
        [["2025-W40-3", 48, "9f0c2e9a1b7d4463"]],
        [["2025-10-01", 48, "9F0C2E9A1B7D4463"]],
        [["2025-10-01", 48, "9f0c2e9a1b7d446"]],
        [["2025-10-02", 48, "9f0c2e9a1b7d4463"], ["2025-10-01", 48, "9f0c2e9a1b7d4463"]],
        [["2025-10-01", 48, "9f0c2e9a1b7d4463"]] * 2,
        [[f"2025-{month:02}-{day:02}", 0, "0" * 16] for month in (1, 3, 5) for day in range(1, 32)],
    ],
)
def test_a_status_with_wrong_days_is_refused(days):
    good = {"schema": "congto.status.v1", "gateway": "gw-01", "state": "online", "at": AT_MS_MIN, "version": "1"}
    good |= {"generation": GENERATION, "spooled": 0, "taken": 0}
    assert decode_status(json.dumps(good).encode()).days == ()
    with pytest.raises(RemoteProtocolError, match="days: ") as refused:
        decode_status(json.dumps(good | {"days": days}).encode())
    assert str(refused.value).isprintable()


def test_a_message_that_would_break_the_contract_is_not_made():
    reading = Reading("M-0001", "1.0.1.8.0", 1759251600000, 1)
    for rows in ([], [reading] * (ROWS_MAX + 1), [reading._replace(value=VALUE_MAX + 1)]):
        with pytest.raises(LocalProtocolError):
            encode_batch("gw-01", GENERATION, 1, rows)


def test_the_largest_message_fits_the_limits():
    rows = [
        Reading(
            f"{'M' * 56}-{number:07}",
            "1.0.1.8.0",
            AT_MS_MIN + number % 7 * 400_000_000_000,
            number % 5 * VALUE_MAX // 5,
        )
        for number in range(ROWS_MAX)
    ]
    data = encode_batch("gw-01", GENERATION, SEQUENCE_MAX, rows)
    assert len(data) < MESSAGE_OCTETS_MAX
    assert len(decode_batch(data)) == ROWS_MAX
