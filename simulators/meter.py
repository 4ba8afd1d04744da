"""A simulated meter: a model's face, a consumer behind it, and the truth about its energy."""

from functools import cache

from protocols.errors import UsageError
from protocols.meters.model import MeterModel
from protocols.obis import Obis
from simulators.chance import key_of
from simulators.faults import is_within
from simulators.instantaneous import Instantaneous
from simulators.loads import Consumer
from simulators.registers import Registers

_parse = cache(Obis.parse)  # a demo asks for the same few codes a hundred thousand times
L2_VOLTAGE = Obis(1, 0, 52, 7, 0)


class SimulatedMeter:
    """A meter that knows its true energy.

    Parameters
    ----------
    name
        The meter's id.
    model
        What it looks like from the line.
    address
        Modbus unit, or DLMS physical address or server wPort.
    consumer
        Whose energy it counts.
    installed_at_ms
        When its registers left their start values.
    silent
        Half-open windows of time [ms] in which it answers nothing.
    repeats
        Half-open windows of time [ms] in which it repeats what it said at their beginning.
    """

    def __init__(
        self,
        name: str,
        model: MeterModel,
        address: int,
        consumer: Consumer,
        *,
        installed_at_ms: int,
        silent: tuple[tuple[int, int], ...] = (),
        repeats: tuple[tuple[int, int], ...] = (),
    ) -> None:
        self.name = name
        self.model = model
        self.address = address
        self.silent = silent
        self.repeats = repeats
        self.installed_at_ms = installed_at_ms
        self.serial = f"{key_of(consumer.seed, 'serial') % 10**10:010}"
        self._registers = Registers(consumer, installed_at_ms)
        phases = 3 if model.measurement(L2_VOLTAGE) else 1
        rated_w = consumer.size_kwh * 1000 // 150  # the voltage is lowest at about five times the average load
        self._instantaneous = Instantaneous(self._registers, phases, key_of(consumer.seed, "instantaneous"), rated_w)
        for each in model.measurements:
            if not self._registers.holds(each.obis) and not self._instantaneous.holds(each.obis):
                raise UsageError(f"meter {name}, model {model.key}: the simulator has no value for {each.obis}")

    def value(self, obis: Obis, at_ms: int) -> int:
        """Return what it says of a register or an instantaneous value at a time, in the base unit of ``obis``."""
        at_ms = self.shown_ms(at_ms)
        if obis.d == 8:
            return self._registers.value(obis, at_ms)
        return self._instantaneous.value(obis, at_ms)

    def shown_ms(self, at_ms: int) -> int:
        """Return of which time the registers are that it shows at a time."""
        return next((first for first, end in self.repeats if first <= at_ms < end), at_ms)

    def true_wh(self, obis: Obis | str, at_ms: int) -> int:
        """Return a register at a time [Wh, varh]; raise :class:`UsageError` for what is no register.

        It is what the meter has counted, whether or not its model shows that register.
        """
        code = obis if isinstance(obis, Obis) else _parse(obis)
        if not self._registers.holds(code):
            raise UsageError(f"meter {self.name}: {obis} is no energy register of a simulated meter")
        return self._registers.value(code, at_ms)

    def is_silent(self, at_ms: int) -> bool:
        """Tell whether the meter answers nothing at a time."""
        return is_within(at_ms, self.silent)
