"""Short names: sixteen-bit addresses of attributes and methods, from a base an object (DLMS UA 1000-1, Blue Book).

An attribute lies eight further for each index. Where the methods lie is each class's own; :data:`METHODS` has those
this stack invokes. The association object itself is at FA00, so a client that knows nothing can ask for the rest.

The offsets were compared with two public implementations, not with the book itself: the action table of the DLMS
library in C++ by Gurux (first method of a class; each further one is eight on) has all of them, the DLMS classes in
Java by EnergyICT have those of the association and of the activity calendar. Attributes were read so by pydlms from
our simulator (``tests/peers``); no method was invoked on a real meter yet.
"""

from collections.abc import Mapping

from protocols.dlms.data import Data, integer_of, items_of, octets_of
from protocols.dlms.xdlms.references import Attribute
from protocols.errors import LocalProtocolError, RemoteProtocolError, UsageError
from protocols.obis import Obis

ASSOCIATION_BASE = 0xFA00  # reserved for it, as each client and meter known to us has it
ASSOCIATION = (12, Obis(0, 0, 40, 0, 0))
OBJECT_LIST = Attribute(*ASSOCIATION, 2)
REPLY_TO_HLS_NAME = ASSOCIATION_BASE + 0x58  # the method that takes the proof of pass 3
PARAMETER = 1  # the selector by which READ invokes a method that returns something
ATTRIBUTES_MAX = 32  # more than any class has that this stack knows by short names
STEP = 8

METHODS: Mapping[tuple[int, int], int] = {
    (12, 8): 0x58,  # association SN: reply_to_HLS_authentication
    (3, 1): 0x28,  # register: reset
    (4, 1): 0x38,  # extended register: reset
    (5, 1): 0x48,  # demand register: reset
    (5, 2): 0x50,  # demand register: next_period
    (7, 1): 0x58,  # profile generic: reset
    (7, 2): 0x60,  # profile generic: capture
    (8, 1): 0x60,  # clock: adjust_to_quarter
    (8, 2): 0x68,  # clock: adjust_to_measuring_period
    (8, 3): 0x70,  # clock: adjust_to_minute
    (8, 4): 0x78,  # clock: adjust_to_preset_time
    (8, 5): 0x80,  # clock: preset_adjusting_time
    (8, 6): 0x88,  # clock: shift_time
    (9, 1): 0x20,  # script table: execute
    (11, 1): 0x10,  # special days table: insert
    (11, 2): 0x18,  # special days table: delete
    (20, 1): 0x50,  # activity calendar: activate_passive_calendar
    (70, 1): 0x20,  # disconnect control: remote_disconnect
    (70, 2): 0x28,  # disconnect control: remote_reconnect
}


class UnlistedError(LocalProtocolError):
    """An object has no short name: the meter did not list it, or its list was not learned."""


class UnknownMethodError(UsageError):
    """A method cannot be invoked by a short name, because where its class has it is not known here."""


class ShortNames:
    """The base names of one meter's objects, both ways."""

    def __init__(self, bases: Mapping[tuple[int, Obis], int] | None = None) -> None:
        self.bases: dict[tuple[int, Obis], int] = {ASSOCIATION: ASSOCIATION_BASE, **(bases or {})}

    def name(self, attribute: Attribute) -> int:
        """Return the short name of ``attribute``; UnlistedError when its object is not known."""
        base = self._base(attribute)
        if not 1 <= attribute.index <= ATTRIBUTES_MAX:
            raise LocalProtocolError(f"{attribute} has no short name: indices are 1 to {ATTRIBUTES_MAX}")
        return (base + STEP * (attribute.index - 1)) & 0xFFFF

    def method_name(self, method: Attribute) -> int:
        """Return the short name of ``method``; UnlistedError when its object is not known, else UnknownMethodError."""
        base, offset = self._base(method), METHODS.get((method.class_id, method.index))
        if offset is None:
            known = ", ".join(f"{class_id}:{index}" for class_id, index in sorted(METHODS))
            raise UnknownMethodError(
                f"method not known here: class {method.class_id}, method {method.index} of {method.obis} by short "
                f"names; expected class:method {known}; or use logical names"
            )
        return (base + offset) & 0xFFFF

    def knows(self, attribute: Attribute) -> bool:
        """Whether the object of ``attribute``, or of a method, has a name."""
        return (attribute.class_id, attribute.obis) in self.bases

    def _base(self, attribute: Attribute) -> int:
        base = self.bases.get((attribute.class_id, attribute.obis))
        if base is None:
            raise UnlistedError(
                f"{attribute} has no short name: read the object list ({OBJECT_LIST}) and learn it first"
            )
        return base

    def find(self, name: int) -> tuple[Attribute, bool] | None:
        """Return the attribute, or with True the method, that ``name`` means to a meter with these objects."""
        near = [(base, key) for key, base in self.bases.items() if base <= name]
        if not near:
            return None
        base, (class_id, obis) = max(near, key=lambda item: item[0])
        offset = name - base
        for (of_class, index), at in METHODS.items():
            if of_class == class_id and at == offset:
                return Attribute(class_id, obis, index), True
        index, rest = divmod(offset, STEP)
        return (Attribute(class_id, obis, index + 1), False) if not rest and index < ATTRIBUTES_MAX else None

    def learn(self, object_list: Data) -> None:
        """Take the bases from the association's object list; RemoteProtocolError when it is none."""
        for entry in items_of(object_list):
            base, class_id, _version, logical_name = items_of(entry, 4)
            obis = octets_of(logical_name)
            if len(obis) != 6:
                raise RemoteProtocolError(f"a logical name of {len(obis)} octets, expected 6")
            self.bases[integer_of(class_id), Obis.from_octets(obis)] = integer_of(base) & 0xFFFF
