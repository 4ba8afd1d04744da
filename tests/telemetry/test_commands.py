"""Commands and replies: golden messages, and what breaks the contract."""

import base64
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.telemetry import command as commands
from protocols.telemetry.batch import compress
from protocols.telemetry.command import (
    OBJECTS_MAX,
    RANGE_MS_MAX,
    TOML_OCTETS_MAX,
    Command,
    Configure,
    Kind,
    Profile,
    Read,
    decode_command,
)
from protocols.telemetry.reply import ClockState, Outcome, Reply, decode_reply

TESTS = Path(__file__).parents[1]
FILES = sorted((TESTS / "golden/telemetry/v1/remote").glob("*.json"))
GOLDEN = {path.stem: json.loads(path.read_bytes()) for path in FILES}
COMMANDS = [name for name, golden in GOLDEN.items() if golden["kind"] == "commands"]
REPLIES = [name for name, golden in GOLDEN.items() if golden["kind"] == "replies"]
DOCUMENT = (TESTS.parent / "docs/contracts/commands.md").read_text(encoding="utf-8")
AT_MS = 1_759_251_600_000
KEY = "0b54a9d2c1e84f07"


def octets(message: object) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def asked_of(decoded: dict[str, Any]) -> Any:
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in decoded.items()}
    return getattr(commands, fields.pop("asked"))(**fields)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_golden_command_says_what_its_file_says_and_is_written_so(name: str) -> None:
    golden = GOLDEN[name]
    message = golden["message"]
    found = decode_command(octets(message))
    assert found == Command("gw-01", KEY, AT_MS, AT_MS + 60_000, asked_of(golden["decoded"]))
    assert found.kind.value == message["kind"]
    assert found.encode() == compress(octets(message))


@pytest.mark.parametrize("name", REPLIES)
def test_a_golden_reply_says_what_its_file_says_and_is_written_so(name: str) -> None:
    golden = GOLDEN[name]
    found = decode_reply(octets(golden["message"]))
    said = dataclasses.asdict(found) | {key: getattr(found, key).value for key in ("kind", "clock", "outcome")}
    assert {key: said[key] for key in golden["decoded"]} == golden["decoded"]
    assert found.encode() == compress(octets(golden["message"]))


def test_every_kind_of_command_has_a_golden_message() -> None:
    assert {GOLDEN[name]["message"]["kind"] for name in COMMANDS} == {each.value for each in Kind}


@pytest.mark.parametrize("kind", [each.value for each in [*Kind, *Outcome, *ClockState]])
def test_the_page_names_every_kind_and_outcome(kind: str) -> None:
    assert f"`{kind}`" in DOCUMENT


READ = {"schema": "congto.command.v1", "gateway": "gw-01", "key": KEY, "at": AT_MS, "expires": AT_MS + 1}
BROKEN = {
    "not JSON": b"{",
    "a list": b"[]",
    "no kind": octets(READ),
    "another schema": octets(READ | {"schema": "congto.command.v2", "kind": "status"}),
    "a short key": octets(READ | {"kind": "status", "key": "0b54"}),
    "a key in capitals": octets(READ | {"kind": "status", "key": KEY.upper()}),
    "a gateway with a wildcard": octets(READ | {"kind": "status", "gateway": "+"}),
    "expires before it is asked": octets(READ | {"kind": "status", "expires": AT_MS}),
    "expires in a year": octets(READ | {"kind": "status", "expires": AT_MS + 365 * 86_400_000}),
    "a time as a float": octets(READ | {"kind": "status", "expires": float(AT_MS + 1)}),
    "too many objects": octets(READ | {"kind": "read", "meter": "M", "objects": ["1.0.1.8.0"] * (OBJECTS_MAX + 1)}),
    "an object that is none": octets(READ | {"kind": "read", "meter": "M", "objects": ["1.0.1"]}),
    "an object that is a number": octets(READ | {"kind": "read", "meter": "M", "objects": [1]}),
    "a range that ends before it begins": octets(READ | {"kind": "profile", "meter": "M", "from": AT_MS, "to": 0}),
    "a range of years": octets(READ | {"kind": "profile", "meter": "M", "from": AT_MS, "to": AT_MS + RANGE_MS_MAX + 1}),
    "a limit of an hour": octets(READ | {"kind": "clock", "meter": "M", "limit_s": 3600}),
    "a switch that is a number": octets(READ | {"kind": "arm", "meter": "M", "connect": 1}),
    "a switch without a meter": octets(READ | {"kind": "arm", "connect": True}),
    "a confirmation without a token": octets(READ | {"kind": "confirm", "meter": "M", "connect": True}),
    "a configuration in the clear": octets(READ | {"kind": "configure", "toml": "[gateway]", "watch_s": 60}),
    "a configuration that is not text": octets(
        READ | {"kind": "configure", "toml": base64.b64encode(b"\xff").decode(), "watch_s": 60}
    ),
    "nested deeply": b'{"a":' * 100_000 + b"}" * 100_000,
    "the same key twice": octets(READ | {"kind": "status"})[:-1] + b',"kind":"read"}',
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_command_that_breaks_the_contract_is_refused(name: str) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_command(BROKEN[name])


@given(st.binary(max_size=200))
def test_any_octets_are_a_command_or_refused(data: bytes) -> None:
    for decode in (decode_command, decode_reply):
        with pytest.raises(RemoteProtocolError):
            decode(data)


@given(st.sampled_from(COMMANDS), st.integers(0, 400), st.integers(0, 255))
def test_a_command_with_an_octet_changed_is_another_command_or_refused(name: str, place: int, value: int) -> None:
    data = bytearray(octets(GOLDEN[name]["message"]))
    data[place % len(data)] = value
    try:
        found = decode_command(bytes(data))
    except RemoteProtocolError:
        return
    assert decode_command(found.encode()) == found


def test_what_a_gateway_would_refuse_is_not_written() -> None:
    for asked in (Profile("M-1", AT_MS, AT_MS - 1), Read("M 1"), Configure("#" * (TOML_OCTETS_MAX + 9), 60)):
        with pytest.raises(LocalProtocolError):
            Command("gw-01", KEY, AT_MS, AT_MS + 1, asked).encode()


def test_a_reason_may_hold_anything_and_be_long() -> None:
    reason = "agent.toml: bus[2]: found '{'\n\x00" + "x" * 1000
    reply = Reply("gw-01", KEY, Kind.CONFIGURE, AT_MS, ClockState.SET, Outcome.REFUSED, reason)
    found = decode_reply(reply.encode()).reason
    assert found is not None
    assert found.startswith("agent.toml: bus(2): found '('  x")
    assert found.endswith("x…")


@pytest.mark.parametrize(
    "result",
    [
        {"values": [["1.0.1.8.0", 1 << 63]]},
        {"values": [["1.0.1.8.0", True]]},
        {"values": [["1.0.1.8.0"]]},
        {"values": {"1.0.1.8.0": 1}},
        {"meter": "M 1"},
        {"at": "now"},
        {"refusals": ["x" * 1000]},
    ],
)
def test_a_result_of_another_shape_is_refused(result: dict[str, object]) -> None:
    message = GOLDEN["reply_read"]["message"]
    with pytest.raises(RemoteProtocolError):
        decode_reply(octets(message | {"result": message["result"] | result}))


def test_fields_that_are_not_known_are_left_out() -> None:
    message = GOLDEN["reply_read"]["message"]
    found = decode_reply(octets(message | {"more": 1, "result": message["result"] | {"more": [1]}}))
    assert found == decode_reply(octets(message))
