"""A late answer is right by its checksum and by everything else it says. It is never taken for another question's."""

import asyncio
from random import Random

from edge_agent.failures import NoReplyError
from edge_agent.modbus_rtu import RtuLink
from edge_agent.serial_line import LineSettings, SerialLine
from protocols.errors import RemoteProtocolError
from protocols.modbus.messages import Function, ReadRegisters, RegistersReply
from protocols.modbus.rtu import NEED_DATA, RtuClient
from tests.edge_agent.late_meter import LateMeter, registers_from

SEED = 20261101
REPLY_TIMEOUT_S = 0.005
LATE_S = 0.03  # six times what the master is told to expect
QUESTIONS = [(0x48, 4), (0x00, 2), (0x0C, 2), (0x46, 2), (0x34, 2), (0x4C, 4)]


def line_to(port: str) -> SerialLine:
    return SerialLine(LineSettings(port, 9600, "N", 1, paced=False))


def test_no_wrong_value_however_late_the_answers() -> None:
    async def ask_often() -> tuple[int, int, int, int]:
        rng = Random(SEED)
        meter = LateMeter(rng, late_in=5, late_s=LATE_S)
        link = RtuLink(line_to(meter.port), REPLY_TIMEOUT_S, late_answer_s=2 * LATE_S)
        right = wrong = absent = 0
        while right < 150:
            address, count = rng.choice(QUESTIONS)
            try:
                reply = await link.exchange(
                    ReadRegisters(1, Function.READ_INPUT, address, count), probe=rng.random() < 0.2
                )
            except (NoReplyError, RemoteProtocolError):
                absent += 1
                await asyncio.sleep(0)  # a question that is withheld takes no time: let the meter have its turn
                continue
            assert isinstance(reply, RegistersReply)
            right += reply.data == registers_from(address, count)
            wrong += reply.data != registers_from(address, count)
        link.close()
        meter.close()
        return right, wrong, absent, meter.late

    right, wrong, absent, late = asyncio.run(ask_often())
    assert wrong == 0, f"seed {SEED}"
    assert right == 150
    assert absent > 20
    assert late > 20


def test_this_meter_does_deceive_a_master_that_only_flushes_and_waits() -> None:
    """The test above would prove nothing if the meter were too tame."""

    async def ask_often() -> int:
        rng = Random(SEED)
        meter = LateMeter(rng, late_in=5, late_s=LATE_S)
        line, client = line_to(meter.port), RtuClient()
        loop = asyncio.get_running_loop()
        wrong = questions = 0
        while not wrong and questions < 5000:
            questions += 1
            address, count = rng.choice(QUESTIONS)
            line.discard()
            await line.write(client.send(ReadRegisters(1, Function.READ_INPUT, address, count)))
            deadline = loop.time() + REPLY_TIMEOUT_S
            try:
                while (event := client.next_event()) is NEED_DATA:
                    client.receive_data(await line.read(deadline))
            except (NoReplyError, RemoteProtocolError):
                continue
            assert isinstance(event, RegistersReply)
            wrong += event.data != registers_from(address, count)
        line.close()
        meter.close()
        return wrong

    assert asyncio.run(ask_often()) > 0
