"""One chunk of a run, from the database to the database: what a worker does, in this process or in another."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from psycopg import Connection, sql

from billing_core.control.thresholds import Thresholds
from billing_core.tariff import Tariffs
from billing_core.tariff_files import load_tariffs
from ingest_server.billing import queries
from ingest_server.billing.acts import same_person
from ingest_server.billing.columns import BoolArray, Int64Array
from ingest_server.billing.decide import Decision, decide
from ingest_server.billing.documents import Amounts, Bill, Difference, Hold, Purchase
from ingest_server.billing.findings import open_findings
from ingest_server.billing.gather import Chunk, Frame, gather
from ingest_server.billing.makers import cancellers_at
from ingest_server.billing.pack import Packed, pack
from ingest_server.billing.unpack import computed_bill, purchase_of
from ingest_server.billing.write import PURCHASED, Writing, write_chunk
from ingest_server.database import connect

SNAPSHOT = sql.SQL("set transaction snapshot {}")
READ_ONLY = "set transaction isolation level repeatable read, read only"
SCHEMA_COMPARABLE = 2  # of inputs whose hash can be compared


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a worker is told: where, what, and whether to write.

    ``run_id`` is none for a dry run; ``actor`` who issues what control lets pass, or with ``correct`` as the reason
    proposes differences for issued bills that should have been others, and nothing else; at most ``kept`` bills, holds
    and differences each come back to be shown. A worker that is a process of its own, and ends with the run, keeps its
    connections from chunk to chunk: a new one first has to learn what the tables are.
    """

    dsn: str
    snapshot: str
    frame: Frame
    chunk: Chunk
    thresholds: Thresholds
    run_id: int | None
    actor: str | None
    correct: str | None
    kept: int
    own_process: bool = False


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of a chunk; see :class:`ingest_server.billing.run.Summary` for the words. [Wh, đ]

    ``waiting`` are the numbers of bills that were there before and not issued.
    """

    billed: int = 0
    replaced: int = 0
    unchanged: int = 0
    held: int = 0
    purchases_held: int = 0
    differing: int = 0
    to_sign: int = 0
    issued: int = 0
    proposed: int = 0
    standing: Amounts = field(default_factory=lambda: Amounts(**dict.fromkeys(Amounts.__slots__, 0)))
    difference: int = 0
    documents: bytes = b""
    waiting: Int64Array = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    bills: list[Bill] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)


def carry_out(job: Job) -> Outcome:
    """Gather, decide, write."""
    with _connection(job, "reader") as reader:
        reader.execute(READ_ONLY)
        reader.execute(SNAPSHOT.format(sql.Literal(job.snapshot)))
        correcting = job.correct is not None
        decision, packed, compared = compute(reader, job.frame, job.chunk, job.thresholds, correcting=correcting)
        compared.withheld[:] = _withheld(reader, job, packed, compared)
        reader.rollback()
    if job.run_id is not None:
        with _connection(job, "writer") as writer:
            writer.autocommit = True
            write_chunk(writer, _writing(job, job.run_id, decision, packed, compared))
    return _outcome(job, decision, packed, compared)


def compute(
    reader: Connection[Any], frame: Frame, chunk: Chunk, thresholds: Thresholds, *, correcting: bool
) -> tuple[Decision, Packed, "Compared"]:
    """Gather a chunk, decide on it, and compare it with the bills that are there; nothing is written.

    ``reader`` is in a transaction.
    """
    reader.execute(queries.PREPARE)
    points = gather(reader, frame, chunk)
    asked = frame.selection.parameters | {"first_on": frame.period.first_on, "last_on": frame.period.last_on}
    findings = open_findings(reader, asked | {"after": chunk.after, "upto": chunk.upto})
    decision = decide(points, _tariffs(), thresholds, findings, correcting=correcting)
    packed = pack(decision.computed)
    compared = _compare(packed, _pairs(reader, packed, SELECT_PROPOSED), _pairs(reader, packed, SELECT_SETTLED))
    _judge_proposed_purchases(reader, packed, compared)
    return decision, packed, compared


_kept: dict[tuple[str, str], Connection[Any]] = {}


@contextmanager
def _connection(job: Job, use: str) -> Iterator[Connection[Any]]:
    """Give a connection: of this chunk alone, or the one this process keeps for the use, unless it met an error."""
    if not job.own_process:
        with connect(job.dsn) as connection:
            yield connection
        return
    kept = (job.dsn, use)
    connection = _kept.pop(kept) if kept in _kept else connect(job.dsn)
    connection.prepare_threshold = None  # plans are made for a chunk's own range
    try:
        yield connection
    except BaseException:
        connection.close()
        raise
    _kept[kept] = connection


# One that was rejected is not proposed again for the same readings, nor one that waits; but what was made before
# another was approved is a difference to an amount that stands no more, and what waits behind a newer one can't be
# approved. A back-billing rests on what its bill rests on, and says nothing of other readings.
_STILL_COUNTS = """
    f.bill_id = any (%(bills)s::bigint[])
      and not exists (select from bill_difference_act a where a.difference_id = f.difference_id and a.act = 'approve')
      and not exists (
            select from bill_difference n join bill_difference_act o using (difference_id)
            where n.bill_id = f.bill_id and o.act = 'approve' and o.acted_at > f.made_at)
      and (exists (select from bill_difference_act a where a.difference_id = f.difference_id)
           or not exists (
            select from bill_difference n
            where n.bill_id = f.bill_id and n.difference_id > f.difference_id
              and not exists (select from bill_difference_act o where o.difference_id = n.difference_id)
              and not exists (select from back_billing k where k.difference_id = n.difference_id)))
