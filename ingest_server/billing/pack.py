"""Computed bills as the columns they are stored in (ingest_server/sql/0011), with their hashes.

What many bills share stands once: the terms of the contract, and of a line everything but energy, amount and quota, its
*slot*. A bill's own figures are arrays. ``inputs_hash`` is the SHA-256 over what the amounts rest on and nothing else,
so a contract that is closed later, or a customer's new name, makes no other bill of an old one; ``document_hash`` is
over the inputs and everything that came of them.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from billing_core.batch import Batch
from billing_core.charges import Slot
from billing_core.codes import LineKind, Solar
from billing_core.households import has_change
from billing_core.line import BillLine, vat_line
from ingest_server.billing.columns import NONE, Int64Array, day_of
from ingest_server.billing.decide import Computed
from ingest_server.billing.documents import canonical_text
from ingest_server.billing.stored_profiles import profiles_by_row

INPUTS_MARK = b"congto bill inputs 2"  # another one makes other hashes, so it never changes for bills already made
DOCUMENT_MARK = b"congto bill 2"
METERED = 9  # figures in a row of ``bill.metered``
DIGITS_STEP = 100  # multiplier × 100 + digits
EXEMPT = "reactive_exempt"  # uses of a bill that bear no surcharge; bills that lack it were made when all bore it
OWN_KEYS = (
    *("kwh", "kvarh", "kw", "amount", "quota_kwh", "households", "base_amount", "power_factor"),
    *("drawn_kw", "before_kw", "least"),
)
SOURCE_KEYS = ("clause", "certainty")


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Bills in order of their points. [b]

    Parameters
    ----------
    rows
        Row of the point of each bill. [b]
    ids
        The points of the bills, in UTF-8. [b]
    metered, metered_first
        Rows as ``bill.metered`` has them, and where each bill's begin. [k × 9; b + 1]
    slots
        The slots in canonical form, in an order of their own.
    line_slot, line_wh, line_amount, line_extra, line_first
        Lines of all bills, tax the last of each, and where each bill's begin. [l; b + 1]
    more
        What few bills need besides, in canonical form; empty for none. [b]
    inputs_hash, document_hash
        [32 octets each; b]
    """

    computed: Computed
    rows: Int64Array
    ids: NDArray[np.bytes_]
    metered: Int64Array
    metered_first: Int64Array
    slots: tuple[str, ...]
    line_slot: Int64Array
    line_wh: Int64Array
    line_amount: Int64Array
    line_extra: Int64Array
    line_first: Int64Array
    more: tuple[str, ...]
    inputs_hash: NDArray[np.void]
    document_hash: NDArray[np.void]

    def __len__(self) -> int:
        return len(self.rows)

    def alike(self, chosen: Int64Array) -> Iterator[Int64Array]:
        """Yield ``chosen`` bills in groups that are laid out alike: as many readings and lines, texts as long."""
        of_id, of_more = np.strings.str_len(self.ids[chosen]), _octets_of([self.more[bill] for bill in chosen.tolist()])
        counts = [np.diff(first)[chosen] for first in (self.metered_first, self.line_first)]
        which = np.zeros(len(chosen), dtype=np.int64)
        for column in (of_id, of_more, *counts):  # a number for each combination there is
            if column.size and column.min() == column.max():
                continue
            which = np.unique(which * (int(column.max(initial=0)) + 1) + column, return_inverse=True)[1].reshape(-1)
        for group in range(int(which.max(initial=-1)) + 1):
            yield chosen[which == group]

    def ids_alike(self, bills: Int64Array) -> NDArray[np.void]:
        """Return the points of bills that are laid out alike, each as octets. [bills]"""
        ids = self.ids[bills]
        octets = int(np.strings.str_len(ids[:1]).max(initial=0))
        return ids.astype(f"S{octets}", copy=False).view(f"V{octets}")

    def own(self, flat: NDArray[Any], first: Int64Array, bills: Int64Array) -> NDArray[Any]:
        """Return of bills that are laid out alike the rows of ``flat`` that are each one's. [bills × rows …]"""
        count = int(first[bills[0] + 1] - first[bills[0]])
        found: NDArray[Any] = flat[first[bills][:, np.newaxis] + np.arange(count)]
        return found


