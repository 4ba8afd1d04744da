"""Back-billing: issued bills priced for another use than the electricity was used for, proposed as differences.

Each bill is computed again from what it rests on, as a replay does, so that what comes out is what stands; then the
days that were priced wrongly are priced again (:mod:`ingest_server.billing.back_bill_prices`). A dry run and a proposal
are the same computation, and what was proposed is computed again from what is stored with it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from importlib.metadata import version
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row

from billing_core.codes import Category, Voltage
from billing_core.tariff import Tariffs
from billing_core.tariff_files import load_tariffs
from ingest_server.billing.acts import Actor
from ingest_server.billing.back_bill_prices import Asked, BackBilled, Use, Wrong, priced, refused, stands
from ingest_server.billing.pack import pack
from ingest_server.billing.period import Period
from ingest_server.billing.queries import INSERT_TERMS, SELECT_TERMS_IDS
from ingest_server.billing.replay import Replayed, decided_again
from ingest_server.billing.replay_words import Reason
from ingest_server.billing.run import FINISH_RUN, INSERT_RUN
from ingest_server.billing.write import INSERT_SLOTS, SELECT_SLOTS
from protocols.errors import UsageError

BILLS_MAX = 1_000  # of one point; a bill a month is eighty years

# A point's bills with the newest of their approved differences, as they stood at an instant, or stand now.
SELECT_STANDING = """
    select b.bill_id, b.metering_point_id, b.period_from, b.period_to, s.state,
           b.energy_wh + sums.energy_wh as energy_wh, b.subtotal + sums.subtotal as subtotal, b.vat + sums.vat as vat,
           b.total + sums.total as total, coalesce(d.inputs_hash, b.inputs_hash) as inputs_hash,
           coalesce(d.document_hash, b.document_hash, '') as document_hash, coalesce(d.metered, b.metered) as metered,
           coalesce(d.line_slot, b.line_slot) as line_slot, coalesce(d.line_wh, b.line_wh) as line_wh,
           coalesce(d.line_amount, b.line_amount) as line_amount,
           coalesce(d.line_extra, b.line_extra) as line_extra, coalesce(b.more, '{}') as more,
           (select k.difference_id from back_billing k
            join bill_difference f using (difference_id)
            left join bill_difference_act a using (difference_id)
            where f.bill_id = b.bill_id and a.act is distinct from 'reject'
              and (%(as_of)s::timestamptz is null or f.made_at < %(as_of)s)
            order by k.difference_id desc limit 1) as back_billed,
           t.category, t.voltage, t.households, t.households_parts, t.three_rates, t.solar_regime, t.reactive,
           t.undeclared_rental, t.refused_three_rates, t.two_component, t.uses, t.rate_plan, r.nominal_days,
           (select array_agg(slot order by place) from unnest(coalesce(d.line_slot, b.line_slot))
            with ordinality as own (slot_id, place) join bill_slot using (slot_id)) as slots
    from bill b
    join bill_state s using (bill_id)
    join billing_run r using (run_id)
    left join lateral (
        select f.* from bill_difference f join bill_difference_act a using (difference_id)
        where f.bill_id = b.bill_id and a.act = 'approve'
          and (%(as_of)s::timestamptz is null or a.acted_at < %(as_of)s)
        order by f.difference_id desc limit 1) d on true
    cross join lateral (
        select coalesce(sum(f.energy_wh), 0)::bigint as energy_wh, coalesce(sum(f.subtotal), 0)::bigint as subtotal,
               coalesce(sum(f.vat), 0)::bigint as vat, coalesce(sum(f.total), 0)::bigint as total
        from bill_difference f join bill_difference_act a using (difference_id)
        where f.bill_id = b.bill_id and a.act = 'approve'
          and (%(as_of)s::timestamptz is null or a.acted_at < %(as_of)s)) sums
    join bill_terms t on t.terms_id = coalesce(d.terms_id, b.terms_id)
    where (%(bill)s::bigint is null or b.bill_id = %(bill)s)
      and (%(point)s::text is null or b.metering_point_id = %(point)s)
      and b.period_to >= %(first_on)s and b.period_from <= %(last_on)s
      and (%(bill)s::bigint is not null or s.state not in ('cancelled', 'superseded'))
    order by b.period_from, b.bill_id limit %(rows_max)s
"""
SELECT_PLANS = "select effective_on, figures::text from rate_plan where name = %(name)s order by effective_on"


LOCK_BILLS = """
    select from bill where metering_point_id = %(point)s and period_to >= %(first_on)s and period_from <= %(last_on)s
    for update
"""
SELECT_POINT = "select from metering_point where metering_point_id = %(point)s"
INSERT_DIFFERENCE = """
    insert into bill_difference (bill_id, run_id, energy_wh, subtotal, vat, total, terms_id, metered, line_slot,
                                 line_wh, line_amount, line_extra, inputs_hash, document_hash, actor, note)
    values (%(bill)s, %(run)s, %(energy)s, %(subtotal)s, %(vat)s, %(total)s, %(terms)s, %(metered)s, %(slots)s,
            %(wh)s, %(amounts)s, %(extras)s, %(inputs_hash)s, %(document_hash)s, %(actor)s, %(note)s)
    returning difference_id
