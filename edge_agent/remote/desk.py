"""Takes commands from the server, has them carried out, and answers: once for each key, whatever is killed or repeated.

A message is judged in the order of its coming (contract, gateway, key, rights, expiry) and then carried out in a task
of its own, so a slow meter holds up nobody else's command. Refusals are recorded like answers: what was refused once
is not done when the same message comes again.
"""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from edge_agent.bus import unless_stopped
from edge_agent.connection import Say
from edge_agent.log import EventLog, Recurring
from edge_agent.policy import CLOCK_SANE_FROM_MS
from edge_agent.remote.actions import Begin, Done, ExpiredError, refused
from edge_agent.remote.journal import Entry, Journal, State, digest_of
from protocols.errors import CongtoError, RemoteProtocolError, UnavailableError
from protocols.telemetry.command import HARMLESS, Asked, Command, Kind, decode_command
from protocols.telemetry.event import MeterEvent
from protocols.telemetry.reply import ClockState, Outcome, Reply
from protocols.telemetry.topics import Kind as TopicKind

T = TypeVar("T")
WAITING_MAX = 64  # commands under way or waiting; a person asks for one at a time
INBOX_MAX = 256
INBOX_OCTETS_MAX = 4 << 20
FAREWELL_S = 2.0
JOURNAL_PAUSE_S = 10.0


class Performer(Protocol):
    """What carries commands out."""

    async def perform(self, asked: Asked, begin: Begin) -> Done:
        """Do what is asked; ``begin`` is awaited before anything can have an effect."""
        ...

    async def resume(self, asked: Asked) -> Done:
        """Answer for what was begun before a restart: read back what became of it, repeat nothing."""
        ...

    async def keep(self, events: tuple[MeterEvent, ...]) -> None:
        """Spool the events of a command."""
        ...

    def allowed(self) -> frozenset[Kind]:
        """Return the kinds that the configuration allows now."""
        ...

    def status(self) -> Mapping[str, object]:
        """Return what the status message says of the agent."""
        ...