def _octets_of(texts: list[str]) -> Int64Array:
    """Return the length of each text in UTF-8."""
    plain = "".join(texts).isascii()  # then it is the number of its characters, which is known
    lengths = map(len, texts if plain else [text.encode() for text in texts])
    return np.fromiter(lengths, dtype=np.int64, count=len(texts))


def pack(computed: Computed) -> Packed:
    """Return the bills of a chunk as they are stored."""
    metered, metered_first = _metered(computed)
    slots, lines = _lines(computed)
    rows = computed.rows[computed.places]
    packed = Packed(
        computed=computed,
        rows=rows,
        ids=np.array([computed.points.metering_point_id[row].encode() for row in rows.tolist()], dtype=np.bytes_),
        metered=metered,
        metered_first=metered_first,
        slots=slots,
        **lines,
        more=_more(computed),
        inputs_hash=np.zeros(len(computed.places), dtype="V32"),
        document_hash=np.zeros(len(computed.places), dtype="V32"),
    )
    return _with_hashes(packed)


def _metered(computed: Computed) -> tuple[Int64Array, Int64Array]:
    """Return what the registers of each bill said, a row for each part and register it rests on."""
    points, parts = computed.points, computed.points.parts
    bill_of = np.full(len(points), -1, dtype=np.int64)
    rows = computed.rows[computed.places]
    bill_of[rows] = np.arange(len(rows))
    part, register = np.nonzero(computed.asked & (bill_of[parts.point] >= 0)[:, np.newaxis])
    value, quality = parts.value[part, register], parts.quality[part, register]
    metered = np.stack(
        [
            *(parts.channel[part, register], parts.start_us[part], value[:, 0], quality[:, 0]),
            *(parts.end_us[part], value[:, 1], quality[:, 1]),
            parts.multiplier[part] * DIGITS_STEP + parts.digits[part],
            computed.used_wh[part, register],
        ],
        axis=1,
    )
    counts = np.bincount(bill_of[parts.point[part]], minlength=len(rows))
    return metered, np.concatenate([[0], np.cumsum(counts)])


def _lines(computed: Computed) -> tuple[tuple[str, ...], dict[str, Int64Array]]:
    """Return the slots, and the lines with each bill's tax at the end."""
    charges, places = computed.charges, computed.places
    bill_of = np.full(len(computed.rows), -1, dtype=np.int64)
    bill_of[places] = np.arange(len(places))
    lines = charges.lines()
    kept = np.flatnonzero(bill_of[lines.bill] >= 0)  # of a point with another part that is held nothing is billed
    bill = bill_of[lines.bill[kept]]
    counts = np.bincount(bill, minlength=len(places)) + 1
    first = np.concatenate([[0], np.cumsum(counts)])
    rank = np.arange(len(bill)) - (first[:-1] - np.arange(len(places)))[bill]
    at, tax_at = first[bill] + rank, first[1:] - 1
    tax_slots, tax_of = _tax_slots(computed)
    columns = {}
    for name, own, tax in (
        ("line_slot", lines.slot[kept].astype(np.int64), tax_of + len(lines.slots)),
        ("line_wh", lines.energy_wh[kept], np.zeros(len(places), dtype=np.int64)),
        ("line_amount", lines.amount[kept], charges.vat[places]),
        ("line_extra", lines.extra[kept], charges.vat_permille[places]),
    ):
        column = np.zeros(int(first[-1]), dtype=np.int64)
        column[at], column[tax_at] = own, tax
        columns[name] = column
    slots = (*(slot_text(line_of(slot)) for slot in lines.slots), *tax_slots)
    return slots, {**columns, "line_first": first}


def _tax_slots(computed: Computed) -> tuple[list[str], Int64Array]:
    """Return the slots of tax, one for each period and rate plan there is, and which each bill has. [b]"""
    batch, places, plans = computed.batch, computed.places, computed.terms.plans
    columns = (batch.start_on[places].astype(np.int64), batch.end_on[places].astype(np.int64), batch.rate_plan[places])
    _, samples, which = np.unique(np.stack(columns, axis=1), axis=0, return_index=True, return_inverse=True)
    lines = [
        vat_line(batch, computed.charges, int(places[sample]), computed.tariffs, plans=plans)
        for sample in samples.tolist()
    ]
    return [slot_text(line) for line in lines], which.reshape(-1)


