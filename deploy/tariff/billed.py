"""The population of the database: what its bills of twelve months say their customers used."""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np

from billing_core.codes import Category, Voltage, codes_of
from billing_core.what_if import Population
from ingest_server.database.connection import connect, translated

LOT = 100_000  # metering points at a time
FIRST = ""  # sorts before every metering point

# The newest version of each bill, its contract as it was billed, and the energy of its three registers.
SELECT_BILLED = """
    with point as (
        select distinct metering_point_id from bill
        where metering_point_id > %(after)s and period_from >= %(first_on)s and period_from <= %(last_on)s
        order by metering_point_id limit %(rows_max)s
    ), newest as (
        select distinct on (b.metering_point_id, b.period_from)
               b.bill_id, b.metering_point_id, b.period_from, b.energy_wh,
               jsonb_build_object('category', t.category, 'voltage', t.voltage, 'households', t.households,
                                  'three_rates', t.three_rates) as contract
        from bill b join point using (metering_point_id) join bill_terms t using (terms_id)
        where b.period_from >= %(first_on)s and b.period_from <= %(last_on)s
        order by b.metering_point_id, b.period_from, b.version desc
    )
    select n.metering_point_id, n.period_from, n.energy_wh, n.contract,
           coalesce(sum(l.energy_wh) filter (where l.register = 'CD'), 0)::bigint,
           coalesce(sum(l.energy_wh) filter (where l.register = 'TD'), 0)::bigint
    from newest n left join bill_line l using (bill_id)
    group by 1, 2, 3, 4
    order by 1, 2
"""


def billed_populations(dsn: str, months: tuple[date, ...]) -> Iterator[Population]:
    """Yield the customers of the database in lots; a month without a bill has no energy."""
    last_on = (months[-1] + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    with translated(), connect(dsn) as connection:
        after = FIRST
        while True:
            parameters = {"after": after, "first_on": months[0], "last_on": last_on, "rows_max": LOT}
            rows = connection.execute(SELECT_BILLED, parameters).fetchall()
            if not rows:
                return
            after = rows[-1][0]
            yield _population(rows, months)


def _population(rows: Sequence[tuple[Any, ...]], months: tuple[date, ...]) -> Population:
    contracts = {row[0]: row[3] for row in rows}
    place = {point: number for number, point in enumerate(contracts)}
    month_of = {month: number for number, month in enumerate(months)}
    energy = np.zeros((len(months), len(contracts), 3), dtype=np.int64)
    for point, period_from, energy_wh, _, peak, off_peak in rows:
        month = month_of[period_from.replace(day=1)]
        energy[month, place[point]] += (energy_wh - peak - off_peak, peak, off_peak)
    terms = list(contracts.values())
    return Population(
        months=months,
        category=codes_of(Category(term["category"]) for term in terms),
        voltage=codes_of(Voltage(term["voltage"] or Voltage.LT6.value) for term in terms),
        three_rates=np.array([term["three_rates"] for term in terms], dtype=np.bool_),
        households=np.array([term["households"] for term in terms], dtype=np.int64),
        energy_wh=energy,
    )
