"""Replay: an issued bill computed again from what is stored with it, by today's code and tariff files.

The bill's own readings, terms and surplus go through the very code that a run goes through, and the hash over inputs
and outcome must be the one that was stored. Bills of the first schema have none; their lines and sums are compared. The
purchase beside a bill is a document of its own, which may have been made later and is not in that hash: its regime,
energy, price, amount and surplus are compared one by one, whenever it was made.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date
from typing import Any

import numpy as np
from psycopg import Connection
from psycopg.rows import dict_row

from billing_core.control.thresholds import load_thresholds
from billing_core.explain import Language
from billing_core.tariff_files import load_tariffs
from ingest_server.billing.columns import (
    MISSING,
    NONE,
    PAST_PERIODS,
    REGISTERS,
    Issued,
    Parts,
    Points,
    Previous,
    Spans,
    Terms,
    day_number,
    empty_registers,
)
from ingest_server.billing.decide import Decision, decide
from ingest_server.billing.documents import Hold
from ingest_server.billing.gather import midnights
from ingest_server.billing.pack import DIGITS_STEP, EXEMPT, METERED, Packed, pack
from ingest_server.billing.period import Period
from ingest_server.billing.replay_words import Reason, reason_of_hold, reasons_text
from ingest_server.billing.stored_profiles import stored_profiles
from ingest_server.billing.unpack import changes_of_households, purchase_of

NOT_NUMBERS = ("in_ledger", "purchase_made", "inputs_hash")  # columns of Issued
LOT = 5_000  # bills replayed at a time

SELECT_BILLS = """
    select b.bill_id, b.metering_point_id, b.period_from, b.period_to, b.energy_wh, b.subtotal, b.vat, b.total,
           s.bill_id is not null as purchase_made, s.regime, s.energy_wh as purchased_wh, s.price as purchase_price,
           s.amount as purchased, s.carried_out_wh, s.carried_cd_wh, s.carried_td_wh,
           b.metered, b.line_wh, b.line_amount, b.document_hash, b.inputs_schema, coalesce(b.more, '{}') as more,
           t.category, t.voltage, t.households, t.households_parts, t.three_rates, t.solar_regime, t.reactive,
           t.undeclared_rental, t.refused_three_rates, t.two_component, t.uses, t.rate_plan, r.nominal_days
    from bill b join bill_terms t using (terms_id) join billing_run r using (run_id)
    left join solar_purchase s using (bill_id)
    where b.bill_id > %(after)s
      and (%(bills)s::bigint[] is null or b.bill_id = any (%(bills)s))
      and (%(first_on)s::date is null
           or (b.period_to between %(first_on)s and %(last_on)s and b.period_from >= %(begins_on)s))
    order by b.bill_id limit %(rows_max)s