def line_of(slot: Slot) -> BillLine:
    """Return a line of this slot that has no figures yet."""
    return BillLine(
        kind=slot.kind,
        tier=slot.tier or None,
        register=slot.register,
        energy_wh=0,
        price=None if slot.kind is LineKind.REACTIVE else slot.price,
        amount=0,
        formula=slot.formula,
        act=slot.act,
        clause=slot.clause,
        certainty=slot.certainty,
        start_on=slot.start_on,
        end_on=slot.end_on,
        days=slot.days,
        period_days=slot.period_days,
        nominal_days=slot.nominal_days,
        width_kwh=slot.width_kwh or None,
        ratchet=slot.ratchet,
    )


def slot_text(line: BillLine) -> str:
    """Return the slot of a line in the form in which it is stored once for all bills."""
    return canonical_text({key: value for key, value in line.to_json().items() if key not in OWN_KEYS})


def _more(computed: Computed) -> tuple[str, ...]:
    """Return what few bills rest on besides: a surplus, households, generation, past demand, profiles, a customer."""
    places, batch = computed.places, computed.batch
    measured = np.zeros(len(computed.points), dtype=np.bool_)
    parts = computed.points.parts
    measured[parts.point[parts.generation & computed.asked.any(axis=1)]] = True
    netted = batch.solar[places] == Solar.NET_2017.code
    changed = has_change(batch)[places]
    customer = computed.points.spans.customer[computed.rows[places]]
    ratcheted = computed.terms.planned(lambda plan: plan.ratchet is not None)[computed.rows[places]]
    exempt = _exempt(computed)
    profiles = profiles_by_row(computed.points, computed.by_interval)
    more = [""] * len(places)
    unusual = netted | changed | measured[computed.rows[places]] | (customer != NONE) | ratcheted
    unusual[list(exempt)] = True
    if profiles:
        unusual |= np.isin(computed.rows[places], list(profiles))
    for bill in np.flatnonzero(unusual).tolist():
        place = int(places[bill])
        found: dict[str, Any] = _carried(computed, place) if netted[bill] else {}
        if changed[bill]:
            found |= _changes_of_households(batch, place)
        if measured[computed.rows[place]]:
            found["generation_meters"] = _generation_meters(computed, int(computed.rows[place]))
        if ratcheted[bill]:
            found["demand_before_w"] = max(int(batch.demand_before_w[place]), 0)
        if bill in exempt:
            found[EXEMPT] = exempt[bill]
        found |= profiles.get(int(computed.rows[place]), {})
        if customer[bill] != NONE:
            found["customer_id"] = computed.points.customers[int(customer[bill])]
        more[bill] = canonical_text(found)
    return tuple(more)


def _exempt(computed: Computed) -> dict[int, list[str]]:
    """Return of bills with a surcharge for reactive energy the uses that bear none of it, if there are any."""
    surcharged = np.zeros(len(computed.rows), dtype=np.bool_)
    for group in computed.charges.groups:
        if group.surcharge_bp is not None:
            surcharged[group.rows[group.surcharge_bp > 0]] = True
    asked = surcharged & computed.terms.mixed[computed.rows] & ~computed.batch.exempt_surcharged
    found = {}
    for bill in np.flatnonzero(asked[computed.places]).tolist():
        place = int(computed.places[bill])
        table = computed.tariffs.power_factor_on(computed.batch.end_on[place].item())
        own = computed.points.terms[int(computed.terms.place[computed.rows[place]])]
        uses = [own.category, *(use["category"] for use in json.loads(own.uses or "[]"))]
        assert table is not None, "without one there is no surcharge"
        if names := [each.value for each in table.exempt if each.value in uses]:
            found[bill] = names
    return found


def _changes_of_households(batch: Batch, place: int) -> dict[str, Any]:
    """Return the change of households within a bill, or the list of several."""
    columns = (batch.households_changed_on[place], batch.households_after[place], batch.households_after_parts[place])
    found = [
        (day_of(int(day.astype(np.int64))).isoformat(), str(Fraction(int(number), int(parts))))
        for day, number, parts in zip(*columns, strict=True)
        if not np.isnat(day)
    ]
    if len(found) > 1:
        return {"households_changes": found}
    [(day, households)] = found
    return {"households_changed_on": day, "households_after": households}


