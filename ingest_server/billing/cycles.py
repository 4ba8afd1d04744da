"""Which points are billed over which days when books are billed by their own reading cycles.

Each book has its cycle (:mod:`ingest_server.billing.reading_days`), and of each point it counts up to when it was
billed, so a run of several books is a run for each period there is: one for most, and one more for points whose reading
day was changed, or that came from a book with another.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from psycopg import Connection

from ingest_server.billing.gather import Selection
from ingest_server.billing.period import Period
from ingest_server.billing.queries import SELECTION
from ingest_server.billing.reading_days import (
    PARTS_MAX,
    READ_EARLY_OR_LATE_MAX,
    cycle_before,
    cycle_in,
    period_after,
    reading_on,
)
from protocols.errors import UsageError

BOOKS_TOLD_MAX = 5
SAME_CYCLE_DAYS = 2 * READ_EARLY_OR_LATE_MAX  # apart at most are the ends of one cycle, however it was read

SELECT_BOOKS = f"""
    select book_id, reading_day, cycle from reading_book
    where book_id in (select book_id from metering_point where {SELECTION})
    order by book_id
"""  # noqa: S608 - put together from constants
# Up to when each point is billed by runs of periods before: a bill that stands says it, and its run for how long, since
# a contract may have ended sooner. A run that ends about the same day is of this very cycle, read a day early or late.
SELECT_BILLED_TO = f"""
    select metering_point_id, book_id, part, (
        select max(r.period_to)
        from bill b join billing_run r using (run_id)
        where b.metering_point_id = p.metering_point_id
          and b.period_from between read.last_on - 400 and read.last_on
          and r.period_to < read.last_on - {SAME_CYCLE_DAYS.days}
          and not exists (select from bill_act a where a.bill_id = b.bill_id and a.act = 'cancel'))
    from metering_point p
    join unnest(%(read_books)s::text[], %(parts)s::integer[], %(last_on)s::date[]) as read (read_book, part, last_on)
      on read_book = book_id
    where {SELECTION}
    order by metering_point_id
"""  # noqa: S608 - put together from constants


@dataclass(frozen=True, slots=True)
class Asked:
    """Which cycle: the one that ends in a month, perhaps a part of it, perhaps read on another day this time."""

    month: Period
    part: int | None = None
    reading_day: int | None = None


@dataclass(frozen=True, slots=True)
class _Book:
    """Parts to bill of a book's cycle, each with the one before it."""

    parts: tuple[tuple[Period, Period], ...]


def cycles_of(
    connection: Connection[Any], asked: Asked, selection: Selection, now: datetime | None = None
) -> list[tuple[Period, Selection]]:
    """Return the periods to bill and the points of each, in order of days.

    Parameters
    ----------
    now
        Cycles that end later are left out; none to leave out nothing.

    Raises
    ------
    UsageError
        If no such point is in a book, none has the part, nothing has ended yet, or the other reading day is more than a
        day away.
    """
    rows = connection.execute(SELECT_BOOKS, selection.parameters).fetchall()
    if not rows:
        raise UsageError("--cycle: no such point is in a reading book; check --unit, --book, --point and the registry")
    found = {book: _book(asked, book, reading_day, cycle) for book, reading_day, cycle in rows}
    books = {book: own for book, own in found.items() if own.parts}
    if not books:
        raise UsageError(f"--part {asked.part}: none of these books is read so often; found {_cycles_told(rows)}")
    if now is not None:
        ended = {book: tuple(own for own in each.parts if own[0].end_at <= now) for book, each in books.items()}
        if not any(ended.values()):
            min((own[0] for each in books.values() for own in each.parts), key=lambda own: own.end_at).check_ended(now)
        books = {book: _Book(parts) for book, parts in ended.items() if parts}
    return _grouped(connection, books, selection)


def _book(asked: Asked, book: str, reading_day: int, cycle: str) -> _Book:
    """Return what is to be billed of one book; nothing if its cycle has no such part."""
    parts = cycle_in(asked.month.first_on, reading_day, cycle)
    both = [(own, cycle_before(own, reading_day, cycle)) for own in parts]
    if asked.part is not None:
        both = both[asked.part - 1 : asked.part] if len(both) > 1 else []
    if asked.reading_day is not None:
        both = [(_read_on(asked, book, reading_day, own, len(parts)), before) for own, before in both]
    return _Book(tuple(both))


