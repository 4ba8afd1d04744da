"""COSEM objects, read with meaning: registers with scaler and unit, the object list, the classes' attributes.

Values stay integers. A register's value times ten to its scaler is in its unit; :func:`to_base` brings it to the fixed
base unit of :mod:`protocols.obis`, rounding once, to the nearest.
"""

from dataclasses import dataclass
from enum import IntEnum

from protocols.dlms.data import Data, Tag, enum, integer, integer_of, items_of, octets_of, structure
from protocols.dlms.xdlms.references import Attribute
from protocols.errors import RemoteProtocolError, UsageError
from protocols.obis import Obis, base_unit

SCALER_MAX = 18  # beyond ten to the 18th nothing fits into 64 bits


class ClassId(IntEnum):
    """Interface classes this stack knows by name (Blue Book 4)."""

    DATA = 1
    REGISTER = 3
    EXTENDED_REGISTER = 4
    DEMAND_REGISTER = 5
    REGISTER_ACTIVATION = 6
    PROFILE_GENERIC = 7
    CLOCK = 8
    SCRIPT_TABLE = 9
    ASSOCIATION_SN = 12
    ASSOCIATION_LN = 15
    SAP_ASSIGNMENT = 17
    IMAGE_TRANSFER = 18
    PUSH_SETUP = 40
    SECURITY_SETUP = 64
    DISCONNECT_CONTROL = 70
    LIMITER = 71


SCALER_UNIT_INDEX = {ClassId.REGISTER: 3, ClassId.EXTENDED_REGISTER: 3, ClassId.DEMAND_REGISTER: 4}

# Blue Book 4.3.2, table of units: enum → the word here, the base unit of protocols.obis and how many of it are one.
UNITS: dict[int, tuple[str, str, int]] = {
    27: ("W", "W", 1),
    28: ("VA", "VA", 1),
    29: ("var", "var", 1),
    30: ("Wh", "Wh", 1),
    31: ("VAh", "VAh", 1),
    32: ("varh", "varh", 1),
    33: ("A", "mA", 1000),
    35: ("V", "mV", 1000),
    44: ("Hz", "mHz", 1000),
    255: ("", "1/1000", 1000),
}


@dataclass(frozen=True, slots=True)
class ScalerUnit:
    """scaler_unit: the power of ten and the unit's number in the standard."""

    scaler: int
    unit: int

    @property
    def word(self) -> str:
        """The unit's symbol."""
        return UNITS[self.unit][0] if self.unit in UNITS else f"unit {self.unit}"

    def to_data(self) -> Data:
        """Return the attribute's value."""
        return structure(integer(self.scaler), enum(self.unit))


def scaler_unit_of(data: Data) -> ScalerUnit:
    """Decode scaler_unit; RemoteProtocolError when it is none or the scaler is beyond ±18."""
    scaler, unit = (integer_of(element) for element in items_of(data, 2))
    if abs(scaler) > SCALER_MAX:
        raise RemoteProtocolError(f"a scaler of {scaler}, expected -{SCALER_MAX} to {SCALER_MAX}")
    return ScalerUnit(scaler, unit)


def to_base(value: int, scaler_unit: ScalerUnit, obis: Obis) -> int:
    """Return ``value`` in the base unit of ``obis``, rounded to the nearest, halves away from zero.

    RemoteProtocolError when the register's unit is not that of the quantity its code names, or it names none.
    """
    try:
        expected = base_unit(obis)
    except UsageError as error:  # What a meter captures is the meter's choice, so it is no usage of ours.
        raise RemoteProtocolError(str(error)) from error
    known = UNITS.get(scaler_unit.unit)
    if known is None or known[1] != expected:
        raise RemoteProtocolError(f"register {obis} is in {scaler_unit.word or 'no unit'}, expected {expected}")
    return scale(value * known[2], scaler_unit.scaler)


def scale(value: int, scaler: int) -> int:
    """Return ``value`` times ten to ``scaler``, rounded to the nearest, halves away from zero."""
    factor: int = 10 ** abs(scaler)
    if scaler >= 0:
        return value * factor
    quotient, rest = divmod(abs(value), factor)
    quotient += 2 * rest >= factor
    return -quotient if value < 0 else quotient


@dataclass(frozen=True, slots=True)
class ObjectEntry:
    """One object of an association's list; rights are access modes by attribute and method index."""

    class_id: int
    version: int
    obis: Obis
    attributes: tuple[tuple[int, int], ...]
    methods: tuple[tuple[int, int], ...]

    def attribute(self, index: int) -> Attribute:
        """Return the descriptor of attribute ``index``."""
        return Attribute(self.class_id, self.obis, index)


def decode_object_list(data: Data) -> tuple[ObjectEntry, ...]:
    """Decode attribute 2 of an LN association (Blue Book 4.4.4); RemoteProtocolError when it is none."""
    return tuple(_object_entry(element) for element in items_of(data))


def _object_entry(data: Data) -> ObjectEntry:
    class_id, version, logical_name, rights = items_of(data, 4)
    attributes, methods = items_of(rights, 2)
    name = octets_of(logical_name)
    if len(name) != 6:
        raise RemoteProtocolError(f"a logical name of {len(name)} octets, expected 6")
    return ObjectEntry(
        class_id=integer_of(class_id),
        version=integer_of(version),
        obis=Obis.from_octets(name),
        attributes=_rights(attributes),
        methods=_rights(methods),
    )


def _rights(data: Data) -> tuple[tuple[int, int], ...]:
    pairs = []
    for element in items_of(data):
        fields = items_of(element)
        if len(fields) < 2:
            raise RemoteProtocolError("an access right without a mode")
        mode = fields[1]
        pairs.append(
            (integer_of(fields[0]), int(mode.content is True) if mode.tag is Tag.BOOLEAN else integer_of(mode))
        )
    return tuple(pairs)
