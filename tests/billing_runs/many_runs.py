"""Billing runs of random districts beside the exact recomputation: ``python -m tests.billing_runs.many_runs``.

Each district has two months that follow one another, billed from the database to the database as ``congto bill run``
does; each bill is held against the recomputation, and each bill that must not be there against its absence. It prints
how many differ and how many bills there were of each kind; the exit status is 1 if any differs.
"""

import argparse
import shutil
import sys
import tempfile
import uuid
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import psycopg
from psycopg import sql

from deploy.demo.exact import DAY, tariff_files
from deploy.demo.exact_values import ExactBill, Use
from deploy.runtime import lifecycle
from ingest_server.billing.period import Period, midnight_of
from ingest_server.billing.run import run_billing
from tests.billing_runs.district import District
from tests.billing_runs.random_district import Life, enter, random_life
from tests.billing_runs.random_metering import cuts
from tests.billing_runs.wanted_bills import Past, wanted_bills

MONTHS = (("2025-05", "2025-06"), ("2025-12", "2026-01"), ("2026-10", "2026-11"), ("2026-11", "2026-12"))
"""A change of price on 10 May 2025, the end of a year, plain months, and the pilot's first full months."""
SHOWN_MAX = 5
SELECT_BILLS = """
    select b.metering_point_id, b.period_from, b.energy_wh, b.subtotal, b.vat, b.total,
           coalesce(s.amount, 0), coalesce(s.carried_out_wh, 0)
    from bill b
    join bill_state using (bill_id)
    left join solar_purchase s using (bill_id)
    where b.period_from between %s and %s and state <> 'superseded'
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=10_000, help="of all districts together")
    parser.add_argument("--seed", type=int, default=2026)
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="congto-runs-"))
    directory.chmod(0o711)  # the servers' user must get through
    found: list[str] = []
    counted: Counter[str] = Counter()
    each = -(-arguments.points // len(MONTHS))
    try:
        running = lifecycle.up(directory / "runtime")
        for place in range(len(MONTHS)):
            found += compare(_database(running.dsn), f"{arguments.seed}/{place}", each, place, counted)
            print(f"{', '.join(MONTHS[place])}: {counted['bills']:,} bills so far, {len(found)} differ", flush=True)
    finally:
        lifecycle.kill_broker(directory / "runtime")
        lifecycle.kill_database(directory / "runtime")
        shutil.rmtree(directory)
    for name, count in sorted(counted.items()):
        print(f"{name:36} {count:>9,}")
    print("\n".join(found[:SHOWN_MAX]))
    return 1 if found else 0


def _database(dsn: str) -> str:
    name = f"runs_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    own = psycopg.conninfo.make_conninfo(dsn, dbname=name)
    with psycopg.connect(own, autocommit=True) as connection:
        connection.execute("create extension timescaledb")
    return own


def compare(dsn: str, seed: str, points: int, place: int, counted: Counter[str]) -> list[str]:
    """Bill a district of so many points in an empty database; return where bills differ, and count them."""
    rng = Random(seed)
    months = tuple(Period.of_month(name) for name in MONTHS[place])
    lives = [random_life(rng, number, months) for number in range(points)]
    pasts = [Past() for _ in lives]
    district = District(dsn)
    found = []
    try:
        enter(district, lives)
        for month in months:
            run_billing(dsn, month)
            got: dict[str, dict[Any, Any]] = {}
            for point, first_on, *amounts in district.rows(SELECT_BILLS, (month.first_on, month.last_on)):
                got.setdefault(point, {})[first_on] = tuple(amounts)
            for life, past in zip(lives, pasts, strict=True):
                wanted = wanted_bills(life, month, past)
                found += _differences(life, month, wanted, got.get(life.point, {}))
                counted.update(feature for use, _ in wanted.values() for feature in _features(use))
                counted.update(feature for use, _ in wanted.values() for feature in _metering(life, use))
                counted["points held" if not wanted else "bills"] += len(wanted) or 1
    finally:
        district.close()
    return found


def _differences(
    life: Life, month: Period, wanted: dict[Any, tuple[Use, ExactBill]], got: dict[Any, tuple[int, ...]]
) -> list[str]:
    exact = {first_on: _amounts(use, bill) for first_on, (use, bill) in wanted.items()}
    if exact == got:
        return []
    uses = "\n".join(str(use) for use, _ in wanted.values())
    return [f"{life.point}, {month}\n exact {exact}\n run   {got}\n{life.agreements}\n{life.meters}\n{uses}"]


def _amounts(use: Use, bill: ExactBill) -> tuple[int, ...]:
    energy = sum(kwh for kwh, price, _ in bill.lines if price and price != _capacity(use))
    return (int(energy * 1000), bill.subtotal, bill.vat, bill.total, bill.purchase or 0, int(bill.carry_out_kwh * 1000))


def _capacity(use: Use) -> int:
    """Return the price of a kW, which is no energy; no price of a kWh has its size."""
    if use.plan is not None:
        return use.plan.demand
    pilot = tariff_files()["two_component.toml"]["pilot"][-1]
    return int(pilot[use.voltage]["capacity"]) if use.demand_kw is not None else 0


def _metering(life: Life, use: Use) -> list[str]:
    """Return what happened to the meters in the days of a bill."""
    start_at, end_at = midnight_of(use.start_on), midnight_of(use.end_on + DAY)
    meters = [meter for meter in life.meters if meter.start_at < end_at and meter.end_at > start_at]
    programmed = [at for meter in meters for at, _ in meter.programmed]
    by_load = bool(use.kwh)
    found = ["registers set back"] if any(len(cuts(meter, start_at, end_at)) > 1 for meter in meters) else []
    found += ["three rates by load profile"] if by_load else []
    found += ["three rates by load profile, meters exchanged"] if by_load and len(meters) > 1 else []
    found += (
        ["three rates by load profile, programmed within"]
        if by_load and any(start_at < at < end_at for at in programmed)
        else []
    )
    kept = any(name == "Pmax" for meter in meters for name, _ in meter.said)
    return found + (["demand by load profile"] if use.demand_kw is not None and not kept else [])


def _features(use: Use) -> list[str]:
    found = [use.category]
    found += [f"solar {use.solar}"] if use.solar else []
    found += ["surplus carried in"] if use.carry_in_kwh else []
    found += ["surplus settled"] if use.settle_carry and use.solar == "net_2017" else []
    found += ["generation metered"] if use.generation_kwh is not None else []
    found += ["reactive energy"] if use.reactive_kvarh is not None else []
    found += ["pilot"] if use.demand_kw is not None and use.plan is None else []
    found += ["utility's own plan"] if use.plan is not None else []
    found += (
        ["own plan, demand of a month before"] if use.plan and use.plan.ratchet_percent and use.demand_before_kw else []
    )
    found += ["mixed use"] if use.uses else []
    found += ["households changed"] if use.household_changes else []
    found += ["households changed several times"] if len(use.household_changes) > 1 else []
    found += ["tenants"] if use.households.denominator > 1 else []
    found += (
        ["meter exchanged"]
        if len({part.old_kwh for part in use.meters}) > len({p.register for p in use.meters})
        else []
    )
    found += ["register rolled over"] if any(part.new_kwh < part.old_kwh for part in use.meters) else []
    found += ["multiplier"] if any(part.multiplier > 1 for part in use.meters) else []
    found += ["price change, read"] if use.before_changes_kwh else []
    found += ["net metering of three rates"] if use.export_by_rate_kwh is not None else []
    found += ["undeclared rental"] if use.undeclared_rental else []
    found += ["three rates refused"] if use.refused_three_rates else []
    found += ["three rates by registers"] if any(part.register == "BT" for part in use.meters) else []
    found += ["part of a month"] if (use.end_on - use.start_on).days + 1 != use.nominal_days else []
    return found


if __name__ == "__main__":
    sys.exit(main())
