"""The demand register of a simulated meter: mean power of the running and of the last period, block or sliding.

Energy since the window began, over the whole window: ``number`` periods of ``period_s``. Periods lie on a grid from
midnight in Vietnam; when a client ends one, the next begins at once and the grid with it.

Source: DLMS UA 1000-1 (Blue Book), class 5; 6.2 names, value group D = 4.
"""

from dataclasses import dataclass

from protocols.dlms.codes import ActionResult, DataAccessResult
from protocols.dlms.data import Data, Tag, double_long_unsigned, integer_of, long_unsigned, octets
from protocols.dlms.objects import ClassId, ScalerUnit
from protocols.obis import Obis
from simulators.dlms.cosem import CosemObject, at_time, fixed
from simulators.dlms.counting import Counting
from simulators.dlms.profile_buffer import LOCAL_MS, clock_octets

DEMANDS = {Obis(1, 0, 1, 4, 0): Obis(1, 0, 1, 8, 0), Obis(1, 0, 2, 4, 0): Obis(1, 0, 2, 8, 0)}
"""Running demand, active import and export, and the energy each is the power of."""
PERIOD_S_DEFAULT, PERIOD_S_MAX, NUMBER_MAX = 1800, 86_400, 96
HOUR_MS = 3_600_000
_DONE = (ActionResult.SUCCESS, None)


@dataclass(slots=True)
class DemandRegister:
    """The state machine of one register: where its grid begins, and what ended off the grid."""

    counting: Counting
    energy: Obis
    period_s: int = PERIOD_S_DEFAULT
    number: int = 1
    _grid_ms: int = -LOCAL_MS
    _off_grid: tuple[int, int] | None = None  # value [W] and end [ms] of what a client ended last

    def begin(self, at_ms: int) -> int:
        """Return when the running period began. [ms]"""
        period_ms = self.period_s * 1000
        return self._grid_ms + (at_ms - self._grid_ms) // period_ms * period_ms

    def current(self, at_ms: int) -> int:
        """Return the energy since the window began, over the whole window. [W]"""
        return self._mean(self.begin(at_ms) - (self.number - 1) * self.period_s * 1000, at_ms)

    def last(self, at_ms: int) -> tuple[int, int]:
        """Return the mean power of the last whole window and when it ended. [W, ms]"""
        end_ms = self.begin(at_ms)
        if end_ms == self._grid_ms and self._off_grid is not None:
            return self._off_grid
        return self._mean(end_ms - self.number * self.period_s * 1000, end_ms), end_ms

    def next_period(self, at_ms: int) -> None:
        """End the running period now."""
        self._off_grid = self.current(at_ms), at_ms
        self._grid_ms = at_ms

    def reset(self, at_ms: int) -> None:
        """Forget what was measured and begin a period now."""
        self._off_grid = 0, at_ms
        self._grid_ms = at_ms

    def _mean(self, begin_ms: int, end_ms: int) -> int:
        """Return the mean over a whole window; what a client cut off before the grid began does not count."""
        if self._off_grid is not None:
            begin_ms = max(begin_ms, self._grid_ms)
        begin_ms = max(begin_ms, self.counting.meter.installed_at_ms)
        energy_wh = self.counting.value(self.energy, max(end_ms, begin_ms)) - self.counting.value(self.energy, begin_ms)
        return energy_wh * HOUR_MS // (self.number * self.period_s * 1000)

    def to_object(self, obis: Obis) -> CosemObject:
        """Return the COSEM object."""
        return CosemObject(
            class_id=ClassId.DEMAND_REGISTER,
            version=0,
            obis=obis,
            reads={
                2: at_time(lambda at_ms: double_long_unsigned(self.current(at_ms))),
                3: at_time(lambda at_ms: double_long_unsigned(self.last(at_ms)[0])),
                4: fixed(ScalerUnit(0, 27).to_data()),
                5: fixed(Data(Tag.NULL_DATA, None)),
                6: at_time(lambda at_ms: octets(clock_octets(self.last(at_ms)[1]))),
                7: at_time(lambda at_ms: octets(clock_octets(self.begin(at_ms)))),
                8: at_time(lambda _at_ms: double_long_unsigned(self.period_s)),
                9: at_time(lambda _at_ms: long_unsigned(self.number)),
            },
            writes={8: self._set_period, 9: self._set_number},
            methods={1: self._reset, 2: self._next},
        )

    def _set_period(self, value: Data, at_ms: int) -> DataAccessResult:
        if value.tag is not Tag.DOUBLE_LONG_UNSIGNED:
            return DataAccessResult.TYPE_UNMATCHED
        if not 1 <= integer_of(value) <= PERIOD_S_MAX:
            return DataAccessResult.OTHER_REASON
        self.period_s = integer_of(value)
        self.reset(at_ms)
        return DataAccessResult.SUCCESS

    def _set_number(self, value: Data, at_ms: int) -> DataAccessResult:
        if value.tag is not Tag.LONG_UNSIGNED:
            return DataAccessResult.TYPE_UNMATCHED
        if not 1 <= integer_of(value) <= NUMBER_MAX:
            return DataAccessResult.OTHER_REASON
        self.number = integer_of(value)
        self.reset(at_ms)
        return DataAccessResult.SUCCESS

    def _reset(self, _parameter: Data | None, at_ms: int) -> tuple[ActionResult, Data | None]:
        self.reset(at_ms)
        return _DONE

    def _next(self, _parameter: Data | None, at_ms: int) -> tuple[ActionResult, Data | None]:
        self.next_period(at_ms)
        return _DONE


def demand_objects(counting: Counting) -> list[CosemObject]:
    """Return the demand registers of a meter: of what its model counts."""
    model = counting.meter.model
    return [
        DemandRegister(counting, energy).to_object(obis)
        for obis, energy in DEMANDS.items()
        if model.measurement(energy) is not None
    ]
