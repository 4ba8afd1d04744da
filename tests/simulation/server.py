"""A stub of the ingest server and its database: commits whole messages, gives receipts, may be restored from a backup.

It stores a reading once by its key, keeps a conflict beside it, and never overwrites: as the real one does. Beyond
that it watches the agent: one sequence of a generation never means two batches, one key never two values.

After a restore, and whenever numbers are missing below the highest it has seen, it asks for them again, and again,
until they have come or are declared lost: fifteen times and with waits that double up to two minutes, as the real one
does with waits up to a day (``ingest_server/pipeline/asking.py``). After a restore all above what the backup has is
asked for, until something above it has come: then only the gaps that this leaves are. A server that asks for no gaps
does so for those that a restore has made, and for no others: what an agent has never sent it must send by itself.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

from protocols.errors import RemoteProtocolError
from protocols.telemetry.event import decode_events
from protocols.telemetry.loss import Loss, decode_loss, is_loss
from protocols.telemetry.reading import Reading
from protocols.telemetry.readings import decode_readings
from protocols.telemetry.receipt import Receipt, decode_status
from protocols.telemetry.resend import Resend
from protocols.telemetry.sequences import SEQUENCE_MAX, Ranges, ranges

Key = tuple[str, str, int]
ASKS_MAX = 15  # ingest_server.pipeline.asking.TIMES_MAX
ASK_FIRST_S, ASK_LAST_S = 15.0, 120.0


@dataclass(slots=True)
class Request:
    """Of a generation something is to be asked for: how often that was done, when last, when again."""

    watermark: int | None = None  # all above it, until something above it comes
    times: int = 0
    asked_s: float = -1.0
    due_s: float = 0.0


@dataclass(slots=True)
class Database:
    """What is committed: readings by key; the sequences that came or were declared lost, by generation; conflicts."""

    readings: dict[Key, tuple[int, int]] = field(default_factory=dict)
    settled: dict[str, set[int]] = field(default_factory=dict)
    conflicts: list[tuple[Reading, int]] = field(default_factory=list)

    def copy(self) -> "Database":
        """Return a backup."""
        settled = {generation: set(found) for generation, found in self.settled.items()}
        return Database(dict(self.readings), settled, list(self.conflicts))


class Server:
    """Takes messages from the broker in order, commits, gives receipts."""

    def __init__(self, gateway: str, send: Callable[[bytes], None]) -> None:
        self._gateway = gateway
        self._send = send
        self.database = Database()
        self.backup = Database()
        self.rng = Random(0)
        self.receipts_lost = 0.0
        self.asks_for_gaps = True
        self.messages = 0
        self.losses: list[Loss] = []
        self.reused: list[tuple[str, Ranges]] = []
        self.refused: list[str] = []
        self._contents: dict[tuple[str, Ranges], tuple[Reading, ...]] = {}
        self._generations: dict[str, None] = {}  # those known, in the order of their coming
        self._had: dict[str, set[int]] = {}  # what was there before a restore, by generation
        self.requests: dict[str, Request] = {}

    def take(self, payloads: Iterable[bytes]) -> None:
        """Commit what these messages of readings and losses carry, in one transaction, and say so."""
        done: dict[str, set[int]] = {}
        for payload in payloads:
            self.messages += 1
            try:
                generation, settles = self._take(payload)
            except RemoteProtocolError as error:
                self.refused.append(str(error))
                continue
            self._generations.setdefault(generation)
            numbers = {number for first, last in settles for number in range(first, last + 1)}
            self.database.settled.setdefault(generation, set()).update(numbers)
            done.setdefault(generation, set()).update(numbers)
        for generation, numbers in done.items():
            self._receipt(Receipt(self._gateway, generation, ranges(numbers)))

    def _take(self, payload: bytes) -> tuple[str, Ranges]:
        if is_loss(payload):
            loss = decode_loss(payload)
            self.losses.append(loss)
            return loss.generation, loss.sequences
        batch = decode_readings(payload)
        self._store_batch(batch.generation, batch.header.settles, tuple(batch.readings()))
        return batch.generation, batch.header.settles

    def take_events(self, payload: bytes) -> None:
        """Give a receipt for a message of events."""
        header = decode_events(payload).header
        self._receipt(Receipt(self._gateway, header.generation, (), ((header.sequence, header.sequence),)))

    def take_status(self, payload: bytes) -> None:
        """Learn of a generation."""
        if any(known.encode() in payload for known in self._generations):
            return
        with suppress(RemoteProtocolError):  # before its clock is set a gateway says a time that the contract has not
            self._generations.setdefault(decode_status(payload).generation)

    def back_up(self) -> None:
        """Keep the present state."""
        self.backup = self.database.copy()

    def restore(self) -> None:
        """Go back to the backup."""
        for generation, numbers in self.database.settled.items():
            self._had.setdefault(generation, set()).update(numbers)
        self.database = self.backup.copy()
        self.requests = {generation: Request(self._highest(generation)) for generation in self._generations}

    def gaps(self, generation: str) -> Ranges:
        """Return which numbers are missing below the highest that has come."""
        settled = self.database.settled.get(generation, set())
        return ranges(set(range(1, max(settled, default=0) + 1)) - settled)

    def lacks(self) -> set[str]:
        """Return the generations that have gaps for which it asks, or will."""
        asked = [each for each in self._generations if each in self.requests or self._notes_gaps(each)]
        return {each for each in asked if self.requests.get(each, Request()).times < ASKS_MAX and self.gaps(each)}

    def lacks_end(self, generation: str) -> bool:
        """Say whether it had more than the highest number that it has, and asks for none of that: only what comes next
        shows it that there is a gap.
        """
        request = self.requests.get(generation)
        had = max(self._had.get(generation, set()), default=0)
        return (request is None or request.watermark is None) and had > self._highest(generation)

    def _notes_gaps(self, generation: str) -> bool:
        """Say whether there are gaps for which it asks unbidden."""
        had = self._had.get(generation, set())
        gaps = self.gaps(generation)
        return bool(gaps) and (
            self.asks_for_gaps or any(first <= number <= last for first, last in gaps for number in had)
        )

    def ask_again(self, now_s: float) -> None:
        """Ask for what is missing and due."""
        for generation in self._generations:
            request, gaps = self.requests.get(generation), self.gaps(generation)
            if request is not None and self._has_answered(generation, request):
                request.watermark = None
            if request is None and self._notes_gaps(generation):
                request = self.requests[generation] = Request()
            if request is None:
                continue
            if request.watermark is None and not gaps:
                del self.requests[generation]
            elif request.times < ASKS_MAX and request.due_s <= now_s:
                self._ask(generation, request, gaps, now_s)

    def _ask(self, generation: str, request: Request, gaps: Ranges, now_s: float) -> None:
        if request.watermark is not None:
            gaps += ((request.watermark + 1, SEQUENCE_MAX),)
        request.due_s = now_s + min(ASK_FIRST_S * 2**request.times, ASK_LAST_S)
        request.times, request.asked_s = request.times + 1, now_s
        self._send(Resend(self._gateway, generation, gaps).encode())

    def _has_answered(self, generation: str, request: Request) -> bool:
        """Say whether something above the watermark came since it was asked for (the real one's FORGET_WATERMARKS)."""
        watermark = request.watermark
        return watermark is not None and (request.times > 0 or watermark == 0) and watermark < self._highest(generation)

    def _highest(self, generation: str) -> int:
        return max(self.database.settled.get(generation, set()), default=0)

    def _receipt(self, receipt: Receipt) -> None:
        if self.rng.random() >= self.receipts_lost:
            self._send(receipt.encode())

    def _store_batch(self, generation: str, settles: Ranges, readings: tuple[Reading, ...]) -> None:
        if self._contents.setdefault((generation, settles), readings) != readings:
            self.reused.append((generation, settles))
        settled = self.database.settled.get(generation, set())
        if all(number in settled for first, last in settles for number in range(first, last + 1)):
            return  # by its numbers: as the real server does, whose duplicates cost nothing
        for reading in readings:
            key = (reading.meter, reading.obis, reading.measured_at_ms)
            stored = self.database.readings.setdefault(key, (reading.value, reading.quality))
            if stored[0] != reading.value:
                self.database.conflicts.append((reading, stored[0]))
