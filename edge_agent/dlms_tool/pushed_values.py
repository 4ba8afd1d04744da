"""Values inside a push, found by their logical names: meters send them in many shapes, and a table is what people want.

A value is what follows an octet-string of six octets that is a logical name, at any depth; a structure of scaler and
unit may follow it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from protocols.dlms.cosem_time import DATE_TIME_OCTETS, decode_date_time
from protocols.dlms.data import CONSTRUCTED, BitString, Data, Tag, float_of, integer_of, items_of
from protocols.dlms.objects import SCALER_MAX, ScalerUnit
from protocols.errors import RemoteProtocolError
from protocols.obis import Obis

LOGICAL_NAME_OCTETS = 6
CHANNELS_MAX = 64  # value group B of a logical name (IEC 62056-6-1): other octets of that length are something else


@dataclass(frozen=True, slots=True)
class Value:
    """One value; ``scaler_unit`` where the meter sent it along."""

    obis: Obis
    data: Data
    scaler_unit: ScalerUnit | None = None

    @property
    def number(self) -> Decimal | None:
        """The value in its unit, exactly; None when it is no number."""
        content = self.data.content
        if self.data.tag in (Tag.FLOAT32, Tag.FLOAT64):
            number = Decimal(str(float_of(self.data)))
        elif isinstance(content, int) and not isinstance(content, bool):
            number = Decimal(content)
        else:
            return None
        return number.scaleb(self.scaler_unit.scaler) if self.scaler_unit else number

    @property
    def text(self) -> str:
        """The value as people read it: with its unit, octets as a time or as text where they are that."""
        number = self.number
        if number is not None:
            return f"{number:f} {self.scaler_unit.word if self.scaler_unit else ''}".rstrip()
        return text_of(self.data)


def text_of(data: Data) -> str:
    """Return octets as a date-time or as text where they are that, else as hex; other values by their content."""
    content = data.content
    if isinstance(content, bytes):
        if len(content) == DATE_TIME_OCTETS and (data.tag is Tag.DATE_TIME or not _is_text(content)):
            try:
                moment = decode_date_time(content)
            except RemoteProtocolError:
                return content.hex()
            return str(moment)
        return content.decode("ascii") if _is_text(content) else content.hex()
    if isinstance(content, BitString):
        return "".join(f"{octet:08b}" for octet in content.octets)[: content.length]
    if (elements := _elements_of(data)) is not None:
        return "{" + ", ".join(text_of(one) for one in elements) + "}"
    return "-" if content is None else str(content)


def _is_text(octets: bytes) -> bool:
    return bool(octets) and all(0x20 <= octet < 0x7F for octet in octets)


def values_in(data: Data) -> Iterator[Value]:
    """Yield the values in a push, in their order."""
    elements = _elements_of(data) or ()
    at = 0
    while at < len(elements):
        name = logical_name_of(elements[at])
        follower = elements[at + 1] if at + 1 < len(elements) else None
        if name is None or follower is None or _elements_of(follower) is not None or logical_name_of(follower):
            yield from values_in(elements[at])
            at += 1
            continue
        scaler_unit = _scaler_unit_of(elements[at + 2]) if at + 2 < len(elements) else None
        yield Value(name, follower, scaler_unit)
        at += 2 if scaler_unit is None else 3


def logical_name_of(data: Data) -> Obis | None:
    """Return the logical name in six octets, None when they are none."""
    content = data.content
    if data.tag is not Tag.OCTET_STRING or not isinstance(content, bytes) or len(content) != LOGICAL_NAME_OCTETS:
        return None
    return Obis.from_octets(content) if content[0] < 16 and content[1] <= CHANNELS_MAX else None


def _elements_of(data: Data) -> tuple[Data, ...] | None:
    """Return the elements of an array or structure, None of anything else."""
    return items_of(data) if data.tag in CONSTRUCTED else None


def _scaler_unit_of(data: Data) -> ScalerUnit | None:
    elements = _elements_of(data)
    if elements is None or [one.tag for one in elements] != [Tag.INTEGER, Tag.ENUM]:
        return None
    scaler, unit = map(integer_of, elements)
    return ScalerUnit(scaler, unit) if abs(scaler) <= SCALER_MAX else None
