"""The meter's side: it identifies itself, sends its readout, takes programming commands, or hands the line to HDLC.

A meter with an address stays silent when another is signed on to. A command that cannot be read is answered by NAK.
What follows the switch to HDLC is not this module's: :meth:`Server.take_hdlc` gives it on, until a sign-on comes again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from hmac import compare_digest
from typing import Final, Protocol

from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.iec62056_21.characters import put_parity, take_parity
from protocols.iec62056_21.messages import (
    ACK,
    ADDRESS_CHARACTERS_MAX,
    BAUD_FIRST,
    BAUDS,
    ETX,
    LINE_END,
    NAK,
    SOH,
    Command,
    Identification,
    Mode,
    block_check,
    decode_command,
    encode_data,
    encode_readout,
)

MESSAGE_OCTETS_MAX = 4096  # the longest command that a meter takes
_SIGN_ON: Final = put_parity(b"/?")
_MODES: Final = {mode.value: mode for mode in Mode}


class Registers(Protocol):
    """What the meter has to tell; none of these raises."""

    def readout(self) -> bytes:
        """Return the readout's lines, each with CR LF."""
        ...

    def read(self, address: str) -> str | None:
        """Return what stands in brackets for ``address``, None when there is no such register."""
        ...

    def write(self, address: str, value: str) -> bool:
        """Take a value; return whether the register may be written."""
        ...


class ServerState(Enum):
    """Where the session stands, seen from the meter."""

    SIGNED_OFF = "signed off"
    IDENTIFIED = "waiting for a selection"
    LOCKED = "in programming mode, the password not given"
    OPEN = "in programming mode"
    HDLC = "handed over to HDLC"


class ServerStep(Enum):
    """What moves the session."""

    SIGN_ON = "a sign-on for this meter"
    READOUT = "the readout is sent"
    PROGRAMMING = "programming mode is selected"
    UNLOCK = "the password is right"
    HDLC = "HDLC is selected"
    END = "the session ends"


_S, _T = ServerState, ServerStep
SERVER_TRANSITIONS: Mapping[tuple[ServerState, ServerStep], ServerState] = {
    **{(state, _T.SIGN_ON): _S.IDENTIFIED for state in ServerState},
    (_S.IDENTIFIED, _T.READOUT): _S.SIGNED_OFF,
    (_S.IDENTIFIED, _T.PROGRAMMING): _S.LOCKED,
    (_S.LOCKED, _T.UNLOCK): _S.OPEN,
    (_S.OPEN, _T.UNLOCK): _S.OPEN,
    (_S.IDENTIFIED, _T.HDLC): _S.HDLC,
    **{(state, _T.END): _S.SIGNED_OFF for state in ServerState},
}


@dataclass(frozen=True, slots=True)
class ServerParameters:
    """Who the meter is. Without a password every one is taken; ``hdlc`` is whether it knows mode E."""

    identification: Identification
    address: str = ""
    password: str = field(default="", repr=False)
    operand: str = "00000000"
    hdlc: bool = False


