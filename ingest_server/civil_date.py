"""A civil day in a command's arguments."""

import argparse
from datetime import date


def civil_date(text: str) -> date:
    """Return the date written in ``text``, for argparse."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date; write it as 2026-09-30") from None
