"""The file of ``congto meters load``: what meters are, checked as far as it can be without the database.

The format and an example are in ``docs/contracts/meters.md``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import NamedTuple, TypeAlias, TypeVar

from protocols.errors import UsageError
from protocols.strict_toml import Table, parse_toml
from protocols.telemetry.topics import check_identifier

TEXT_MAX = 500
DIGITS_MIN, DIGITS_MAX = 4, 12
MULTIPLIER_MAX = 10_000_000  # CT × VT, as the registry takes it
DAY_MIN = 1_440
INVERTER_MAX_W = 2_000_000_000
VOLTAGE_MAX_V, CURRENT_MAX_A = 1_000_000, 100_000
CODE_MAX = 2**31 - 1
CLASS_MAX = Decimal(10)
STATUSES = (
    "nothing", "power_fail", "overflow", "test_mode", "memory_error", "watchdog", "tamper", "cover_open", "magnet",
    "reverse_flow", "clock_set", "registers_set",
)  # fmt: skip


class Plate(NamedTuple):
    """What a meter says of itself from a day on; what is not known is None. ``class_e3``: class 0.5 is 500.

    ``inverter_w`` is that of the inverter whose export the meter counts.
    """

    meter_id: str
    valid_from: date
    digits: int | None
    multiplier: int | None
    interval_min: int | None
    voltage_v: int | None
    current_max_a: int | None
    phases: int | None
    class_e3: int | None
    inverter_w: int | None
    source: str


class LogCode(NamedTuple):
    """What an entry of a model's event log says; model ``*`` is every one."""

    model: str
    code: int
    status: str
    source: str


class CheckMeter(NamedTuple):
    """A second meter at a point."""

    metering_point_id: str
    meter_id: str
    valid_from: date
    valid_to: date | None
    multiplier: int
    source: str


class Transformer(NamedTuple):
    """Which meter measures what a transformer gives to a feeder."""

    transformer_id: str
    feeder: str
    meter_id: str
    valid_from: date
    valid_to: date | None
    multiplier: int
    source: str


Row: TypeAlias = Plate | LogCode | CheckMeter | Transformer
KEYS: Mapping[type[Row], tuple[str, str]] = {
    Plate: ("meter_id", "valid_from"),
    LogCode: ("model", "code"),
    CheckMeter: ("metering_point_id", "valid_from"),
    Transformer: ("transformer_id", "valid_from"),
}
"""What a later row takes the place of an earlier one by."""
R = TypeVar("R", Plate, LogCode, CheckMeter, Transformer)


@dataclass(frozen=True, slots=True)
class MeterFile:
    """A file's rows; ``places`` says where each stands, for errors."""

    plates: tuple[Plate, ...]
    log_codes: tuple[LogCode, ...]
    check_meters: tuple[CheckMeter, ...]
    transformers: tuple[Transformer, ...]
    places: dict[Row, str]


def parse_meter_file(text: str, name: str) -> MeterFile:
    """Return what ``text`` says; ``name`` is the file's name, for errors.

    Raises
    ------
    UsageError
        Naming file, key and cure, if a key is missing, unknown, of a wrong type or value, or a row stands twice.
    """
    top = parse_toml(text, name)
    places: dict[Row, str] = {}
    parsed = MeterFile(
        _rows(top, "plate", _plate, places),
        _rows(top, "log_code", _log_code, places),
        _rows(top, "check_meter", _check_meter, places),
        _rows(top, "transformer", _transformer, places),
        places,
    )
    top.finish()
    if not places:
        raise UsageError(f"{name}: found no [[plate]], [[log_code]], [[check_meter]] or [[transformer]]; add one")
    return parsed


def _rows(top: Table, key: str, row_of: Callable[[Table], R], places: dict[Row, str]) -> tuple[R, ...]:
    rows: list[R] = []
    first: dict[tuple[object, ...], str] = {}
    for table in top.tables(key):
        row = row_of(table)
        table.finish()
        names = KEYS[type(row)]
        own = tuple(getattr(row, name) for name in names)
        if own in first:  # which of them counts would change each time the file is loaded
            raise UsageError(
                f"{table.where}: {' '.join(map(str, own))} stands twice; the first is {first[own]}: keep one"
            )
        first[own] = places[row] = table.where
        rows.append(row)
    return tuple(rows)


