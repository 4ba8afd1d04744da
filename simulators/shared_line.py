"""Several protocols on one pair of wires: IEC 62056-21 meters and others, each group at its own speed.

A pseudo-terminal knows the speed that its user has set, so here, as on a wire, meters hear only what is sent at theirs.
Sign-on meters hear 300 baud and what was agreed with them.
"""

import termios
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from simulators.iec62056_21.meters import CharacterLine
from simulators.serial_line import LineSettings, SerialLine

_BAUDS = {
    getattr(termios, f"B{baud}"): baud for baud in (300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)
}


class SharedLine(CharacterLine):
    """The line; meters that are signed on to are added to it, others get a :class:`Tap` of theirs."""

    def __init__(self, link: Path, now_ms: Callable[[], int], turnaround_s: float, *, paced: bool) -> None:
        super().__init__(link, LineSettings(300, "N", 1, paced=paced), now_ms, turnaround_s)
        self._taps: list[Tap] = []
        SerialLine.listen(self, self._route)

    def tap(self, settings: LineSettings) -> "Tap":
        """Return a place on the line for meters that speak at ``settings``."""
        tap = Tap(self, settings)
        self._taps.append(tap)
        return tap

    def set_pace(self, settings: LineSettings) -> None:
        """Let octets take as long as they do at ``settings``."""
        self.settings = replace(settings, paced=self.settings.paced)

    @staticmethod
    def knows(baud: int) -> bool:
        """Whether a terminal can be set to ``baud``, so that it can be told from others."""
        return baud in _BAUDS.values()

    @property
    def baud_set(self) -> int:
        """The speed that the user of the terminal has set."""
        return _BAUDS.get(termios.tcgetattr(self._slave)[4], 0)

    def _on_readable(self) -> None:
        baud = self.baud_set
        self.settings = replace(self.settings, baud=baud or self.settings.baud)
        super()._on_readable()

    def _route(self, data: bytes) -> None:
        baud = self.baud_set
        for tap in self._taps:
            if tap.settings.baud == baud:
                tap.receive(data)
        if self.hears(baud):
            self._dispatch(data)


class Tap(SerialLine):
    """What a group of meters sees of the line: a line at their speed, without a terminal of its own."""

    def __init__(self, line: SharedLine, settings: LineSettings) -> None:
        self.settings = settings
        self._line = line
        self._receive: Callable[[bytes], None] | None = None

    def listen(self, receive: Callable[[bytes], None]) -> None:
        """Hand what comes at this speed to ``receive``."""
        self._receive = receive

    def receive(self, data: bytes) -> None:
        """Hand octets on."""
        if self._receive is not None:
            self._receive(data)

    def send(self, *chunks: bytes, pause_s: float = 0.0, between_s: float = 0.0) -> None:
        """Send at this speed."""
        self._line.set_pace(self.settings)
        self._line.send(*chunks, pause_s=pause_s, between_s=between_s)
