# ruff: noqa: S608 - the query is put together from constants; what people say goes in as parameters
"""Days under contract that no standing bill covers, where a bill rests on those before: a surplus, a past demand.

Days without a contract are not missing: who comes back after months away begins anew. Days before a customer's first
bill are not either, for they were before the system.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from psycopg import Connection

from billing_core.codes import Solar
from ingest_server.billing.columns import FOREVER, NONE, Int64Array, Previous, Spans, Terms, day_number, day_of
from ingest_server.billing.queries import CHOSEN, CUSTOMER_OF_BILL
from ingest_server.database.binary_rows import Field, fetch_columns

SELECT_UNBILLED = f"""
    {CHOSEN}, wanted as (
        select row, metering_point_id from chosen where row = any (%(points)s::integer[])
    ), begun as (
        select row, {CUSTOMER_OF_BILL} as customer, min(b.period_from) as day
        from wanted join bill b using (metering_point_id)
        where b.metering_point_id > %(after)s and b.metering_point_id <= %(upto)s and b.period_from < %(first_on)s
        group by 1, 2
    ), billed as (
        select row, {CUSTOMER_OF_BILL} as customer, range_agg(daterange(b.period_from, b.period_to, '[]')) as days
        from wanted
        join bill b using (metering_point_id)
        join bill_state using (bill_id)
        where b.metering_point_id > %(after)s and b.metering_point_id <= %(upto)s
          and b.period_from < %(first_on)s and b.period_to >= %(since_on)s and state not in ('cancelled', 'superseded')
        group by 1, 2
    ), agreed as (
        select row,
               case when c.customer_id is null or c.customer_id = coalesce(p.first_customer_id, p.customer_id) then -1
                    else coalesce(array_position(%(customers)s::text[], c.customer_id) - 1, -2) end as customer,
               range_agg(daterange(greatest(c.valid_from, %(since_on)s),
                                   least(coalesce(c.valid_to + 1, %(first_on)s), %(first_on)s))) as days
        from wanted
        join contract c using (metering_point_id)
        join metering_point p using (metering_point_id)
        where c.metering_point_id > %(after)s and c.metering_point_id <= %(upto)s
          and c.valid_from < %(first_on)s and (c.valid_to is null or c.valid_to >= %(since_on)s)
        group by 1, 2
    )
    select row, customer, lower(gap) - date '1970-01-01', upper(gap) - date '1970-01-01' - 1
    from agreed
    join begun using (row, customer)
    left join billed using (row, customer)
    cross join lateral unnest(
        agreed.days * datemultirange(daterange(begun.day, null)) - coalesce(billed.days, '{{}}'::datemultirange)) as gap
    order by 1, 2, 3
"""
_GAP = {name: Field("i4") for name in ("point", "customer", "first_day", "last_day")}


def with_unbilled(
    connection: Connection[Any],
    parameters: dict[str, Any],
    spans: Spans,
    previous: Previous,
    *,
    terms: tuple[Terms, ...],
    months: Int64Array,
) -> Previous:
    """Return ``previous`` with the first days that had to be billed before each row, and are not.

    Parameters
    ----------
    months
        How far back the ratchet of each of the run's terms goes, the last for none. [terms + 1]
    """
    netting = np.array([*(each.solar_regime == Solar.NET_2017.value for each in terms), False], dtype=np.bool_)
    late = (previous.bill_id != 0) & (previous.last_day != spans.first_day - 1)
    since = np.where(netting[spans.place] & late, previous.last_day + 1, FOREVER)
    month = np.datetime64(parameters["first_on"], "M").astype(np.int64)
    begins = (month - months[spans.place]).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    since = np.minimum(since, np.where(months[spans.place] > 0, begins, FOREVER))
    rows = np.flatnonzero(since < day_number(parameters["first_on"]))
    if not rows.size:
        return previous
    asked = {"points": np.unique(spans.point[rows]).tolist(), "since_on": day_of(int(since[rows].min()))}
    gaps = fetch_columns(connection, SELECT_UNBILLED, parameters | asked, _GAP)
    first, last = previous.unbilled_first.copy(), previous.unbilled_last.copy()
    for gap in range(len(gaps["point"])):
        own = rows[(spans.point[rows] == gaps["point"][gap]) & (spans.customer[rows] == gaps["customer"][gap])]
        own = own[(gaps["last_day"][gap] >= since[own]) & (first[own] == NONE)]
        first[own], last[own] = np.maximum(gaps["first_day"][gap], since[own]), gaps["last_day"][gap]
    return replace(previous, unbilled_first=first, unbilled_last=last)
