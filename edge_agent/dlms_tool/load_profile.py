"""``congto dlms profile``: a profile's rows of a range of time, as a table and as a curve."""

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from edge_agent.dlms_tool import items, screen, target
from edge_agent.dlms_tool.pushed_values import text_of
from edge_agent.dlms_tool.refusals import refusal_of
from edge_agent.dlms_tool.session import MeterSession, associated
from protocols.dlms import profile
from protocols.dlms.cosem_time import zone_of
from protocols.dlms.data import Data, Tag, integer_of
from protocols.dlms.explain import explain_data
from protocols.dlms.objects import SCALER_UNIT_INDEX, ScalerUnit
from protocols.dlms.plan import read_profile
from protocols.dlms.selective import CLOCK_CLASS, CaptureObject, Entries
from protocols.dlms.services import BufferResult, GetBuffer
from protocols.dlms.xdlms.references import Attribute
from protocols.errors import RemoteProtocolError, UsageError
from protocols.obis import Obis

LOAD_PROFILE = "1.0.99.1.0"
DAYS_DEFAULT, DAYS_MAX = 1, 3660
ROWS_SHOWN = 48  # a day of half-hours; --rows shows more
_SECONDS_PER_HOUR = 3600
_SLACK_S = 3600  # "now" has moved on since the question, and summer time may be in doubt


@dataclass(frozen=True, slots=True)
class Captured:
    """A profile as read: rows with their times, columns with their units."""

    table: profile.Table
    scalers: tuple[ScalerUnit | None, ...]
    period_s: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``congto dlms profile``."""
    parser.add_argument("obis", nargs="?", default=LOAD_PROFILE, metavar="OBIS", help=f"default {LOAD_PROFILE}")
    parser.add_argument("--from", dest="from_at", metavar="TIME", help="such as 2026-10-01 or 2026-10-01T07:30")
    parser.add_argument("--to", dest="to_at", metavar="TIME", help="included; default now")
    parser.add_argument("--days", type=int, help=f"so many days up to --to; default {DAYS_DEFAULT}")
    parser.add_argument("--entries", metavar="FIRST-LAST", help="rows by their number from 1 instead; 0 is the end")
    parser.add_argument("--columns", metavar="OBIS,…", help="only these and the clock; default all")
    parser.add_argument("--chart", metavar="OBIS", help="the column that is drawn; default the first with a unit")
    parser.add_argument(
        "--rows", type=int, default=ROWS_SHOWN, help=f"rows of the table, the latest; default {ROWS_SHOWN}"
    )
    add_deviation(parser)
    target.add_arguments(parser)


def add_deviation(parser: argparse.ArgumentParser) -> None:
    """Add the deviation of the meter's local time."""
    parser.add_argument(
        "--deviation",
        type=int,
        default=-420,
        metavar="MINUTES",
        help="from the meter's local time to UTC where it does not say so; default -420, Vietnam",
    )


def run(arguments: argparse.Namespace) -> int:
    """Read and print; status 1 when the meter holds no rows there."""
    if abs(arguments.deviation) > 840:
        raise UsageError(f"--deviation {arguments.deviation}: expected -840 to 840 minutes")
    attribute = items.parse_attribute(f"7:{arguments.obis}:2")
    chart = items.parse_attribute(arguments.chart).obis if arguments.chart else None
    where = target.parse(arguments)
    wanted = [items.parse_attribute(f"3:{text}").obis for text in (arguments.columns or "").split(",") if text]
    if wanted and arguments.entries:
        raise UsageError("--columns goes with a range of time, not with --entries")
    requests = partial(_requests, arguments, attribute, where)
    requests(())  # What the arguments say is checked before the meter is asked.
    captured = asyncio.run(_read(where, attribute, wanted, requests, arguments))
    table = captured.table
    drawn = _column_to_draw(captured, chart)
    if unasked := _unasked(arguments, table.at):
        print(
            f"congto: {unasked} of {len(table.at)} rows were not asked for: the meter ignores the selection, "
            "or counts its deviation otherwise (--deviation, --quirk inverted_deviation)",
            file=sys.stderr,
        )
    if arguments.json:
        screen.print_json(_to_json(arguments.obis, captured))
        return 0 if table.at else 1
    if not table.at:
        print(f"profile {arguments.obis}: no rows there")
        return 1
    zone = zone_of(arguments.deviation)
    _print_rows(captured, arguments.rows, zone)
    if drawn is not None:
        _print_curve(captured, drawn, zone)
    return 0


