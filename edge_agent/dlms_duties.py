"""What a DLMS meter is asked besides its readings: event logs, its clock, its relay.

Each method opens the session if need be and leaves it; its failure is in the answer, in words. Only the loss of the
whole line is raised (LineLostError).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from edge_agent.dlms_meter import DEVIATION_MINUTES, PROFILE_CLASS, RETRIES, clock_of, refusal
from edge_agent.dlms_session import FAILURES, DlmsSession
from protocols.dlms import control, profile
from protocols.dlms.control import RelayState
from protocols.dlms.cosem_time import date_time_of
from protocols.dlms.plan import read_profile, results_of
from protocols.dlms.selective import CLOCK, CaptureObject
from protocols.dlms.services import ActionDone, BufferResult, DataAccessError, Get, GetResult
from protocols.dlms.xdlms.references import Attribute
from protocols.errors import RemoteProtocolError
from protocols.meters.dlms_settings import EventLog
from protocols.meters.model import MeterModel

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LogEntry:
    """An entry of an event log: when by the meter's clock, its number, and a second number if the meter keeps one."""

    at_ms: int
    code: int
    value: int | None = None


class DlmsDuties:
    """The other duties of one meter."""

    def __init__(self, session: DlmsSession, model: MeterModel) -> None:
        assert model.dlms is not None
        self._session = session
        self._settings = model.dlms
        self.logs = model.logs
        self._columns: dict[EventLog, tuple[CaptureObject, ...]] = {}

    async def read_log(self, log: EventLog, from_ms: int, to_ms: int) -> tuple[LogEntry, ...] | str:
        """Return the entries from ``from_ms`` to ``to_ms`` by the meter's clock, the oldest first."""
        return await self._in_session(lambda: self._read_log(log, from_ms, to_ms), f"event log {log.obis}")

    async def read_clock(self) -> int | str:
        """Return what the meter's clock shows, in milliseconds since 1970 UTC; clocks tell whole seconds."""
        return await self._in_session(self._read_clock, "the clock")

    async def shift_clock(self, seconds: int) -> bool | str:
        """Shift the clock by up to ±900 s; True when the meter says that it did."""

        async def shift() -> bool:
            event = await self._session.ask(control.shift_clock(seconds))
            if not isinstance(event, ActionDone):
                raise RemoteProtocolError(refusal(event))
            return True

        return await self._in_session(shift, "shifting the clock")

    async def read_relay(self) -> RelayState | str:
        """Return the relay's state as it stands."""
        return await self._in_session(self._read_relay, "the relay")

    async def switch(self, *, connect: bool) -> RelayState | str:
        """Switch the supply on or off; return the relay's state as read back, which alone says what became of it."""
        relay = self._settings.relay
        if relay is None:
            return "the model has no relay"

        async def act() -> RelayState:
            event = await self._session.ask(control.switch(connect=connect, obis=relay))
            if not isinstance(event, ActionDone):
                raise RemoteProtocolError(refusal(event))
            return await self._read_relay()

        return await self._in_session(act, "switching the relay")

    async def _in_session(self, work: Callable[[], Awaitable[T]], what: str) -> T | str:
        try:
            await self._session.open(RETRIES)
            found = await work()
            await self._session.leave()
        except FAILURES as error:
            await self._session.abandon()
            return f"{what}: {error}"
        return found

    async def _read_clock(self) -> int:
        event = await self._session.ask(Get(Attribute(CLOCK.class_id, CLOCK.obis, CLOCK.index)))
        if not isinstance(event, GetResult):
            raise RemoteProtocolError(refusal(event))
        quirks = self._session.quirks
        said = date_time_of(event.value)
        at = said.at(DEVIATION_MINUTES, inverted=quirks.inverted_deviation, winter=quirks.winter_deviation)
        return int(at.timestamp()) * 1000

    async def _read_relay(self) -> RelayState:
        relay = self._settings.relay
        if relay is None:
            raise RemoteProtocolError("the model has no relay")
        results: list[GetResult | DataAccessError] = []
        for request in control.read_relay(relay):
            event = await self._session.ask(request)
            results += results_of(event)
        return control.relay_state_of(results)

    async def _read_log(self, log: EventLog, from_ms: int, to_ms: int) -> tuple[LogEntry, ...]:
        columns = self._columns.get(log)
        if columns is None:
            event = await self._session.ask(Get(Attribute(PROFILE_CLASS, log.obis, 3)))
            if not isinstance(event, GetResult):
                raise RemoteProtocolError(refusal(event))
            columns = self._columns[log] = profile.decode_capture_objects(event.value)
        from_at, to_at = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (from_ms, to_ms))
        quirks = self._session.quirks
        entries: list[LogEntry] = []
        for request in read_profile(
            log.obis,
            from_at,
            to_at,
            deviation_minutes=DEVIATION_MINUTES,
            restricting=clock_of(columns),
            quirks=quirks,
        ):
            event = await self._session.ask(request)
            if not isinstance(event, BufferResult):
                raise RemoteProtocolError(refusal(event))
            buffer = profile.decode_buffer(event.octets, column_count=len(columns))
            table = profile.interpret(
                buffer, columns, period_s=0, assumed_deviation_minutes=DEVIATION_MINUTES, quirks=quirks
            )
            entries += _entries(table, from_ms, to_ms)
        return tuple(sorted(entries, key=lambda entry: entry.at_ms))


def _entries(table: profile.Table, from_ms: int, to_ms: int) -> list[LogEntry]:
    """Return the rows within the range (a meter may ignore it); the first number of a row is the event's."""
    found: list[LogEntry] = []
    for row, at_s in enumerate(table.at):
        cells = [column[row] for column in table.columns]
        numbers = [cell for cell in cells if type(cell) is int]
        if numbers and from_ms <= at_s * 1000 <= to_ms:
            found.append(LogEntry(at_s * 1000, numbers[0], numbers[1] if len(numbers) > 1 else None))
    return found
