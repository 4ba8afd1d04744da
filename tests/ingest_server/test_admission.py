import struct
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_server.database.copy import encode_readings
from ingest_server.pipeline.admission import AHEAD_MS_MAX, Channels, admit
from ingest_server.pipeline.bundle import Arrival, Bundle, find_suspects, make_bundle, refuse
from ingest_server.pipeline.message import Message, Rejected, decode
from protocols.telemetry.batch import Batch, Header, decode_batch, encode_batch
from protocols.telemetry.reading import Quality, Reading
from protocols.telemetry.receipt import State, Status, decode_receipt
from tests.ingest_server.stored_directly import receipts_of

GENERATION = "5f0c2e9a1b7d4463"
NOW_MS = 1_759_251_600_000
HALF_HOUR_MS = 1_800_000
CHANNELS = Channels({("M-1", "1.0.1.8.0"): 11, ("M-1", "1.0.2.8.0"): 12, ("M-2", "1.0.1.8.0"): 21})


def reading(meter="M-1", obis="1.0.1.8.0", at_ms=NOW_MS, value=1, quality=0):
    return Reading(meter, obis, at_ms, value, quality)


def batch(*readings, sequence=1, gateway="gw-01"):
    return decode_batch(encode_batch(gateway, GENERATION, sequence, readings))


def arrival(*readings, sequence=1, gateway="gw-01"):
    message = Message(f"congto/v1/{gateway}/readings", encode_batch(gateway, GENERATION, sequence, readings))
    return Arrival(message, decode(message))


def status(gateway="gw-01", state=State.ONLINE, *, retained=False):
    message = Message(
        f"congto/v1/{gateway}/status",
        Status(gateway, state, NOW_MS, GENERATION, 0, 0, "0.1.0").encode(),
        retained=retained,
    )
    return Arrival(message, decode(message))


def bundle(*arrivals, highest=0):
    known = {"gw-01": CHANNELS}
    return make_bundle(arrivals, known.get, lambda _: highest, NOW_MS)


def rows(admission):
    columns = admission.rows
    return list(zip(columns.channel_id, columns.at_ms, columns.value, columns.quality, strict=True))


def test_what_is_registered_is_admitted_with_its_channels():
    admission = admit(batch(reading(value=7), reading("M-2", value=8, quality=2)), CHANNELS, NOW_MS)
    assert rows(admission) == [(11, NOW_MS, 7, 0), (21, NOW_MS, 8, 2)]
    assert (admission.rejected, admission.unregistered, admission.may_collide) == ((), False, False)
    assert admission.header == Header("gw-01", GENERATION, 1)


def test_the_same_channels_of_another_gateway_or_of_a_changed_registry_are_looked_up_anew():
    sent = arrival(reading(), reading("M-2")).decoded
    again = arrival(reading(), reading("M-2"), sequence=2).decoded
    assert sent.channels is again.channels
    other = Channels({("M-1", "1.0.1.8.0"): 31})
    for known, expected in ((CHANNELS, [11, 21]), (CHANNELS, [11, 21]), (other, [31]), (CHANNELS, [11, 21])):
        assert list(admit(again, known, NOW_MS).rows.channel_id) == expected


def test_rows_of_a_strange_meter_are_quarantined_and_their_neighbours_stored():
    strange = [reading("M-9", at_ms=NOW_MS + step * HALF_HOUR_MS, value=step) for step in range(3)]
    admission = admit(batch(reading(value=7), *strange), CHANNELS, NOW_MS)
    assert rows(admission) == [(11, NOW_MS, 7, 0)]
    (rejected,) = admission.rejected
    assert rejected.reason == "meter M-9 not registered at gateway gw-01"
    assert list(decode_batch(rejected.payload).readings()) == strange
    assert rejected.header == admission.header
    assert admission.unregistered


def test_a_strange_channel_of_a_known_meter_is_told_from_a_strange_meter():
    admission = admit(batch(reading(obis="1.0.9.8.0"), *(reading(f"N-{n}") for n in range(5))), CHANNELS, NOW_MS)
    assert len(admission.rows) == 0
    assert [each.reason for each in admission.rejected] == [
        "meter N-0, N-1, N-2 and 2 more not registered at gateway gw-01",
        "channel M-1 1.0.9.8.0 not registered at gateway gw-01",
    ]


def test_a_strange_gateway_has_its_whole_message_quarantined():
    admission = admit(batch(reading(), gateway="gw-02"), None, NOW_MS)
    assert len(admission.rows) == 0
    assert [each.reason for each in admission.rejected] == ["gateway gw-02 is not registered"]


