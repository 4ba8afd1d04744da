"""A serial line whose speed can be changed, and the sign-on of IEC 62056-21 on it.

The port is set to eight bits without parity for the sign-on: characters of 7E1 pass as they are
(:mod:`protocols.iec62056_21.characters`), so that only the speed changes on the way to a readout or to HDLC.
"""

import asyncio
import termios
from dataclasses import replace

from edge_agent.failures import NoReplyError
from edge_agent.serial_line import LineSettings, SerialLine
from protocols.dlms.link import NEED_DATA
from protocols.errors import LocalProtocolError, RemoteProtocolError, UsageError
from protocols.iec62056_21.client import Client
from protocols.iec62056_21.messages import BAUD_FIRST, Identification, Mode
from protocols.iec62056_21.session import (
    Event,
    HdlcBegins,
    Identified,
    Refused,
    Request,
    Select,
    SignOn,
    Silent,
)

# IEC 62056-21, 6.4.2: a meter reacts within 1.5 s, and characters follow within 1.5 s; optical heads add to that.
REACTION_S = 2.2
SETTLING_S = 0.3  # IEC 62056-21, 6.4.2: 200 ms reaction time before the line may turn
BROKEN_MAX = 5  # unreadable messages of one exchange before it is given up
HEARD_MAX = 1024  # octets kept, to tell noise from silence
_SPEEDS = {300: termios.B300, 600: termios.B600, 1200: termios.B1200, 2400: termios.B2400, 4800: termios.B4800,
           9600: termios.B9600, 19200: termios.B19200}  # fmt: skip


class SerialPort(SerialLine):
    """A line that can go to another speed."""

    async def change_baud(self, baud: int) -> None:
        """Wait until all is out, then go to ``baud``."""
        await asyncio.to_thread(termios.tcdrain, self._fd)
        if baud == self.settings.baud:
            return
        attributes = termios.tcgetattr(self._fd)
        attributes[4] = attributes[5] = _SPEEDS[baud]
        termios.tcsetattr(self._fd, termios.TCSANOW, attributes)
        self.settings = replace(self.settings, baud=baud)


def for_sign_on(settings: LineSettings) -> LineSettings:
    """Return the port set as the sign-on needs it."""
    return replace(settings, baud=BAUD_FIRST, parity="N", stop_bits=1)


async def ask(port: SerialPort, client: Client, request: Request | None, timeout_s: float) -> Event:
    """Carry out one request, or wait for what comes by itself.

    NoReplyError for silence, RemoteProtocolError for noise.
    """
    octets = b"" if request is None else client.send(request)
    speed, broken, heard = client.baud, 0, bytearray()
    await port.write(octets)
    await asyncio.sleep(len(octets) * port.settings.character_s)
    if isinstance(request, Select):
        await port.change_baud(speed)
    loop = asyncio.get_running_loop()
    last: RemoteProtocolError | None = None
    while True:
        try:
            event = client.next_event()
        except RemoteProtocolError as error:
            last, broken = error, broken + 1
            if broken > BROKEN_MAX:
                raise _noise(error) from error
            await port.write(client.data_to_send())
            continue
        if event is not NEED_DATA:
            if client.data_to_send():
                raise LocalProtocolError("more blocks of a partial read are not asked for")
            assert not isinstance(event, type(NEED_DATA))
            if isinstance(event, Silent):
                raise _noise(last) if last else _why_silent(event.reason, bytes(heard), octets)
            return event
        try:
            data = await port.read(loop.time() + max(timeout_s, REACTION_S))
            heard += data[: HEARD_MAX - len(heard)]
            client.receive_data(data)
        except NoReplyError:
            client.receive_silence()


def _why_silent(reason: str, heard: bytes, said: bytes) -> Exception:
    """Return what a silence means: after octets that came to nothing the line is alive, unless they are an echo."""
    if heard.removeprefix(said):
        return _noise(f"{len(heard)} octets came, none of them a whole message (they begin {heard[:8].hex()})")
    return NoReplyError(reason)


def _noise(found: object) -> RemoteProtocolError:
    return RemoteProtocolError(f"{found}: noise, or the meter wants another --baud or --no-parity")


async def sign_on(port: SerialPort, client: Client, address: str, timeout_s: float) -> Identification:
    """Wake the meter and return who it is."""
    try:
        event = await ask(port, client, SignOn(address), timeout_s)
    except NoReplyError as error:
        raise NoReplyError(
            f"{port.settings.port}: nobody answers the sign-on at 300 baud ({error}); is the optical head on the "
            "meter, the right way round? Does it want an address (--sign-on, --address)? Does it speak "
            "HDLC at once, without --mode-e?"
        ) from error
    if not isinstance(event, Identified):
        raise RemoteProtocolError(f"found {type(event).__name__}, expected an identification")
    return event.identification


async def enter_hdlc(port: SerialPort, address: str, baud_max: int, timeout_s: float) -> Identification:
    """Sign on and switch to HDLC (mode E) at the highest speed both know; return who the meter is."""
    if baud_max < BAUD_FIRST:
        raise UsageError(f"--baud {baud_max}: expected at least 300")
    client = Client()
    said = await sign_on(port, client, address, timeout_s)
    if not said.waits_for_selection:
        raise RemoteProtocolError(
            f"meter {said.manufacturer} {said.text}: baud character {said.baud_character!r} is of mode A or B; "
            "it has no HDLC, try `congto iec62056-21 read`"
        )
    await asyncio.sleep(SETTLING_S)
    event = await ask(port, client, Select(Mode.HDLC, baud_max), min(timeout_s, SETTLING_S))
    if isinstance(event, Refused) or not isinstance(event, HdlcBegins):
        raise RemoteProtocolError(f"meter {said.manufacturer} {said.text} does not switch to HDLC")
    port.discard()
    return said
