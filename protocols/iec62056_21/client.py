"""The reader's side: sign on, then a readout, programming mode, or HDLC (IEC 62056-21, 6.4 and annex E).

::

    client = Client()
    write(client.send(SignOn()))               # at 300 baud
    client.receive_data(...); client.next_event()        # Identified
    write(client.send(Select(Mode.READOUT)))   # then, when it is out, set the line to client.baud
    ...                                        # ReadoutDone, or Silent after receive_silence()

No octets are lost or doubled: an echo of what was sent is dropped; before an identification and a block everything else
is noise. A block whose check is wrong is asked for again by NAK, :data:`REPEATS_MAX` times.
"""

from collections import deque
from typing import Final

from protocols.dlms.link import NEED_DATA, NeedData
from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.iec62056_21.characters import put_parity, take_parity
from protocols.iec62056_21.messages import (
    ACK,
    BAUD_FIRST,
    BAUDS,
    EOT,
    ETX,
    LINE_END,
    NAK,
    SOH,
    STX,
    Command,
    Identification,
    Mode,
    block_check,
    decode_command,
    decode_identification,
    encode_selection,
    encode_sign_on,
)
from protocols.iec62056_21.readout import decode_data_sets, decode_readout
from protocols.iec62056_21.session import (
    TRANSITIONS,
    Answered,
    Ask,
    Done,
    Event,
    HdlcBegins,
    Identified,
    PasswordAsked,
    ReadoutDone,
    Refused,
    Request,
    Select,
    SignOn,
    Silent,
    State,
    Step,
)

BLOCK_CHARACTERS_MAX = 1 << 17  # a readout of 1,500 lines of 40 characters fits twice
IDENTIFICATION_OCTETS_MAX = 64  # 21 characters, and escapes of mode E
REPEATS_MAX = 2  # IEC 62056-21 leaves the number open
HDLC_ANSWER_OCTETS = 6  # the meter repeats the option select message