def _read_on(asked: Asked, book: str, reading_day: int, nominal: Period, parts: int) -> Period:
    """Return a cycle that is read a day early or late this time, which is regular: the tiers stay as wide as ever."""
    assert asked.reading_day is not None, "the caller asks only then"
    last_on = reading_on(nominal.last_on.year, nominal.last_on.month, asked.reading_day)
    if parts > 1 or abs(last_on - nominal.last_on) > READ_EARLY_OR_LATE_MAX:
        raise UsageError(
            f"--reading-day {asked.reading_day}: book {book} is read on day {reading_day}"
            f"{' and more than once a month' if parts > 1 else ''}; a monthly reading may be a day early or late. Was "
            "another day agreed on, enter it as reading_day of the book in the registry, and run with --cycle alone"
        )
    assert nominal.nominal_days is not None, "of a cycle"
    return replace(nominal, last_on=last_on, nominal_days=nominal.nominal_days + (last_on - nominal.last_on).days)


def _grouped(
    connection: Connection[Any], books: dict[str, _Book], selection: Selection
) -> list[tuple[Period, Selection]]:
    """Return the periods with their points: whole books where all of one are billed alike, else points by name."""
    parts = [(book, part, own) for book, each in books.items() for part, (own, _) in enumerate(each.parts)]
    ends = {
        "read_books": [book for book, _, _ in parts],
        "parts": [part for _, part, _ in parts],
        "last_on": [own.last_on for _, _, own in parts],
    }
    points: dict[tuple[str, int], dict[str, date | None]] = defaultdict(dict)
    for point, book, part, billed_to in connection.execute(SELECT_BILLED_TO, selection.parameters | ends):
        points[book, part][point] = billed_to
    whole: dict[Period, list[str]] = defaultdict(list)
    named: dict[Period, list[str]] = defaultdict(list)
    for book, part, nominal in parts:
        billed_to = points[book, part]
        if part:  # the part before is billed in this same run, unless another bill goes about as far
            done = books[book].parts[part - 1][0].last_on
            about = done - SAME_CYCLE_DAYS
            billed_to = {point: done if day is None or day < about else day for point, day in billed_to.items()}
        own = _periods(nominal, books[book].parts[part][1], billed_to)
        if len(alike := set(own.values())) == 1:
            whole[alike.pop()].append(book)
        else:
            for point, period in own.items():
                named[period].append(point)
    found = [(period, replace(selection, books=tuple(sorted(own)))) for period, own in whole.items()]
    found += [(period, replace(selection, points=tuple(sorted(own)))) for period, own in named.items()]
    return sorted(found, key=lambda each: (each[0].first_on, each[0].last_on, each[1].books is None))


def _periods(nominal: Period, before: Period, billed_to: dict[str, date | None]) -> dict[str, Period]:
    """Return the days to bill of each point of a book; one that was never billed goes with most of the others."""
    own = {point: period_after(nominal, before, day) for point, day in billed_to.items() if day is not None}
    most = Counter(own.values()).most_common(1)
    usual = most[0][0] if most else nominal
    return {point: own.get(point, usual) for point in billed_to}


def _cycles_told(rows: list[Any]) -> str:
    told = [f"{book} ({cycle})" for book, _, cycle in rows[:BOOKS_TOLD_MAX]]
    return ", ".join(told) + (f" and {len(rows) - BOOKS_TOLD_MAX} more" if len(rows) > BOOKS_TOLD_MAX else "")


def part_from(text: str | None) -> int | None:
    """Return which part of the cycle is meant; none for all."""
    return None if text is None else _number(text, "--part", PARTS_MAX, "the parts of a cycle that is read so often")


def reading_day_from(text: str | None) -> int | None:
    """Return the day of the month on which the books were read this time; none for their own."""
    return None if text is None else _number(text, "--reading-day", 31, "a day of the month")


def _number(text: str, name: str, most: int, what: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and 1 <= int(text) <= most):
        raise UsageError(f"{name}: found {text!r}; expected 1 to {most}, {what}")
    return int(text)