def _requests(
    arguments: argparse.Namespace, attribute: Attribute, where: target.Target, columns: tuple[CaptureObject, ...]
) -> Sequence[GetBuffer]:
    if arguments.entries:
        if arguments.from_at or arguments.to_at or arguments.days is not None:
            raise UsageError("--entries goes without --from, --to and --days")
        first, _, last = arguments.entries.partition("-")
        if not first.isdecimal() or not (last or "0").isdecimal() or int(first) < 1:
            raise UsageError(f"--entries {arguments.entries}: expected FIRST-LAST, such as 1-48")
        if 0 < int(last or "0") < int(first):
            raise UsageError(f"--entries {arguments.entries}: the first is after the last; expected such as 1-48")
        return [GetBuffer(attribute, Entries(int(first), int(last or first)).selection())]
    from_at, to_at = _range(arguments)
    deviation, quirks = arguments.deviation, where.quirks
    return read_profile(attribute.obis, from_at, to_at, deviation_minutes=deviation, columns=columns, quirks=quirks)


def _range(arguments: argparse.Namespace) -> tuple[datetime, datetime]:
    """Return the first and the last instant that are asked for."""
    if arguments.from_at and arguments.days is not None:
        raise UsageError("give --from or --days")
    days = DAYS_DEFAULT if arguments.days is None else arguments.days
    if not 1 <= days <= DAYS_MAX:
        raise UsageError(f"--days {days}: expected 1 to {DAYS_MAX}")
    deviation = arguments.deviation
    to_at = items.parse_instant(arguments.to_at, deviation) if arguments.to_at else datetime.now(UTC)
    from_at = items.parse_instant(arguments.from_at, deviation) if arguments.from_at else to_at - timedelta(days=days)
    if from_at > to_at or to_at - from_at > timedelta(days=DAYS_MAX):
        raise UsageError(f"from {from_at:%Y-%m-%dT%H:%MZ} to {to_at:%Y-%m-%dT%H:%MZ}: expected 0 to {DAYS_MAX} days")
    return from_at, to_at


def _unasked(arguments: argparse.Namespace, at: Sequence[int]) -> int:
    """Return how many of the rows at ``at`` were not asked for: some meters ignore a selection."""
    if arguments.entries:
        first, _, last = arguments.entries.partition("-")
        most = int(last or first) - int(first) + 1
        return max(0, len(at) - most) if last != "0" else 0
    from_at, to_at = _range(arguments)
    earliest, latest = from_at.timestamp() - _SLACK_S, to_at.timestamp() + _SLACK_S
    return sum(not earliest <= instant <= latest for instant in at)


async def _read(
    where: target.Target,
    attribute: Attribute,
    wanted: Sequence[Obis],
    requests: Callable[[tuple[CaptureObject, ...]], Sequence[GetBuffer]],
    arguments: argparse.Namespace,
) -> Captured:
    async with associated(where, trace=arguments.trace) as session:
        name = f"profile {attribute.obis}"
        columns = profile.decode_capture_objects(await session.get(_of(attribute, 3), f"{name}, capture objects"))
        period_s = integer_of(await session.get(_of(attribute, 4), f"{name}, capture period"))
        chosen = _choose(columns, wanted) if wanted else ()
        columns = chosen or columns
        scalers = await _scalers(session, columns)
        tables = []
        for request in requests(chosen):
            event = await session.ask(request)
            if not isinstance(event, BufferResult):
                raise refusal_of(event, name) or RemoteProtocolError(f"{name}: found {type(event).__name__}")
            buffer = profile.decode_buffer(event.octets, column_count=len(columns))
            tables.append(
                profile.interpret(
                    buffer,
                    columns,
                    period_s=period_s,
                    assumed_deviation_minutes=arguments.deviation,
                    quirks=where.quirks,
                )
            )
        at = [instant for table in tables for instant in table.at]
        joined = tuple([cell for table in tables for cell in table.columns[place]] for place in range(len(columns)))
        return Captured(profile.Table(at, columns, joined), scalers, period_s)


def _choose(columns: Sequence[CaptureObject], wanted: Sequence[Obis]) -> tuple[CaptureObject, ...]:
    """Return the clock and the columns ``wanted``, in the meter's order."""
    missing = [str(obis) for obis in wanted if all(one.obis != obis for one in columns)]
    if missing:
        captured = ", ".join(str(one.obis) for one in columns)
        raise UsageError(f"--columns {', '.join(missing)}: not captured; the profile has {captured}")
    return tuple(one for one in columns if one.class_id == CLOCK_CLASS or one.obis in wanted)


def _of(attribute: Attribute, index: int) -> Attribute:
    return Attribute(attribute.class_id, attribute.obis, index)


async def _scalers(session: MeterSession, columns: Sequence[CaptureObject]) -> tuple[ScalerUnit | None, ...]:
    """Return the scaler of each column that is a register's value."""
    registers = [Attribute(one.class_id, one.obis, 2) for one in columns if _is_register(one)]
    scalers = await session.remembered.scalers(list(dict.fromkeys(registers)))
    return tuple(scalers.get(Attribute(one.class_id, one.obis, one.index)) for one in columns)


def _is_register(captured: CaptureObject) -> bool:
    return captured.class_id in SCALER_UNIT_INDEX and captured.index == 2


# -- shown ------------------------------------------------------------------------------------------------------------