class Client:
    """One session with a meter, sans I/O. ``parity`` False is for meters that speak 8N1."""

    def __init__(self, *, parity: bool = True) -> None:
        self._parity = parity
        self._buffer = bytearray()
        self._echo = b""
        self._out = bytearray()
        self._events: deque[Event] = deque()
        self._repeats = 0
        self.state = State.SIGNED_OFF
        self.identification: Identification | None = None
        self.baud = BAUD_FIRST
        """The speed of the line once what ``send`` returned is out."""

    # -- the caller's side --------------------------------------------------------------------------------------------

    def send(self, request: Request) -> bytes:
        """Begin ``request``; return the octets to write. LocalProtocolError when the state does not allow it."""
        if isinstance(request, SignOn):
            self._step(Step.SIGN_ON)
            self.baud, self.identification = BAUD_FIRST, None
            self._buffer.clear()
            self._queue(encode_sign_on(request.address))
        elif isinstance(request, Select):
            self._select(request)
        elif isinstance(request, Ask):
            self._step(Step.COMMAND)
            self._repeats = 0
            self._queue(request.command.encode())
        else:
            self._step(Step.END)
            self._queue(Command("B0").encode())
        return self.data_to_send()

    def receive_data(self, data: bytes) -> None:
        """Store octets as they come."""
        self._buffer += data

    def receive_silence(self) -> None:
        """Hear that the deadline passed: what is incomplete is dropped, the next event is Silent."""
        if self.state in (State.SIGNED_OFF, State.IDENTIFIED, State.PROGRAMMING, State.HDLC):
            self._buffer.clear()
            return
        if self.state is State.AWAITING_HDLC:  # Not every meter repeats the selection; SNRM will tell.
            self._step(Step.SWITCHED)
            self._events.append(HdlcBegins())
            return
        count, what = len(self._buffer), self.state.value
        self._end()
        cut = f"; {count} octets came and were no whole message" if count else ""
        self._events.append(Silent(f"silence while {what}{cut}"))

    def data_to_send(self) -> bytes:
        """Return the octets to write, each of them once: a request for repetition among them."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def next_event(self) -> Event | NeedData:
        """Return what happened next; RemoteProtocolError for octets that break the rules, which are dropped."""
        if not self._events:
            self._drop_echo()
            take = _TAKERS.get(self.state)
            event = take(self) if take is not None and self._buffer else None
            if event is None:
                return NEED_DATA
            self._events.append(event)
        return self._events.popleft()

    # -- sending ------------------------------------------------------------------------------------------------------

    def _select(self, request: Select) -> None:
        said = self.identification
        steps = {
            Mode.READOUT: Step.SELECT_READOUT,
            Mode.PROGRAMMING: Step.SELECT_PROGRAMMING,
            Mode.HDLC: Step.SELECT_HDLC,
        }
        self._step(steps[request.mode])
        assert said is not None
        allowed = [key for key, baud in BAUDS.items() if baud <= min(request.baud_max, said.baud)]
        self._repeats = 0
        self._queue(encode_selection(request.mode, allowed[-1] if allowed else "0"))
        self.baud = BAUDS[allowed[-1]] if allowed else BAUD_FIRST

    def _queue(self, characters: bytes) -> None:
        octets = put_parity(characters) if self._parity else characters
        self._echo = octets
        self._out += octets

    # -- receiving ----------------------------------------------------------------------------------------------------

    def _drop_echo(self) -> None:
        """An optical head hands back what it sent; characters of the meter follow it."""
        if self._echo and self._buffer[: len(self._echo)] == self._echo and self.state is not State.AWAITING_HDLC:
            del self._buffer[: len(self._echo)]
            self._echo = b""

    def _characters(self) -> bytes:
        try:
            return take_parity(bytes(self._buffer)) if self._parity else bytes(self._buffer)
        except RemoteProtocolError:
            self._buffer.clear()
            raise

    def _take_identification(self) -> Event | None:
        start = self._buffer.find(b"/" if not self._parity else put_parity(b"/"))
        if start:
            del self._buffer[: start if start > 0 else len(self._buffer)]
        characters = self._characters()
        end = characters.find(LINE_END)
        if end < 0:
            if len(characters) > IDENTIFICATION_OCTETS_MAX:
                self._buffer.clear()
                raise RemoteProtocolError("an identification that does not end in CR LF within 64 characters")
            return None
        del self._buffer[: end + 2]
        if characters[:end].startswith(b"/?"):
            return self._take_identification() if self._buffer else None  # Another reader's sign-on, or ours, changed.
        said = decode_identification(characters[: end + 2])
        self.identification = said
        self._step(Step.IDENTIFIED if said.waits_for_selection else Step.IDENTIFIED_AND_READS)
        if not said.waits_for_selection:
            self.baud = said.baud
        return Identified(said)

    def _block(self, openers: tuple[int, ...]) -> tuple[int, bytes, int] | None:
        """Return opener, content and closer of the next block; None while it is not whole."""
        wires = [put_parity(bytes((opener,))) if self._parity else bytes((opener,)) for opener in openers]
        starts = [place for place in map(self._buffer.find, wires) if place >= 0]
        del self._buffer[: min(starts, default=len(self._buffer))]
        if not starts:
            return None
        characters, start = self._characters(), 0
        ends = [place for place in (characters.find(closer, start) for closer in (ETX, EOT)) if place >= 0]
        if not ends or min(ends) + 1 >= len(characters):
            if len(characters) > BLOCK_CHARACTERS_MAX:
                self._buffer.clear()
                raise RemoteProtocolError(f"a block of more than {BLOCK_CHARACTERS_MAX} characters")
            return None
        end = min(ends)
        del self._buffer[: end + 2]
        expected, found = block_check(characters[start + 1 : end + 1]), characters[end + 1]
        if expected != found:
            self._ask_again()
            raise RemoteProtocolError(f"block check {found:02x}, expected {expected:02x}", offset=end + 1)
        return characters[start], characters[start + 1 : end], characters[end]

    def _ask_again(self) -> None:
        if self._repeats < REPEATS_MAX:
            self._repeats += 1
            self._queue(bytes((NAK,)))

    def _take_readout(self) -> Event | None:
        block = self._block((STX,))
        if block is None:
            return None
        readout = decode_readout(block[1])
        self._end()
        return ReadoutDone(readout)

    def _take_operand(self) -> Event | None:
        block = self._block((SOH,))
        if block is None:
            return None
        command = decode_command(block[1])
        if command.name == "B0":
            self._end()
            return Refused("the meter broke the session off (B0)")
        if command.name != "P0":
            raise RemoteProtocolError(f"command {command.name}, expected P0")
        self._step(Step.OPERAND)
        return PasswordAsked((command.content or "").strip("()"))

    def _take_answer(self) -> Event | None:
        first = self._characters()[0]
        if first in (ACK, NAK):
            del self._buffer[0]
            self._step(Step.ANSWER)
            return Done() if first == ACK else Refused("the meter did not understand (NAK)")
        block = self._block((STX, SOH))
        if block is None:
            return None
        opener, content, closer = block
        if opener == SOH:
            command = decode_command(content)
            self._end()
            return Refused(f"the meter broke the session off ({command.name})")
        text = content.decode("ascii")
        data_sets = decode_data_sets(text.replace("\r", "").replace("\n", ""))
        if closer == EOT:
            self._queue(bytes((ACK,)))
        else:
            self._step(Step.ANSWER)
        if len(data_sets) == 1 and not data_sets[0].address and data_sets[0].values[0].text.startswith("ER"):
            return Refused(f"error message {data_sets[0].values[0].text}")
        return Answered(data_sets, closer != EOT)

    def _take_switch(self) -> Event | None:
        if len(self._buffer) < HDLC_ANSWER_OCTETS:
            return None
        self._buffer.clear()
        self._step(Step.SWITCHED)
        return HdlcBegins()

    # -- states -------------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        self._buffer.clear()
        self._step(Step.END)

    def _step(self, step: Step) -> None:
        try:
            self.state = TRANSITIONS[self.state, step]
        except KeyError:
            raise LocalProtocolError(f"cannot {step.value} while {self.state.value}") from None


_TAKERS: Final = {
    State.AWAITING_IDENTIFICATION: Client._take_identification,
    State.AWAITING_READOUT: Client._take_readout,
    State.AWAITING_OPERAND: Client._take_operand,
    State.AWAITING_ANSWER: Client._take_answer,
    State.AWAITING_HDLC: Client._take_switch,
}
