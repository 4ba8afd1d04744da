"""A serial port that tells what passes by characters: the sign-on of IEC 62056-21, readouts and programming mode.

Parity bits are left out, control characters are named, and what stands in a password command is not shown, neither when
it goes out nor when the optical head echoes it.
"""

import re
from collections.abc import Callable

from edge_agent.dlms_tool.secrecy import NOT_SHOWN
from edge_agent.dlms_tool.serial_port import SerialPort
from edge_agent.serial_line import LineSettings

_NAMES = {0x01: "SOH", 0x02: "STX", 0x03: "ETX", 0x04: "EOT", 0x06: "ACK", 0x0A: "LF", 0x0D: "CR", 0x15: "NAK"}
_ENDS = re.compile(rb".*?(?:\n|\x03.|\x04.|\x15)", re.DOTALL)  # a line, a block with its check, a refusal
_PASSWORD = re.compile(r"(P[1-9]<STX>\().*?(\)|$)")  # P1 and P2 carry passwords (IEC 62056-21)
_MEANINGS = (
    (re.compile(r"^/\?"), "sign-on"),
    (re.compile(r"^/[A-Za-z]{3}"), "identification"),
    (re.compile(r"^<ACK>...<CR>"), "selection of speed and mode"),
    (re.compile(r"^<SOH>P0"), "programming mode: the meter asks for a password"),
    (re.compile(r"^<SOH>P"), "password"),
    (re.compile(r"^<SOH>R"), "read command"),
    (re.compile(r"^<SOH>B0"), "break"),
    (re.compile(r"^<ACK>$"), "accepted"),
    (re.compile(r"^<NAK>$"), "not understood: again, please"),
)


class TracedPort(SerialPort):
    """The port; ``tell`` takes lines."""

    def __init__(self, settings: LineSettings, tell: Callable[[str], None]) -> None:
        super().__init__(settings)
        self._tell: Callable[[str], None] = tell
        self._tells = True
        self._heard = bytearray()

    async def write(self, data: bytes) -> None:
        """Send ``data`` and tell it."""
        self._flush()
        if data and self._tells:
            self._show("->", data)
        await super().write(data)

    async def read(self, deadline: float) -> bytes:
        """Return what has come, and tell it when a line or a block of it is whole."""
        data = await super().read(deadline)
        self._heard += data if self._tells else b""
        while (found := _ENDS.match(bytes(byte & 0x7F for byte in self._heard))) is not None:
            self._show("<-", bytes(self._heard[: found.end()]))
            del self._heard[: found.end()]
        return data

    async def change_baud(self, baud: int) -> None:
        """Go to another speed and tell it."""
        self._flush()
        if baud != self.settings.baud and self._tells:
            self._tell(f"-- {baud} baud")
        await super().change_baud(baud)

    def close(self) -> None:
        """Tell the rest and close."""
        self._flush()
        super().close()

    def stop_telling(self) -> None:
        """Tell no more: what follows is no longer by characters."""
        self._flush()
        self._tells = False

    def _flush(self) -> None:
        if self._heard:
            self._show("<-", bytes(self._heard))
            self._heard.clear()

    def _show(self, arrow: str, octets: bytes) -> None:
        text = characters_of(octets)
        meaning = next((words for pattern, words in _MEANINGS if pattern.search(text)), "")
        self._tell(f"{arrow} {text}{f'   {meaning}' if meaning else ''}")


def characters_of(octets: bytes) -> str:
    """Return octets as characters without their parity bits, control characters by their names, without passwords."""
    plain = (octet & 0x7F for octet in octets)
    text = "".join(f"<{_NAMES.get(one, f'{one:02x}')}>" if one < 0x20 or one == 0x7F else chr(one) for one in plain)
    return _PASSWORD.sub(rf"\g<1>{NOT_SHOWN}\g<2>", text)
