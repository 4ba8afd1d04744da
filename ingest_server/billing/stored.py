"""Bills as they lie in the database, for showing: the command line and the HTTP API take them from here.

Nothing is computed again: amounts, lines and operands are those of the day the bill was made.
"""

from collections.abc import Iterator
from dataclasses import fields
from datetime import date, datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row

from billing_core.explain import Language
from ingest_server.billing.chain import CHAIN
from ingest_server.billing.columns import Terms
from ingest_server.billing.documents import PURCHASE_PREFIX, Line, instant_text
from ingest_server.billing.pack import METERED
from ingest_server.billing.period import Period
from ingest_server.billing.schedules import schedules_of
from ingest_server.billing.sentences import text_of
from ingest_server.billing.stored_profiles import PROFILES
from ingest_server.billing.unpack import Row, inputs_of, lines_of
from ingest_server.billing.versions import versions_of

BILLS_PER_PAGE_MAX = 200
FIRST = ""  # sorts before every metering point
PACKED = frozenset(
    (
        *(each.name for each in fields(Terms)),
        *("metered", "line_wh", "line_amount", "line_extra", "more", "slots"),
    )
)
"""Columns of a bill that are told in other words."""

SELECT_BILLS = """
    select b.bill_id, b.run_id, b.metering_point_id, c.customer_id, c.name as customer_name,
           b.period_from, b.period_to, b.version, b.energy_wh, b.subtotal, b.vat, b.total, b.created_at,
           s.amount as solar_purchase, state.state,
           {chain}
    from bill b
    join bill_state state using (bill_id)
    join metering_point p on p.metering_point_id = b.metering_point_id
    join customer c on c.customer_id = coalesce(b.more ->> 'customer_id', p.first_customer_id, p.customer_id)
    left join solar_purchase s on s.bill_id = b.bill_id
    where b.period_to between %(first_on)s and %(last_on)s and b.period_from >= %(begins_on)s
      and (%(point)s::text is null or b.metering_point_id = %(point)s)
      and (%(meter)s::text is null or exists (
            select from installation i
            where i.metering_point_id = b.metering_point_id and i.meter_id = %(meter)s
              and i.installed_at < %(end_at)s and (i.removed_at is null or i.removed_at > %(start_at)s)))
      and (b.metering_point_id, b.bill_id) > (%(after_point)s, %(after_bill)s)
    order by b.metering_point_id, b.bill_id
    limit %(rows_max)s
""".replace("{chain}", CHAIN)

# A hold stands as long as no bill for the same days has been made since; that of a purchase, until that is made.
SELECT_HOLDS = """
    select distinct on (h.metering_point_id)
           h.metering_point_id, c.customer_id, c.name as customer_name, h.run_id, h.reason, h.detail, h.sentences,
           r.started_at as held_at
    from bill_hold h
    join billing_run r on r.run_id = h.run_id
    join metering_point p on p.metering_point_id = h.metering_point_id
    -- Whose the days are: the customer of the period's last contract; of none, whose the point is now.
    left join lateral (
        select coalesce(own.customer_id, p.first_customer_id, p.customer_id) as customer_id from contract own
        where own.metering_point_id = h.metering_point_id
          and own.valid_from <= r.period_to and (own.valid_to is null or own.valid_to >= r.period_from)
        order by own.valid_from desc limit 1) whose on true
    join customer c on c.customer_id = coalesce(whose.customer_id, p.customer_id)
    where r.period_to between %(first_on)s and %(last_on)s and r.period_from >= %(begins_on)s
      and h.metering_point_id > %(after_point)s
      and (%(point)s::text is null or h.metering_point_id = %(point)s)
      and (%(meter)s::text is null or exists (
            select from installation i
            where i.metering_point_id = h.metering_point_id and i.meter_id = %(meter)s
              and i.installed_at < %(end_at)s and (i.removed_at is null or i.removed_at > %(start_at)s)))
      and not exists (
            select from bill b
            join billing_run own on own.run_id = b.run_id
            left join solar_purchase s on s.bill_id = b.bill_id
            where b.metering_point_id = h.metering_point_id
              and (own.period_from, own.period_to) = (r.period_from, r.period_to)
              and (s.bill_id is not null or not starts_with(h.reason, %(purchase)s)))
    order by h.metering_point_id, h.run_id desc
    limit %(rows_max)s
"""