def test_a_time_more_than_a_day_ahead_is_quarantined():
    late, early = reading(at_ms=NOW_MS + AHEAD_MS_MAX), reading(at_ms=NOW_MS + AHEAD_MS_MAX + 1)
    admission = admit(batch(late, early), CHANNELS, NOW_MS)
    assert [at_ms for _, at_ms, _, _ in rows(admission)] == [late.measured_at_ms]
    (rejected,) = admission.rejected
    assert rejected.reason == "measured_at is more than a day ahead of the server's clock"
    assert list(decode_batch(rejected.payload).readings()) == [early]
    assert not admission.unregistered


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*CHANNELS, ("M-1", "1.0.9.8.0"), ("M-9", "1.0.1.8.0")]),
            st.integers(NOW_MS - 10, NOW_MS + AHEAD_MS_MAX + 10),
        ),
        min_size=1,
        max_size=30,
        unique=True,
    )
)
def test_every_row_is_stored_or_quarantined_once(keys):
    sent = [Reading(*pair, at_ms, number) for number, (pair, at_ms) in enumerate(keys)]
    admission = admit(batch(*sent), CHANNELS, NOW_MS)
    quarantined = [row for each in admission.rejected for row in decode_batch(each.payload).readings()]
    names = {channel_id: pair for pair, channel_id in CHANNELS.items()}
    stored = [
        Reading(*names[channel_id], at_ms, value, quality) for channel_id, at_ms, value, quality in rows(admission)
    ]
    assert sorted(stored + quarantined) == sorted(sent)


@pytest.mark.parametrize(
    ("quality", "may_collide"),
    [(Quality.ACTUAL, False), (Quality.CLOCK_UNCERTAIN, False), (Quality.PROFILE, True), (Quality.MANUAL, True)],
)
def test_what_is_taken_later_may_be_there_already(quality, may_collide):
    assert admit(batch(reading(quality=quality)), CHANNELS, NOW_MS).may_collide is may_collide


def test_only_a_sequence_beyond_all_before_is_above_suspicion():
    admissions = [admit(batch(reading(), sequence=number), CHANNELS, NOW_MS) for number in (5, 6, 6, 9, 8, 10)]
    assert find_suspects(admissions, lambda _: 5) == {0, 2, 4}
    assert find_suspects(admissions, lambda _: 0) == {2, 4}


def test_a_bundle_settles_stored_and_quarantined_batches_in_one_receipt():
    undecodable = Message("congto/v1/gw-01/readings", arrival(reading(), sequence=7).message.payload[:-3] + b"]]}")
    broken = Message(
        "congto/v1/gw-01/readings",
        b'{"schema":"congto.readings.v1","gateway":"gw-01","generation":"%s","sequence":7}' % GENERATION.encode(),
    )
    found = bundle(
        arrival(reading(), sequence=5),
        Arrival(undecodable, decode(undecodable)),
        arrival(reading("M-9"), sequence=6),
        Arrival(broken, decode(broken)),
    )
    ((topic, payload),) = receipts_of(found)
    assert topic == "congto/v1/gw-01/receipts"
    assert decode_receipt(payload).sequences == ((5, 7),)
    assert len(found.rejected) == 3


def test_a_payload_of_another_gateway_is_quarantined_without_a_receipt():
    stolen = Message("congto/v1/gw-02/readings", encode_batch("gw-01", GENERATION, 1, [reading()]))
    rejected = decode(stolen)
    assert isinstance(rejected, Rejected)
    assert rejected.reason == "the topic is of gateway gw-02, the payload of gw-01"
    assert receipts_of(Bundle(rejected=[rejected])) == []


@pytest.mark.parametrize(
    "topic", ["congto/v1/gw-01/replies", "congto/v1/gw-01/receipts", "congto/v1/a b/readings", "x"]
)
def test_other_topics_are_quarantined(topic):
    assert isinstance(decode(Message(topic, encode_batch("gw-01", GENERATION, 1, [reading()]))), Rejected)


def test_the_last_status_of_a_gateway_counts_and_strangers_are_counted():
    found = bundle(status(), status(state=State.OFFLINE, retained=True), status("gw-77"))
    (last,) = found.statuses
    assert (last.status.state, last.retained, found.strangers) == (State.OFFLINE, True, 1)


def test_what_the_database_refuses_goes_to_the_quarantine_and_is_receipted():
    refused = refuse(arrival(reading(), sequence=3), "refused by the database: DataError")
    assert isinstance(refused.decoded, Rejected)
    assert bundle(refused).batches() == {("gw-01", GENERATION): ((3, 3),)}
    assert refuse(status(), "refused").decoded.header is None


def test_columns_become_the_rows_of_a_binary_copy():
    at = datetime(2025, 10, 1, tzinfo=UTC)
    at_us = (at - datetime(2000, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    columns = (
        np.array([11], np.int32),
        np.array([int(at.timestamp()) * 1000], np.int64),
        np.array([-5], np.int64),
        np.array([3], np.int16),
    )
    reading_row = struct.pack("!iiiqiqih", 4, 11, 8, at_us, 8, -5, 2, 3)
    assert encode_readings(*columns) == struct.pack("!h", 4) + reading_row
    assert encode_readings(*columns, message=9) == struct.pack("!hii", 5, 4, 9) + reading_row


def test_decoded_messages_are_batches_or_statuses():
    assert isinstance(arrival(reading()).decoded, Batch)
    assert isinstance(status().decoded, Status)
