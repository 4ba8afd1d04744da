"""Voltages, currents and powers that fit the load of the moment.

Power is the half-hour's mean, so it agrees with what the registers count. Voltage sags with the load and flickers from
minute to minute; current follows from apparent power. All integers in the base units of ``protocols.obis``.
"""

from math import isqrt

from protocols.obis import Obis
from simulators.chance import below
from simulators.registers import EXPORTED, IMPORTED, REACTIVE_IN, Registers

NOMINAL_MV = 230_000  # TCVN 7995 (IEC 60038): 230/400 V; ±5 % by Circular 39/2015/TT-BCT, article 7
SAG_MV_MAX = 6_000
FLICKER_MV = 2_400
SHARES = {1: (1000,), 3: (352, 331, 317)}  # thousandths of the load on each phase

_PHASE = {**dict.fromkeys(range(21, 34), 0), **dict.fromkeys(range(41, 54), 1), **dict.fromkeys(range(61, 74), 2)}
_KINDS = frozenset({1, 2, 3, 9, 11, 12, 13, 14, 16})


class Instantaneous:
    """The instantaneous values of a meter with one or three phases."""

    def __init__(self, registers: Registers, phases: int, key: int, reference_w: int) -> None:
        self._registers = registers
        self._shares = SHARES[phases]
        self._key = key
        self._reference_w = max(reference_w, 1)  # the load at which the voltage has sagged by SAG_MV_MAX

    def holds(self, obis: Obis) -> bool:
        """Tell whether ``obis`` is an instantaneous value of this meter."""
        if (obis.a, obis.b, obis.d, obis.e, obis.f) != (1, 0, 7, 0, 255):
            return False
        if obis.c in _PHASE:
            return _PHASE[obis.c] < len(self._shares) and _kind(obis.c) in _KINDS
        return obis.c in _KINDS

    def value(self, obis: Obis, at_ms: int) -> int:
        """Return the value at a time, in the base unit of ``obis``."""
        phase = _PHASE.get(obis.c)
        kind = _kind(obis.c)
        net_w = self._registers.power(IMPORTED, at_ms) - self._registers.power(EXPORTED, at_ms)
        reactive_var = self._registers.power(REACTIVE_IN, at_ms)
        if phase is not None or kind in {11, 12}:
            share = self._shares[phase or 0]
            net_w, reactive_var = net_w * share // 1000, reactive_var * share // 1000
        apparent_va = isqrt(net_w * net_w + reactive_var * reactive_var)
        match kind:
            case 1:
                return max(net_w, 0)
            case 2:
                return max(-net_w, 0)
            case 3:
                return reactive_var
            case 9:
                return apparent_va
            case 11:
                return apparent_va * 1_000_000 // self._voltage_mv(phase or 0, apparent_va, at_ms)
            case 12:
                return self._voltage_mv(phase or 0, apparent_va, at_ms)
            case 13:
                return abs(net_w) * 1000 // apparent_va if apparent_va else 1000
            case 14:
                return 49_950 + below(self._key, at_ms // 1000, 101)  # mHz; the system keeps 50 ± 0.05 Hz
            case _:
                return net_w

    def _voltage_mv(self, phase: int, load_va: int, at_ms: int) -> int:
        sag = min(load_va * len(self._shares) * SAG_MV_MAX // self._reference_w, SAG_MV_MAX)
        flicker = below(self._key + phase + 1, at_ms // 60_000, 2 * FLICKER_MV + 1) - FLICKER_MV
        return NOMINAL_MV - sag + flicker


def _kind(c: int) -> int:
    """Return value group C without its phase: 31, 51 and 71 are 11."""
    return c - 20 * (_PHASE[c] + 1) if c in _PHASE else c
