"""Sessions with DLMS meters over a line in memory: kept, released, refused, silent."""

import asyncio
from dataclasses import dataclass, field
from datetime import date

import pytest

from edge_agent.dlms_access import Access
from edge_agent.dlms_entry import Entry
from edge_agent.dlms_meter import DlmsMeter
from edge_agent.dlms_session import DlmsSession
from edge_agent.failures import NoReplyError
from edge_agent.meter import Answer
from edge_agent.secret import Secret
from protocols.dlms.hdlc.primary import HdlcParameters
from protocols.dlms.hdlc.secondary import HdlcServerParameters
from protocols.dlms.quirks import STRICT
from protocols.dlms.server import DlmsServer
from protocols.meters.catalogue import load_model
from protocols.meters.model import Group
from simulators.dlms.hdlc_line import policies, serve
from simulators.dlms.objects import CosemObjects
from simulators.village import parse_village

AT_MS = 1_772_298_000_000
SECRET = b"12345678"
VILLAGE = """
name = "One meter"
seed = 1
[[bus]]
id = "hdlc"
gateway = "gw"
kind = "dlms_hdlc"
baud = 9600
[[meter]]
id = "M-1"
bus = "hdlc"
model = "dlms_three_phase"
address = 17
kind = "shop"
size_kwh = 900
place = "hanoi"
"""
MODEL = load_model("dlms_three_phase")
DEVICE = parse_village(VILLAGE, "village.toml", starts_on=date(2026, 3, 1)).meters[0].device


@dataclass
class MemoryLine:
    """A line whose other end is a simulated meter, at once or never."""

    silent: bool = False
    answers: list[bytes] = field(default_factory=list)
    frames: int = 0

    def __post_init__(self) -> None:
        self._objects = CosemObjects(DEVICE)
        self._objects.at_ms = AT_MS
        link = HdlcServerParameters(server_logical=1, server_physical=17)
        self._server = DlmsServer(link, policies(MODEL, SECRET), self._objects)

    async def write(self, data: bytes) -> None:
        self.frames += 1
        if not self.silent and (answer := serve(self._server, data)):
            self.answers.append(answer)

    async def read(self, _deadline: float) -> bytes:
        if not self.answers:
            raise NoReplyError("no reply")
        return self.answers.pop(0)

    async def recover(self) -> None:
        self.answers.clear()

    def character_s(self) -> float:
        return 0.0

    def close(self) -> None:
        return None


def meter_on(line: MemoryLine, secret: bytes = SECRET) -> DlmsMeter:
    assert MODEL.dlms is not None
    entry = Entry(
        Access(MODEL.dlms, STRICT, Secret(secret)),
        lambda client_sap, retries: HdlcParameters(client_sap, 1, 17, 2, retries_max=retries),
    )
    session = DlmsSession(line, entry, reply_timeout_s=0.1)
    return DlmsMeter(session, MODEL)


def read(line: MemoryLine, *, secret: bytes = SECRET, probe: bool = False) -> Answer:
    async def go() -> Answer:
        return await meter_on(line, secret).read(frozenset({Group.BILLING}), probe=probe)

    return asyncio.run(go())


def test_billing_registers_come_in_wh() -> None:
    answer = read(MemoryLine())
    assert answer.failure is None
    assert answer.refusals == ()
    assert {str(each.obis): value for each, value in answer.values} == {
        str(each.obis): DEVICE.true_wh(each.obis, AT_MS) for each in MODEL.measurements if each.group is Group.BILLING
    }


def test_a_session_is_released_at_first_and_kept_when_the_meter_is_read_again_soon() -> None:
    async def go() -> list[int]:
        line = MemoryLine()
        meter = meter_on(line)
        frames = []
        for _ in range(4):
            before = line.frames
            await meter.read(frozenset({Group.BILLING}), probe=False)
            frames.append(line.frames - before)
        return frames

    first, second, third, fourth = asyncio.run(go())
    assert first > second > third == fourth == 1  # link, association, scalers and release; then only the values


def test_a_wrong_secret_is_told_as_such() -> None:
    answer = read(MemoryLine(), secret=b"87654321")
    assert answer.values == ()
    assert answer.failure is not None
    assert "no association" in answer.failure
    assert "87654321" not in answer.failure


@pytest.mark.parametrize(("probe", "frames"), [(False, 3), (True, 1)])
def test_a_silent_meter_is_asked_three_times_and_probed_once(probe: bool, frames: int) -> None:
    line = MemoryLine(silent=True)
    assert read(line, probe=probe).failure is not None
    assert line.frames == frames


def test_a_meter_that_forgot_the_session_is_read_all_the_same() -> None:
    async def go() -> Answer:
        line = MemoryLine()
        meter = meter_on(line)
        for _ in range(3):
            await meter.read(frozenset({Group.BILLING}), probe=False)
        line.__post_init__()  # the meter was switched off and on
        return await meter.read(frozenset({Group.BILLING}), probe=False)

    lost = asyncio.run(go())
    assert lost.failure is None
    assert len(lost.values) == 6
