"""OBIS codes and the base units in which readings are kept.

A channel is a meter and an OBIS code, written ``A.B.C.D.E`` (``1.0.1.8.0``) where F is 255, the current value, and
``A.B.C.D.E.F`` otherwise. Source: IEC 62056-6-1, clause 5.
"""

import re
from dataclasses import dataclass
from typing import Self

from protocols.errors import UsageError

_PATTERN = re.compile(r"(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?:\.(\d{1,3}))?")
CURRENT = 255  # IEC 62056-6-1, 5.7: F = 255 means the value is not a historical one


@dataclass(frozen=True, slots=True, order=True)
class Obis:
    """The six value groups of an OBIS code, each 0 to 255."""

    a: int
    b: int
    c: int
    d: int
    e: int
    f: int = CURRENT

    def __post_init__(self) -> None:
        if not all(0 <= group <= 255 for group in self.groups):
            raise UsageError(f"OBIS groups {self.groups}: each must be 0 to 255")

    @property
    def groups(self) -> tuple[int, int, int, int, int, int]:
        """The six groups, A to F."""
        return (self.a, self.b, self.c, self.d, self.e, self.f)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the code written as ``A.B.C.D.E`` or ``A.B.C.D.E.F``; raise :class:`UsageError` otherwise."""
        match = _PATTERN.fullmatch(text)
        if match is None:
            raise UsageError(f"OBIS code {text!r}: expected A.B.C.D.E or A.B.C.D.E.F, such as 1.0.1.8.0")
        return cls(*(int(group) for group in match.groups(default="255")))

    @classmethod
    def from_octets(cls, octets: bytes) -> Self:
        """Return the code held in six octets, as a COSEM logical name."""
        if len(octets) != 6:
            raise UsageError(f"OBIS code of {len(octets)} octets: expected 6")
        return cls(*octets)

    def to_octets(self) -> bytes:
        """Return the six octets of the COSEM logical name."""
        return bytes(self.groups)

    def __str__(self) -> str:
        groups = self.groups if self.f != CURRENT else self.groups[:5]
        return ".".join(str(group) for group in groups)


# Quantities by value group C of electricity (A = 1), IEC 62056-6-1 table 13. Group D = 8 is a time integral (energy),
# 29 one over a capture interval alone (energy of a load profile's interval), 6 a maximum (demand), 7 an instantaneous
# value.
_POWER_UNITS = {1: "W", 2: "W", 3: "var", 4: "var", 5: "var", 6: "var", 7: "var", 8: "var", 9: "VA", 10: "VA"}
_INSTANTANEOUS_UNITS = {
    **_POWER_UNITS,
    **dict.fromkeys((15, 16, 21, 22, 35, 36, 41, 42, 55, 56, 61, 62, 75, 76), "W"),
    **dict.fromkeys((23, 24, 43, 44, 63, 64), "var"),
    **dict.fromkeys((29, 30, 49, 50, 69, 70), "VA"),
    **dict.fromkeys((11, 31, 51, 71, 91), "mA"),
    **dict.fromkeys((12, 32, 52, 72, 92), "mV"),
    **dict.fromkeys((13, 33, 53, 73), "1/1000"),
    14: "mHz",
}
_ENERGY_OF_POWER = {"W": "Wh", "var": "varh", "VA": "VAh"}


def base_unit(code: Obis) -> str:
    """Return the fixed unit in which readings of ``code`` are integers (architecture, decision 2).

    Raises
    ------
    UsageError
        If the code is not one of an electricity meter's energies, demands or instantaneous values.
    """
    if code.a == 1 and code.c in _INSTANTANEOUS_UNITS:
        unit = _INSTANTANEOUS_UNITS[code.c]
        if code.d == 7:
            return unit
        if code.d in (8, 29) and unit in _ENERGY_OF_POWER:
            return _ENERGY_OF_POWER[unit]
        if code.d == 6 and unit in _ENERGY_OF_POWER:
            return unit
    raise UsageError(f"OBIS code {code}: no base unit is known; expected an energy, demand or instantaneous value")


# How many base units one of these is, as numerator and denominator.
UNIT_FACTORS: dict[str, tuple[str, int, int]] = {
    "Wh": ("Wh", 1, 1),
    "kWh": ("Wh", 1000, 1),
    "MWh": ("Wh", 1_000_000, 1),
    "varh": ("varh", 1, 1),
    "kvarh": ("varh", 1000, 1),
    "VAh": ("VAh", 1, 1),
    "kVAh": ("VAh", 1000, 1),
    "W": ("W", 1, 1),
    "kW": ("W", 1000, 1),
    "var": ("var", 1, 1),
    "kvar": ("var", 1000, 1),
    "VA": ("VA", 1, 1),
    "kVA": ("VA", 1000, 1),
    "V": ("mV", 1000, 1),
    "mV": ("mV", 1, 1),
    "A": ("mA", 1000, 1),
    "mA": ("mA", 1, 1),
    "Hz": ("mHz", 1000, 1),
    "mHz": ("mHz", 1, 1),
    "1": ("1/1000", 1000, 1),
    "1/1000": ("1/1000", 1, 1),
}
