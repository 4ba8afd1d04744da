"""The COSEM objects of a simulated meter: registers of its model, clock, names, association, load profile.

Values are those of one moment, set before a request is served, so that what is read together belongs together.
A public client sees the names, the clock and the list of objects; who is associated by the model's rules sees all.

Source: DLMS UA 1000-1 (Blue Book), 4.3.2 register, 4.4.4 association, 4.5.1 clock; 6.2 names.
"""

from typing import NamedTuple

from protocols.dlms.codes import ActionResult, DataAccessResult
from protocols.dlms.data import Data, Tag, array, enum, integer, long_unsigned, octets, structure, unsigned
from protocols.dlms.objects import ClassId, ScalerUnit
from protocols.dlms.selective import CLOCK_OBIS
from protocols.dlms.xdlms.references import Attribute, Selection
from protocols.errors import UsageError
from protocols.meters.model import CosemAttribute, Measurement, MeterModel
from protocols.obis import Obis, base_unit
from simulators.dlms.load_profile import (
    DEVIATION_MINUTES,
    STATUS,
    LoadProfileBuffer,
    clock_value,
    status_value,
)
from simulators.meter import SimulatedMeter

PUBLIC_CLIENT = 16  # IEC 62056-5-3, annex B: the client with the lowest security
DEVICE_NAME, SERIAL_NUMBER, ASSOCIATION = Obis(0, 0, 42, 0, 0), Obis(0, 0, 96, 1, 0), Obis(0, 0, 40, 0, 0)
MANUFACTURER = "CTO"  # invented; not a registered FLAG identification
READ_ONLY = 1  # access mode, Blue Book 4.4.4

# Base unit → scaler and unit of the register (Blue Book 4.3.2): milliamperes are amperes with scaler −3.
_SCALERS: dict[str, ScalerUnit] = {
    "Wh": ScalerUnit(0, 30), "VAh": ScalerUnit(0, 31), "varh": ScalerUnit(0, 32),
    "W": ScalerUnit(0, 27), "VA": ScalerUnit(0, 28), "var": ScalerUnit(0, 29),
    "mA": ScalerUnit(-3, 33), "mV": ScalerUnit(-3, 35), "mHz": ScalerUnit(-3, 44), "1/1000": ScalerUnit(-3, 255),
}  # fmt: skip
_SIGNED = frozenset({16, 36, 56, 76})  # value groups C of powers with a sign


class _Listed(NamedTuple):
    """An entry of the object list: class, version, logical name and the attributes that can be read."""

    class_id: int
    version: int
    obis: Obis
    attributes: tuple[int, ...]