class CommandDesk:
    """The correspondent of the publisher that carries out commands (:mod:`edge_agent.connection`)."""

    kinds = frozenset({TopicKind.COMMANDS})

    def __init__(
        self,
        gateway: str,
        journal: Journal,
        performer: Performer,
        log: EventLog,
        *,
        now_ms: Callable[[], int],
    ) -> None:
        self._gateway = gateway
        self._journal = journal
        self._performer = performer
        self._log = log
        self._recurring = Recurring(log)
        self._now_ms = now_ms
        self._thread = ThreadPoolExecutor(1, "commands")
        self._loop = asyncio.get_running_loop()
        self._inbox: asyncio.Queue[bytes] = asyncio.Queue()
        self._inbox_octets = 0
        self._answered = asyncio.Event()
        self._under_way: set[str] = set()
        self._tasks: set[asyncio.Future[None]] = set()
        self._lost_at_ms = journal.lost_at_ms()
        self.connected = False
        self._loose: list[bytes] = []  # answers that are not recorded, for there is no command that they belong to

    def take(self, kind: TopicKind, payload: bytes) -> None:  # noqa: ARG002 - there is one kind
        """Take a message; what comes faster than it is judged is dropped, and asked again by whoever waits."""
        if self._inbox.qsize() < INBOX_MAX and self._inbox_octets + len(payload) <= INBOX_OCTETS_MAX:
            self._inbox.put_nowait(payload)
            self._inbox_octets += len(payload)
        else:
            self._recurring.failed("commands", "command.flooded", waiting=self._inbox.qsize())

    def status(self) -> Mapping[str, object]:
        """Return what the status message says of the buses."""
        return self._performer.status()

    async def converse(self, say: Say) -> None:
        """Send the answers that the broker does not have yet."""
        self.connected = True
        self._answered.set()
        try:
            await self._tell(say)
        finally:
            self.connected = False

    async def _tell(self, say: Say) -> None:
        while True:
            await self._answered.wait()
            self._answered.clear()
            while self._loose:
                await say(TopicKind.REPLIES, self._loose[0])
                self._loose.pop(0)
            while waiting := await self._untold():
                for key, payload in waiting:
                    await say(TopicKind.REPLIES, payload)
                    await self._told(key)

    async def _untold(self) -> list[tuple[str, bytes]]:
        try:
            return await self._do(self._journal.untold)
        except UnavailableError as error:
            self._recurring.failed("journal", "command.not_recorded", reason=error)
            return []

    async def _told(self, key: str) -> None:
        try:
            await self._do(lambda: self._journal.told(key))
        except UnavailableError as error:
            self._recurring.failed("journal", "command.not_recorded", reason=error)
            await asyncio.sleep(JOURNAL_PAUSE_S)  # it would be told again and again

    async def run(self, stop: asyncio.Event) -> None:
        """Answer for what a restart has cut off, then judge what comes, until ``stop``."""
        try:
            for entry in await self._do(self._journal.unfinished):
                self._start(decode_command(entry.payload), entry)
            while not stop.is_set():
                await unless_stopped(self._judge_next(), stop)
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=FAREWELL_S)
        finally:
            for task in self._tasks:  # what was begun is read back after the next start
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _judge_next(self) -> None:
        payload = await self._inbox.get()
        self._inbox_octets -= len(payload)
        try:
            await self._judge(payload)
        except UnavailableError as error:
            self._recurring.failed("journal", "command.not_recorded", reason=error)

    def close(self) -> None:
        """Finish what the thread has begun, then close the journal."""
        self._thread.shutdown()
        self._journal.close()

    async def _judge(self, payload: bytes) -> None:
        try:
            command = decode_command(payload)
        except RemoteProtocolError as error:
            self._recurring.failed("commands", "command.not_understood", reason=error)
            return
        fields = {"kind": command.kind.value, "key": command.key}
        if command.gateway != self._gateway:
            self._log.warning("command.for_another", **fields, gateway=command.gateway)
            self._answer_loosely(command, f"this is gateway {self._gateway}, the command is for {command.gateway}")
            return
        known = await self._do(lambda: self._journal.find(command.key))
        if known is not None:
            await self._repeat(command, payload, known)
            return
        now_ms = self._now_ms()
        try:
            taken = await self._do(lambda: self._journal.receive(command.key, payload, command.expires_ms, now_ms))
        except UnavailableError as error:
            self._recurring.failed("journal", "command.not_recorded", reason=error)
            self._answer_loosely(command, str(error))
            return
        self._recurring.recovered("journal", "command.not_recorded", "command.recorded")
        if not taken:
            self._answer_loosely(command, "the journal of commands is full; wait until older ones have expired")
            return
        self._log.info("command.received", **fields)
        verdict = self._verdict(command)
        if verdict is not None:
            await self._finish(command, verdict)
        else:
            self._start(command, None)

    async def _repeat(self, command: Command, payload: bytes, known: Entry) -> None:
        if known.digest != digest_of(payload):
            self._log.warning("command.key_reused", key=command.key)
            self._answer_loosely(command, "this key came before with other content; take a new one")
        elif known.reply is not None:
            await self._do(lambda: self._journal.tell_again(command.key))
            self._answered.set()

    def _verdict(self, command: Command) -> Done | None:
        """Return why nothing is begun, or None."""
        if command.kind not in self._performer.allowed():
            return refused(f"{command.kind.value} is not allowed here; see [commands] in the gateway's configuration")
        if self._clock_state() is ClockState.UNSET:
            return refused("the gateway's clock is not set, so it can't tell whether the command has expired")
        if self._now_ms() >= command.expires_ms:
            return Done(Outcome.EXPIRED, _late(command, self._now_ms()))
        if command.kind not in HARMLESS and self._lost_at_ms is not None and command.at_ms <= self._lost_at_ms:
            return refused("the gateway's journal was lost since; whether this was done is not known: look, ask anew")
        if len(self._under_way) >= WAITING_MAX:
            return refused(f"{WAITING_MAX} commands are under way; ask again later")
        return None

    def _start(self, command: Command, cut_off: Entry | None) -> None:
        self._under_way.add(command.key)
        task = asyncio.ensure_future(self._carry_out(command, cut_off))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry_out(self, command: Command, cut_off: Entry | None) -> None:
        try:
            done = await self._outcome(command, cut_off)
            await self._performer.keep(done.events)
            await self._finish(command, done)
        except UnavailableError as error:  # the disk: nothing is answered that is not recorded
            self._recurring.failed("journal", "command.not_recorded", reason=error)
        finally:
            self._under_way.discard(command.key)

    async def _outcome(self, command: Command, cut_off: Entry | None) -> Done:
        async def begin() -> None:
            if self._now_ms() >= command.expires_ms:
                raise ExpiredError
            if command.kind not in HARMLESS:
                await self._do(lambda: self._journal.begin(command.key))

        try:
            if cut_off is not None and cut_off.state is State.BEGUN:
                return await self._performer.resume(command.asked)
            verdict = self._verdict(command) if cut_off is not None else None
            return verdict or await self._performer.perform(command.asked, begin)
        except ExpiredError:
            return Done(Outcome.EXPIRED, _late(command, self._now_ms()))
        except CongtoError as error:
            return Done(Outcome.FAILED, str(error))
        except Exception:  # a mistake of ours in one command must not come again at each start
            self._log.crash("command.crashed", kind=command.kind.value, key=command.key)
            return Done(Outcome.UNKNOWN, "the gateway made a mistake, which its log tells; look before asking anew")

    async def _finish(self, command: Command, done: Done) -> None:
        reply = self._reply(command, done)
        state = State.UNKNOWN if done.outcome is Outcome.UNKNOWN else State.DONE
        payload = reply.encode()
        await self._do(lambda: self._journal.finish(command.key, state, payload))
        level = self._log.info if done.outcome is Outcome.DONE else self._log.warning
        fields = {} if done.reason is None else {"reason": done.reason}
        level("command.answered", kind=command.kind.value, key=command.key, outcome=done.outcome.value, **fields)
        self._answered.set()

    def _answer_loosely(self, command: Command, reason: str) -> None:
        if len(self._loose) < INBOX_MAX:
            self._loose.append(self._reply(command, refused(reason)).encode())
            self._answered.set()

    def _reply(self, command: Command, done: Done) -> Reply:
        return Reply(
            self._gateway,
            command.key,
            command.kind,
            max(self._now_ms(), 0),
            self._clock_state(),
            done.outcome,
            done.reason,
            done.result,
        )

    def _clock_state(self) -> ClockState:
        return ClockState.SET if self._now_ms() >= CLOCK_SANE_FROM_MS else ClockState.UNSET

    async def _do(self, work: Callable[[], T]) -> T:
        return await self._loop.run_in_executor(self._thread, work)


def _late(command: Command, now_ms: int) -> str:
    return f"expired {(now_ms - command.expires_ms) / 1000:.0f} s ago by the gateway's clock"
