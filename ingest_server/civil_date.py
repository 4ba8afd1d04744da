"""Civil days in a command's arguments."""

import argparse
from datetime import date

from protocols.errors import UsageError

FIRST, LAST = (
    date(2000, 1, 1),
    date(2099, 12, 31),
)  # of a reading: protocols/telemetry/batch.py, AT_MS_MIN and AT_MS_MAX


def civil_date(text: str) -> date:
    """Return the date written in ``text``, for argparse."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date; write it as 2026-09-30") from None


def check_days(first_on: date | None, last_on: date | None) -> None:
    """Raise :class:`UsageError` unless both are days that a reading may have, the first not after the last."""
    for name, day in (("--from", first_on), ("--to", last_on)):
        if day is not None and not FIRST <= day <= LAST:
            raise UsageError(f"{name} {day}: no reading is of that day; expected {FIRST} to {LAST}")
    if first_on is not None and last_on is not None and last_on < first_on:
        raise UsageError(f"--from {first_on} --to {last_on}: expected the first day before the last")
