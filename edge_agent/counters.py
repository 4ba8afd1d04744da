"""The invocation counters of one meter's key: reserved on disk before they are used, handed from session to session.

A counter used twice under one key gives the plaintext of both messages away, so what is not certain is not used: a
block of counters is on the disk before its first one is on the line, and after a crash the rest of the block is lost.
When the file is lost or damaged the meter is asked, as public client, for the last counter it accepted from us; what
was sent and never reached it may lie beyond that, hence :data:`RECOVERY_MARGIN`.

What the meter has counted itself is kept in memory, and on the disk with each block and at most once in
:data:`STORE_EVERY_S`, to spare flash: after a crash an answer of the last minutes could be played to us again.

The file is that of :class:`edge_agent.dlms_tool.counters.CounterFile`, one for each key and not for each meter: meters
that share a key, which they should not, share its counter, for it is under the key that none may be used twice. A lock
keeps buses, and ``congto dlms --counters`` with the same file, apart.
"""

import asyncio
import contextlib
import hashlib
import secrets
from pathlib import Path

from edge_agent.dlms_tool.counters import CounterFile
from protocols.dlms.ciphering import COUNTER_MAX
from protocols.dlms.client import DlmsClient
from protocols.errors import RemoteProtocolError, UnavailableError, UsageError

RECOVERY_MARGIN = 4096  # sixteen blocks: nobody has so many messages on the way that never arrive
RECOVERED_MAX = COUNTER_MAX - (1 << 24)  # an answer in the clear, which may be forged, must not use the counter up
LOW_WATER = 16  # an exchange takes a counter with each message; it is topped up before the rest is so small
STORE_EVERY_S = 600.0


class Lease:
    """One meter's counters. Belongs to one task; the disk is waited for on a thread."""

    def __init__(self, directory: Path, meter: str, key: bytes, title: bytes) -> None:
        self.path = _path(directory, key)
        self._name = hashlib.sha256(meter.encode()).digest()[:8]
        self._file = CounterFile(self.path, key, title)
        self._loop = asyncio.get_running_loop()
        self._range = range(0)
        self._received = -1
        self._loaded = False
        self._stored_at = -STORE_EVERY_S
        self._doubtful = False

    def doubt(self) -> None:
        """Hear that the meter refused an association: our counter may be behind, as of a file from a backup."""
        self._doubtful = True

    async def needs_recovery(self, *, can_ask: bool) -> bool:
        """Whether the meter must be asked for the counter.

        That is so if nothing is known of it (a new meter, or a file that is lost; a damaged one is set aside), and
        after a refusal if the meter can be asked.
        """
        if self._doubtful and can_ask:
            return True
        if self._range:
            return False
        try:
            return not await asyncio.to_thread(self._is_known)
        except UsageError:
            aside = self.path.with_name(f"{self.path.name}.damaged-{secrets.token_hex(4)}")
            with contextlib.suppress(OSError):
                self.path.replace(aside)
            return True

    def _is_known(self) -> bool:
        try:
            self.path.parent.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise UnavailableError(f"{self.path.parent}: can't be made: {error.strerror}; see to the disk") from error
        return self._file.is_known

    async def recover(self, last_accepted: int) -> None:
        """Go on beyond the counter that the meter says it accepted last; one that is behind ours changes nothing."""
        if not 0 <= last_accepted <= RECOVERED_MAX:
            raise RemoteProtocolError(
                f"the meter says that our invocation counter is {last_accepted}: nearly used up, or forged; "
                "give the meter new keys, or compare with its display"
            )
        self._doubtful = False
        if not self._range or last_accepted >= self._range.start:
            await self._reserve(last_accepted + 1 + RECOVERY_MARGIN)

    async def take(self) -> range:
        """Return the counters that a new association may use."""
        if len(self._range) < LOW_WATER:
            await self._reserve()
        return self._range

    async def top_up(self, client: DlmsClient) -> None:
        """Before the next message: see to it that there are counters for it.

        Another program may have reserved the block after ours; then the association ends with what it has, and
        :class:`RemoteProtocolError` says so.
        """
        self.note(client)
        if len(self._range) >= LOW_WATER:
            return
        stop = self._range.stop
        rest = self._range
        await self._reserve()
        if self._range.start != stop:
            raise RemoteProtocolError("the association's invocation counters are used up; it is opened anew")
        self._range = range(rest.start, self._range.stop)
        assert client.protection is not None
        client.protection.reserve(self._range.stop)

    def note(self, client: DlmsClient) -> None:
        """Take over what ``client`` has used and accepted."""
        protection = client.protection
        if protection is None:
            return
        if protection.next_counter > self._range.start:
            self._range = range(min(protection.next_counter, self._range.stop), self._range.stop)
        self._received = max(self._received, protection.received_counter)

    async def received(self) -> int:
        """Return the highest counter accepted from the meter, -1 if none was."""
        if not self._loaded:
            self._received = max(self._received, await asyncio.to_thread(self._file.received, self._name))
            self._loaded = True
        return self._received

    async def store(self, *, now: bool = False) -> None:
        """Keep on the disk what was accepted, if it is time for it."""
        if self._range.stop and self._received >= 0 and (now or self._loop.time() - self._stored_at >= STORE_EVERY_S):
            self._stored_at = self._loop.time()
            await asyncio.to_thread(self._store)

    def _store(self) -> None:
        # The stop, and not what is used: what we hold is not given back.
        self._file.close(self._range.stop, self._name, self._received)

    async def _reserve(self, at_least: int = 0) -> None:
        self._range = await asyncio.to_thread(self._file.reserve, at_least)
        await self.store(now=True)


def begin_at(directory: Path, key: bytes, title: bytes, number: int) -> None:
    """Begin a key's counter at ``number``; it never goes back. Raise :class:`UsageError`."""
    if not 0 <= number <= RECOVERED_MAX:
        raise UsageError(f"found {number}; expected a counter from 0 to {RECOVERED_MAX}")
    directory.mkdir(mode=0o700, exist_ok=True)
    file = CounterFile(_path(directory, key), key, title)
    first = file.reserve(number).start
    file.close(first, None, -1)


def _path(directory: Path, key: bytes) -> Path:
    """Return where the counter of ``key`` is; its name says nothing about a random key."""
    return directory / f"{hashlib.sha256(b'congto counter file' + key).hexdigest()[:16]}.json"
