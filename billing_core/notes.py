"""What a reader must know beside the figures: prices nobody has verified, shared-out energy, purchases that wait."""

from billing_core.batch import NOT_MEASURED, Batch
from billing_core.charges import Charges
from billing_core.codes import HOLD_TEXTS, Category, Certainty, Hold, LineKind, Solar, member_of
from billing_core.line import BillLine

WARNED = {
    Certainty.DERIVED: "computed as a percentage of the average price, not read in the act",
    Certainty.UNVERIFIED: "unverified: remembered, not read in the act",
}


def notes_on(
    batch: Batch, charges: Charges, purchase: BillLine | None, tax: BillLine, purchase_hold: Hold | None
) -> tuple[str, ...]:
    """Return the notes on a bill computed alone (row 0), each once."""
    slots = [slot for group in charges.groups for slot in group.slots]
    notes = [
        f"price list of {slot.act}: {WARNED[slot.certainty]}"
        for slot in slots
        if slot.kind is LineKind.ENERGY and slot.certainty in WARNED
    ]
    for line in (tax, purchase):
        if line is not None and line.certainty in WARNED:
            what = "rate of tax" if line.kind is LineKind.VAT else "price of solar energy"
            notes.append(f"{what} ({line.clause}): {line.certainty.value}")
    category = member_of(Category, int(batch.category[0]))
    read_at_change = batch.before_change_wh[0, 0, 0] != NOT_MEASURED
    if len({slot.start_on for slot in slots if slot.kind is LineKind.ENERGY}) > 1 and not read_at_change:
        how = "as the rule for household meters says" if category is Category.RESIDENTIAL else "an estimate"
        notes.append(f"the price changes inside the period; energy is shared out by days, {how}")
    if category in (Category.PRODUCTION, Category.BUSINESS) and not (
        batch.three_rates[0] or batch.refused_three_rates[0]
    ):
        notes.append("no three-rate meter: all energy is at the normal price")
    if batch.two_component[0]:
        notes.append("two-component pilot: billed beside the real tariff, not instead of it")
    if purchase_hold is not None:
        notes.append(f"the purchase of solar energy is held: {HOLD_TEXTS[purchase_hold]}")
    if batch.export_wh[0] > 0 and batch.solar[0] == Solar.NONE.code:
        notes.append("export without a solar contract is not bought")
    return tuple(dict.fromkeys(notes))
