"""A day of four channels each 15 minutes over a real line of 9600 baud: what field work takes 4 s for."""

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from protocols.dlms import plan, profile
from protocols.dlms.acse import Mechanism
from protocols.dlms.association import Association
from protocols.dlms.client import DlmsClient
from protocols.dlms.hdlc.negotiation import LinkLimits
from protocols.dlms.hdlc.primary import HdlcParameters
from protocols.dlms.selective import CLOCK, CaptureObject
from protocols.dlms.services import Associated, BufferResult, Connect
from protocols.meters.catalogue import load_model
from protocols.meters.model import LoadProfile
from protocols.obis import Obis
from simulators.chance import key_of
from simulators.dlms.hdlc_line import DlmsMeter, HdlcMeters
from simulators.loads import Consumer, Kind
from simulators.meter import SimulatedMeter
from simulators.serial_line import LineSettings, SerialLine
from tests.simulators.meters import INSTALLED, NOW, Master, run
from tests.simulators.test_dlms_meters import SECRET, Shell

DAY_S_MAX = 4.4  # 110 % of 4 s
TRIES_MAX = 3
LOAD = Obis.parse("1.0.99.1.0")
CHANNELS = tuple(CaptureObject(3, Obis.parse(f"1.0.1.8.{rate}"), 2) for rate in range(4))


@pytest.mark.integration
def test_a_day_of_four_channels_takes_no_longer_than_field_work_says(tmp_path):
    model = replace(load_model("dlms_three_phase"), profile=LoadProfile(LOAD, 900_000))
    consumer = Consumer(Kind.HOUSEHOLD, 250, "hanoi", key_of(1, "pace"), key_of(1), 0)
    device = SimulatedMeter("pace", model, 17, consumer, installed_at_ms=INSTALLED)
    last = NOW // 900_000 * 900_000
    from_at, to_at = (datetime.fromtimestamp(at_ms / 1000, UTC) for at_ms in (last - 95 * 900_000, last))

    def talk():
        master = Master(tmp_path / "line")
        try:
            client = DlmsClient(HdlcParameters(1, 1, 17, 2, LinkLimits(512, 512)), Association(Mechanism.LOW, SECRET))
            shell = Shell(client, master.write, lambda: master.read(1, 2.0))
            assert isinstance(shell.ask(Connect()), Associated)
            (request,) = plan.read_profile(LOAD, from_at, to_at, columns=(CLOCK, *CHANNELS))
            began = time.monotonic()
            event = shell.ask(request)
            return event, time.monotonic() - began
        finally:
            master.close()

    async def work():
        line = SerialLine(tmp_path / "line", LineSettings(9600))
        HdlcMeters(line, [DlmsMeter(device, SECRET)], lambda: NOW, turnaround_s=0.005)
        try:
            tries = []
            while len(tries) < TRIES_MAX and (not tries or tries[-1][1] > DAY_S_MAX):
                tries.append(await asyncio.to_thread(talk))
            return min(tries, key=lambda each: each[1])  # a busy machine only ever adds time
        finally:
            line.close()

    event, took_s = run(work)
    assert isinstance(event, BufferResult)
    table = profile.interpret(profile.decode_buffer(event.octets, 5), (CLOCK, *CHANNELS), period_s=900)
    assert len(table.at) == 96
    assert table.column(CHANNELS[0]) == [device.true_wh("1.0.1.8.0", at * 1000) for at in table.at]
    octets_s = len(event.octets) / 960
    print(f"{len(event.octets)} octets of rows, {took_s:.2f} s")
    assert octets_s < took_s <= DAY_S_MAX
