"""A serial line as one meter's settings make it: the port is set anew when another meter had it.

Meters of several speeds, parities and protocols on one pair of wires take turns; a question at one speed is noise at
the others, which every protocol here throws away. Before the port is set, all that was sent is let out, and the silence
that ends a frame at the slower of both speeds is kept, so that no meter takes two questions for one.
"""

from dataclasses import replace

from edge_agent.serial_line import LineSettings, SerialLine

SILENCE_CHARACTERS = 3.5  # Modbus over Serial Line V1.02, section 2.5.1.1; HDLC and IEC 62056-21 need no more


class TunedLine:
    """The line at ``settings``. Several share one :class:`SerialLine`; one of them is used at a time."""

    def __init__(self, line: SerialLine, settings: LineSettings) -> None:
        self.settings = settings
        self._line = line

    async def tune(self, settings: LineSettings | None = None) -> None:
        """See to it that the port is set as it is for this meter, or to ``settings`` for a while."""
        wanted, now = settings or self.settings, self._line.settings
        if replace(wanted, port=now.port) != now:
            slower_s = max(wanted.character_s, now.character_s)
            await self._line.keep_silence(SILENCE_CHARACTERS * slower_s)
            await self._line.set(wanted)
            self._line.discard()  # it was said at another speed
        if settings is not None:
            self.settings = settings

    async def switch(self, baud: int) -> None:
        """Go to another speed in the middle of a conversation, as soon as all that was sent is out."""
        self.settings = replace(self.settings, baud=baud)
        await self._line.set(self.settings)

    async def keep_silence(self, silence_s: float) -> None:
        """Wait until nothing has been on the line for ``silence_s``."""
        await self.tune()
        await self._line.keep_silence(silence_s)

    def discard(self) -> int:
        """Throw away what has come and nobody waited for."""
        return self._line.discard()

    async def write(self, data: bytes) -> None:
        """Send ``data``."""
        await self.tune()
        await self._line.write(data)

    async def read(self, deadline: float) -> bytes:
        """Return what has come; raise as :meth:`edge_agent.serial_line.SerialLine.read` does."""
        return await self._line.read(deadline)

    async def recover(self) -> None:
        """Forget what came before."""
        await self._line.recover()

    def character_s(self) -> float:
        """Return how long one octet is on the line."""
        return self.settings.character_s

    def close(self) -> None:
        """Close the line for all that share it."""
        self._line.close()