def _carried(computed: Computed, place: int) -> dict[str, Any]:
    """Return the surplus under net metering that is brought in, and whether it is settled."""
    batch, previous = computed.batch, computed.points.previous
    row = int(computed.rows[place])
    known = bool(previous.bill_id[row])
    found: dict[str, Any] = {
        "carried_in_wh": carried_in_wh(batch, place),
        "carried_from": day_of(int(previous.last_day[row])).isoformat() if known else None,
        "settle_carry": bool(batch.settle_carry[place]),
    }
    if batch.three_rates[place]:
        _, found["carried_in_cd_wh"], found["carried_in_td_wh"] = batch.carry_in_rates_wh[place].tolist()
    return found


def carried_in_wh(batch: Batch, place: int) -> int:
    """Return the surplus that is brought in, of all rates. [Wh]"""
    return int(batch.carry_in_wh[place]) + int(batch.carry_in_rates_wh[place].sum())


def _generation_meters(computed: Computed, row: int) -> list[str]:
    parts = computed.points.parts
    own = np.flatnonzero((parts.point == row) & parts.generation & computed.asked.any(axis=1))
    return sorted({parts.meter_id[part] for part in own.tolist()})


def _with_hashes(packed: Packed) -> Packed:
    """Return the bills with the hashes of their inputs and of all there is."""
    computed = packed.computed
    points = computed.points
    slots = _digests([what_counts(text) for text in packed.slots])
    terms = _digests([canonical_text(each.to_json()) for each in points.terms])
    for bills in packed.alike(np.arange(len(packed))):
        rows, places = packed.rows[bills], computed.places[bills]
        days = np.stack([points.first_day[rows], points.last_day[rows]], axis=1)
        metered = packed.own(packed.metered, packed.metered_first, bills).reshape(len(bills), -1)
        line_slot = packed.own(packed.line_slot, packed.line_first, bills)
        whose = (
            _marks(INPUTS_MARK, len(bills)),
            packed.ids_alike(bills).view(np.uint8).reshape(len(bills), -1),
            _texts([packed.more[bill] for bill in bills.tolist()]),
        )
        own_terms = terms[computed.terms.place[rows]]
        inputs = _hashes(*whose, _as_octets(days), own_terms, slots[line_slot], _as_octets(metered))
        packed.inputs_hash[bills] = inputs
        amounts = np.stack(
            [getattr(computed.charges, name)[places] for name in ("billed_wh", "subtotal", "vat", "total")], axis=1
        )
        own = [
            packed.own(flat, packed.line_first, bills)
            for flat in (packed.line_wh, packed.line_amount, packed.line_extra)
        ]
        came_of = [_as_octets(each) for each in (amounts, *own)]
        mark = _marks(DOCUMENT_MARK, len(bills))
        packed.document_hash[bills] = _hashes(mark, inputs.view(np.uint8).reshape(len(bills), -1), *came_of)
    return packed


def _marks(mark: bytes, count: int) -> NDArray[np.uint8]:
    return np.broadcast_to(np.frombuffer(mark, np.uint8), (count, len(mark)))


def _texts(texts: list[str]) -> NDArray[np.uint8]:
    """Return texts that are all of one length as rows of octets."""
    return np.frombuffer("".join(texts).encode(), np.uint8).reshape(len(texts), -1)


def _hashes(*parts: NDArray[np.uint8]) -> NDArray[np.void]:
    """Return the SHA-256 of each row of all parts together."""
    return np.frombuffer(b"".join([sha256(octets).digest() for octets in _joined(*parts)]), dtype="V32")


def what_counts(slot: str) -> str:
    """Return a slot without what says only where its figures were found: better words there make no other bill."""
    return canonical_text({key: value for key, value in json.loads(slot).items() if key not in SOURCE_KEYS})


def _digests(texts: Any) -> NDArray[np.uint8]:
    """Return the SHA-256 of each text. [n × 32]"""
    return np.frombuffer(b"".join(sha256(text.encode()).digest() for text in texts), np.uint8).reshape(-1, 32)


def _as_octets(numbers: Int64Array) -> NDArray[np.uint8]:
    """Return rows of numbers as rows of octets, most significant first."""
    return np.ascontiguousarray(numbers, dtype=">i8").view(np.uint8).reshape(len(numbers), -1)


def _joined(*parts: NDArray[np.uint8]) -> list[bytes]:
    """Return each row of all parts as octets."""
    flat = np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)
    octets, width = flat.tobytes(), flat.shape[1]
    return [octets[at : at + width] for at in range(0, len(octets), width)] if width else [b""] * len(flat)
