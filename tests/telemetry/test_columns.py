"""Schema 2 of the readings message: columns in octets. Two decoders, of which the fast may never differ."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.telemetry import canonical
from protocols.telemetry.batch import AT_MS_MAX, AT_MS_MIN, VALUE_MAX, Clocks, decompress, encode_batch
from protocols.telemetry.columns import decode_columns, encode_columns
from protocols.telemetry.planes import decode_planes
from protocols.telemetry.reading import Reading
from protocols.telemetry.readings import decode_header, decode_readings

GENERATION = "5f0c2e9a1b7d4463"
NOON = 1_767_268_800_000
names = st.sampled_from(["M-1", "M-2", "M-3", "another"])
codes = st.sampled_from(["1.0.1.8.0", "1.0.2.8.0", "1.0.32.7.0"])
values = st.one_of(st.integers(-VALUE_MAX, VALUE_MAX), st.integers(-500, 500), st.integers(0, 50_000_000))
times = st.one_of(st.integers(AT_MS_MIN, AT_MS_MAX), st.integers(0, 50).map(lambda slot: NOON + slot * 900_000))
batches = st.dictionaries(st.tuples(names, codes, times), st.tuples(values, st.integers(0, 127)), min_size=1).map(
    lambda found: [Reading(*key, *rest) for key, rest in found.items()]
)
ranges = st.lists(st.integers(1, (1 << 53) - 1), min_size=2, max_size=2, unique=True).map(
    lambda pair: (tuple(sorted(pair)),)
)
clocks = st.builds(
    Clocks,
    st.one_of(st.none(), st.integers(AT_MS_MIN, AT_MS_MAX)),
    st.dictionaries(names, st.integers(-(10**12), 10**12)),
)


def outcome(decode, text):
    try:
        return decode(text)
    except RemoteProtocolError as error:
        return str(error)


@given(batches, ranges, clocks)
def test_what_is_encoded_comes_back_from_both_decoders(readings, sequences, clocks):
    payload = encode_columns("gw-01", GENERATION, sequences, readings, clocks)
    batch = decode_readings(payload)
    assert sorted(batch.readings()) == sorted(readings)
    assert (batch.gateway, batch.generation, batch.sequences, batch.clocks) == ("gw-01", GENERATION, sequences, clocks)
    assert batch.sequence == sequences[0][0]
    assert canonical.decode_readings(payload) == batch
    assert decode_header(payload) == batch.header


@settings(max_examples=300)
@given(batches, st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4))
def test_of_damaged_messages_both_decoders_say_the_same(readings, damages):
    text = bytearray(decompress(encode_columns("gw-01", GENERATION, ((1, 4),), readings)))
    for place, octet in damages:
        text[int(place * len(text))] = octet
    assert outcome(decode_planes, bytes(text)) == outcome(decode_columns, bytes(text))


@given(batches, st.data())
def test_a_message_cut_anywhere_or_followed_by_rubbish_is_refused(readings, data):
    text = decompress(encode_columns("gw-01", GENERATION, ((1, 1),), readings))
    cut = data.draw(st.integers(0, len(text) - 1))
    for wrong in (text[:cut], text + b"\0"):
        with pytest.raises(RemoteProtocolError):
            decode_columns(wrong)
        with pytest.raises(RemoteProtocolError):
            decode_planes(wrong)


@pytest.mark.parametrize(
    ("readings", "message"),
    [
        ([], "0 readings"),
        ([Reading("M-1", "1.0.1.8.0", NOON, 1), Reading("M-1", "1.0.1.8.0", NOON, 2)], "a time twice"),
        ([Reading("M-1", "1.0.1.8.0", NOON, VALUE_MAX + 1)], "does not lie within"),
        ([Reading("M-1", "1.0.1.8.0", NOON + at, 1) for at in range(10_001)], "10001 readings"),
    ],
)
def test_what_the_contract_does_not_allow_is_not_encoded(readings, message):
    with pytest.raises(LocalProtocolError, match=message):
        encode_columns("gw-01", GENERATION, ((1, 1),), readings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sequences": []}, "one ascending range or more"),
        ({"sequences": [[3, 4], [4, 5]]}, "none overlapping"),
        ({"generation": "x"}, "hexadecimal"),
        ({"groups": [[["M-1"], []]]}, "none empty"),
        ({"groups": [[["M-1", "M-1"], ["1.0.1.8.0"]]]}, "twice"),
        ({"groups": [[[f"M-{each}" for each in range(101)], [f"1.0.{each}.8.0" for each in range(100)]]]}, "more"),
        ({"clock_offsets": [["M-1", 1.5]]}, "not an integer"),
        ({"clock_offsets": [["M-1", 1 << 60]]}, "does not lie within"),
        ({"taken_at": 3}, "does not lie within"),
        ({"schema": "congto.readings.v3"}, "expected 'congto.readings.v2'"),
    ],
)
def test_a_head_that_breaks_the_contract_is_refused_with_the_reason(change, message):
    text = decompress(encode_columns("gw-01", GENERATION, ((1, 1),), [Reading("M-1", "1.0.1.8.0", NOON, 7)]))
    head, _, columns = text.partition(b"\n")
    wrong = json.dumps({**json.loads(head), **change}, separators=(",", ":")).encode() + b"\n" + columns
    for decode in (decode_columns, decode_planes):
        with pytest.raises(RemoteProtocolError, match=message):
            decode(wrong)


def test_joined_half_hours_take_a_third_less_than_schema_1():
    chance = random.Random(4)
    readings = [
        Reading(
            f"M-{meter:04}", "1.0.1.8.0", NOON + slot * 1_800_000, meter * 100_000 + slot * 500 + chance.randrange(400)
        )
        for meter in range(200)
        for slot in range(40)
    ]
    assert len(encode_columns("gw-01", GENERATION, ((1, 40),), readings)) < 0.67 * len(
        encode_batch("gw-01", GENERATION, 1, readings)
    )
