"""Reads a DLMS meter by its model: registers together, scalers once, the load profile for what was missed."""

from collections.abc import Sequence
from datetime import UTC, datetime

from edge_agent.costs import line_cost, questions_of
from edge_agent.dlms_session import FAILURES, DlmsSession
from edge_agent.meter import Answer, ProfileValue, Question, fault_of
from edge_agent.serial_line import LineSettings
from protocols.dlms import profile
from protocols.dlms.codes import DataAccessResult
from protocols.dlms.cosem_time import date_time_of
from protocols.dlms.data import Data, integer_of
from protocols.dlms.objects import ScalerUnit, scaler_unit_of, to_base
from protocols.dlms.plan import read_attributes, read_profile, results_of
from protocols.dlms.selective import CLOCK, CLOCK_CLASS, CaptureObject
from protocols.dlms.services import ActionRefused, Associated, BufferResult, DataAccessError, Event, GetResult
from protocols.dlms.xdlms.references import Attribute
from protocols.dlms.xdlms.refusals import ConfirmedServiceError, ExceptionResponse
from protocols.errors import RemoteProtocolError
from protocols.meters.model import CosemAttribute, Group, Measurement, MeterModel
from protocols.obis import Obis
from protocols.telemetry.batch import VALUE_MAX

RETRIES = 2
REGISTER_CLASSES = (3, 4)  # Blue Book 4.3.2 and 4.3.3: attribute 2 value, 3 scaler and unit
SCALER_ATTRIBUTE = 3
QUESTIONS_OF_IDENTITY = 2  # logical device name and firmware, before what is kept of a meter is believed
PROFILE_CLASS = 7  # Blue Book 4.3.6: attribute 2 buffer, 3 capture objects, 4 capture period in seconds
METER_CLOCK = Attribute(CLOCK.class_id, CLOCK.obis, CLOCK.index)
DEVIATION_MINUTES = -420  # Vietnam is UTC+7 all year; for meters whose clock does not say its deviation


