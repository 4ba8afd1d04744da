"""Tariff files in which the price changes up to five times within a month; no act has made that of a real calendar.

The files are the package's and five acts more, invented: prices of their own, and from the fourth on five tiers.
"""

import re
import tomllib
from dataclasses import replace
from datetime import date, timedelta
from functools import cache
from importlib import resources
from random import Random
from typing import Any

from billing_core.tariff import Tariffs
from billing_core.tariff_files import parse_tariffs
from deploy.demo.exact_values import Use
from tests.billing_core.random_uses import CHANGES, random_use, with_reading_at_change

CROWDED = (date(2026, 3, 3), date(2026, 3, 10), date(2026, 3, 11), date(2026, 3, 25), date(2026, 4, 2))
FIVE_TIERS_FROM = date(2026, 3, 25)
DAYS = [*CHANGES, *CROWDED]
LAST_ACT = "act_2025_1279.toml"
STRUCTURE = """
[[tiers]]
name = "five invented tiers"
effective_on = 2026-03-25
widths = [100, 100, 200, 300]
undeclared_tier = 2
source = "invented"
certainty = "unverified"
"""


@cache
def crowded_texts() -> dict[str, str]:
    """Return the texts of the files by name."""
    folder = resources.files("billing_core") / "tariffs"
    texts = {item.name: item.read_text("utf-8") for item in folder.iterdir() if item.name.endswith(".toml")}
    texts["structure.toml"] += STRUCTURE
    return texts | {
        f"act_2026_{number}.toml": _act(texts[LAST_ACT], number, day) for number, day in enumerate(CROWDED, 1)
    }


def _act(text: str, number: int, day: date) -> str:
    """Return an act like another, of another day and with each price a little dearer."""
    text = text.replace("1279/QĐ-BCT", f"{number}/2026").replace("effective_on = 2025-05-10", f"effective_on = {day}")
    text = re.sub(r"signed_on = .*", f"signed_on = {day}", text)
    text = re.sub(r"(?m)^(\w+) = (\d+)$", lambda found: f"{found[1]} = {int(found[2]) + 17 * number}", text)
    tiers = [price + 31 * number for price in (1984, 2050, 2380, 2998, 3350, 3460)]
    return re.sub(r"tiers = .*", f"tiers = {tiers[:5] if day >= FIVE_TIERS_FROM else tiers}", text)


@cache
def crowded_tables() -> dict[str, dict[str, Any]]:
    """Return the files as the exact recomputation takes them."""
    return {name: tomllib.loads(text) for name, text in crowded_texts().items()}


@cache
def crowded_tariffs() -> Tariffs:
    """Return the files as the engine takes them."""
    return parse_tariffs(crowded_texts())


def crowded_use(rng: Random) -> Use:
    """Return what one customer used around these changes, of most of them read at each."""
    use = random_use(rng)
    start_on, days = date(2026, 2, 20) + timedelta(days=rng.randrange(50)), rng.choice((1, 15, 28, 30, 31, 31, 57))
    moved = tuple((start_on + (day - use.start_on), after) for day, after in use.household_changes)
    end_on = start_on + timedelta(days=days - 1)
    kept = tuple(change for change in moved if change[0] <= end_on)
    return with_reading_at_change(replace(use, start_on=start_on, end_on=end_on, household_changes=kept), rng, DAYS)
