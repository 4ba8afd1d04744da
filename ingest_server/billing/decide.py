"""Decide: columns of one chunk in, bills and holds out. No database, no clock.

The arithmetic is on whole columns. Python loops run over contracts (texts become codes), over what is held (texts of
details) and over bills (their JSON); a run over a whole country will want those as columns too.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from billing_core.batch import Batch, batch_of
from billing_core.codes import HOLD_TEXTS, Solar, member_of
from billing_core.codes import Hold as EngineHold
from billing_core.consumption import consume
from billing_core.engine import charge
from billing_core.tariff import Tariffs
from billing_core.tariff_files import load_tariffs
from ingest_server.billing.columns import EXPORT, RATES, REGISTERS, TOTAL, Int64Array, Points
from ingest_server.billing.compose import Computed, compose_bill
from ingest_server.billing.documents import PURCHASE_PREFIX, Amounts, Bill, Difference, Hold, hash_of
from ingest_server.billing.holds import Holds, hold_contracts, hold_uncarried, hold_unmetered, hold_unread
from ingest_server.billing.terms import Terms, read_terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is to be done about one chunk.

    ``computed`` are all bills that can be computed, in order of points; ``standing`` what stands for each of them once
    this is done: the amounts of the issued bill where there is one, else the new one's.

    ``new`` are those of points that have none yet; ``completed`` those whose bill is there, by its id, and whose
    purchase had to wait until now; ``differences`` those whose bill is there and rests on other inputs;
    ``purchase_holds`` those whose bill can go out and whose purchase must wait.
    """

    computed: list[Bill]
    standing: list[Amounts]
    new: list[Bill]
    completed: list[tuple[int, Bill]]
    differences: list[Difference]
    holds: list[Hold]
    purchase_holds: list[Hold]


def decide(points: Points, tariffs: Tariffs | None = None) -> Decision:
    """Return the bills and holds of a chunk; without ``tariffs`` by those of the package."""
    tariffs = load_tariffs() if tariffs is None else tariffs
    holds = Holds(points)
    terms, unknown = read_terms(points)
    hold_contracts(points, unknown, holds)
    hold_unmetered(points, holds)
    hold_unread(points, terms.needed, holds)
    hold_uncarried(points, terms, holds)
    used_wh = use_of_parts(points, terms.needed, holds)
    rows = np.flatnonzero(holds.free())
    batch = batch_of_points(points, terms, used_wh, rows)
    charges = charge(batch, tariffs)
    for place in np.flatnonzero(charges.hold).tolist():
        _hold_by_engine(holds, int(rows[place]), int(charges.hold[place]))
    computed = Computed(
        points=points,
        rows=rows,
        needed=terms.needed,
        used_wh=used_wh,
        batch=batch,
        charges=charges,
        tariffs=tariffs,
    )
    places = np.flatnonzero(charges.hold == 0)
    bills = [(int(rows[place]), compose_bill(computed, place)) for place in places.tolist()]
    # What a customer owes for import does not wait for a price of export: the bill goes out, its purchase is held.
    waiting = Holds(points)
    for place in places[charges.purchase.hold[places] != 0].tolist():
        _hold_by_engine(waiting, int(rows[place]), int(charges.purchase.hold[place]), PURCHASE_PREFIX)
    return _compare(points, bills, holds.listed(), waiting.listed())


def use_of_parts(points: Points, needed: NDArray[np.bool_], holds: Holds) -> Int64Array:
    """Return what each part measured on each register that its bill needs, multiplied. [Wh; parts × registers]

    Points with a register that cannot be right are held; parts of points that are held count nothing.
    """
    parts = points.parts
    wanted = needed[parts.point] & holds.free()[parts.point][:, np.newaxis]
    part, register = np.nonzero(wanted)
    used = consume(
        parts.value[part, register, 0],
        parts.value[part, register, 1],
        digits=parts.digits[part],
        multiplier=parts.multiplier[part],
    )
    for place in np.flatnonzero(used.hold).tolist():
        at, column = int(part[place]), int(register[place])
        old, new = parts.value[at, column].tolist()
        where = f"meter {parts.meter_id[at]}, register {REGISTERS[column].value}, {old} Wh to {new} Wh: "
        _hold_by_engine(holds, int(parts.point[at]), int(used.hold[place]), detail_prefix=where)
    energy = np.zeros(wanted.shape, dtype=np.int64)
    energy[part, register] = used.energy_wh
    return energy


def batch_of_points(points: Points, terms: Terms, used_wh: Int64Array, rows: Int64Array) -> Batch:
    """Return the engine's batch for the points in ``rows``: the parts of each added up, and the contracts' terms."""
    used = np.zeros((len(points.metering_point_id), len(REGISTERS)), dtype=np.int64)
    np.add.at(used, points.parts.point, used_wh)
    used = used[rows]
    three_rates = terms.three_rates[rows]
    energy = np.where(three_rates[:, np.newaxis], used[:, RATES], 0)
    energy[:, 0] += np.where(three_rates, 0, used[:, TOTAL])
    carried = [0 if previous is None else previous.carried_out_wh for previous in points.previous]
    return batch_of(
        energy_wh=energy,
        start_on=np.array(points.first_on, dtype="datetime64[D]")[rows],
        end_on=np.array(points.last_on, dtype="datetime64[D]")[rows],
        category=terms.category[rows],
        voltage=terms.voltage[rows],
        three_rates=three_rates,
        households=terms.households[rows],
        # A meter that is read at a distance is read at a change of price too; sharing by days would be a guess.
        share_by_days=False,
        export_wh=used[:, EXPORT],
        carry_in_wh=np.where(terms.solar == Solar.NET_2017.code, np.array(carried, dtype=np.int64), 0)[rows],
        settle_carry=terms.settle_carry[rows],
        solar=terms.solar[rows],
    )


def _hold_by_engine(holds: Holds, row: int, code: int, reason_prefix: str = "", *, detail_prefix: str = "") -> None:
    reason = member_of(EngineHold, code)
    holds.add(row, reason_prefix + reason.value, detail_prefix + HOLD_TEXTS[reason])


def _compare(points: Points, bills: list[tuple[int, Bill]], held: list[Hold], waiting: list[Hold]) -> Decision:
    """Sort the bills by whether they are there already, whole, and for the same inputs."""
    standing, new, completed, differences = [], [], [], []
    for row, bill in bills:
        issued = points.issued[row]
        standing.append(bill.amounts if issued is None else issued.amounts)
        if issued is None:
            new.append(bill)
        elif issued.inputs_hash != (computed_hash := hash_of(bill.inputs_text)):
            differences.append(
                Difference(
                    metering_point_id=bill.metering_point_id,
                    bill_id=issued.bill_id,
                    issued_hash=issued.inputs_hash,
                    computed_hash=computed_hash,
                    issued_total=issued.amounts.total,
                    computed_total=bill.total,
                )
            )
        elif bill.purchase is not None and not issued.purchase_made:
            completed.append((issued.bill_id, bill))
            bought = {"purchased_wh": bill.purchase.energy_wh, "purchased": bill.purchase.amount}
            standing[-1] = replace(issued.amounts, **bought)
    return Decision(
        computed=[bill for _, bill in bills],
        standing=standing,
        new=new,
        completed=completed,
        differences=differences,
        holds=held,
        purchase_holds=waiting,
    )
