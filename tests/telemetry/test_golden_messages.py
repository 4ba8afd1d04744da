"""The golden files are the contract: decoded as they say, encoded as they are, and shown in the document."""

import base64
import json
import re
from datetime import date
from pathlib import Path

import pytest

from protocols.errors import RemoteProtocolError
from protocols.telemetry.batch import Clocks, decompress, encode_batch
from protocols.telemetry.columns import encode_columns
from protocols.telemetry.event import EventKind, MeterEvent, decode_events, encode_events
from protocols.telemetry.loss import Loss, Reason, decode_loss
from protocols.telemetry.reading import Reading
from protocols.telemetry.readings import decode_header, decode_readings
from protocols.telemetry.receipt import DayTaken, Receipt, State, Status, decode_receipt, decode_status
from protocols.telemetry.resend import Resend, decode_resend
from protocols.telemetry.sequences import ranges

TESTS = Path(__file__).parents[1]
GOLDEN = {path.stem: json.loads(path.read_bytes()) for path in sorted((TESTS / "golden/telemetry/v1").glob("*.json"))}
SHOWN = (
    "readings",
    "readings_columns",
    "receipt_events",
    "loss",
    "resend",
    "status_online",
    "status_offline",
    "status_days",
    "status_losses",
    "events",
)
MAY_BE_LEFT_OUT = ("days", "losses", "damaged", "not_durable", "agent")
EVENT_FIELDS = MeterEvent.__slots__[1:]
DOCUMENT = (TESTS.parent / "docs/contracts/mqtt.md").read_text(encoding="utf-8")


def payload(golden):
    if "message" in golden:
        return json.dumps(golden["message"], separators=(",", ":")).encode()
    return base64.b64decode("".join(golden.get("message_zstd_base64") or golden["message_base64"]))


def said_by(found):
    """Return a message's fields, ranges as lists."""
    return json.loads(json.dumps({name: getattr(found, name) for name in found.__slots__}, default=str))


def paired(found):
    return tuple((first, last) for first, last in found)


def decoded(kind, data):
    if kind == "readings":
        batch = decode_readings(data)
        found = {"gateway": batch.gateway, "generation": batch.generation}
        if batch.sequences:
            found["sequences"] = [list(pair) for pair in batch.sequences]
            found["taken_at"] = batch.clocks.taken_at_ms
            found["clock_offsets"] = [list(pair) for pair in batch.clocks.offsets_ms.items()]
        else:
            found["sequence"] = batch.sequence
        return found | {"readings": [list(reading) for reading in batch.readings()]}
    if kind == "receipts":
        receipt = decode_receipt(data)
        sequences = [each for first, last in receipt.sequences for each in range(first, last + 1)]
        events = [each for first, last in receipt.events for each in range(first, last + 1)]
        said = {"gateway": receipt.gateway, "generation": receipt.generation, "sequences": sequences}
        return said | ({"events": events} if events else {})
    if kind == "losses":
        return said_by(decode_loss(data)) | {"reason": decode_loss(data).reason.value}
    if kind == "resends":
        return said_by(decode_resend(data))
    if kind == "events":
        found = decode_events(data)
        events = [[event.kind.value, *(getattr(event, name) for name in EVENT_FIELDS)] for event in found.events]
        events = [[*fields, None if body is None else body.hex()] for *fields, body in events]
        said = {"gateway": found.header.gateway, "generation": found.header.generation}
        return said | {"sequence": found.header.sequence, "events": events}
    status = decode_status(data)
    said = {name: getattr(status, name) for name in Status.__slots__} | {"state": status.state.value}
    days = [[each.on.isoformat(), each.readings, each.digest] for each in said.pop("days")]
    said |= {"days": days, "losses": {reason: list(counts) for reason, counts in status.losses.items()}}
    return {key: value for key, value in said.items() if value or key not in MAY_BE_LEFT_OUT}


def encoded(kind, said):
    if kind == "readings":
        readings = [Reading(*row) for row in said["readings"]]
        if "sequences" in said:
            clocks = Clocks(said["taken_at"], dict(said["clock_offsets"]))
            return encode_columns(said["gateway"], said["generation"], paired(said["sequences"]), readings, clocks)
        return encode_batch(said["gateway"], said["generation"], said["sequence"], readings)
    if kind == "receipts":
        told = (ranges(said["sequences"]), ranges(said.get("events", ())))
        return Receipt(said["gateway"], said["generation"], *told).encode()
    if kind == "losses":
        return Loss(**{**said, "sequences": paired(said["sequences"]), "reason": Reason(said["reason"])}).encode()
    if kind == "resends":
        told = {name: paired(said[name]) for name in ("sequences", "events")}
        return Resend(said["gateway"], said["generation"], **told).encode()
    if kind == "events":
        events = [
            MeterEvent(EventKind(kind), *fields, None if body is None else bytes.fromhex(body))
            for kind, *fields, body in said["events"]
        ]
        return encode_events(said["gateway"], said["generation"], said["sequence"], events)
    days = tuple(DayTaken(date.fromisoformat(on), *rest) for on, *rest in said.get("days", []))
    return Status(**{**said, "state": State(said["state"]), "days": days}).encode()


def refused(kind, data):
    try:
        decoded(kind, data)
    except RemoteProtocolError:
        return True
    return False


@pytest.mark.parametrize("name", GOLDEN)
def test_a_golden_message_says_what_its_file_says(name):
    golden = GOLDEN[name]
    assert decoded(golden["kind"], payload(golden)) == golden["decoded"]


@pytest.mark.parametrize("name", GOLDEN)
def test_what_it_says_is_written_as_it_stands(name):
    golden = GOLDEN[name]
    # zstd may pack the same text in other ways from version to version.
    assert decompress(encoded(golden["kind"], golden["decoded"])) == decompress(payload(golden))


@pytest.mark.parametrize("name", GOLDEN)
def test_a_golden_message_cut_anywhere_or_followed_by_rubbish_is_refused(name):
    golden = GOLDEN[name]
    data = payload(golden)
    assert all(refused(golden["kind"], data[:length]) for length in range(len(data)))
    assert refused(golden["kind"], data + b"rubbish")


@pytest.mark.parametrize("name", [name for name in GOLDEN if GOLDEN[name]["kind"] == "readings"])
def test_whose_batch_it_is_can_be_told_from_its_header(name):
    header = decode_header(payload(GOLDEN[name]))
    assert header.spool == (GOLDEN[name]["decoded"]["gateway"], GOLDEN[name]["decoded"]["generation"])
    said = GOLDEN[name]["decoded"]
    assert [list(pair) for pair in header.settles] == said.get("sequences", [[header.sequence, header.sequence]])
    assert header.sequence == said.get("sequence", header.settles[0][0])


def test_the_document_shows_golden_messages():
    shown = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)]
    assert shown == [GOLDEN[name].get("message") or GOLDEN[name]["head"] for name in SHOWN]
