"""A COSEM object of a simulated meter: a table of what can be read, written and invoked, and by whom."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from protocols.dlms.codes import ActionResult, DataAccessResult
from protocols.dlms.data import Data, Tag, array, enum, integer, long_unsigned, octets, structure, unsigned
from protocols.dlms.responder import Found
from protocols.dlms.xdlms.references import Selection
from protocols.obis import Obis

Read: TypeAlias = Callable[[Selection | None, int], Found]
"""Takes a selection and the time [ms]; a fixed attribute ignores both."""
Write: TypeAlias = Callable[[Data, int], DataAccessResult]
Method: TypeAlias = Callable[[Data | None, int], tuple[ActionResult, Data | None]]
READ_ONLY, READ_WRITE = 1, 3  # access modes, Blue Book 4.4.4


@dataclass(frozen=True, slots=True)
class CosemObject:
    """One object. Attribute 1, the logical name, needs no entry; ``public`` objects are for the public client, too."""

    class_id: int
    version: int
    obis: Obis
    reads: Mapping[int, Read]
    writes: Mapping[int, Write] = field(default_factory=dict)
    methods: Mapping[int, Method] = field(default_factory=dict)
    public: bool = False
    selective: frozenset[int] = frozenset()

    def get(self, index: int, selection: Selection | None, at_ms: int) -> Found:
        """Return an attribute, or why not."""
        if index == 1 and selection is None:
            return octets(self.obis.to_octets())
        read = self.reads.get(index)
        if read is None:
            return DataAccessResult.READ_WRITE_DENIED
        if selection is not None and index not in self.selective:
            return DataAccessResult.SCOPE_OF_ACCESS_VIOLATED
        return read(selection, at_ms)

    def set(self, index: int, value: Data, at_ms: int) -> DataAccessResult:
        """Write an attribute."""
        write = self.writes.get(index)
        return DataAccessResult.READ_WRITE_DENIED if write is None else write(value, at_ms)

    def act(self, index: int, parameter: Data | None, at_ms: int) -> tuple[ActionResult, Data | None]:
        """Invoke a method."""
        method = self.methods.get(index)
        return (ActionResult.READ_WRITE_DENIED, None) if method is None else method(parameter, at_ms)

    def entry(self) -> Data:
        """Return the object's element of the object list (Blue Book 4.4.4)."""
        return structure(
            long_unsigned(self.class_id),
            unsigned(self.version),
            octets(self.obis.to_octets()),
            structure(*self.rights()),
        )

    def rights(self, methods: Iterable[int] | None = None) -> tuple[Data, Data]:
        """Return the access to attributes, and to methods: all, or those of ``methods``."""
        null = Data(Tag.NULL_DATA, None)
        selectors = array(integer(1), integer(2))
        attributes = (
            structure(
                integer(index),
                enum(READ_WRITE if index in self.writes else READ_ONLY),
                selectors if index in self.selective else null,
            )
            for index in sorted({1, *self.reads})
        )
        invoked = self.methods.keys() if methods is None else self.methods.keys() & set(methods)
        return array(*attributes), array(*(structure(integer(index), enum(1)) for index in sorted(invoked)))


def fixed(value: Data) -> Read:
    """Return what reads ``value`` at any time."""
    return lambda _selection, _at_ms: value


def at_time(value: Callable[[int], Data]) -> Read:
    """Return what reads ``value`` as of the time."""
    return lambda _selection, at_ms: value(at_ms)