"""
SELECT_CHANNELS = "select channel_id, meter_id, obis from channel where channel_id = any (%(channels)s::integer[])"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """A bill that was computed again: whether it came out the same, and if not what is different. [đ]

    With ``difference_id`` it is a difference of the bill, priced again (:mod:`ingest_server.billing.back_bill`).
    """

    bill_id: int
    same: bool
    stored_total: int
    computed_total: int | None
    difference_id: int | None = None
    reasons: tuple[Reason, ...] = ()

    @property
    def why(self) -> str:
        """What is different, in English."""
        return self.told(Language.EN)

    def told(self, language: Language) -> str:
        """Return what is different, in a language."""
        return reasons_text(self.reasons, language)


def replay(
    connection: Connection[Any], *, bills: Sequence[int] | None = None, period: Period | None = None
) -> Iterator[Replayed]:
    """Compute bills again, those named or those of a period, in order of their numbers."""
    parameters: dict[str, Any] = {
        "bills": None if bills is None else list(bills),
        **(dict.fromkeys(("first_on", "last_on", "begins_on")) if period is None else period.bounds),
        "rows_max": LOT,
    }
    after = 0
    while True:
        with connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(SELECT_BILLS, parameters | {"after": after}).fetchall()
        if not rows:
            return
        after = rows[-1]["bill_id"]
        yield from _replay(connection, rows)


def decided_again(connection: Connection[Any], rows: list[dict[str, Any]]) -> Decision:
    """Decide on what stored bills rest on, columns of ``bill`` and ``bill_terms``; the point of each is its row."""
    wanted = sorted({channel for row in rows for channel in row["metered"][::METERED]})
    channels = {
        channel: (meter_id, obis)
        for channel, meter_id, obis in connection.execute(SELECT_CHANNELS, {"channels": wanted})
    }
    return decide(_points(rows, channels), load_tariffs(), load_thresholds())


def _replay(connection: Connection[Any], rows: list[dict[str, Any]]) -> Iterator[Replayed]:
    decision = decided_again(connection, rows)
    packed = pack(decision.computed)
    place_of = {int(row): bill for bill, row in enumerate(packed.rows.tolist())}
    held = {hold.metering_point_id: hold for hold in decision.holds}
    for number, row in enumerate(rows):
        yield _compared(row, packed, place_of.get(number), held)


def _compared(row: dict[str, Any], packed: Packed, bill: int | None, held: dict[str, Hold]) -> Replayed:
    if bill is None:
        return _different(row, None, [reason_of_hold(held.get(row["metering_point_id"]))])
    span = slice(int(packed.line_first[bill]), int(packed.line_first[bill + 1]))
    charges, place = packed.computed.charges, int(packed.computed.places[bill])
    computed = {
        "energy_wh": int(charges.billed_wh[place]),
        "subtotal": int(charges.subtotal[place]),
        "vat": int(charges.vat[place]),
        "total": int(charges.total[place]),
        "line_wh": packed.line_wh[span].tolist(),
        "line_amount": packed.line_amount[span].tolist(),
    }
    wrong = _unlike(row, computed)
    if not wrong and row["document_hash"] is not None and row["document_hash"] != packed.document_hash[bill].tobytes():
        wrong = [Reason("behind")]
    return _different(row, computed["total"], [*wrong, *_purchase_compared(row, packed, bill)])


def _purchase_compared(row: dict[str, Any], packed: Packed, bill: int) -> list[Reason]:
    """Return in what the purchase beside a bill would be another; nothing where none was made."""
    if not row["purchase_made"]:
        return []
    bought = purchase_of(packed, bill)
    if bought is None:
        return [Reason("purchase_waits")]
    figures = {
        "regime": bought.regime,
        "purchased_wh": bought.energy_wh,
        "purchase_price": bought.price,
        "purchased": bought.amount,
        "carried_out_wh": bought.carried_out_wh,
        "carried_cd_wh": bought.carried_cd_wh,
        "carried_td_wh": bought.carried_td_wh,
    }
    return _unlike(row, figures)


def _unlike(row: dict[str, Any], computed: dict[str, Any]) -> list[Reason]:
    return [Reason(name, value, row[name]) for name, value in computed.items() if row[name] != value]


def _different(row: dict[str, Any], total: int | None, reasons: list[Reason]) -> Replayed:
    return Replayed(
        bill_id=row["bill_id"],
        same=not reasons,
        stored_total=row["total"],
        computed_total=total,
        reasons=tuple(reasons),
    )


def _points(rows: list[dict[str, Any]], channels: dict[int, tuple[str, str]]) -> Points:
    """Return the columns a run would have gathered for these bills: each row is a point, whoever's it is."""
    n = len(rows)
    own = [Terms(**{each.name: row[each.name] for each in fields(Terms)}) for row in rows]
    changed = [_changed(terms, row["more"]) for terms, row in zip(own, rows, strict=True)]
    terms = tuple(dict.fromkeys([*own, *(after for each in changed for _, after in each)]))
    place_of = {each: place for place, each in enumerate(terms)}
    first_day = np.array([day_number(row["period_from"]) for row in rows], dtype=np.int64)
    last_day = np.array([day_number(row["period_to"]) for row in rows], dtype=np.int64)
    changed_day = np.full((n, max(1, *(len(each) for each in changed))), NONE, dtype=np.int64)
    changed_place = changed_day.copy()
    for number, changes in enumerate(changed):
        for place, (day, after) in enumerate(changes):
            changed_day[number, place], changed_place[number, place] = day_number(day), place_of[after]
    customers = tuple(dict.fromkeys(row["more"]["customer_id"] for row in rows if "customer_id" in row["more"]))
    customer_of = {each: place for place, each in enumerate(customers)}
    zeros = np.zeros(n, dtype=np.int64)
    no = np.zeros(n, dtype=np.bool_)
    parts = _parts(rows, channels)
    return Points(
        metering_point_id=tuple(row["metering_point_id"] for row in rows),
        book=zeros,
        terms=terms,
        customers=customers,
        spans=Spans(
            point=np.arange(n),
            first_day=first_day,
            last_day=last_day,
            place=np.array([place_of[each] for each in own], dtype=np.int64),
            several=no,
            ends=np.array([bool(row["more"].get("settle_carry")) for row in rows], dtype=np.bool_),
            customer=np.array([customer_of.get(row["more"].get("customer_id"), NONE) for row in rows], dtype=np.int64),
            changed_day=changed_day,
            changed_place=changed_place,
        ),
        start_us=midnights(first_day),
        end_us=midnights(last_day + 1),
        nominal_days=np.array([row["nominal_days"] or NONE for row in rows], dtype=np.int64),
        issued=Issued(
            in_ledger=no,
            purchase_made=no,
            inputs_hash=np.zeros(n, dtype="V32"),
            **{each.name: zeros for each in fields(Issued) if each.name not in NOT_NUMBERS},
        ),
        previous=_previous(rows),
        parts=parts,
        profiles=stored_profiles([row["more"] for row in rows], parts),
        exempt_surcharged=np.array([EXEMPT not in row["more"] for row in rows], dtype=np.bool_),
    )


