"""What a readout says: data sets ``address(value*unit)``, and which of them are known quantities (IEC 62056-21, 6.3.5).

Addresses are OBIS codes, whole or shortened (IEC 62056-6-1, annex A.2): ``1-0:1.8.0*255``, ``1.8.0``, ``C.1.0``.
"""

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final

from protocols.errors import RemoteProtocolError, UsageError
from protocols.obis import CURRENT, UNIT_FACTORS, Obis, base_unit

LINES_MAX = 4096  # a readout with 24 stored months of 60 registers has 1,500
VALUES_MAX = 64  # values of one data set; profiles read in programming mode have one a channel

_LINE = re.compile(r"([^()/!]*)((?:\([^()]*\))+)")
_ADDRESS = re.compile(r"(?:(\d{1,3})-(\d{1,3}):)?(\d{1,3}|[CFLP])\.(\d{1,3}|F)(?:\.(\d{1,3}))?(?:[*&](\d{1,3}))?")
_NUMBER = re.compile(r"[+-]?\d{1,20}(?:\.\d{1,12})?")
# IEC 62056-6-1, annex A.2: letters for value groups of general and service entries.
_LETTERS: Final = {"C": 96, "F": 97, "L": 98, "P": 99}
_ABSTRACT: Final = range(96, 99)
_UNITS: Final = {unit.casefold(): unit for unit in UNIT_FACTORS}


@dataclass(frozen=True, slots=True)
class Value:
    """One value as written, with its unit where one is."""

    text: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class DataSet:
    """An address and its values. The address is empty where the meter leaves it out."""

    address: str
    values: tuple[Value, ...]

    @property
    def obis(self) -> Obis | None:
        """The OBIS code that the address is, None when it is none. A missing medium is electricity or abstract."""
        match = _ADDRESS.fullmatch(self.address)
        if match is None:
            return None
        a, b, c, d, e, f = match.groups()
        group_c = _LETTERS.get(c) or int(c)
        medium = (0 if group_c in _ABSTRACT else 1) if a is None else int(a)
        group_d = _LETTERS[d] if d in _LETTERS else int(d)
        groups = (medium, int(b or 0), group_c, group_d, int(e or 0), CURRENT if f is None else int(f))
        return Obis(*groups) if all(group <= CURRENT for group in groups) else None

    @property
    def quantity(self) -> tuple[int, str] | None:
        """The first value in the base unit of its code, as an integer; None when it is no known quantity.

        Rounded once, to the nearest, halves away from zero. A unit that is not the code's own is no known quantity.
        """
        if self.obis is None or not self.values or not _NUMBER.fullmatch(self.values[0].text):
            return None
        unit = _UNITS.get(self.values[0].unit.casefold())
        if unit is None:
            return None
        try:
            base, factor, divisor = UNIT_FACTORS[unit]
            if base_unit(self.obis) != base:
                return None
            scaled = Decimal(self.values[0].text) * factor / divisor
        except (UsageError, InvalidOperation):
            return None
        whole = int(abs(scaled) + Decimal("0.5"))
        return (-whole if scaled < 0 else whole), base


@dataclass(frozen=True, slots=True)
class Readout:
    """All data sets of one readout, in the meter's order."""

    data_sets: tuple[DataSet, ...]


def decode_data_sets(text: str) -> tuple[DataSet, ...]:
    """Decode the data sets of one line; RemoteProtocolError when the line is none."""
    data_sets, at = [], 0
    while at < len(text):
        match = _LINE.match(text, at)
        if match is None:
            raise RemoteProtocolError(f"found {text[at : at + 40]!r}, expected address(value*unit)", offset=at)
        values = tuple(_value(part) for part in re.findall(r"\(([^()]*)\)", match.group(2)))
        if len(values) > VALUES_MAX:
            raise RemoteProtocolError(
                f"{len(values)} values in one data set, at most {VALUES_MAX} are taken", offset=at
            )
        data_sets.append(DataSet(match.group(1).strip(), values))
        at = match.end()
    return tuple(data_sets)


def decode_readout(block: bytes) -> Readout:
    """Decode a data block, which is lines and ends in ``!``; RemoteProtocolError when it is none."""
    text = block.decode("ascii", "strict") if block.isascii() else ""
    body, mark, rest = text.rpartition("!")
    if not mark or rest.strip("\r\n"):
        raise RemoteProtocolError("found no ! at the end of a data block", offset=len(block))
    lines = [line for line in body.replace("\r", "\n").split("\n") if line.strip()]
    if len(lines) > LINES_MAX:
        raise RemoteProtocolError(f"{len(lines)} lines, at most {LINES_MAX} are taken")
    return Readout(tuple(one for line in lines for one in decode_data_sets(line.strip())))


def _value(part: str) -> Value:
    text, _, unit = part.partition("*")
    return Value(text, unit)
