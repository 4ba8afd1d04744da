"""A new configuration is a transaction: checked whole, tried on the buses that changed, kept if the gateway stays well.

::

    checked ──> tried (agent.toml.new) ──> watched ──> kept: agent.toml, agent.toml.good
       │                                      └──────> taken back: the old buses run again
       └──> refused: nothing was touched

Well means: each changed bus has its line; the meters on it that answered before still answer, asked now and not at
their next slot; the broker is connected if it was. What can't be changed in flight (the gateway's name, its spool, its
clock) is refused.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from edge_agent.bus import Bus, OpenMeter
from edge_agent.config import AgentConfig, BusConfig
from edge_agent.failures import LineLostError
from edge_agent.log import EventLog
from edge_agent.remote.actions import Begin, Done, refused
from edge_agent.remote.config_file import ConfigFile, Loaded, digest_of
from protocols.errors import ProtocolError, UnavailableError, UsageError
from protocols.telemetry.command import Configure
from protocols.telemetry.reply import Outcome, plain

WATCH_S_DEFAULT = 60  # at a change of the file (SIGHUP), and before a configuration counts as good after the start
PROBED_MAX = 32  # meters of a bus that are asked; beyond it what they last did counts
DIGEST_SHOWN = 16
REASON_CHARACTERS_MAX = 300  # in the status
PROBLEMS_MAX = 20
TAKE_BACK_TRIES = 5
TAKE_BACK_PAUSE_S = 2
FIXED = ("gateway", "spool", "spool_octets_max", "world", "counters", "learned", "push", "metrics")


class Standing(Enum):
    """How the configuration that runs came to run."""

    TAKEN = "taken"  # from the file at the start
    GOOD = "good"
    TRIED = "tried"
    REFUSED = "refused"  # the file's was refused; the one from before runs
    TAKEN_BACK = "taken_back"


class Running(Protocol):
    """What runs by the configuration."""

    async def follow(self, config: AgentConfig) -> tuple[str, ...]:
        """Run by ``config``; return the names of the buses that were touched."""
        ...

    def bus(self, name: str) -> tuple[BusConfig, Bus] | None:
        """Return a bus that runs."""
        ...

    def connected(self) -> bool:
        """Return whether the broker is connected."""
        ...


@dataclass(frozen=True, slots=True)
class _Before:
    """How things stood before a change."""

    answering: frozenset[str]
    connected: bool


class Configuration:
    """The configuration that runs, and its changes; one at a time."""

    def __init__(
        self,
        file: ConfigFile,
        loaded: Loaded,
        running: Running,
        log: EventLog,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._file = file
        self._config = loaded.config
        self._text = loaded.text
        self._running = running
        self._log = log
        self._pause = pause
        self._lock = asyncio.Lock()
        self._standing = Standing.TAKEN if loaded.refused is None else Standing.REFUSED
        self._reason = loaded.refused

    @property
    def config(self) -> AgentConfig:
        """The configuration that runs."""
        return self._config

    def status(self) -> Mapping[str, str]:
        """Return what the status message says of it."""
        said = {"sha256": digest_of(self._text)[:DIGEST_SHOWN], "standing": self._standing.value}
        return said if self._reason is None else {**said, "reason": plain(self._reason, REASON_CHARACTERS_MAX)}

    async def change(self, asked: Configure, begin: Begin) -> Done:
        """Try a configuration that came as a command, and answer when it was watched."""
        try:
            config = self._checked(asked.text)
        except UsageError as error:
            return refused(error)
        if config.commands != self._config.commands:  # or the right to configure would be the right to everything
            return refused("commands.allow can only be changed at the gateway itself: edit the file there, then SIGHUP")
        if self._lock.locked():
            return refused("another configuration is being tried; ask again when it is decided")
        async with self._lock:
            try:
                self._file.write(asked.text, ".new")
            except UnavailableError as error:
                return refused(error)
            try:
                await begin()
            except BaseException:
                self._file.discard()
                raise
            changed, problems = await self._try(config, asked.text, asked.watch_s)
            if not problems:
                try:
                    self._file.adopt()
                except UnavailableError as error:
                    problems = [str(error)]
            if problems:
                await self._take_back(problems)
                self._file.discard()
            else:
                self._keep(config, asked.text)
            return _answer(asked.text, changed, problems)

    def resume(self, asked: Configure) -> Done:
        """Answer for one that a restart has cut off: the file says which holds."""
        self._file.discard()
        kept = digest_of(self._text) == digest_of(asked.text)
        result = {"sha256": digest_of(asked.text), "changed": [], "problems": [], "rolled_back": not kept}
        if kept:
            return Done(Outcome.DONE, "cut off by a restart; this configuration runs", result)
        return Done(Outcome.FAILED, "cut off by a restart; the configuration from before runs", result)

    async def reload(self) -> None:
        """Take the file anew (SIGHUP); one that does not hold is told and left, one that fails is put aside."""
        async with self._lock:
            try:
                text = self._file.read()
                config = self._checked(text)
            except UsageError as error:
                self._standing, self._reason = Standing.REFUSED, str(error)
                self._log.error("configuration.refused", reason=error)
                return
            _, problems = await self._try(config, text, WATCH_S_DEFAULT)
            if not problems:
                self._keep(config, text)
                return
            good = self._text
            await self._take_back(problems)
            try:
                self._file.write(text, ".failed")
                self._file.write(good)
            except UnavailableError as error:
                self._log.error("configuration.not_written", reason=error)

    async def settle(self) -> None:
        """Call what was read at the start good, when the agent has run by it for a while and reached anybody."""
        while self._standing is Standing.TAKEN:
            await self._pause(WATCH_S_DEFAULT)
            async with self._lock:
                stood = self._stood()
                if self._standing is Standing.TAKEN and (stood.connected or stood.answering):
                    self._keep(self._config, self._text)

    def _checked(self, text: str) -> AgentConfig:
        config = self._file.parse(text)
        for key in FIXED:
            if getattr(config, key) != getattr(self._config, key):
                raise UsageError(f"{self._file.path.name}: {key} can't be changed while the agent runs; restart it")
        return config

    async def _try(self, config: AgentConfig, text: str, watch_s: float) -> tuple[tuple[str, ...], list[str]]:
        before = self._stood()
        self._standing, self._reason = Standing.TRIED, None
        changed: tuple[str, ...] = ()
        try:
            changed = await self._running.follow(config)
            self._log.info("configuration.tried", sha256=digest_of(text)[:DIGEST_SHOWN], changed=",".join(changed))
            await self._pause(watch_s)
            return changed, await self._problems(config, changed, before)
        except Exception as error:  # whatever it is, the gateway is not well by this configuration
            self._log.crash("configuration.failed", sha256=digest_of(text)[:DIGEST_SHOWN], reason=error)
            return changed, [f"{type(error).__name__}: {error}"]

    def _stood(self) -> _Before:
        found = [self._running.bus(bus.id) for bus in self._config.buses]
        meters = [meter for each in found if each is not None for meter in each[1].statistics().meters]
        answering = frozenset(each.meter for each in meters if each.answered_at_ms is not None and not each.silent)
        return _Before(answering, self._running.connected())

    async def _problems(self, config: AgentConfig, changed: Sequence[str], before: _Before) -> list[str]:
        """Return what is worse than before."""
        broker_changed = config.broker != self._config.broker
        problems = []
        if (before.connected or broker_changed) and not self._running.connected():
            problems.append("the broker is not connected")
        for bus in config.buses:
            if bus.id in changed:
                problems += await self._problems_of(bus, before.answering)
        return problems[:PROBLEMS_MAX]

    async def _problems_of(self, config: BusConfig, answered_before: frozenset[str]) -> list[str]:
        found = self._running.bus(config.id)
        if found is None:
            return [f"bus {config.id} does not run"]
        bus = found[1]
        wanted = [each.id for each in config.meters if each.id in answered_before]
        failing = {each.meter for each in bus.statistics().meters if each.failures_in_a_row}
        problems = [f"meter {each} does not answer any more" for each in wanted[PROBED_MAX:] if each in failing]
        for name in wanted[:PROBED_MAX] or [config.meters[0].id]:
            said = await _probe(bus, name)
            if said is not None and said.line_lost:
                return [f"bus {config.id}: {said.reason}"]
            if said is not None and name in answered_before:
                problems.append(f"meter {name} does not answer any more: {said.reason}")
        return problems

    async def _take_back(self, problems: list[str]) -> None:
        for left in reversed(range(TAKE_BACK_TRIES)):  # what has failed the new one may be over in a moment
            try:
                await self._running.follow(self._config)
                break
            except Exception:
                if not left:
                    raise
                await self._pause(TAKE_BACK_PAUSE_S)
        self._standing, self._reason = Standing.TAKEN_BACK, "; ".join(problems)
        self._log.error("configuration.taken_back", reason=self._reason)

    def _keep(self, config: AgentConfig, text: str) -> None:
        self._config, self._text = config, text
        self._standing, self._reason = Standing.GOOD, None
        try:
            self._file.write(text, ".good")
        except UnavailableError as error:
            self._log.error("configuration.not_written", reason=error)
        self._log.info("configuration.kept", sha256=digest_of(text)[:DIGEST_SHOWN])


@dataclass(frozen=True, slots=True)
class _Silent:
    reason: str
    line_lost: bool = False


async def _probe(bus: Bus, meter: str) -> _Silent | None:
    """Ask a meter one question, twice if need be; return why there is no answer."""

    async def work(found: OpenMeter) -> str | None:
        questions = found.meter.questions(found.config.measurements)
        if not questions:
            return None
        answer = await found.meter.ask(questions[0], probe=False)
        return answer.failure if answer.failure is None else (await found.meter.ask(questions[0], probe=False)).failure

    try:
        failure = await bus.urgent(meter, work)
    except LineLostError as error:
        return _Silent(str(error), line_lost=True)
    except (ProtocolError, UnavailableError) as error:
        return _Silent(str(error))
    return None if failure is None else _Silent(failure)


def _answer(text: str, changed: Sequence[str], problems: Sequence[str]) -> Done:
    result = {
        "sha256": digest_of(text),
        "changed": list(changed),
        "problems": list(problems),
        "rolled_back": bool(problems),
    }
    if problems:
        return Done(Outcome.FAILED, f"taken back: {'; '.join(problems)}", result)
    return Done(Outcome.DONE, None, result)
