"""The messages of IEC 62056-21, 6.3: sign-on, identification, option select, data, commands; and the block check.

All are ASCII. Blocks between STX or SOH and ETX end in a block check character (BCC), the exclusive or of everything
after the opening character up to and with ETX (ISO 1155).
"""

import re
from dataclasses import dataclass
from enum import Enum
from functools import reduce
from operator import xor
from typing import Final

from protocols.errors import LocalProtocolError, RemoteProtocolError

SOH, STX, ETX, EOT, ACK, NAK = 0x01, 0x02, 0x03, 0x04, 0x06, 0x15
LINE_END: Final = b"\r\n"
ADDRESS_CHARACTERS_MAX = 32  # IEC 62056-21, 6.3.1, device address
IDENTIFICATION_CHARACTERS_MAX = 16  # IEC 62056-21, 6.3.2
BAUD_FIRST = 300  # IEC 62056-21, 6.4.1: every session of modes A, B, C and E begins at 300 baud

# IEC 62056-21, 6.3.14.13, baud rate identification of protocol modes C and E.
BAUDS: Final[dict[str, int]] = {"0": 300, "1": 600, "2": 1200, "3": 2400, "4": 4800, "5": 9600, "6": 19200}
# The same clause, protocol mode B: the meter goes on at this rate by itself.
BAUDS_B: Final[dict[str, int]] = {"A": 600, "B": 1200, "C": 2400, "D": 4800, "E": 9600, "F": 19200}

_IDENTIFICATION = re.compile(rb"/([A-Za-z]{3})([ -~])((?:\\[ -~])*)([ -~]*)\r\n", re.DOTALL)
_HDLC_ESCAPE = "\\2"  # IEC 62056-21, 6.3.14.24: the enhanced identification of protocol mode E with HDLC


class Mode(Enum):
    """Mode control character Y of the option select message, with protocol control character V (6.3.3)."""

    READOUT = "00"
    PROGRAMMING = "01"
    HDLC = "22"


@dataclass(frozen=True, slots=True)
class Identification:
    """What a meter says to the sign-on: its maker (FLAG id), how fast it can, its type.

    ``baud_character`` is Z of the message; ``escapes`` are the enhanced identifications (``\\2`` is HDLC).
    """

    manufacturer: str
    baud_character: str
    text: str
    escapes: str = ""

    @property
    def baud(self) -> int:
        """The rate that the meter offers; 300 when its character names none (protocol mode A)."""
        return BAUDS.get(self.baud_character) or BAUDS_B.get(self.baud_character, BAUD_FIRST)

    @property
    def waits_for_selection(self) -> bool:
        """Whether the meter waits for an option select message (modes C and E)."""
        return self.baud_character in BAUDS

    @property
    def offers_hdlc(self) -> bool:
        """Whether the meter says that it knows protocol mode E with HDLC. Some know it and do not say so."""
        return _HDLC_ESCAPE in self.escapes

    def encode(self) -> bytes:
        """Return the message."""
        if len(self.text) > IDENTIFICATION_CHARACTERS_MAX or not re.fullmatch(r"[ -~]*", self.text):
            raise LocalProtocolError(f"identification {self.text!r}: expected at most 16 printable ASCII characters")
        return f"/{self.manufacturer}{self.baud_character}{self.escapes}{self.text}\r\n".encode("ascii")


def decode_identification(octets: bytes) -> Identification:
    """Decode an identification message; RemoteProtocolError when it is none."""
    match = _IDENTIFICATION.fullmatch(octets)
    if match is None:
        found = octets[:40].decode("ascii", "backslashreplace")
        raise RemoteProtocolError(f"found {found!r}, expected an identification such as /ABC5type and CR LF")
    manufacturer, baud, escapes, text = (part.decode("ascii") for part in match.groups())
    if len(text) > IDENTIFICATION_CHARACTERS_MAX:
        raise RemoteProtocolError(f"an identification of {len(text)} characters, at most 16 are allowed")
    return Identification(manufacturer, baud, text, escapes)


def encode_sign_on(address: str = "") -> bytes:
    """Return the request message to the meter ``address``, or to whichever is there."""
    if len(address) > ADDRESS_CHARACTERS_MAX or not re.fullmatch(r"[0-9A-Za-z ]*", address):
        raise LocalProtocolError(f"device address {address!r}: expected at most 32 digits, letters and spaces")
    return b"/?" + address.encode("ascii") + b"!" + LINE_END


def encode_selection(mode: Mode, baud_character: str) -> bytes:
    """Return the option select message: ACK, protocol, baud rate, mode."""
    if baud_character not in BAUDS:
        raise LocalProtocolError(f"baud rate character {baud_character!r}: expected one of {''.join(BAUDS)}")
    return bytes((ACK,)) + (mode.value[0] + baud_character + mode.value[1]).encode("ascii") + LINE_END


def block_check(octets: bytes) -> int:
    """Return the BCC over ``octets``, which are everything after STX or SOH up to and with ETX."""
    return reduce(xor, octets, 0) & 0x7F


def encode_data(content: bytes) -> bytes:
    """Return a data message: STX, ``content``, ETX, BCC."""
    body = content + bytes((ETX,))
    return bytes((STX,)) + body + bytes((block_check(body),))


def encode_readout(lines: bytes) -> bytes:
    """Return a whole readout; ``lines`` end in CR LF each."""
    return encode_data(lines + b"!" + LINE_END)


@dataclass(frozen=True, slots=True)
class Command:
    """A programming command (6.3.6): letter and number (``R5``, ``W5``, ``P1``, ``B0``), and its data set."""

    name: str
    content: str | None = None

    def encode(self) -> bytes:
        """Return SOH, name, STX and data set unless there is none, ETX, BCC."""
        if not re.fullmatch(r"[A-Z][0-9]", self.name) or not re.fullmatch(r"[ -~]*", self.content or ""):
            raise LocalProtocolError(f"command {self.name}: expected a letter and a digit, and printable ASCII")
        body = self.name.encode("ascii")
        if self.content is not None:
            body += bytes((STX,)) + self.content.encode("ascii")
        body += bytes((ETX,))
        return bytes((SOH,)) + body + bytes((block_check(body),))


def decode_command(body: bytes) -> Command:
    """Decode what is between SOH and ETX; RemoteProtocolError when it is no command."""
    match = re.fullmatch(rb"([A-Z][0-9])(?:\x02([ -~]*))?", body)
    if match is None:
        raise RemoteProtocolError(f"found {body[:20]!r} after SOH, expected a command such as P0 and a data set")
    name, content = match.groups()
    return Command(name.decode("ascii"), None if content is None else content.decode("ascii"))