class DlmsMeter:
    """One meter. Remembers the scalers of its registers and the shape of its load profile."""

    def __init__(self, session: DlmsSession, model: MeterModel, line: LineSettings | None = None) -> None:
        assert model.dlms is not None
        self._cost = line_cost(line)
        self._session = session
        self._model = model
        self._list_items_max = model.dlms.list_items_max if model.dlms.with_list else 1
        self._quirks = session.quirks
        self._scalers: dict[Attribute, ScalerUnit] = {}
        self._keeps: bool | None = None
        self._hides_clock = self._tells_clock = False
        self._shape: tuple[tuple[CaptureObject, ...], int] | None = None

    def questions(self, wanted: Sequence[Measurement]) -> tuple[Question, ...]:
        """Return what to ask for ``wanted``: one session reads all."""
        return questions_of(self._model, wanted, self._cost)

    def free_at(self, question: Question) -> float:  # noqa: ARG002, as ModbusMeter's
        """Return that it can be asked at once: its frames are not taken for others'."""
        return 0.0

    async def ask(self, question: Question, *, probe: bool) -> Answer:
        """Read what ``question`` wants; once more if the meter has ended a session that was kept."""
        kept = self._session.is_open
        answer = await self._read(question.measurements, probe=probe)
        return await self._read(question.measurements, probe=probe) if kept and answer.failure is not None else answer

    async def read(self, groups: frozenset[Group], *, probe: bool) -> Answer:
        """Read the measurements of ``groups``, as :meth:`ask` does."""
        (question,) = self.questions([each for each in self._model.measurements if each.group in groups])
        return await self.ask(question, probe=probe)

    async def _read(self, wanted: Sequence[Measurement], *, probe: bool) -> Answer:
        asks_clock = False
        try:
            granted = await self._session.open(0 if probe else RETRIES)
            refusals = await self._learn_scalers([_attribute(each) for each in wanted], granted)
            attributes = [_attribute(each) for each in wanted]
            asks_clock = self._asks_clock(attributes, granted)
            if asks_clock:
                *results, clock = await self._get([*attributes, METER_CLOCK], granted)
                meter_at_ms = self._note_clock(clock)
            else:
                results, meter_at_ms = await self._get(attributes, granted), None
            await self._session.leave()
        except FAILURES as error:
            await self._session.abandon()
            # Some refuse a whole list for one object: until the clock was told once, it may be that.
            self._hides_clock |= asks_clock and not self._tells_clock and isinstance(error, RemoteProtocolError)
            return Answer((), failure=str(error), fault=fault_of(error))
        values: list[tuple[Measurement, int]] = []
        for measurement, result in zip(wanted, results, strict=True):
            value = self._value(measurement, result)
            if isinstance(value, int):
                values.append((measurement, value))
            else:
                refusals[measurement.key] = value
        told = tuple(f"{key}: {reason}" for key, reason in refusals.items())
        return Answer(tuple(values), told, meter_at_ms=meter_at_ms)

    def _asks_clock(self, attributes: Sequence[Attribute], granted: Associated) -> bool:
        """Return whether the meter's clock is asked for with its values: where that takes no question more."""
        if self._hides_clock or not self._session.lists(METER_CLOCK):
            return False
        alone, both = (
            len(read_attributes(each, granted.conformance, list_items_max=self._list_items_max))
            for each in (attributes, [*attributes, METER_CLOCK])
        )
        return alone == both

    def _note_clock(self, result: GetResult | DataAccessError) -> int | None:
        """Return what the clock shows [ms]; one that is refused or shows nothing is not asked for again."""
        try:
            said = date_time_of(_data(result, "the clock"))
            at = said.at(
                DEVIATION_MINUTES, inverted=self._quirks.inverted_deviation, winter=self._quirks.winter_deviation
            )
        except RemoteProtocolError:
            self._hides_clock = True
            return None
        if said.second is None:  # minutes are too coarse to tell two readings apart
            self._hides_clock = True
            return None
        self._tells_clock = True
        return int(at.timestamp()) * 1000

    async def read_profile(self, from_ms: int, to_ms: int) -> tuple[ProfileValue, ...] | str:
        """Return what the load profile holds from ``from_ms`` to ``to_ms``, or why it can't be read."""
        shape = self._model.profile
        if shape is None:
            return f"the model {self._model.key} has no load profile"
        try:
            granted = await self._session.open(RETRIES)
            columns, period_s = await self._profile_shape(shape.obis, granted)
            await self._learn_scalers([_column(each) for each in columns if _is_register(each)], granted)
            found: list[ProfileValue] = []
            from_at, to_at = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (from_ms, to_ms))
            for request in read_profile(
                shape.obis,
                from_at,
                to_at,
                deviation_minutes=DEVIATION_MINUTES,
                restricting=clock_of(columns),
                quirks=self._quirks,
            ):
                event = await self._session.ask(request)
                if not isinstance(event, BufferResult):
                    raise RemoteProtocolError(f"load profile {shape.obis}: {refusal(event)}")
                buffer = profile.decode_buffer(event.octets, column_count=len(columns))
                found += self._interpret(buffer, columns, period_s)
            await self._session.leave()
        except FAILURES as error:
            await self._session.abandon()
            return str(error)
        return tuple(found)

    def _interpret(self, buffer: profile.Buffer, columns: Sequence[CaptureObject], period_s: int) -> list[ProfileValue]:
        table = profile.interpret(
            buffer, columns, period_s=period_s, assumed_deviation_minutes=DEVIATION_MINUTES, quirks=self._quirks
        )
        found: list[ProfileValue] = []
        for captured, cells in zip(columns, table.columns, strict=True):
            scaler_unit = self._scalers.get(_column(captured)) if _is_register(captured) else None
            if scaler_unit is None:
                continue
            try:
                to_base(0, scaler_unit, captured.obis)
            except RemoteProtocolError:
                continue  # A column of a quantity that is not known here; the others are read all the same.
            for at_s, cell in zip(table.at, cells, strict=True):
                if type(cell) is int:
                    value = to_base(cell, scaler_unit, captured.obis)
                    found.append(ProfileValue(str(captured.obis), at_s * 1000, value))
        return found

    async def _profile_shape(self, obis: Obis, granted: Associated) -> tuple[tuple[CaptureObject, ...], int]:
        if self._shape is None:
            results = await self._get([Attribute(PROFILE_CLASS, obis, index) for index in (3, 4)], granted)
            captured, period = (_data(result, f"load profile {obis}") for result in results)
            self._shape = (profile.decode_capture_objects(captured), integer_of(period))
        return self._shape

    async def _learn_scalers(self, registers: Sequence[Attribute], granted: Associated) -> dict[str, str]:
        """Read the scalers that are not known yet; return why some can't be."""
        await self._recall_scalers(registers, granted)
        unknown = [each for each in registers if each not in self._scalers]
        results = await self._get([Attribute(each.class_id, each.obis, SCALER_ATTRIBUTE) for each in unknown], granted)
        refusals: dict[str, str] = {}
        for register, result in zip(unknown, results, strict=True):
            if not isinstance(result, GetResult):
                refusals[str(register.obis)] = f"scaler: {result.code.word}"
                continue
            try:
                self._scalers[register] = scaler_unit_of(result.value)
            except RemoteProtocolError as error:  # One that cannot be used costs its own column, no other.
                refusals[str(register.obis)] = f"scaler: {error}"
        if self._keeps and unknown:
            await self._session.keep_scalers(self._scalers)
        return refusals

    async def _recall_scalers(self, registers: Sequence[Attribute], granted: Associated) -> None:
        """Take the scalers kept from before a restart, where that saves more questions than it takes to be sure."""
        if self._keeps is None:
            questions = read_attributes(registers, granted.conformance, list_items_max=self._list_items_max)
            self._keeps = len(questions) > QUESTIONS_OF_IDENTITY
            if self._keeps:
                self._scalers.update(await self._session.recall_scalers())

    async def _get(self, attributes: Sequence[Attribute], granted: Associated) -> list[GetResult | DataAccessError]:
        """Return a value or a refusal for each; what a meter read by short names does not list costs no other."""
        results: list[GetResult | DataAccessError] = []
        listed = [each for each in attributes if self._session.lists(each)]
        for request in read_attributes(listed, granted.conformance, list_items_max=self._list_items_max):
            event = await self._session.ask(request)
            found = results_of(event)
            if not found:
                raise RemoteProtocolError(f"the meter answers a GET with {refusal(event)}")
            results += found
        told = dict(zip(listed, results, strict=True))
        return [told.get(each) or DataAccessError(each, DataAccessResult.OBJECT_UNDEFINED) for each in attributes]

    def _value(self, measurement: Measurement, result: GetResult | DataAccessError) -> int | str:
        if isinstance(result, DataAccessError):
            return result.code.word
        scaler_unit = self._scalers.get(_attribute(measurement))
        if scaler_unit is None:
            return "its scaler is not known"
        try:
            value = to_base(integer_of(result.value), scaler_unit, measurement.obis)
        except RemoteProtocolError as error:
            return str(error)
        return value if abs(value) <= VALUE_MAX else "beyond ±(2⁶² − 1)"


def _attribute(measurement: Measurement) -> Attribute:
    assert isinstance(measurement.at, CosemAttribute)
    return Attribute(measurement.at.class_id, measurement.obis, measurement.at.attribute)


def _is_register(captured: CaptureObject) -> bool:
    return captured.class_id in REGISTER_CLASSES and captured.index == 2 and captured.data_index == 0


def _column(captured: CaptureObject) -> Attribute:
    return Attribute(captured.class_id, captured.obis, captured.index)


def clock_of(columns: Sequence[CaptureObject]) -> CaptureObject:
    """Return the column that a range goes by: the clock, whichever column that is."""
    return next((each for each in columns if each.class_id == CLOCK_CLASS), CLOCK)


def _data(result: GetResult | DataAccessError, what: str) -> Data:
    if isinstance(result, DataAccessError):
        raise RemoteProtocolError(f"{what}: {result.code.word}")
    return result.value


def refusal(event: Event) -> str:
    """Return what an answer that is none says, in the standard's words."""
    if isinstance(event, DataAccessError | ActionRefused):
        return event.code.word
    if isinstance(event, ExceptionResponse | ConfirmedServiceError):
        return event.words
    return type(event).__name__
