"""Modbus TCP behind the seam of the serial line, against pymodbus' own meter's side in the simulator."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from edge_agent.failures import LineLostError, NoReplyError
from edge_agent.modbus_meter import ModbusMeter
from edge_agent.modbus_tcp import TcpLink
from protocols.meters.catalogue import load_model
from protocols.meters.model import Group
from protocols.modbus.messages import ExceptionCode, ExceptionReply, Function, ReadRegisters, RegistersReply

TIMEOUT_S = 0.5
T = TypeVar("T")


async def with_server(answer: Callable[[bytes], bytes], work: Callable[[int], Awaitable[T]]) -> T:
    """Serve requests of twelve octets with ``answer`` while ``work`` runs; an empty answer closes the connection."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            while reply := answer(await reader.readexactly(12)):
                writer.write(reply)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        return await work(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await asyncio.gather(*tasks, return_exceptions=True)


def framed(request: bytes, pdu: bytes) -> bytes:
    """Return the reply to ``request``: transaction, protocol, length, unit (Modbus Messaging on TCP/IP, 3.1.3)."""
    return request[:4] + (len(pdu) + 1).to_bytes(2, "big") + request[6:7] + pdu


def registers(request: bytes) -> bytes:
    """Answer with each register holding its own address."""
    address, count = int.from_bytes(request[8:10], "big"), int.from_bytes(request[10:12], "big")
    values = b"".join(each.to_bytes(2, "big") for each in range(address, address + count))
    return framed(request, request[7:8] + bytes((len(values),)) + values)


QUESTION = ReadRegisters(7, Function.READ_HOLDING, 0x100, 3)


def test_registers_come_as_octets() -> None:
    async def work(port: int) -> object:
        link = TcpLink("127.0.0.1", port, TIMEOUT_S)
        try:
            return await link.exchange(QUESTION)
        finally:
            link.close()

    assert asyncio.run(with_server(registers, work)) == RegistersReply(QUESTION, bytes.fromhex("010001010102"))


def test_a_refusal_is_an_answer() -> None:
    async def work(port: int) -> object:
        link = TcpLink("127.0.0.1", port, TIMEOUT_S)
        try:
            return await link.exchange(QUESTION)
        finally:
            link.close()

    def refuse(request: bytes) -> bytes:
        return framed(request, bytes((request[7] | 0x80, ExceptionCode.ILLEGAL_DATA_ADDRESS)))

    assert asyncio.run(with_server(refuse, work)) == ExceptionReply(QUESTION, 2)


def test_a_closed_connection_is_no_reply_and_the_next_question_opens_another() -> None:
    refusals = iter([True, False])

    def answer(request: bytes) -> bytes:
        return b"" if next(refusals) else registers(request)

    async def work(port: int) -> object:
        link = TcpLink("127.0.0.1", port, TIMEOUT_S)
        try:
            with pytest.raises(NoReplyError):
                await link.exchange(QUESTION)
            return await link.exchange(QUESTION)
        finally:
            link.close()

    assert isinstance(asyncio.run(with_server(answer, work)), RegistersReply)


def test_too_few_registers_are_never_values() -> None:
    def short(request: bytes) -> bytes:
        return framed(request, request[7:8] + b"\x02\x00\x07")

    async def work(port: int) -> object:
        link = TcpLink("127.0.0.1", port, TIMEOUT_S)
        meter = ModbusMeter(link, 1, load_model("eastron_sdm120"))
        try:
            return await meter.read(frozenset({Group.BILLING}), probe=False)
        finally:
            link.close()

    answer = asyncio.run(with_server(short, work))
    assert getattr(answer, "values", None) == ()
    assert "expected registers 72 to 75" in str(getattr(answer, "failure", ""))


def test_nobody_listening_is_a_lost_line() -> None:
    async def work() -> None:
        server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        link = TcpLink("127.0.0.1", port, TIMEOUT_S)
        with pytest.raises(LineLostError):
            await link.exchange(QUESTION)
        link.close()

    asyncio.run(work())