"""
INSERT_BACK_BILLING = """
    insert into back_billing (difference_id, first_on, found_on, since_on, right_hash)
    values (%(difference)s, %(first_on)s, %(found_on)s, %(since_on)s, %(right_hash)s)
"""
SELECT_BACK_BILLINGS = """
    select k.difference_id, k.found_on, k.since_on, f.bill_id, f.made_at, f.total, f.document_hash, t.category,
           t.voltage, t.rate_plan
    from back_billing k
    join bill_difference f using (difference_id)
    join bill b using (bill_id)
    join bill_terms t on t.terms_id = f.terms_id
    where (%(bills)s::bigint[] is null or b.bill_id = any (%(bills)s))
      and (%(first_on)s::date is null
           or (b.period_to between %(first_on)s and %(last_on)s and b.period_from >= %(begins_on)s))
    order by k.difference_id
"""


def back_bill(connection: Connection[Any], point: str, wrong: Wrong) -> list[BackBilled]:
    """Return a point's bills from the first wrong day to the day that was found, priced again; nothing is written.

    Raises
    ------
    UsageError
        If there is no such point, or the days make no sense.
    """
    if connection.execute(SELECT_POINT, {"point": point}).fetchone() is None:
        raise UsageError(f"there is no metering point {point!r}; check the registry")
    if wrong.first_on > wrong.found_on:
        raise UsageError(
            f"--from {wrong.first_on}: the price can't be wrong only after {wrong.found_on}, when that was found"
        )
    return priced_again(connection, _standing_of_point(connection, point, wrong), wrong, load_tariffs())


def propose_back_billing(
    connection: Connection[Any], point: str, wrong: Wrong, actor: Actor
) -> list[tuple[BackBilled, int | None]]:
    """Propose the differences of a point's bills, all or none; return each bill with the number of its difference.

    A bill that is left alone, or comes to the same, has none.
    """
    with connection.transaction():
        connection.execute(LOCK_BILLS, _span(point, wrong))
        found = back_bill(connection, point, wrong)
        changed = [each for each in found if not each.refused and (each.total or each.subtotal or each.vat)]
        numbers: dict[int, int] = {}
        if changed:
            span = {"first_on": changed[0].period_from, "last_on": changed[-1].period_to}
            run = {"nominal_days": None, "closes_year": False, "version": version("congto")}
            run_id = _one(connection, INSERT_RUN, span | run)
            for each in changed:
                numbers[each.bill_id] = _propose(connection, each, wrong, actor, run_id)
            connection.execute(FINISH_RUN, {"run": run_id})
    return [(each, numbers.get(each.bill_id)) for each in found]


def _propose(connection: Connection[Any], bill: BackBilled, wrong: Wrong, actor: Actor, run_id: int) -> int:
    assert bill.terms is not None, "a bill that was priced has terms"
    connection.execute(INSERT_TERMS, bill.terms.columns)
    slots = [line.slot for line in bill.document]
    connection.execute(INSERT_SLOTS, {"slots": sorted(slots)})
    number = _one(
        connection,
        INSERT_DIFFERENCE,
        {
            "bill": bill.bill_id,
            "run": run_id,
            "energy": bill.energy_difference,
            **{name: getattr(bill, name) for name in ("subtotal", "vat", "total", "inputs_hash", "document_hash")},
            "terms": _one(connection, SELECT_TERMS_IDS, bill.terms.columns),
            "metered": list(bill.metered),
            "slots": [row[0] for row in connection.execute(SELECT_SLOTS, {"slots": slots})],
            "wh": [line.wh for line in bill.document],
            "amounts": [line.amount for line in bill.document],
            "extras": [line.extra for line in bill.document],
            "actor": actor.name,
            "note": actor.note,
        },
    )
    days = {"first_on": bill.first_on, "found_on": wrong.found_on, "since_on": wrong.since_on}
    connection.execute(INSERT_BACK_BILLING, {"difference": number, "right_hash": bill.right_hash or None} | days)
    return number


def _one(connection: Connection[Any], query: Any, parameters: Mapping[str, Any]) -> int:
    row = connection.execute(query, parameters).fetchone()
    assert row is not None, "what was put in is there"
    return int(row[0])


def _span(point: str, wrong: Wrong) -> dict[str, Any]:
    return {"point": point, "first_on": wrong.first_on, "last_on": wrong.found_on}


def _standing_of_point(connection: Connection[Any], point: str, wrong: Wrong) -> list[dict[str, Any]]:
    return _standing(connection, _span(point, wrong) | {"bill": None, "as_of": None})


def _standing(connection: Connection[Any], asked: dict[str, Any]) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(SELECT_STANDING, {"rows_max": BILLS_MAX} | asked).fetchall()


def priced_again(
    connection: Connection[Any],
    rows: Sequence[dict[str, Any]],
    wrong: Wrong,
    tariffs: Tariffs,
    plans: Mapping[int, str | None] | None = None,
) -> list[BackBilled]:
    """Return bills as they stand priced for the right use, those that can't be with their reason, in order.

    Parameters
    ----------
    plans
        The right rate plan of each bill as JSON, none for none; None to look for those in force.
    """
    found = {row["bill_id"]: refused(row, wrong, *_why_not(row)) for row in rows}
    able = [row for row in rows if not found[row["bill_id"]].refused]
    if able:
        computed = decided_again(connection, able).computed
        place_of = {able[int(computed.rows[place])]["bill_id"]: int(place) for place in computed.places.tolist()}
        plans = _plans(connection, wrong.right, able) if plans is None else plans
        asked = []
        for row in able:
            bill_id = row["bill_id"]
            if bill_id not in place_of or not stands(computed.charges, place_of[bill_id], row):
                found[bill_id] = refused(row, wrong, "not_the_same")
            elif plans[bill_id] == "":
                found[bill_id] = refused(row, wrong, "no_plan")
            else:
                asked.append(Asked(row, place_of[bill_id], plans[bill_id]))
        found |= {each.bill_id: each for each in priced(computed, asked, wrong, tariffs)}
        whole = [row for row in able if found[row["bill_id"]].first_on == row["period_from"]]
        for bill_id, right_hash in _right_hashes(connection, whole, found).items():
            found[bill_id] = replace(found[bill_id], right_hash=right_hash)
    return [found[row["bill_id"]] for row in rows]


def _right_hashes(
    connection: Connection[Any], rows: Sequence[dict[str, Any]], found: Mapping[int, BackBilled]
) -> dict[int, bytes]:
    """Return the hash that a run comes to for each of these bills once its contract says the right use."""
    terms = [found[row["bill_id"]].terms for row in rows]
    able = [row | right.columns for row, right in zip(rows, terms, strict=True) if right is not None]
    if not able:
        return {}
    packed = pack(decided_again(connection, able).computed)
    return {able[at]["bill_id"]: packed.inputs_hash[bill].tobytes() for bill, at in enumerate(packed.rows.tolist())}


def _why_not(row: dict[str, Any]) -> tuple[str, int]:
    """Return why a bill is left alone, and which difference is in the way; nothing as a rule."""
    if row["state"] != "issued":
        return "not_issued", 0
    if row["back_billed"] is not None:
        return "back_billed", row["back_billed"]
    return ("several_uses" if row["uses"] is not None else ""), 0


def _plans(connection: Connection[Any], right: Use, rows: Sequence[dict[str, Any]]) -> dict[int, str | None]:
    """Return the right rate plan of each bill as JSON: none for none, an empty text where none is in force."""
    if right.rate_plan is None:
        return {row["bill_id"]: row["rate_plan"] for row in rows}
    if not right.rate_plan:
        return dict.fromkeys(row["bill_id"] for row in rows)
    dated = connection.execute(SELECT_PLANS, {"name": right.rate_plan}).fetchall()
    return {
        row["bill_id"]: next((text for day, text in reversed(dated) if day <= row["period_from"]), "") for row in rows
    }


def replay_back_billings(
    connection: Connection[Any], *, bills: Sequence[int] | None = None, period: Period | None = None
) -> Iterator[Replayed]:
    """Compute back-billings again, of the bills named or of a period, from what stood when they were proposed."""
    about = {
        "bills": None if bills is None else list(bills),
        **(dict.fromkeys(("first_on", "last_on", "begins_on")) if period is None else period.bounds),
    }
    with connection.cursor(row_factory=dict_row) as cursor:
        stored = cursor.execute(SELECT_BACK_BILLINGS, about).fetchall()
    tariffs = load_tariffs()
    for each in stored:
        yield _replayed(connection, each, tariffs)


def _replayed(connection: Connection[Any], stored: dict[str, Any], tariffs: Tariffs) -> Replayed:
    any_day = {"point": None, "first_on": date.min, "last_on": date.max}
    [row] = _standing(connection, any_day | {"bill": stored["bill_id"], "as_of": stored["made_at"]})
    voltage = None if stored["voltage"] is None else Voltage(stored["voltage"])
    right = Use(category=Category(stored["category"]), voltage=voltage)
    wrong = Wrong(right=right, found_on=stored["found_on"], since_on=stored["since_on"])
    plans = {stored["bill_id"]: stored["rate_plan"]}
    [again] = priced_again(connection, [row | {"state": "issued"}], wrong, tariffs, plans)
    reasons: list[Reason] = []
    if again.refused:
        reasons = [Reason("refused", again.refused)]
    elif again.total != stored["total"]:
        reasons = [Reason("total", again.total, stored["total"])]
    elif again.document_hash != bytes(stored["document_hash"]):
        reasons = [Reason("behind")]
    return Replayed(
        bill_id=stored["bill_id"],
        same=not reasons,
        stored_total=stored["total"],
        computed_total=None if again.refused else again.total,
        difference_id=stored["difference_id"],
        reasons=tuple(reasons),
    )