def _plate(table: Table) -> Plate:
    plate = Plate(
        meter_id=_identifier(table, "meter"),
        valid_from=table.take("valid_from", date),
        digits=_optional(table, "digits", DIGITS_MIN, DIGITS_MAX),
        multiplier=_optional(table, "multiplier", 1, MULTIPLIER_MAX),
        interval_min=_optional(table, "interval_min", 1, DAY_MIN),
        voltage_v=_optional(table, "voltage_v", 1, VOLTAGE_MAX_V),
        current_max_a=_optional(table, "current_max_a", 1, CURRENT_MAX_A),
        phases=_optional(table, "phases", 1, 3),
        class_e3=_class(table) if "class" in table else None,
        inverter_w=_optional(table, "inverter_w", 1, INVERTER_MAX_W),
        source=_text(table, "source"),
    )
    if plate.phases == 2:
        raise table.error("phases", "found 2; expected 1 or 3")
    supply = (plate.voltage_v, plate.current_max_a, plate.phases)
    if any(each is None for each in supply) and any(each is not None for each in supply):
        raise table.error("voltage_v", "voltage_v, current_max_a and phases belong together; give all three or none")
    if all(each is None for each in plate[2:-1]):
        raise table.error("digits", "the plate says nothing; give at least one of its figures")
    return plate


def _class(table: Table) -> int:
    """Return the accuracy class in thousandths of a per cent; "0.5S" counts as 0.5."""
    text = table.take("class", str)
    try:
        percent = Decimal(text.removesuffix("S"))
    except InvalidOperation:
        percent = Decimal(0)
    if not percent.is_finite() or not 0 < percent <= CLASS_MAX or percent * 1000 != int(percent * 1000):
        raise table.error("class", f'found {text!r}; expected an accuracy class such as "1", "0.5S" or "0.2"')
    return int(percent * 1000)


def _log_code(table: Table) -> LogCode:
    return LogCode(
        model=_text(table, "model"),
        code=table.integer("code", 0, CODE_MAX),
        status=table.take("status", str, choices=STATUSES),
        source=_text(table, "source"),
    )


def _check_meter(table: Table) -> CheckMeter:
    return CheckMeter(
        metering_point_id=_text(table, "metering_point"),
        meter_id=_identifier(table, "meter"),
        valid_from=table.take("valid_from", date),
        valid_to=_end(table),
        multiplier=table.integer("multiplier", 1, MULTIPLIER_MAX, default=1),
        source=_text(table, "source"),
    )


def _transformer(table: Table) -> Transformer:
    return Transformer(
        transformer_id=_text(table, "id"),
        feeder=_text(table, "feeder"),
        meter_id=_identifier(table, "meter"),
        valid_from=table.take("valid_from", date),
        valid_to=_end(table),
        multiplier=table.integer("multiplier", 1, MULTIPLIER_MAX, default=1),
        source=_text(table, "source"),
    )


def _end(table: Table) -> date | None:
    end = table.take("valid_to", date, default=None)
    if end is not None and end < table.take("valid_from", date):
        raise table.error("valid_to", f"{end} is before valid_from; correct one of them")
    return end


def _optional(table: Table, key: str, lowest: int, highest: int) -> int | None:
    return table.integer(key, lowest, highest) if key in table else None


def _identifier(table: Table, key: str) -> str:
    text = table.take(key, str)
    try:
        return check_identifier(text, key)
    except UsageError as error:
        raise table.error(key, str(error)) from error


def _text(table: Table, key: str) -> str:
    text = table.take(key, str)
    if not text or len(text) > TEXT_MAX or not text.isprintable() or text != text.strip():
        raise table.error(key, f"found {text[:60]!r}; expected 1 to {TEXT_MAX} printable characters")
    return text