SELECT_BILL = """
    select b.bill_id, b.run_id, b.metering_point_id, c.customer_id, c.name as customer_name,
           c.address as customer_address, b.period_from, b.period_to, b.version, b.energy_wh, b.subtotal, b.vat,
           b.total, b.created_at, encode(b.inputs_hash, 'hex') as inputs_hash,
           encode(b.document_hash, 'hex') as document_hash, s.state,
           {chain},
           t.category, t.voltage, t.households, t.households_parts, t.three_rates, t.solar_regime, t.reactive,
           t.undeclared_rental, t.refused_three_rates, t.two_component, t.uses, t.rate_plan,
           b.metered, b.line_wh, b.line_amount, b.line_extra, coalesce(b.more, '{}') as more,
           (select coalesce(array_agg(slot order by place), '{}')
            from unnest(b.line_slot) with ordinality as own (slot_id, place) join bill_slot using (slot_id)) as slots
    from bill b
    join bill_state s using (bill_id)
    join bill_terms t using (terms_id)
    join metering_point p using (metering_point_id)
    join customer c on c.customer_id = coalesce(b.more ->> 'customer_id', p.first_customer_id, p.customer_id)
    where b.bill_id = %(bill)s
""".replace("{chain}", CHAIN)

SELECT_CHANNELS = "select channel_id, meter_id, obis from channel where channel_id = any (%(channels)s::integer[])"

SELECT_CONTROL = "select rules, signer, expected_wh, before_wh from bill_control where bill_id = %(bill)s"

SELECT_ACTS = "select act, actor, role, note, acted_at from bill_act where bill_id = %(bill)s order by act_id"

SELECT_PURCHASE = """
    select regime, energy_wh, price, amount, carried_in_wh, carried_out_wh, carried_cd_wh, carried_td_wh, operands
    from solar_purchase where bill_id = %(bill)s
"""

# Why the purchase beside a bill was not made, by the newest run that held it.
SELECT_WAITING = """
    select h.reason, h.detail, h.sentences
    from bill b
    join billing_run r on r.period_from <= b.period_to and r.period_to >= b.period_from
    join bill_hold h on h.run_id = r.run_id and h.metering_point_id = b.metering_point_id
    where b.bill_id = %(bill)s and starts_with(h.reason, %(purchase)s)
    order by h.run_id desc limit 1
"""


def list_bills(
    connection: Connection[Any],
    period: Period,
    *,
    point: str | None = None,
    meter: str | None = None,
    after: tuple[str, int] = (FIRST, 0),
    rows_max: int = BILLS_PER_PAGE_MAX,
) -> list[dict[str, Any]]:
    """Return bills for days of ``period`` in order of point and bill, after the (point, bill) ``after``.

    Parameters
    ----------
    point, meter
        Only bills of this point, or of the points this meter measured in the period.
    """
    parameters = _span(period, point, meter) | {"after_point": after[0], "after_bill": after[1], "rows_max": rows_max}
    return _rows(connection, SELECT_BILLS, parameters)


def list_holds(
    connection: Connection[Any],
    period: Period,
    *,
    point: str | None = None,
    meter: str | None = None,
    after: str = FIRST,
    rows_max: int = BILLS_PER_PAGE_MAX,
    language: Language = Language.EN,
) -> list[dict[str, Any]]:
    """Return the points held in ``period`` that are not billed yet, with the newest reason, in order of point.

    ``detail`` is in ``language``; that of holds made before they could be told in several is in English.
    """
    parameters = _span(period, point, meter) | {"after_point": after, "rows_max": rows_max}
    parameters["purchase"] = PURCHASE_PREFIX
    rows = _rows(connection, SELECT_HOLDS, parameters)
    for row in rows:
        sentences = row.pop("sentences")
        row["detail"] = row["detail"] if sentences is None else text_of(sentences, language)
    return rows