class CosemObjects:
    """What the server half asks: the objects behind one meter address."""

    def __init__(self, meter: SimulatedMeter) -> None:
        check_model(meter.model)
        self.at_ms = meter.installed_at_ms
        self._meter = meter
        self._measurements: dict[Obis, Measurement] = {each.obis: each for each in meter.model.measurements}
        profile = meter.model.profile
        self._profile_obis = profile.obis if profile else None
        self._profile = LoadProfileBuffer(meter, profile) if profile else None
        self._listed = self._list()

    def _list(self) -> dict[tuple[int, Obis], _Listed]:
        listed = [
            _Listed(ClassId.ASSOCIATION_LN, 1, ASSOCIATION, (1, 2)),
            _Listed(ClassId.DATA, 0, DEVICE_NAME, (1, 2)),
            _Listed(ClassId.DATA, 0, SERIAL_NUMBER, (1, 2)),
            _Listed(ClassId.CLOCK, 0, CLOCK_OBIS, tuple(range(1, 10))),
            *(_Listed(ClassId.REGISTER, 0, obis, (1, 2, 3)) for obis in self._measurements),
        ]
        if self._profile_obis is not None:
            listed.append(_Listed(ClassId.DATA, 0, STATUS.obis, (1, 2)))
            listed.append(_Listed(ClassId.PROFILE_GENERIC, 1, self._profile_obis, tuple(range(1, 9))))
        return {(each.class_id, each.obis): each for each in listed}

    def get(
        self, client_sap: int, attribute: Attribute, selection: Selection | None
    ) -> Data | bytes | DataAccessResult:
        """Return an attribute as of :attr:`at_ms`, or why not."""
        listed = self._listed.get((attribute.class_id, attribute.obis))
        if listed is None:
            known = any(obis == attribute.obis for _, obis in self._listed)
            return DataAccessResult.OBJECT_CLASS_INCONSISTENT if known else DataAccessResult.OBJECT_UNDEFINED
        if attribute.index not in listed.attributes or not self._may_read(client_sap, listed):
            return DataAccessResult.READ_WRITE_DENIED
        if attribute.index == 1:
            return octets(attribute.obis.to_octets())
        if self._profile is not None and attribute.obis == self._profile_obis:
            return self._profile.attribute(attribute.index, selection, self.at_ms)
        if selection is not None:
            return DataAccessResult.SCOPE_OF_ACCESS_VIOLATED
        return self._value(listed, attribute.index)

    def set(
        self, _client_sap: int, _attribute: Attribute, _value: Data, _selection: Selection | None
    ) -> DataAccessResult:
        """Refuse: nothing of these meters can be written."""
        return DataAccessResult.READ_WRITE_DENIED

    def act(self, _client_sap: int, _method: Attribute, _parameter: Data | None) -> tuple[ActionResult, Data | None]:
        """Refuse: these meters have no methods."""
        return ActionResult.READ_WRITE_DENIED, None

    def _may_read(self, client_sap: int, listed: _Listed) -> bool:
        return client_sap != PUBLIC_CLIENT or listed.obis in {ASSOCIATION, DEVICE_NAME, SERIAL_NUMBER, CLOCK_OBIS}

    def _value(self, listed: _Listed, index: int) -> Data:
        measurement = self._measurements.get(listed.obis)
        if measurement is not None:
            scaler_unit = _SCALERS[base_unit(listed.obis)]
            return scaler_unit.to_data() if index == 3 else self._register(listed.obis)
        if listed.obis == CLOCK_OBIS:
            return _clock(index, self.at_ms)
        if listed.obis == ASSOCIATION:
            return array(*(_entry(each) for each in self._listed.values()))
        if listed.obis == STATUS.obis:
            return status_value()
        serial = self._meter.serial
        if listed.obis == SERIAL_NUMBER:
            return octets(serial.encode())
        return octets(f"{MANUFACTURER}{serial:0>13}".encode())  # a logical device name has 16 octets

    def _register(self, obis: Obis) -> Data:
        value = self._meter.value(obis, self.at_ms)
        if obis.c in _SIGNED:
            return Data(Tag.DOUBLE_LONG, max(min(value, 0x7FFF_FFFF), -0x8000_0000))
        return Data(Tag.DOUBLE_LONG_UNSIGNED, value & 0xFFFF_FFFF)


def check_model(model: MeterModel) -> None:
    """Raise :class:`UsageError` unless the simulator can be that DLMS meter."""
    if model.dlms is None:
        raise UsageError(f"model {model.key} speaks {model.protocol.value}; expected a DLMS model")
    for each in model.measurements:
        if not isinstance(each.at, CosemAttribute):
            raise UsageError(f"model {model.key} speaks {model.protocol.value}; expected a DLMS model")
        if (each.at.class_id, each.at.attribute) != (ClassId.REGISTER, 2):
            raise UsageError(
                f"model {model.key}, {each.key}: class {each.at.class_id}, attribute {each.at.attribute}; "
                "the simulator has registers (class 3, attribute 2) only"
            )


def _clock(index: int, at_ms: int) -> Data:
    """Return an attribute of the clock: no summer time, driven by its crystal."""
    never = b"\xff\xff" + b"\xff" * 7 + b"\x80\x00\xff"
    match index:
        case 2:
            return clock_value(at_ms)
        case 3:
            return Data(Tag.LONG, DEVIATION_MINUTES)
        case 4:
            return unsigned(0)  # status: good
        case 5 | 6:
            return octets(never)  # summer time begins and ends
        case 7:
            return integer(0)
        case 8:
            return Data(Tag.BOOLEAN, False)
    return enum(1)  # clock base: internal crystal


def _entry(listed: _Listed) -> Data:
    """Return an element of the object list (Blue Book 4.4.4)."""
    selectors = array(integer(1), integer(2))
    rights = (
        structure(
            integer(index),
            enum(READ_ONLY),
            selectors if listed.class_id == ClassId.PROFILE_GENERIC and index == 2 else Data(Tag.NULL_DATA, None),
        )
        for index in listed.attributes
    )
    return structure(
        long_unsigned(listed.class_id),
        unsigned(listed.version),
        octets(listed.obis.to_octets()),
        structure(array(*rights), array()),
    )
