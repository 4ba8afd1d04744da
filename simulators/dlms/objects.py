"""The COSEM objects of a simulated meter: registers, clock, names, profiles, logs, relay, push, associations.

Values are those of one moment, set before a request is served, so that what is read together belongs together.
A public client sees the names, the clock, the counter and the list of objects; who is associated by the model's rules
sees all. By short names an object's base follows from its place in the list.

Source: DLMS UA 1000-1 (Blue Book), 4.3.2 register, 4.4.3 and 4.4.4 associations; 6.2 names.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace

from protocols.dlms import axdr
from protocols.dlms.codes import ActionResult, DataAccessResult
from protocols.dlms.control import RELAY_OBIS, ControlState
from protocols.dlms.data import (
    Data,
    Tag,
    array,
    double_long_unsigned,
    long_unsigned,
    octets,
    structure,
    unsigned,
)
from protocols.dlms.objects import ClassId, ScalerUnit
from protocols.dlms.responder import Found
from protocols.dlms.selective import CLOCK, CaptureObject
from protocols.dlms.short_names import ASSOCIATION as ASSOCIATION_SN
from protocols.dlms.short_names import ASSOCIATION_BASE, METHODS
from protocols.dlms.xdlms.references import Attribute, Selection
from protocols.errors import UsageError
from protocols.meters.model import CosemAttribute, Group, MeterModel
from protocols.obis import Obis, base_unit
from simulators.dlms.actuators import MeterState, clock_object, push_object, relay_object
from simulators.dlms.billing import (
    billing_scripts,
    capture,
    demand_object,
    disconnect_scripts,
)
from simulators.dlms.cosem import CosemObject, at_time, fixed
from simulators.dlms.counting import Counting
from simulators.dlms.demand import demand_objects
from simulators.dlms.image_transfer import ImageTransfer
from simulators.dlms.limiter import ACTIVE_POWER, Limiter
from simulators.dlms.profile_buffer import clock_value
from simulators.dlms.profiles import (
    BILLING,
    DISCONNECTS,
    POWER_DOWN,
    STANDARD,
    STATUS,
    EventLog,
    demand_registers,
    energy_profiles,
    event_code,
    event_logs,
)
from simulators.dlms.security_setup import Security, security_setup
from simulators.dlms.tariff_calendar import TariffCalendar
from simulators.meter import SimulatedMeter

DEVICE_NAME, SERIAL_NUMBER, ASSOCIATION = Obis(0, 0, 42, 0, 0), Obis(0, 0, 96, 1, 0), Obis(0, 0, 40, 0, 0)
SAP_ASSIGNMENT, INVOCATION_COUNTER = Obis(0, 0, 41, 0, 0), Obis(0, 0, 43, 1, 0)
POWER_FAILURES = Obis(0, 0, 96, 7, 21)  # in any phase
RATIOS = (
    Obis(1, 0, 0, 4, 2),
    Obis(1, 0, 0, 4, 3),
)  # of current and voltage transformers; these meters measure directly
MANUFACTURER = "CTO"  # invented; not a registered FLAG identification
BASE_STEP = 0x100  # short names: room for 32 attributes

# Base unit → scaler and unit of the register (Blue Book 4.3.2): milliamperes are amperes with scaler −3.
_SCALERS: dict[str, ScalerUnit] = {
    "Wh": ScalerUnit(0, 30), "VAh": ScalerUnit(0, 31), "varh": ScalerUnit(0, 32),
    "W": ScalerUnit(0, 27), "VA": ScalerUnit(0, 28), "var": ScalerUnit(0, 29),
    "mA": ScalerUnit(-3, 33), "mV": ScalerUnit(-3, 35), "mHz": ScalerUnit(-3, 44), "1/1000": ScalerUnit(-3, 255),
}  # fmt: skip
_SIGNED = frozenset({16, 36, 56, 76})  # value groups C of powers with a sign


class CosemObjects:
    """What the server half asks: the objects behind one meter address. ``counter`` tells the highest one accepted."""

    def __init__(
        self,
        meter: SimulatedMeter,
        *,
        ignores_selection: bool = False,
        counter: Callable[[], int] = lambda: 0,
        security: Callable[[], Security] = Security,
        transfer: Callable[[Data], ActionResult] = lambda _keys: ActionResult.READ_WRITE_DENIED,
        loses_blocks: int = 0,
        relay_stops: bool = False,
    ) -> None:
        check_model(meter.model)
        self.at_ms = meter.installed_at_ms
        self.meter = meter
        self.state = MeterState(event_logs(meter), Counting(meter, relay_stops), ImageTransfer(loses_blocks))
        self._security, self._transfer = security, transfer
        self._calendar = TariffCalendar(lambda: self.state.clock_ms)
        self._limiter: Limiter | None = None
        self._counter = counter
        settings = meter.model.dlms
        assert settings is not None  # check_model has seen to it.
        self._public_sap = settings.public_client_sap
        self._counter_obis, self._relay_obis = settings.counter or INVOCATION_COUNTER, settings.relay or RELAY_OBIS
        self._objects: dict[tuple[int, Obis], CosemObject] = {}
        for each in self._make(ignores_selection):
            self._objects[each.class_id, each.obis] = each
        self._codes = {obis for _, obis in self._objects}
        # Meters with other objects have another firmware: clients may keep what one firmware lists.
        listed = b"".join(axdr.encode(each.entry()) for each in self._objects.values())
        self.state.image.firmware += b"-" + hashlib.sha256(listed).hexdigest()[:8].encode()
        named = (key for key in self._objects if key[1] != ASSOCIATION)  # By short names that one is of class 12.
        bases = {key: BASE_STEP * (place + 1) for place, key in enumerate(named)}
        self.short_names = {ASSOCIATION_SN: ASSOCIATION_BASE, **bases}
        """Base names by class and logical name, for clients that refer by short names."""

    def advance(self, at_ms: int) -> None:
        """Let the time be ``at_ms``; what was due until then happens."""
        self.at_ms = at_ms
        self._calendar.advance(at_ms)
        if self._limiter is not None:
            self._limiter.advance(at_ms)

    def get(self, client_sap: int, attribute: Attribute, selection: Selection | None) -> Found:
        """Return an attribute as of :attr:`at_ms`, or why not."""
        found = self._find(client_sap, attribute)
        return found.get(attribute.index, selection, self.at_ms) if isinstance(found, CosemObject) else found

    def set(self, client_sap: int, attribute: Attribute, value: Data, _selection: Selection | None) -> DataAccessResult:
        """Write an attribute; the public client writes nothing."""
        found = self._find(client_sap, attribute)
        if not isinstance(found, CosemObject):
            return found
        if client_sap == self._public_sap:
            return DataAccessResult.READ_WRITE_DENIED
        return found.set(attribute.index, value, self.at_ms)

    def act(self, client_sap: int, method: Attribute, parameter: Data | None) -> tuple[ActionResult, Data | None]:
        """Invoke a method; the public client invokes none."""
        found = self._find(client_sap, method)
        if not isinstance(found, CosemObject):
            return ActionResult(int(found)), None
        if client_sap == self._public_sap:
            return ActionResult.READ_WRITE_DENIED, None
        return found.act(method.index, parameter, self.at_ms)

    def _find(self, client_sap: int, attribute: Attribute) -> CosemObject | DataAccessResult:
        found = self._objects.get((attribute.class_id, attribute.obis))
        if found is None:
            known = attribute.obis in self._codes
            return DataAccessResult.OBJECT_CLASS_INCONSISTENT if known else DataAccessResult.OBJECT_UNDEFINED
        if client_sap == self._public_sap and not found.public:
            return DataAccessResult.READ_WRITE_DENIED
        return found

    def push_columns(self) -> tuple[CaptureObject, ...]:
        """Return what a push holds: the clock, then the billing registers."""
        registers = [each for each in self.meter.model.measurements if each.group is Group.BILLING]
        return (CLOCK, *(CaptureObject(ClassId.REGISTER, each.obis, 2) for each in registers))

    def push_value(self, column: CaptureObject, at_ms: int) -> Data:
        """Return what a push holds for ``column``."""
        return clock_value(self.state.local(at_ms)) if column == CLOCK else self.register(column.obis, at_ms)

    # -- the objects --------------------------------------------------------------------------------------------------

    def _make(self, ignores_selection: bool) -> list[CosemObject]:
        meter = self.meter
        name = octets(f"{MANUFACTURER}{meter.serial:0>13}".encode())  # a logical device name has 16 octets
        short_lists = {2: at_time(self._short_list), 3: at_time(self._short_rights)}
        found = [
            CosemObject(ClassId.ASSOCIATION_LN, 1, ASSOCIATION, {2: at_time(self._object_list)}, public=True),
            CosemObject(ClassId.ASSOCIATION_SN, 1, ASSOCIATION_SN[1], short_lists, public=True),
            _data(DEVICE_NAME, name),
            _data(SERIAL_NUMBER, octets(meter.serial.encode())),
            CosemObject(ClassId.SAP_ASSIGNMENT, 0, SAP_ASSIGNMENT, {2: fixed(self._saps(name))}, public=True),
            CosemObject(ClassId.DATA, 0, self._counter_obis, {2: at_time(self._counted)}, public=True),
            clock_object(self.state),
            *self._relay_objects(),
            security_setup(self._security, self._transfer),
            *(demand_object(obis, self.state.counting) for obis in demand_registers(meter)),
            billing_scripts(self.state.counting, demand_registers(meter)),
            push_object(self.state, self.push_columns()),
            *demand_objects(self.state.counting),
            *self._calendar.to_objects(),
            *self.state.image.to_objects(),
            *(self._register(each.obis) for each in meter.model.measurements),
        ]
        profiles = energy_profiles(self.state.counting, ignores_selection=ignores_selection)
        if meter.model.profile is not None:
            found.append(CosemObject(ClassId.DATA, 0, STATUS.obis, {2: fixed(unsigned(0))}))
        captures = {2: capture(self.state.counting)}
        found += [(replace(each, methods=captures) if each.obis == BILLING else each).to_object() for each in profiles]
        found += [CosemObject(ClassId.DATA, 0, obis, {2: fixed(long_unsigned(1))}) for obis in RATIOS]
        failures = at_time(lambda at_ms: long_unsigned(self.state.logs[STANDARD].count(POWER_DOWN, at_ms) & 0xFFFF))
        found.append(CosemObject(ClassId.DATA, 0, POWER_FAILURES, {2: failures}))
        for group_e, log in self.state.logs.items():
            found += [_event_code(group_e, log), log.buffer().to_object()]
        return found

    def _relay_objects(self) -> list[CosemObject]:
        """Return relay and scripts, and the limiter of a meter that knows its power."""
        state = self.state
        relay = relay_object(state, self._relay_obis)
        if self.meter.model.measurement(ACTIVE_POWER) is None:
            return [relay, disconnect_scripts(relay)]
        self._limiter = Limiter(
            state.counting,
            relay,
            lambda: state.relay is ControlState.CONNECTED,
            state.logs[DISCONNECTS],
            lambda: state.clock_ms,
        )
        return [relay, disconnect_scripts(relay), self._limiter.to_object()]

    def _register(self, obis: Obis) -> CosemObject:
        scaler_unit = _SCALERS[base_unit(obis)].to_data()
        return CosemObject(
            ClassId.REGISTER, 0, obis, {2: at_time(lambda at_ms: self.register(obis, at_ms)), 3: fixed(scaler_unit)}
        )

    def register(self, obis: Obis, at_ms: int) -> Data:
        """Return the value of a register, attribute 2 of class 3."""
        value = self.state.counting.value(obis, at_ms)
        if obis.c in _SIGNED:
            return Data(Tag.DOUBLE_LONG, max(min(value, 0x7FFF_FFFF), -0x8000_0000))
        return double_long_unsigned(value & 0xFFFF_FFFF)

    def _counted(self, _at_ms: int) -> Data:
        return double_long_unsigned(max(0, self._counter()))

    def _saps(self, name: Data) -> Data:
        settings = self.meter.model.dlms
        assert settings is not None  # check_model has seen to it.
        return array(structure(long_unsigned(settings.server_logical), name))

    def _object_list(self, _at_ms: int) -> Data:
        return array(*(each.entry() for each in self._objects.values() if each.class_id != ClassId.ASSOCIATION_SN))

    def _short_list(self, _at_ms: int) -> Data:
        return array(
            *(
                structure(
                    _base_name(base),
                    long_unsigned(class_id),
                    unsigned(self._objects[class_id, obis].version),
                    octets(obis.to_octets()),
                )
                for (class_id, obis), base in self.short_names.items()
            )
        )

    def _short_rights(self, _at_ms: int) -> Data:
        """Return access_rights_list of the association (Blue Book 4.4.3): of methods, those that have a name here."""
        rights = []
        for key, base in self.short_names.items():
            named = [index for class_id, index in METHODS if class_id == key[0]]
            rights.append(structure(_base_name(base), *self._objects[key].rights(named)))
        return array(*rights)


def _base_name(base: int) -> Data:
    return Data(Tag.LONG, base - 0x1_0000 if base > 0x7FFF else base)


def _data(obis: Obis, value: Data) -> CosemObject:
    return CosemObject(ClassId.DATA, 0, obis, {2: fixed(value)}, public=True)


def _event_code(group_e: int, log: EventLog) -> CosemObject:
    code = at_time(lambda at_ms: unsigned(log.last_code(at_ms)))
    return CosemObject(ClassId.DATA, 0, event_code(group_e).obis, {2: code})


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