def load_bill(connection: Connection[Any], bill_id: int) -> dict[str, Any] | None:
    """Return a bill with ``lines``, ``purchase`` (or none), ``inputs``, ``state``, ``control`` (or none) and ``acts``.

    Its readings have the versions they are of (``version``, none of the meter's own), ``chain`` columns say what it
    replaces and what replaces it, ``schedules`` which hours its meters ran if it is by rate, ``purchase_waits`` why a
    purchase was not made. None if there is no such bill.
    """
    found = _rows(connection, SELECT_BILL, {"bill": bill_id})
    if not found:
        return None
    bill = found[0]
    row = _row(connection, bill)
    lines = lines_of(row)
    purchases = _rows(connection, SELECT_PURCHASE, {"bill": bill_id})
    control = _rows(connection, SELECT_CONTROL, {"bill": bill_id})
    inputs = inputs_of(row, lines)
    _add_versions(connection, inputs, row, bill["created_at"])
    meters = [meter["meter_id"] for meter in inputs["meters"] if meter.get("role") != "generation"]
    profiles = inputs.get(PROFILES, ())
    by_rate = any(line.operands["formula"] == "rate" for line in lines)
    waiting = _rows(connection, SELECT_WAITING, {"bill": bill_id, "purchase": PURCHASE_PREFIX})
    return {
        **{name: value for name, value in bill.items() if name not in PACKED},
        "inputs": inputs,
        "schedules": schedules_of(connection, meters, row.first_on, row.last_on, profiles) if by_rate else {},
        "purchase_waits": waiting[0] if waiting and not purchases and row.terms.solar_regime else None,
        "lines": [{"line": number, **_line_json(line)} for number, line in enumerate(lines, 1)],
        "purchase": purchases[0] if purchases else None,
        "control": control[0] if control else None,
        "acts": _rows(connection, SELECT_ACTS, {"bill": bill_id}),
    }


def _add_versions(connection: Connection[Any], inputs: dict[str, Any], row: Row, made_at: str) -> None:
    """Put beside each reading of ``inputs`` the version it is of; none of what the meter said."""
    channel_of = {own: channel for channel, own in row.channels.items()}
    readings = [
        (channel_of[meter["meter_id"], register["obis"]], reading)
        for meter in inputs["meters"]
        for register in meter["registers"]
        for reading in register["readings"]
    ]
    keys = [(channel, datetime.fromisoformat(reading["at"])) for channel, reading in readings]
    wanted = ((*key, each["value_wh"], each["quality"]) for key, (_, each) in zip(keys, readings, strict=True))
    versions = versions_of(connection, wanted, datetime.fromisoformat(made_at))
    for key, (_, reading) in zip(keys, readings, strict=True):
        reading["version"] = versions.get(key)


def _line_json(line: Line) -> dict[str, Any]:
    return {name: getattr(line, name) for name in Line.__slots__}


def _row(connection: Connection[Any], bill: dict[str, Any]) -> Row:
    """Return the bill with what its numbers refer to."""
    channels = connection.execute(SELECT_CHANNELS, {"channels": bill["metered"][::METERED]}).fetchall()
    return Row(
        metering_point_id=bill["metering_point_id"],
        first_on=date.fromisoformat(bill["period_from"]),
        last_on=date.fromisoformat(bill["period_to"]),
        **{name: bill[name] for name in ("energy_wh", "subtotal", "vat", "total")},
        terms=Terms(**{each.name: bill[each.name] for each in fields(Terms)}),
        **{name: bill[name] for name in ("metered", "slots", "line_wh", "line_amount", "line_extra", "more")},
        channels={channel: (meter_id, obis) for channel, meter_id, obis in channels},
    )


def _span(period: Period, point: str | None, meter: str | None) -> dict[str, Any]:
    return {
        **period.bounds,
        "start_at": period.start_at,
        "end_at": period.end_at,
        "point": point,
        "meter": meter,
    }


def _rows(connection: Connection[Any], query: Any, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Return rows as dictionaries in which times are texts, as JSON wants them."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(query, parameters).fetchall()
    for row in rows:
        for name, value in row.items():
            if name.endswith("_at"):
                row[name] = instant_text(value)
            elif name in ("period_from", "period_to"):
                row[name] = value.isoformat()
    return rows


def every_bill(connection: Connection[Any], period: Period) -> Iterator[dict[str, Any]]:
    """Yield all bills of ``period``, page by page."""
    after = (FIRST, 0)
    while page := list_bills(connection, period, after=after):
        yield from page
        after = (page[-1]["metering_point_id"], page[-1]["bill_id"])


def every_hold(
    connection: Connection[Any], period: Period, language: Language = Language.EN
) -> Iterator[dict[str, Any]]:
    """Yield all that is held in ``period``, page by page."""
    after = FIRST
    while page := list_holds(connection, period, after=after, language=language):
        yield from page
        after = page[-1]["metering_point_id"]