"""
SELECT_PROPOSED = f"""
    select bill_id, inputs_hash from bill_difference f
    where {_STILL_COUNTS} and not exists (select from back_billing k where k.difference_id = f.difference_id)
"""  # noqa: S608 - put together from constants


# Issued bills that were back-billed, and not corrected since, with what they come to by a contract of the right use.
SELECT_SETTLED = """
    select f.bill_id, k.right_hash
    from back_billing k
    join bill_difference f using (difference_id)
    join bill_difference_act a using (difference_id)
    where a.act = 'approve' and f.bill_id = any (%(bills)s::bigint[])
      and not exists (
            select from bill_difference n join bill_difference_act o using (difference_id)
            where n.bill_id = f.bill_id and n.difference_id > f.difference_id and o.act = 'approve')
"""


def _pairs(reader: Connection[Any], packed: Packed, query: Any) -> BoolArray:
    """Say of each computed bill whether it is issued, and its number and inputs are among what ``query`` finds. [b]"""
    issued = packed.computed.points.issued
    bills = issued.bill_id[packed.rows]
    wanted = bills[issued.in_ledger[packed.rows]].tolist()
    found = set(reader.execute(query, {"bills": wanted}).fetchall()) if wanted else set()
    pairs = zip(bills.tolist(), packed.inputs_hash.tolist(), strict=True)
    return np.array([pair in found for pair in pairs], dtype=np.bool_) if found else np.zeros(len(packed), np.bool_)


@cache
def _tariffs() -> Tariffs:
    return load_tariffs()


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """How computed bills stand to those that are there. [b]

    ``new`` have none; ``replacing`` take the place of one that was not issued and rests on other inputs; ``differing``
    would, but theirs was issued, and if ``proposed`` this is its difference already; ``completing`` have theirs, and
    the purchase beside it can be made only now. ``withheld`` are those that who issues at once may not.
    """

    new: BoolArray
    replacing: BoolArray
    differing: BoolArray
    proposed: BoolArray
    completing: BoolArray
    withheld: BoolArray
    purchases: dict[int, Purchase]
    versions: Int64Array


def _compare(packed: Packed, proposed: BoolArray, settled: BoolArray) -> Compared:
    issued, rows = packed.computed.points.issued, packed.rows
    there = issued.bill_id[rows] != 0
    charges, places = packed.computed.charges, packed.computed.places
    comparable = issued.schema[rows] == SCHEMA_COMPARABLE
    same_amounts = (issued.total[rows] == charges.total[places]) & (issued.energy_wh[rows] == charges.billed_wh[places])
    same = there & np.where(comparable, issued.inputs_hash[rows] == packed.inputs_hash, same_amounts)
    same |= settled
    same &= ~_bought_otherwise(packed)
    in_ledger = issued.in_ledger[rows]
    purchases = {
        bill: purchase
        for bill in np.flatnonzero(packed.computed.batch.solar[places]).tolist()
        if (purchase := purchase_of(packed, bill)) is not None
    }
    has_purchase = np.zeros(len(packed), dtype=np.bool_)
    has_purchase[list(purchases)] = True
    return Compared(
        new=~there,
        replacing=there & ~same & ~in_ledger,
        differing=there & ~same & in_ledger,
        proposed=proposed,
        completing=same & has_purchase & ~issued.purchase_made[rows],
        withheld=np.zeros(len(packed), dtype=np.bool_),
        purchases=purchases,
        versions=issued.version[rows] + 1,
    )


def _bought_otherwise(packed: Packed) -> BoolArray:
    """Say of each bill whether the purchase that was made beside it would be another today. [b]

    What it rests on is not all in the bill's inputs: a year's exchange rate may have been entered wrongly. One that
    would have to wait today, as its price is not known any more, is left as it is.
    """
    bought, issued = packed.computed.charges.purchase, packed.computed.points.issued
    rows, places = packed.rows, packed.computed.places
    known = issued.purchase_made[rows] & (bought.hold[places] == 0)
    same = (issued.purchased_wh[rows] == bought.energy_wh[places]) & (issued.purchased[rows] == bought.amount[places])
    return np.asarray(known & ~(same & (issued.carried_out_wh[rows] == bought.carry_out_wh[places])))


def _withheld(reader: Connection[Any], job: Job, packed: Packed, compared: Compared) -> BoolArray:
    """Say of each bill whether who issues at once cancelled the one before it: another person issues it. [b]"""
    found = np.zeros(len(packed), dtype=np.bool_)
    again = np.flatnonzero(compared.new & (compared.versions > 1)).tolist()
    if job.actor is None or job.correct is not None or not again:
        return found
    points = [packed.computed.points.metering_point_id[packed.rows[bill]] for bill in again]
    own = {point for point, who in cancellers_at(reader, job.frame.period, points) if same_person(who, job.actor)}
    found[[bill for bill, point in zip(again, points, strict=True) if point in own]] = True
    return found


SELECT_PROPOSED_PURCHASES = f"""
    select bill_id, inputs_hash, {", ".join(PURCHASED)} from bill_difference f where {_STILL_COUNTS}
