"""What must hold for bills of every kind there is: tenants, pilots, mixed uses, roofs, utilities' own plans."""

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_core.charges import Charges
from billing_core.codes import LineKind
from billing_core.engine import charge
from billing_core.mixed_use import charge_uses
from billing_core.rounding import Int64Array
from billing_core.tariff_files import load_tariffs
from deploy.demo.exact_values import Use
from tests.billing_core.random_uses import (
    CHANGES,
    as_batch,
    as_rate_plan,
    as_uses,
    plans_of,
    random_use,
    with_own_plan,
    with_reading_at_change,
)

FEWER = settings(max_examples=20)  # each example bills a lot
LOT = 150
ACTIVE = (LineKind.ENERGY.code,)


def drawn(seed: int) -> list[Use]:
    """Return uses of every kind, each third by a plan of the utility's own."""
    rng = Random(seed)
    uses = [with_reading_at_change(random_use(rng), rng) for _ in range(LOT)]
    return [with_own_plan(use, rng) if place % 3 == 0 else use for place, use in enumerate(uses)]


def charged(uses: list[Use], *, mixed: bool) -> tuple[Charges, Int64Array]:
    """Return the bills of uses that are all mixed, or all of one use; and the rows that are bills."""
    batch, unread = as_batch(uses)
    if mixed:
        found = charge_uses(batch, as_uses(uses), load_tariffs())
    else:
        found = charge(batch, load_tariffs(), plans=[as_rate_plan(plan) for plan in plans_of(uses)])
    return found, np.flatnonzero((found.hold == 0) & (unread == 0))


@FEWER
@given(st.integers(0, 2**32))
@pytest.mark.parametrize("mixed", [False, True], ids=["one use", "mixed use"])
def test_lines_sum_to_the_bill_and_energy_lines_to_what_is_billed(mixed: bool, seed: int):
    uses = [use for use in drawn(seed) if bool(use.uses) == mixed]
    charges, rows = charged(uses, mixed=mixed)
    lines = charges.lines()
    amounts, energy = np.zeros((2, len(uses)), dtype=np.int64)
    np.add.at(amounts, lines.bill, lines.amount)
    of_energy = np.isin(lines.kind, ACTIVE)
    np.add.at(energy, lines.bill[of_energy], lines.energy_wh[of_energy])
    assert len(rows) > len(uses) // 2
    assert (amounts == charges.subtotal).all()
    assert (energy[rows] == charges.billed_wh[rows]).all()
    assert (charges.total == charges.subtotal + charges.vat).all()


@FEWER
@given(st.integers(0, 2**32))
def test_no_tier_but_the_last_is_filled_beyond_its_width_and_none_before_the_one_below(seed: int):
    charges, _ = charged([use for use in drawn(seed) if not use.uses], mixed=False)
    for group in charges.groups:
        if group.quota_wh is None:
            continue
        for place, slot in enumerate(group.slots):
            quota, held = group.quota_wh[place], group.energy_wh[place]
            if slot.kind is not LineKind.ENERGY or not slot.tier:
                continue
            assert ((quota < 0) | (held <= quota)).all()
            if slot.tier > 1:
                below = group.energy_wh[place - 1] == group.quota_wh[place - 1]
                assert ((held == 0) | below).all()


@FEWER
@given(st.integers(0, 2**32), st.integers(1, 10**6))
def test_more_energy_never_costs_less_whatever_the_kind(seed: int, more_wh: int):
    """Of one act and one use, without what a better power factor saves: there a kWh has one place to go."""
    uses = [_plain(use) for use in drawn(seed) if not use.uses and not use.meters]
    rng = Random(seed)
    greater = []
    for use in uses:
        name = rng.choice(list(use.kwh))
        greater.append(replace(use, kwh={**use.kwh, name: use.kwh[name] + Fraction(more_wh, 1000)}))
    (less, rows), (more, also) = charged(uses, mixed=False), charged(greater, mixed=False)
    assert rows.tolist() == also.tolist()
    assert (more.total[rows] >= less.total[rows]).all()


def _plain(use: Use) -> Use:
    """Return the use in days of one act."""
    inside = [day for day in CHANGES if use.start_on < day <= use.end_on]
    last = inside[0] - timedelta(days=1) if inside else use.end_on
    changes = tuple(change for change in use.household_changes if change[0] <= last)
    without = {"reactive_kvarh": None, "cosphi": None, "before_changes_kwh": (), "export_before_changes_kwh": ()}
    return replace(use, end_on=last, household_changes=changes, **without)
