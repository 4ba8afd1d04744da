"""Modbus TCP through pymodbus, behind the same seam as the serial line.

Here a reply carries the number of its question, which pymodbus checks; a connection on which a question was not
answered is closed all the same, so that a late answer dies with it. pymodbus' exceptions are translated here only.
"""

import asyncio
from collections.abc import Awaitable

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ExceptionResponse, ModbusPDU
from pymodbus.pdu.mei_message import ReadDeviceInformationResponse

from edge_agent.costs import TCP_COST
from edge_agent.failures import LineLostError, NoReplyError
from protocols.errors import RemoteProtocolError
from protocols.modbus.messages import ExceptionReply, Function, ReadIdentification, Reply, Request


class TcpLink:
    """Asks one question at a time over a connection that it keeps open."""

    def __init__(self, host: str, port: int, reply_timeout_s: float) -> None:
        self.cost = TCP_COST
        self.turnaround_us: float | None = None
        self.quarantine_s = 0.0  # a late answer dies with its connection: nothing is waited out
        self._loop = asyncio.get_running_loop()
        self._place = f"{host}:{port}"
        self._client = AsyncModbusTcpClient(
            host, port=port, timeout=reply_timeout_s, retries=0, reconnect_delay=0, name=self._place
        )

    async def exchange(
        self,
        request: Request,
        *,
        probe: bool = False,  # noqa: ARG002, as RtuLink's
        patience_s: float | None = None,  # noqa: ARG002
    ) -> Reply:
        """Return the answer to ``request``; raise as :meth:`edge_agent.modbus_rtu.RtuLink.exchange` does."""
        if not self._client.connected and not await self._client.connect():
            raise LineLostError(
                f"{self._place}: no connection; is the device on, is this its Modbus port (502 mostly), does another "
                "master hold the only connection that it allows?"
            )
        began_s = self._loop.time()
        try:
            answer: ModbusPDU = await self._ask(request)
        except ModbusException as error:
            self._client.close()
            raise NoReplyError(f"{self._place}, unit {request.unit}: no reply: {error}") from error
        self.turnaround_us = 1e6 * (self._loop.time() - began_s)
        if isinstance(answer, ExceptionResponse):
            return ExceptionReply(request, answer.exception_code)
        if answer.isError():
            self._client.close()
            raise RemoteProtocolError(f"{self._place}, unit {request.unit}: found {answer}, expected {request}")
        if isinstance(answer, ReadDeviceInformationResponse):
            answer.number_of_objects = 0  # encode() counts them once more
        pdu = bytes((answer.function_code,)) + answer.encode()
        if not pdu.startswith(request.reply_head) or len(pdu) != request.reply_length(pdu):
            self._client.close()
            raise RemoteProtocolError(
                f"{self._place}, unit {request.unit}: a reply of {len(pdu)} octets, expected {request}"
            )
        return request.parse(pdu)

    def _ask(self, request: Request) -> Awaitable[ModbusPDU]:
        client, unit = self._client, request.unit
        if isinstance(request, ReadIdentification):
            return client.read_device_information(read_code=request.category, object_id=request.first, device_id=unit)
        read = {
            Function.READ_COILS: client.read_coils,
            Function.READ_DISCRETE: client.read_discrete_inputs,
            Function.READ_HOLDING: client.read_holding_registers,
            Function.READ_INPUT: client.read_input_registers,
        }[request.function]
        return read(request.address, count=request.count, device_id=unit)

    def free_at(self, request: Request) -> float:  # noqa: ARG002, as RtuLink's
        """Return that it can be asked at once: what may still come has another number."""
        return 0.0

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
