"""Modbus TCP through pymodbus, behind the same seam as the serial line.

Here a reply carries the number of its question, which pymodbus checks; a connection on which a question was not
answered is closed all the same, so that a late answer dies with it. pymodbus' exceptions are translated here only.
"""

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ExceptionResponse, ModbusPDU

from edge_agent.failures import LineLostError, NoReplyError
from protocols.errors import RemoteProtocolError
from protocols.modbus.messages import ExceptionReply, Function, ReadRegisters, RegistersReply, Reply
from protocols.modbus.plan import LineCost

# A register costs next to nothing on Ethernet, a question its round trip and the meter's own time.
TCP_COST = LineCost(character_us=1.0, silence_us=0.0, turnaround_us=20_000.0)


class TcpLink:
    """Asks one question at a time over a connection that it keeps open."""

    def __init__(self, host: str, port: int, reply_timeout_s: float) -> None:
        self.cost = TCP_COST
        self._place = f"{host}:{port}"
        self._client = AsyncModbusTcpClient(
            host, port=port, timeout=reply_timeout_s, retries=0, reconnect_delay=0, name=self._place
        )

    async def exchange(self, request: ReadRegisters, *, probe: bool = False) -> Reply:  # noqa: ARG002, as RtuLink's
        """Return the answer to ``request``; raise as :meth:`edge_agent.modbus_rtu.RtuLink.exchange` does."""
        if not self._client.connected and not await self._client.connect():
            raise LineLostError(f"{self._place}: no connection")
        read = (
            self._client.read_holding_registers
            if request.function is Function.READ_HOLDING
            else self._client.read_input_registers
        )
        try:
            answer: ModbusPDU = await read(request.address, count=request.count, device_id=request.unit)
        except ModbusException as error:
            self._client.close()
            raise NoReplyError(f"{self._place}, unit {request.unit}: no reply: {error}") from error
        if isinstance(answer, ExceptionResponse):
            return ExceptionReply(request, answer.exception_code)
        if answer.isError() or len(answer.registers) != request.count:
            self._client.close()
            raise RemoteProtocolError(
                f"{self._place}, unit {request.unit}: {len(answer.registers)} registers, expected {request.count}"
            )
        return RegistersReply(request, b"".join(register.to_bytes(2, "big") for register in answer.registers))

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
