"""What lets a model be recognised, watched and checked: ``[identity]``, ``[counters]``, ``[firmware]``, ``[[frames]]``.

Words only, as in :mod:`protocols.meters.dlms_settings`; :mod:`protocols.meters.recognise` and
:mod:`protocols.meters.counters` say what follows from them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from protocols.obis import Obis
from protocols.strict_toml import Table

IDENTITY_REGISTERS_MAX = 32
IDENTITY_VALUES_MAX = 32
FRAMES_MAX = 32
FRAME_OCTETS_MAX = 260
NOTES_MAX = 16
POWER_MAX_W = 10**9
ORIGINS = ("captured", "vendor document", "constructed")


@dataclass(frozen=True, slots=True)
class Identity:
    """A question, and the answers that mean this model.

    Either ``measurement`` (Modbus) with ``between``, in the measurement's unit, which says only that the answer is
    plausible; or ``registers`` at ``address`` of ``table`` (Modbus), or the value of the COSEM data object ``obis``,
    that is one of ``equals`` or, as text, begins with ``starts_with`` in capital or small letters.
    """

    measurement: str | None = None
    between: tuple[int, int] | None = None
    table: str | None = None
    address: int = 0
    registers: int = 0
    obis: Obis | None = None
    equals: tuple[int, ...] = ()
    starts_with: str | None = None


@dataclass(frozen=True, slots=True)
class CounterRules:
    """What is known of the energy registers beyond their type.

    ``power_max_w`` is the most power that the meter can measure, and so the steepest slope of its energy registers.
    ``rollover`` is the raw number at which they begin again at zero; without it, where their type ends.
    ``resolution_wh`` is the step in which they count; without it, the step of their type and scale.
    """

    monotonic: bool = True
    power_max_w: int | None = None
    rollover: int | None = None
    resolution_wh: int | None = None


@dataclass(frozen=True, slots=True)
class Firmware:
    """From which to which firmware, both included, the table is known to hold."""

    first: str | None = None
    last: str | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """A question and its answer as octets, and what they say.

    Modbus: RTU frames; ``values`` are integers in the base units of their OBIS codes, ``missing`` the measurements for
    which the meter says that it has no value. DLMS: the APDUs of a GET, ``values`` are the numbers in the registers,
    before their scaler.
    """

    request: bytes
    reply: bytes
    origin: str
    source: str
    values: Mapping[str, int] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


def parse_identity(table: Table, modbus: bool) -> Identity:
    """Return the identity in ``[identity]``; raise :class:`protocols.errors.UsageError`."""
    if modbus and "measurement" in table:
        low, high = _integers(table, "between", 2, 2)
        identity = Identity(measurement=table.take("measurement", str), between=(low, high))
        if low >= high:
            raise table.error("between", f"found {[low, high]}; expected the lower bound first")
        table.finish()
        return identity
    equals = _integers(table, "equals", 1, IDENTITY_VALUES_MAX) if "equals" in table else ()
    starts_with = table.take("starts_with", str, default=None)
    if bool(equals) == bool(starts_with):
        raise table.error("equals", "expected either equals, a list of numbers, or starts_with, a text")
    if modbus:
        identity = Identity(
            table=table.take("table", str, choices=("input", "holding")),
            address=table.integer("address", 0, 0xFFFF),
            registers=table.integer("registers", 1, IDENTITY_REGISTERS_MAX),
            equals=equals,
            starts_with=starts_with,
        )
    else:
        identity = Identity(obis=Obis.parse(table.take("obis", str)), equals=equals, starts_with=starts_with)
    table.finish()
    return identity


def parse_counters(table: Table) -> CounterRules:
    """Return the rules in ``[counters]``."""
    rules = CounterRules(
        monotonic=table.take("monotonic", bool, default=True),
        power_max_w=table.integer("power_max_w", 1, POWER_MAX_W) if "power_max_w" in table else None,
        rollover=table.integer("rollover", 1, 1 << 62) if "rollover" in table else None,
        resolution_wh=table.integer("resolution_wh", 1, 1_000_000) if "resolution_wh" in table else None,
    )
    table.finish()
    return rules


def parse_firmware(table: Table) -> Firmware:
    """Return the range in ``[firmware]``."""
    firmware = Firmware(table.take("first", str, default=None), table.take("last", str, default=None))
    table.finish()
    return firmware


def parse_frames(tables: list[Table], measurements: frozenset[str]) -> tuple[Frame, ...]:
    """Return the frames in ``[[frames]]``, whose values are of ``measurements``."""
    if len(tables) > FRAMES_MAX:
        raise tables[FRAMES_MAX].error("request", f"more than {FRAMES_MAX} frames")
    return tuple(_parse_frame(table, measurements) for table in tables)


def parse_notes(top: Table) -> tuple[str, ...]:
    """Return the texts of ``notes``: what an installer must know, and where sources disagree."""
    notes = top.take("notes", list, default=[])
    if len(notes) > NOTES_MAX or any(type(each) is not str or not each for each in notes):
        raise top.error("notes", f"expected a list of at most {NOTES_MAX} texts")
    return tuple(notes)


def _parse_frame(table: Table, measurements: frozenset[str]) -> Frame:
    values = table.table("values", required=False)
    missing = table.take("missing", list, default=[])
    for name in [*values.names(), *missing]:
        if name not in measurements:
            raise table.error("values", f"{name!r} is no measurement of this model")
    frame = Frame(
        request=_octets(table, "request"),
        reply=_octets(table, "reply"),
        origin=table.take("origin", str, choices=ORIGINS),
        source=table.take("source", str, default=""),
        values={name: values.take(name, int) for name in values.names()},
        missing=tuple(missing),
    )
    if not frame.values and not frame.missing:
        raise table.error("values", "missing; say what the reply means")
    table.finish()
    return frame


def _octets(table: Table, key: str) -> bytes:
    text = table.take(key, str)
    try:
        octets = bytes.fromhex(text)
    except ValueError as error:
        raise table.error(key, f"found {text!r}; expected octets such as '01 04 00 48'") from error
    if not 1 <= len(octets) <= FRAME_OCTETS_MAX:
        raise table.error(key, f"found {len(octets)} octets; expected 1 to {FRAME_OCTETS_MAX}")
    return octets


def _integers(table: Table, key: str, least: int, most: int) -> tuple[int, ...]:
    found = table.take(key, list)
    if not least <= len(found) <= most or any(type(each) is not int for each in found):
        raise table.error(key, f"found {found!r}; expected a list of {least} to {most} integers")
    return tuple(found)
