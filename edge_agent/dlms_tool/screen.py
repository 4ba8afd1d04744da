"""How answers look: tables for people, one JSON object for programs."""

import json
import shutil
import sys
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

WIDTH_MIN, WIDTH_PIPED = 60, 120
_BARS = " ▁▂▃▄▅▆▇█"


def width() -> int:
    """Return how many columns there are."""
    return max(WIDTH_MIN, shutil.get_terminal_size((WIDTH_PIPED, 24)).columns)


def print_json(answer: object) -> None:
    """Print one JSON object."""
    print(json.dumps(answer, ensure_ascii=False))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Print a table; ``right`` are the columns of numbers."""
    table = Table(title=title or None, box=SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(file=sys.stdout, width=width(), markup=False, highlight=False, emoji=False).print(table)


def curve(values: Sequence[int | None], *, columns: int, height: int = 8) -> list[str]:
    """Return ``values`` drawn as bars, from zero or the lowest value below it up; None leaves a gap.

    More values than ``columns`` are averaged, each of them counted once.
    """
    if not values:
        return []
    count = min(columns, len(values))
    groups = [values[len(values) * at // count : len(values) * (at + 1) // count] for at in range(count)]
    heights = [_average(group) for group in groups]
    known = [one for one in heights if one is not None]
    if not known:
        return ["(no values)"]
    low, high = min(0, *known), max(0, *known)
    steps = height * (len(_BARS) - 1)
    scaled = [None if one is None else round((one - low) * steps / ((high - low) or 1)) for one in heights]
    lines = []
    for row in range(height - 1, -1, -1):
        cells = [" " if one is None else _BARS[min(max(one - row * 8, 0), 8)] for one in scaled]
        lines.append("".join(cells).rstrip())
    return lines


def _average(group: Sequence[int | None]) -> int | None:
    known = [one for one in group if one is not None]
    return sum(known) // len(known) if known else None