class Server:
    """One meter, sans I/O."""

    def __init__(self, parameters: ServerParameters, registers: Registers) -> None:
        self._parameters, self._registers = parameters, registers
        self._buffer = bytearray()
        self._out = bytearray()
        self._last = b""
        self.state = ServerState.SIGNED_OFF
        self.baud = BAUD_FIRST
        """The speed of the line from the next octet on that this side sends."""

    def receive_data(self, data: bytes) -> None:
        """Take octets, and answer what is whole."""
        if _SIGN_ON in data and self.state is ServerState.HDLC:
            self._end()
        self._buffer += data
        while self.state is not ServerState.HDLC and self._step_through():
            pass
        del self._buffer[:-MESSAGE_OCTETS_MAX]

    def receive_silence(self) -> None:
        """Hear that the line fell silent: a part of a message is dropped, and who selects nothing gets the readout."""
        self._buffer.clear()
        if self.state is ServerState.IDENTIFIED:  # IEC 62056-21, 6.4.3: at 300 baud, when no selection comes
            self._send_readout()
        elif self.state is not ServerState.HDLC:
            self._end()

    def take_hdlc(self) -> bytes:
        """Return the octets that came since the line was handed over to HDLC."""
        if self.state is not ServerState.HDLC:
            return b""
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    def data_to_send(self) -> bytes:
        """Return the octets to write at ``baud``, each of them once."""
        data = bytes(self._out)
        self._out.clear()
        return data

    # -- messages -----------------------------------------------------------------------------------------------------

    def _step_through(self) -> bool:
        """Take one message from the buffer; return whether there may be another one."""
        start = self._buffer.find(_SIGN_ON)
        if start >= 0:
            end = self._buffer.find(put_parity(LINE_END), start)
            if end < 0:
                del self._buffer[:start]
                return False
            message = bytes(self._buffer[start : end + 2])
            del self._buffer[: end + 2]
            self._take_sign_on(message)
            return bool(self._buffer)
        if not self._buffer:
            return False
        if self._buffer[0] == put_parity(bytes((NAK,)))[0]:
            del self._buffer[0]
            self._send(self._last)
            return True
        if self.state is ServerState.IDENTIFIED:
            return self._take_selection()
        if self.state in (ServerState.LOCKED, ServerState.OPEN):
            return self._take_command()
        self._buffer.clear()
        return False

    def _take_sign_on(self, message: bytes) -> None:
        self._end()
        try:
            text = take_parity(message)
        except RemoteProtocolError:
            return
        address, mark, _ = text[2:].partition(b"!")
        if not mark or len(address) > ADDRESS_CHARACTERS_MAX:
            return
        wanted, ours = (each.lstrip("0") for each in (address.decode("ascii"), self._parameters.address))
        if address and wanted != ours:  # IEC 62056-21, 6.3.14.12: leading zeros do not count
            return
        self._step(ServerStep.SIGN_ON)
        self._send(self._parameters.identification.encode())

    def _take_selection(self) -> bool:
        start = self._buffer.find(put_parity(bytes((ACK,))))
        if start < 0 or len(self._buffer) < start + 6:
            return False
        message = bytes(self._buffer[start : start + 6])
        del self._buffer[: start + 6]
        try:
            text = take_parity(message)[1:4].decode("ascii")
        except RemoteProtocolError:
            return True
        mode, baud = _MODES.get(text[0] + text[2]), text[1]
        if mode is None or baud not in BAUDS or BAUDS[baud] > self._parameters.identification.baud:
            return True  # A selection that cannot be is no selection: after a while the readout comes at 300 baud.
        if mode is Mode.HDLC and not self._parameters.hdlc:
            return True
        self.baud = BAUDS[baud]
        if mode is Mode.READOUT:
            self._send_readout()
        elif mode is Mode.PROGRAMMING:
            self._step(ServerStep.PROGRAMMING)
            self._send(Command("P0", f"({self._parameters.operand})").encode())
        else:
            self._step(ServerStep.HDLC)
            self._send(take_parity(message))
        return bool(self._buffer)

    def _take_command(self) -> bool:
        start = self._buffer.find(put_parity(bytes((SOH,))))
        end = self._buffer.find(put_parity(bytes((ETX,))), max(start, 0))
        if start < 0 or end < 0 or end + 1 >= len(self._buffer):
            return False
        message = bytes(self._buffer[start : end + 2])
        del self._buffer[: end + 2]
        try:
            text = take_parity(message)
            if block_check(text[1:-1]) != text[-1]:
                raise RemoteProtocolError("the block check is wrong")
            self._carry_out(decode_command(text[1:-2]))
        except RemoteProtocolError:
            self._send(bytes((NAK,)))
        return bool(self._buffer)

    def _carry_out(self, command: Command) -> None:
        address, _, rest = (command.content or "").partition("(")
        value = rest.removesuffix(")")
        kind = command.name[0]
        if command.name == "B0":
            self._end()
        elif kind == "P":
            self._take_password(value)
        elif self.state is not ServerState.OPEN:
            self._send(encode_data(b"(ER02)"))
        elif kind == "R":
            found = self._registers.read(address)
            self._send(encode_data(b"(ER01)" if found is None else f"{address}({found})".encode("ascii")))
        elif kind == "W":
            taken = self._registers.write(address, value)
            self._send(bytes((ACK,)) if taken else encode_data(b"(ER03)"))
        else:
            self._send(bytes((NAK,)))

    def _take_password(self, value: str) -> None:
        """A wrong password ends the session, so that each try costs another sign-on."""
        password = self._parameters.password
        if password and not compare_digest(value.encode("ascii"), password.encode("ascii")):
            self._send(Command("B0").encode())
            self._step(ServerStep.END)
            return
        self._step(ServerStep.UNLOCK)
        self._send(bytes((ACK,)))

    def _send_readout(self) -> None:
        self._step(ServerStep.READOUT)
        self._send(encode_readout(self._registers.readout()))

    def _send(self, characters: bytes) -> None:
        self._last = characters
        self._out += put_parity(characters)

    def _end(self) -> None:
        self._step(ServerStep.END)
        self.baud = BAUD_FIRST

    def _step(self, step: ServerStep) -> None:
        try:
            self.state = SERVER_TRANSITIONS[self.state, step]
        except KeyError:
            raise LocalProtocolError(f"{step.value} is impossible while {self.state.value}") from None
