"""``congto sim customers``: the tables of a power company with any number of household customers, for billing runs.

Writes one file per table into a directory, in the text form of PostgreSQL's COPY with a line of column names first;
``congto registry bulk`` loads them. Units have up to 100,000 customers, reading books 500. What each register shows at
each month's beginning follows from the seed alone. All ids and names are invented.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date, timedelta
from pathlib import Path
from typing import IO

import numpy as np

from protocols.errors import UsageError
from simulators.chance import Int64Array, all_below, key_of, per_mille_around_one

CUSTOMERS_MAX = 99_999_999
MONTHS_MAX = 60
PER_UNIT = 100_000
PER_BOOK = 500
BLOCK = 50_000  # customers made at a time
REGIONS = ("PA", "PB", "PC", "PD", "PE", "PH", "PK", "PM", "PN", "PP")
GATEWAY = "gw-sim"
OBIS = "1.0.1.8.0"
INSTALLED_AT = "2020-01-01 00:00:00+07"
SEASON_PERMILLE = (850, 800, 850, 950, 1100, 1300, 1400, 1350, 1150, 1000, 950, 900)  # January first
TABLES = {
    "gateway": ("gateway_id",),
    "reading_book": ("book_id", "unit", "reading_day"),
    "customer": ("customer_id", "name", "address"),
    "metering_point": ("metering_point_id", "customer_id", "book_id"),
    "meter": ("meter_id", "gateway_id", "model", "digits"),
    "channel": ("meter_id", "obis", "unit"),
    "installation": ("metering_point_id", "meter_id", "installed_at"),
    "contract": ("metering_point_id", "valid_from", "category", "households"),
    "register": ("channel", "day", "value_wh"),
}
"""The files and their columns. ``channel`` of a register is its line in channel.tsv, the first being 1."""

Progress = Callable[[int], None]


def write_customers(
    directory: Path,
    count: int,
    first_month: date,
    *,
    months: int = 1,
    seed: int = 1,
    first: int = 0,
    progress: Progress = lambda _done: None,
) -> None:
    """Write the tables of ``count`` customers with registers at the beginnings of ``months`` months and at their end.

    A company that is too large for the disk twice is written part by part: ``first`` is the number of a part's first
    customer, a multiple of ``PER_BOOK``. The gateway is in the part that begins with 0.

    Raises
    ------
    UsageError
        If the directory can't be written or holds such files already, or a number is out of range.
    """
    if first % PER_BOOK or not 0 <= first <= CUSTOMERS_MAX - count:
        raise UsageError(f"found {first} as first customer of {count}; expected a multiple of {PER_BOOK}, 0 or more")
    if not 1 <= count <= CUSTOMERS_MAX or not 1 <= months <= MONTHS_MAX:
        raise UsageError(f"found {count} customers, {months} months; expected 1 to {CUSTOMERS_MAX} and to {MONTHS_MAX}")
    days = month_beginnings(first_month, months)
    with ExitStack() as opened:
        files = {name: opened.enter_context(_create(directory / f"{name}.tsv")) for name in TABLES}
        for name, columns in TABLES.items():
            files[name].write("\t".join(columns) + "\n")
        if first == 0:
            files["gateway"].write(f"{GATEWAY}\n")
        for start in range(first, first + count, BLOCK):
            numbers = np.arange(start, min(start + BLOCK, first + count), dtype=np.int64)
            _write_block(files, numbers, days, seed, first)
            progress(int(numbers[-1]) + 1 - first)


def month_beginnings(first_month: date, months: int) -> list[date]:
    """Return the first days of ``months`` months and of the one after."""
    found = [first_month.replace(day=1)]
    for _ in range(months):
        found.append((found[-1] + timedelta(days=31)).replace(day=1))
    return found


def registers_of(numbers: Int64Array, days: list[date], seed: int) -> Int64Array:
    """Return what each customer's register shows on each of ``days``. [Wh, n × days]"""
    level = 150_000 * per_mille_around_one(key_of(seed, "level"), numbers, 900) // 1000
    for part in ("size", "appliances"):
        level = level * per_mille_around_one(key_of(seed, part), numbers, 850) // 1000
    index = np.empty((len(numbers), len(days)), dtype=np.int64)
    index[:, 0] = all_below(key_of(seed, "index"), numbers, 30_000) * 1000
    for place, day in enumerate(days[:-1], 1):
        noise = per_mille_around_one(key_of(seed, "noise", day), numbers, 350)
        used = level * SEASON_PERMILLE[day.month - 1] // 1000 * noise // 1000 // 1000 * 1000
        index[:, place] = index[:, place - 1] + used
    return index