def _changed(terms: Terms, more: dict[str, Any]) -> list[tuple[date, Terms]]:
    """Return the days on which households change within the bill, and the terms from then on."""
    return [
        (day, replace(terms, households=after.numerator, households_parts=after.denominator))
        for day, after in changes_of_households(more)
    ]


def _previous(rows: list[dict[str, Any]]) -> Previous:
    """Return the surplus that each bill brought in; it is as if the bill before had handed it on."""
    n = len(rows)
    carried_from = [row["more"].get("carried_from") for row in rows]
    return Previous(
        bill_id=np.array([0 if each is None else 1 for each in carried_from], dtype=np.int64),
        last_day=np.array(
            [0 if each is None else day_number(date.fromisoformat(each)) for each in carried_from], dtype=np.int64
        ),
        carried_out_wh=np.array([row["more"].get("carried_in_wh", 0) for row in rows], dtype=np.int64),
        carried_cd_wh=np.array([row["more"].get("carried_in_cd_wh", 0) for row in rows], dtype=np.int64),
        carried_td_wh=np.array([row["more"].get("carried_in_td_wh", 0) for row in rows], dtype=np.int64),
        highest_w=np.array([row["more"].get("demand_before_w", NONE) for row in rows], dtype=np.int64),
        unbilled_first=np.full(n, NONE, dtype=np.int64),
        unbilled_last=np.full(n, NONE, dtype=np.int64),
        terms=np.full(n, NONE, dtype=np.int64),
        daily_wh=np.full((n, PAST_PERIODS), NONE, dtype=np.int64),
    )


def _parts(rows: list[dict[str, Any]], channels: dict[int, tuple[str, str]]) -> Parts:
    """Return the stored readings as parts: consecutive rows of one meter and beginning are one."""
    register_of = {register.value: place for place, register in enumerate(REGISTERS)}
    point: list[int] = []
    meters: list[str] = []
    spans: list[tuple[int, int, int]] = []
    cells: list[tuple[int, int, Sequence[int]]] = []
    for number, row in enumerate(rows):
        last = None
        for at in range(0, len(row["metered"]), METERED):
            figures = row["metered"][at : at + METERED]
            meter_id, obis = channels[figures[0]]
            if last != (meter_id, figures[1]):
                last = (meter_id, figures[1])
                point.append(number)
                meters.append(meter_id)
                spans.append((figures[1], figures[4], figures[7]))
            cells.append((len(point) - 1, register_of[obis], figures))
    channel = empty_registers(len(point), fill=MISSING)
    value, quality = empty_registers(len(point), 2), empty_registers(len(point), 2, fill=MISSING)
    for part, register, figures in cells:
        channel[part, register] = figures[0]
        value[part, register], quality[part, register] = (figures[2], figures[5]), (figures[3], figures[6])
    columns = np.array(spans, dtype=np.int64).reshape(-1, 3)
    return Parts(
        point=np.array(point, dtype=np.int64),
        meter_id=tuple(meters),
        start_us=columns[:, 0],
        end_us=columns[:, 1],
        generation=np.array(
            [
                meter in rows[number]["more"].get("generation_meters", ())
                for number, meter in zip(point, meters, strict=True)
            ],
            dtype=np.bool_,
        ),
        multiplier=columns[:, 2] // DIGITS_STEP,
        digits=columns[:, 2] % DIGITS_STEP,
        channel=channel,
        profile=np.full(len(point), MISSING, dtype=np.int64),
        value=value,
        quality=quality,
        conflict=empty_registers(len(point), 2, fill=False, dtype=np.bool_),
    )