def _number(cell: profile.Cell, scaler_unit: ScalerUnit | None) -> Decimal | None:
    if not isinstance(cell, int) or isinstance(cell, bool):
        return None
    return Decimal(cell).scaleb(scaler_unit.scaler if scaler_unit else 0)


def _text(cell: profile.Cell, scaler_unit: ScalerUnit | None) -> str:
    number = _number(cell, scaler_unit)
    if number is not None:
        return items.plain(number)
    return text_of(cell if isinstance(cell, Data) else Data(Tag.OCTET_STRING, cell))


def _to_json(obis: str, captured: Captured) -> dict[str, Any]:
    table = captured.table
    columns = [
        {"class": one.class_id, "obis": str(one.obis), "index": one.index}
        | ({"scaler": scaler.scaler, "unit": scaler.word} if scaler else {})
        for one, scaler in zip(table.capture_objects, captured.scalers, strict=True)
    ]
    rows = [[_plain(column[row]) for column in table.columns] for row in range(len(table.at))]
    at = [f"{datetime.fromtimestamp(instant, UTC):%Y-%m-%dT%H:%M:%SZ}" for instant in table.at]
    return {"obis": obis, "period_s": captured.period_s, "columns": columns, "at": at, "rows": rows}


def _plain(cell: profile.Cell) -> object:
    if isinstance(cell, Data):
        return explain_data(cell)
    return cell.hex() if isinstance(cell, bytes) else cell


def _print_rows(captured: Captured, rows_max: int, zone: Any) -> None:
    table = captured.table
    places = [place for place, one in enumerate(table.capture_objects) if one.class_id != CLOCK_CLASS]
    heads = []
    for place in places:
        scaler = captured.scalers[place]
        heads.append(f"{table.capture_objects[place].obis}" + (f" [{scaler.word}]" if scaler and scaler.word else ""))
    first = max(0, len(table.at) - max(0, rows_max))
    rows = [
        (
            f"{datetime.fromtimestamp(table.at[row], zone):%Y-%m-%d %H:%M}",
            *(_text(table.columns[place][row], captured.scalers[place]) for place in places),
        )
        for row in range(first, len(table.at))
    ]
    rhythm = f"every {captured.period_s} s" if captured.period_s else "as they came"
    title = f"{len(table.at)} rows {rhythm}" + (f", the last {len(rows)}" if first else "")
    if rows:
        screen.print_table(title, ("time", *heads), rows, right=range(1, len(heads) + 1))


def _column_to_draw(captured: Captured, chart: Any) -> int | None:
    for place, one in enumerate(captured.table.capture_objects):
        if chart is None and captured.scalers[place] is not None:
            return place
        if chart is not None and one.obis == chart and one.class_id != CLOCK_CLASS:
            return place
    if chart is not None:
        raise UsageError(f"--chart {chart}: not a column; expected one of {_names(captured)}")
    return None


def _names(captured: Captured) -> str:
    return ", ".join(str(one.obis) for one in captured.table.capture_objects if one.class_id != CLOCK_CLASS)


def _print_curve(captured: Captured, place: int, zone: Any) -> None:
    """Draw a column; a counter by its steps, as mean power."""
    table, scaler = captured.table, captured.scalers[place]
    numbers = [_number(cell, scaler) for cell in table.columns[place]]
    unit, at = scaler.word if scaler else "", table.at
    if unit.endswith("h") and len(at) > 1:
        numbers = _steps(numbers, at)
        unit, at = unit[:-1], at[1:]
    values = [None if number is None else int(number * 1000) for number in numbers]
    known = [number for number in numbers if number is not None]
    if len(known) < 2:
        return
    lines = screen.curve(values, columns=screen.width() - 2)
    peak = max(known)
    peak_at = datetime.fromtimestamp(at[numbers.index(peak)], zone)
    mean = sum(known, Decimal(0)) / len(known)
    print(
        f"{table.capture_objects[place].obis}, {unit}: highest {items.plain(peak)} at {peak_at:%Y-%m-%d %H:%M}, "
        f"mean {items.plain(mean.quantize(Decimal('0.1')))}, lowest {items.plain(min(known))}"
    )
    print("\n".join(f"▕{line}" for line in lines))
    first, last = (f"{datetime.fromtimestamp(instant, zone):%m-%d %H:%M}" for instant in (at[0], at[-1]))
    print(f" {first}{last:>{max(len(last) + 1, min(screen.width() - 2, len(values)) - len(first))}}")


def _steps(numbers: Sequence[Decimal | None], at: Sequence[int]) -> list[Decimal | None]:
    """Return the mean power between one reading of a counter and the next."""
    steps: list[Decimal | None] = []
    for place in range(1, len(numbers)):
        before, after, elapsed_s = numbers[place - 1], numbers[place], at[place] - at[place - 1]
        if before is None or after is None or elapsed_s <= 0 or after < before:
            steps.append(None)
        else:
            steps.append(((after - before) * _SECONDS_PER_HOUR / elapsed_s).quantize(Decimal("0.001")))
    return steps
