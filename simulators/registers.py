"""The registers of a simulated meter, exact at any time.

Within a half-hour power is constant, so a register at a time is an integer sum plus the floor of a linear share: it
never falls, and whoever reads it twice at one time reads the same. The rate registers sum exactly to the total, as one
rate runs in each half-hour. The sums are computed ahead in blocks of days, so reading a register costs two look-ups.
"""

from array import array

import numpy as np

from protocols.errors import UsageError
from protocols.obis import Obis
from simulators.chance import below, key_of
from simulators.loads import Consumer, energies
from simulators.vietnam_days import SLOT_MS, rates

BLOCK_SLOTS = 48 * 64
YEARS_MAX = 12  # what a simulator may be asked for after its meters were installed
IMPORTED, EXPORTED, REACTIVE_IN, REACTIVE_OUT, ABSOLUTE = 1, 2, 3, 4, 15  # value group C, IEC 62056-6-1 table 13

# A float32 of kWh below 2^14 has steps of 2^-10 kWh, 0.98 Wh, so each Wh is told from the next. These starts leave
# room for years of a household before 16,384 kWh are reached.
START_WH_MAX = 1_500_000

_Key = tuple[int, int]  # value groups C and E
_KEYS: tuple[_Key, ...] = (
    (IMPORTED, 1), (IMPORTED, 2), (IMPORTED, 3), (IMPORTED, 4), (IMPORTED, 0),
    (EXPORTED, 0), (REACTIVE_IN, 0), (REACTIVE_OUT, 0), (ABSOLUTE, 0),
)  # fmt: skip


class Registers:
    """What a meter has counted since ``installed_at_ms``, for every time up to twelve years later. [Wh, varh]"""

    def __init__(self, consumer: Consumer, installed_at_ms: int) -> None:
        self._consumer = consumer
        self._first = installed_at_ms // SLOT_MS
        key = key_of(consumer.seed, "start")
        starts = {(IMPORTED, rate): below(key, rate, START_WH_MAX) for rate in (1, 2, 3)}
        starts[IMPORTED, 0] = sum(starts.values())
        starts[EXPORTED, 0] = below(key, 5, START_WH_MAX) if consumer.panels_w else 0
        starts[REACTIVE_IN, 0] = below(key, 6, START_WH_MAX)
        starts[ABSOLUTE, 0] = starts[IMPORTED, 0] + starts[EXPORTED, 0]
        # element i: the register at the start of slot ``first + i``
        self._sums: dict[_Key, array[int]] = {each: array("q", [starts.get(each, 0)]) for each in _KEYS}

    @staticmethod
    def holds(obis: Obis) -> bool:
        """Tell whether ``obis`` is one of the registers."""
        return obis.a == 1 and obis.b == 0 and obis.d == 8 and obis.f == 255 and (obis.c, obis.e) in _KEYS

    def value(self, obis: Obis, at_ms: int) -> int:
        """Return the register at a time; before the installation, what it held then."""
        sums = self._sums[obis.c, obis.e]
        slot, elapsed_ms = divmod(at_ms, SLOT_MS)
        place = slot - self._first
        if place < 0:
            return sums[0]
        if place + 1 >= len(sums):
            self._extend(place + 1)
        value = sums[place]
        return value + (sums[place + 1] - value) * elapsed_ms // SLOT_MS if elapsed_ms else value

    def power(self, obis_c: int, at_ms: int) -> int:
        """Return the mean power of the half-hour around a time for a total register. [W, var]"""
        sums = self._sums[obis_c, 0]
        place = at_ms // SLOT_MS - self._first
        if place < 0:
            return 0
        if place + 1 >= len(sums):
            self._extend(place + 1)
        return 2 * (sums[place + 1] - sums[place])

    def _extend(self, place: int) -> None:
        if place > YEARS_MAX * 366 * 48:
            raise UsageError(f"a simulated meter counts for {YEARS_MAX} years after its installation; asked for later")
        done = len(self._sums[IMPORTED, 0]) - 1
        while done < place:
            slots = np.arange(self._first + done, self._first + done + BLOCK_SLOTS, dtype=np.int64)
            flow, rate = energies(self._consumer, slots), rates(slots)
            parts = {(IMPORTED, n + 1): np.where(rate == n, flow.imported, 0) for n in range(3)}
            parts[IMPORTED, 0] = flow.imported
            parts[EXPORTED, 0] = flow.exported
            parts[REACTIVE_IN, 0] = flow.reactive
            parts[ABSOLUTE, 0] = flow.imported + flow.exported
            nothing = np.zeros_like(slots)
            for key, sums in self._sums.items():
                sums.frombytes((sums[-1] + np.cumsum(parts.get(key, nothing))).astype(np.int64).tobytes())
            done += BLOCK_SLOTS