def unit_of(number: int) -> str:
    """Return the unit of a customer: six characters."""
    unit = number // PER_UNIT
    return f"{REGIONS[unit % len(REGIONS)]}{unit:04d}"


def _write_block(files: dict[str, IO[str]], numbers: Int64Array, days: list[date], seed: int, first: int) -> None:
    households = np.where(all_below(key_of(seed, "households"), numbers, 50) == 0, 2, 1).tolist()
    rows = list(_people(numbers.tolist()))
    books = {row[2]: row[1][:6] for row in rows}
    files["reading_book"].writelines(
        f"{book}\t{unit}\t{place % 25 + 1}\n"
        for place, (book, unit) in enumerate(books.items())
        if numbers[0] % PER_BOOK == 0
    )
    files["customer"].writelines(f"{customer}\tHộ {number}\tThôn {number % 997}\n" for number, customer, _ in rows)
    files["metering_point"].writelines(f"{customer}001\t{customer}\t{book}\n" for _, customer, book in rows)
    files["meter"].writelines(f"M{number:08d}\t{GATEWAY}\teastron_sdm120\t6\n" for number, _, _ in rows)
    files["channel"].writelines(f"M{number:08d}\t{OBIS}\tWh\n" for number, _, _ in rows)
    files["installation"].writelines(f"{customer}001\tM{number:08d}\t{INSTALLED_AT}\n" for number, customer, _ in rows)
    files["contract"].writelines(
        f"{row[1]}001\t2020-01-01\tresidential\t{own}\n" for row, own in zip(rows, households, strict=True)
    )
    index = registers_of(numbers, days, seed)
    for place, day in enumerate(days):
        day_number = (day - date(1970, 1, 1)).days
        files["register"].writelines(
            f"{number + 1 - first}\t{day_number}\t{value}\n"
            for number, value in zip(numbers.tolist(), index[:, place].tolist(), strict=True)
        )


def _people(numbers: list[int]) -> Iterator[tuple[int, str, str]]:
    """Yield number, customer code and reading book."""
    for number in numbers:
        unit = unit_of(number)
        yield number, f"{unit}{number % PER_UNIT:07d}", f"{unit}-{number % PER_UNIT // PER_BOOK:04d}"


def _create(path: Path) -> IO[str]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("x", encoding="utf-8", newline="\n")
    except OSError as error:
        raise UsageError(f"{path}: {error}; expected an empty directory that can be written") from error


def add_customers(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``congto sim customers``."""
    customers = subparsers.add_parser("customers", help="the tables of a power company's customers, for billing runs")
    customers.add_argument("--count", type=int, required=True, metavar="N", help="how many customers")
    customers.add_argument("--from", dest="first_month", required=True, metavar="YYYY-MM", help="first month")
    customers.add_argument("--months", type=int, default=1, metavar="N", help="how many months; default 1")
    customers.add_argument("--seed", type=int, default=1, help="same seed, same energy; default 1")
    customers.add_argument("--directory", type=Path, required=True, metavar="DIR", help="where the files go")
    customers.set_defaults(answer=_answer)


def _answer(arguments: argparse.Namespace) -> int:
    try:
        first_month = date.fromisoformat(f"{arguments.first_month}-01")
    except ValueError as error:
        raise UsageError(f"--from: found {arguments.first_month!r}; expected a month as YYYY-MM") from error

    def progress(done: int) -> None:
        print(f"\r{done:,} of {arguments.count:,} customers", end="", flush=True)

    write_customers(
        arguments.directory,
        arguments.count,
        first_month,
        months=arguments.months,
        seed=arguments.seed,
        progress=progress,
    )
    print(f"\n{arguments.directory}: load it with congto registry bulk")
    return 0
