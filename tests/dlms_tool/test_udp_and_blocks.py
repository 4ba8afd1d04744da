"""Datagrams and general blocks: the values are those of TCP and one piece, and a trace joins the blocks."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.dlms_tool.trace import NOT_SHOWN
from edge_agent.failures import NoReplyError
from edge_agent.udp_line import UdpLine
from protocols.dlms.wrapper import Wrapped
from protocols.dlms.xdlms.general_block import GeneralBlock
from protocols.dlms.xdlms.get import GetRequestNormal, GetResponseNormal
from protocols.errors import RemoteProtocolError
from tests.dlms_tool.processes import LOW, SECRET, answer, congto, sim
from tests.dlms_tool.test_trace import NAME, NEW, ONE, VALUE, session
from tests.dlms_tool.test_trace import SECRET as SECRET_ATTRIBUTE

MODEL = ("--seed", "5", "--at", "2026-10-07T12:00:00+07:00", "--speed", "0", "--units", "17")
DAY = ("--from", "2026-10-06", "--to", "2026-10-07")
BLOCKS = ("--general-blocks", "--pdu-size", "200", "--block-window", "4")


@pytest.fixture(scope="module")
def secured(tmp_path_factory) -> Iterator[dict[str, tuple[object, ...]]]:
    """Give the arguments for one ciphered meter over UDP, TCP and HDLC."""
    base: Path = tmp_path_factory.mktemp("secured")
    words = ("--auth", "high-gmac", "--ciphered", *MODEL)
    who = ("--client", "1", "--auth", "high-gmac", "--timeout", "1")

    def held(name: str) -> tuple[object, ...]:
        return (*who, "--keys", base / name, "--counters", base / f"{name}.counters")

    with (
        sim("dlms", "--udp", "--keys-out", base / "udp", *words) as udp,
        sim("dlms", "--tcp", "--keys-out", base / "tcp", *words) as tcp,
        sim("dlms", "--port-link", base / "line", "--unpaced", "--keys-out", base / "hdlc", *words),
    ):
        yield {
            "udp": ("--udp", udp["udp"], "--server", "17", *held("udp")),
            "tcp": ("--tcp", tcp["tcp"], "--server", "17", *held("tcp")),
            "hdlc": ("--serial", base / "line", "--server", "1/17", *held("hdlc")),
        }


@pytest.mark.integration
def test_a_day_is_the_same_over_every_link_in_one_piece_and_in_general_blocks(secured):
    whole = answer("dlms", "profile", *DAY, *secured["tcp"])
    assert len(whole["rows"]) == 49
    for place in secured.values():
        done = congto("dlms", "profile", *DAY, *BLOCKS, "--json", "--trace", *place)
        assert json.loads(done.stdout) == whole, done.stderr
        assert re.search(r"general blocks 1 to [4-9] joined: cc", done.stderr), done.stderr
        assert "the meter grants no" not in done.stderr


@pytest.mark.integration
def test_a_meter_that_grants_no_general_blocks_is_read_all_the_same_and_that_is_said():
    with sim("dlms", "--tcp", "--secret", SECRET, *MODEL) as said:
        done = congto("dlms", "profile", *DAY, *BLOCKS, "--tcp", said["tcp"], "--server", "17", *LOW)
    assert (done.returncode, "49 rows" in done.stdout) == (0, True)
    assert "the meter grants no general block transfer" in done.stderr


@pytest.mark.integration
def test_over_lossy_datagrams_a_reading_is_right_or_absent():
    with sim("dlms", "--udp", "--secret", SECRET, *MODEL, "--fault", "drop=150", "--fault", "duplicate=100") as said:
        place = ("--udp", said["udp"], "--server", "17", "--timeout", "0.2", *LOW)
        outcomes = [congto("dlms", "read", "1.0.1.8.0", "--json", *place) for _ in range(8)]
    assert {done.returncode for done in outcomes} <= {0, 3, 4}, [done.stderr for done in outcomes]
    read = {json.loads(done.stdout)["readings"][0]["raw"] for done in outcomes if done.returncode == 0}
    assert len(read) == 1


@pytest.mark.integration
@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("--udp", "127.0.0.1:9", "--timeout", "0.3"), 3, "nobody takes datagrams there"),
        (("--udp", "127.0.0.1:9", "--framing", "hdlc"), 2, "--framing hdlc is for TCP"),
        (("--udp", "127.0.0.1:9", "--mode-e"), 2, "--mode-e is for serial ports"),
        (("--udp", "127.0.0.1"), 2, "expected HOST:PORT"),
        (("--udp", "127.0.0.1:9", "--general-blocks", "--short-names"), 2, "--general-blocks goes with logical names"),
        (("--udp", "127.0.0.1:9", "--pdu-size", "11"), 2, "--pdu-size 11: expected"),
        (("--udp", "127.0.0.1:9", "--block-window", "64"), 2, "--block-window 64: expected 1 to 63"),
    ],
)
def test_what_does_not_fit_says_what_would(words, status, said):
    done = congto("dlms", "read", "1.0.1.8.0", *words)
    assert (done.returncode, said in done.stderr) == (status, True), done.stderr


def test_datagrams_are_taken_whole_and_silence_and_pieces_are_told() -> None:
    whole = Wrapped(17, 1, b"\xc4\x01\xc1\x00\x00").encode()

    async def go() -> None:
        loop = asyncio.get_running_loop()
        heard: list[bytes] = []

        class Meter(asyncio.DatagramProtocol):
            def connection_made(self, transport):  # type: ignore[no-untyped-def]
                self.transport = transport

            def datagram_received(self, data, addr):  # type: ignore[no-untyped-def]
                heard.append(data)
                if len(heard) == 2:
                    for reply in (whole, whole + whole, whole[:-1]):
                        self.transport.sendto(reply, addr)

        transport, _ = await loop.create_datagram_endpoint(Meter, local_addr=("127.0.0.1", 0))
        line = await UdpLine.open(*transport.get_extra_info("sockname"))
        await line.write(whole + whole)
        deadline = loop.time() + 5
        assert [await line.read(deadline), await line.read(deadline)] == [whole, whole + whole]
        with pytest.raises(RemoteProtocolError, match="12 octets that begin 00010011"):
            await line.read(deadline)
        with pytest.raises(NoReplyError):
            await line.read(loop.time())
        line.close()
        transport.close()
        assert heard == [whole, whole]

    asyncio.run(go())


def in_blocks(apdu: bytes, *order: int) -> list[bytes]:
    pieces = [apdu[at : at + 12] for at in range(0, len(apdu), 12)]
    blocks = [GeneralBlock(place + 1, piece, place == len(pieces) - 1) for place, piece in enumerate(pieces)]
    return [each.encode() for each in (blocks if not order else [blocks[place] for place in order])]


def test_a_trace_joins_general_blocks_and_passes_over_those_that_come_again() -> None:
    question, reply = GetRequestNormal(ONE, NAME).encode(), GetResponseNormal(ONE, VALUE).encode()
    lines = session([(True, question), *((False, each) for each in in_blocks(reply, 0, 1, 3, 1, 2, 3))])
    assert f"     general blocks 1 to 4 joined: {reply.hex()}" in lines
    assert NEW.decode() in "\n".join(lines) or NEW.hex() in "\n".join(lines)


def test_what_blocks_carry_is_shown_only_when_the_whole_may_be() -> None:
    question, reply = GetRequestNormal(ONE, SECRET_ATTRIBUTE).encode(), GetResponseNormal(ONE, VALUE).encode()
    lines = session([(True, question), *((False, each) for each in in_blocks(reply))])
    assert f"     general blocks 1 to 4 joined: {NOT_SHOWN}" in lines
    assert not any(NEW.hex()[at : at + 16] in "\n".join(lines) for at in range(0, len(NEW) * 2 - 16, 2))