"""  # noqa: S608 - put together from constants


def _judge_proposed_purchases(reader: Connection[Any], packed: Packed, compared: Compared) -> None:
    """Take no bill for proposed whose purchase is missing another amount by now: its inputs may well be the same."""
    issued = packed.computed.points.issued
    asked = np.flatnonzero(compared.differing & compared.proposed & issued.purchase_made[packed.rows])
    if not asked.size:
        return
    bills = issued.bill_id[packed.rows]
    found = set(reader.execute(SELECT_PROPOSED_PURCHASES, {"bills": bills[asked].tolist()}).fetchall())
    missing = purchase_differences(packed, compared)
    for bill in asked.tolist():
        own = (int(bills[bill]), packed.inputs_hash[bill].tobytes(), *missing[bill].tolist())
        compared.proposed[bill] = own in found


def _writing(job: Job, run_id: int, decision: Decision, packed: Packed, compared: Compared) -> Writing:
    correcting = job.correct is not None
    bills = np.flatnonzero((compared.new | compared.replacing) & (not correcting))
    corrections = np.flatnonzero(compared.differing & correcting & ~compared.proposed)
    issued = packed.computed.points.issued
    place_of = {bill: place for place, bill in enumerate(bills.tolist())}
    completing = np.flatnonzero(compared.completing & (not correcting)).tolist()
    return Writing(
        run_id=run_id,
        terms_ids=job.frame.terms_ids,
        packed=packed,
        bills=bills,
        versions=compared.versions[bills],
        purchases={place_of[bill]: bought for bill, bought in compared.purchases.items() if bill in place_of},
        completed=[
            (
                int(issued.bill_id[packed.rows[bill]]),
                compared.purchases[bill],
                bool(issued.in_ledger[packed.rows[bill]]),
            )
            for bill in completing
        ],
        corrections=corrections,
        purchase_corrections=purchase_differences(packed, compared)[corrections],
        note=job.correct or "",
        holds=[] if correcting else [*decision.holds, *decision.purchase_holds],
        actor=job.actor,
        withheld=compared.withheld[bills],
    )


def purchase_differences(packed: Packed, compared: Compared) -> Int64Array:
    """Return what is bought, its amount and the surplus handed on, less what they are. [Wh, đ, Wh …; b × 5]

    Of the surplus also what is of the peak and of the off-peak rate.

    A purchase that waits is not there yet to be corrected, nor is one corrected by a purchase that would have to wait.
    """
    computed, rows = packed.computed, packed.rows
    issued = computed.points.issued
    found = np.zeros((len(packed), len(PURCHASED)), dtype=np.int64)
    known = computed.charges.purchase.hold[computed.places] == 0  # also that a contract without solar buys nothing
    for bill in np.flatnonzero(compared.differing & issued.purchase_made[rows] & known).tolist():
        purchase, row = compared.purchases.get(bill), rows[bill]
        are = [int(getattr(issued, name)[row]) for name in PURCHASED]
        own = [0] * len(PURCHASED) if purchase is None else _of_purchase(purchase)
        found[bill] = np.array(own) - are
    return found


def _of_purchase(purchase: Purchase) -> list[int]:
    """Return what ``PURCHASED`` names of a purchase."""
    carried = [purchase.carried_out_wh, purchase.carried_cd_wh, purchase.carried_td_wh]
    return [purchase.energy_wh, purchase.amount, *carried]


def _outcome(job: Job, decision: Decision, packed: Packed, compared: Compared) -> Outcome:
    judgement, issued = packed.computed.judgement, packed.computed.points.issued
    fresh = (compared.new | compared.replacing) & (job.correct is None)
    to_sign = int((fresh & (judgement.signer > 0)).sum())
    return Outcome(
        billed=int((fresh & compared.new).sum()),
        replaced=int((fresh & compared.replacing).sum()),
        unchanged=int((~compared.new & ~compared.replacing & ~compared.differing).sum()),
        held=len(decision.holds),
        purchases_held=len(decision.purchase_holds),
        differing=int(compared.differing.sum()),
        to_sign=to_sign,
        issued=int((fresh & (judgement.signer == 0) & ~compared.withheld).sum())
        if job.actor is not None and job.run_id is not None
        else 0,
        proposed=int((compared.differing & ~compared.proposed).sum()) if job.correct is not None else 0,
        standing=_standing(packed, compared),
        difference=sum(each.computed_total - each.issued_total for each in _differences(packed, compared)),
        documents=packed.document_hash.tobytes(),
        waiting=issued.bill_id[(issued.bill_id != 0) & ~issued.in_ledger],
        bills=[computed_bill(packed, bill) for bill in range(min(len(packed), job.kept))],
        holds=[*decision.holds, *decision.purchase_holds][: job.kept],
        differences=list(_differences(packed, compared))[: job.kept],
    )


def _standing(packed: Packed, compared: Compared) -> Amounts:
    """Return what stands once this is written: of bills that stay the issued amounts, else the computed ones."""
    charges, issued, rows = packed.computed.charges, packed.computed.points.issued, packed.rows
    places = packed.computed.places
    fresh = compared.new | compared.replacing
    bought = fresh | compared.completing
    purchased = np.zeros((len(packed), 2), dtype=np.int64)
    for bill, purchase in compared.purchases.items():
        purchased[bill] = purchase.energy_wh, purchase.amount
    return Amounts(
        energy_wh=int(np.where(fresh, charges.billed_wh[places], issued.energy_wh[rows]).sum()),
        subtotal=int(np.where(fresh, charges.subtotal[places], issued.subtotal[rows]).sum()),
        vat=int(np.where(fresh, charges.vat[places], issued.vat[rows]).sum()),
        total=int(np.where(fresh, charges.total[places], issued.total[rows]).sum()),
        purchased_wh=int(np.where(bought, purchased[:, 0], issued.purchased_wh[rows]).sum()),
        purchased=int(np.where(bought, purchased[:, 1], issued.purchased[rows]).sum()),
    )


def _differences(packed: Packed, compared: Compared) -> Iterable[Difference]:
    points, charges = packed.computed.points, packed.computed.charges
    for bill in np.flatnonzero(compared.differing).tolist():
        row, place = int(packed.rows[bill]), int(packed.computed.places[bill])
        yield Difference(
            metering_point_id=points.metering_point_id[row],
            bill_id=int(points.issued.bill_id[row]),
            issued_hash=points.issued.inputs_hash[row].tobytes().hex(),
            computed_hash=packed.inputs_hash[bill].tobytes().hex(),
            issued_total=int(points.issued.total[row]),
            computed_total=int(charges.total[place]),
        )
