"""What a reader must know beside the figures: prices nobody has verified, shared-out energy, purchases that wait.

A note is kept as what it says and its operands, so that it can be told in Vietnamese and in English.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from billing_core.batch import NOT_MEASURED, Batch
from billing_core.charges import Charges
from billing_core.codes import Category, Certainty, Hold, LineKind, Solar, member_of
from billing_core.codes_words import HOLDS
from billing_core.explain_names import CERTAINTIES, WARNINGS, Language, act_in, clause_in, use_name
from billing_core.line import BillLine
from billing_core.tariff import PowerFactorTable, SolarRule


class Note(NamedTuple):
    """A note: which sentence it is, and its operands by name."""

    say: str
    words: tuple[tuple[str, Any], ...] = ()


SENTENCES = {
    Language.VI: {
        "price list": "biểu giá của {act}: {certainty}",
        "tax": "thuế suất{place}: {certainty}",
        "solar price": "giá mua điện mặt trời{place}: {certainty}",
        "by days, a rule": "giá đổi trong kỳ; điện năng được chia theo số ngày, như quy định cho công tơ sinh hoạt",
        "by days, an estimate": "giá đổi trong kỳ; điện năng được chia theo số ngày, là ước tính",
        "no three rates": "không có công tơ ba giá: toàn bộ theo giá giờ bình thường",
        "pilot": "thí điểm giá hai thành phần: tính bên cạnh biểu giá thật, không thay thế",
        "purchase held": "việc mua điện mặt trời được giữ lại: {hold}",
        "not bought": "điện phát lên lưới không có hợp đồng điện mặt trời thì không được mua",
        "exempt": "điện dùng cho {use} không chịu tiền công suất phản kháng: {act} miễn",
        "by rate": "bù trừ riêng từng giá {certainty}: {source_vi}",
    },
    Language.EN: {
        "price list": "price list of {act}: {certainty}",
        "tax": "rate of tax ({clause}): {grade}",
        "solar price": "price of solar energy ({clause}): {grade}",
        "by days, a rule": "the price changes inside the period; energy is shared out by days, as the rule for "
        "household meters says",
        "by days, an estimate": "the price changes inside the period; energy is shared out by days, an estimate",
        "no three rates": "no three-rate meter: all energy is at the normal price",
        "pilot": "two-component pilot: billed beside the real tariff, not instead of it",
        "purchase held": "the purchase of solar energy is held: {hold}",
        "not bought": "export without a solar contract is not bought",
        "exempt": "no surcharge for reactive energy on {category} use: {act} exempts it",
        "by rate": "net metering by rate is {grade}: {source}",
    },
}


IN_THE_FILE_VI = "căn cứ ghi trong solar.toml"
"""Stands for a source that the tariff files have in English alone."""


def notes_text(notes: tuple[Note, ...], language: Language) -> tuple[str, ...]:
    """Return notes as texts, each once."""
    return tuple(dict.fromkeys(_text(note, language) for note in notes))


def _text(note: Note, language: Language) -> str:
    words = dict(note.words)
    if "act" in words:
        words["act"] = act_in(words["act"], language)
    if "category" in words:
        words["use"] = use_name(Category(words["category"]), language)
    if "clause" in words:
        place = clause_in(words["clause"], language)
        words["place"] = f" ({place})" if place else ""
    if "grade" in words:
        grade = Certainty(words["grade"])
        words["certainty"] = WARNINGS[language].get(grade, CERTAINTIES[language][grade])
    if "held" in words:
        words["hold"] = HOLDS[language][Hold(words["held"])]
    return SENTENCES[language][note.say].format(**words)


def notes_on(
    batch: Batch, charges: Charges, purchase: BillLine | None, tax: BillLine, purchase_hold: Hold | None
) -> tuple[Note, ...]:
    """Return the notes on a bill computed alone (row 0)."""
    slots = [slot for group in charges.groups for slot in group.slots]
    warned = WARNINGS[Language.EN]
    notes = [
        note("price list", act=slot.act, grade=slot.certainty.value)
        for slot in slots
        if slot.kind is LineKind.ENERGY and slot.certainty in warned
    ]
    for line in (tax, purchase):
        if line is not None and line.certainty in warned:
            say = "tax" if line.kind is LineKind.VAT else "solar price"
            notes.append(note(say, clause=line.clause, grade=line.certainty.value))
    category = member_of(Category, int(batch.category[0]))
    read_at_change = batch.before_change_wh[0, 0, 0] != NOT_MEASURED
    if len({slot.start_on for slot in slots if slot.kind is LineKind.ENERGY}) > 1 and not read_at_change:
        notes.append(note("by days, a rule" if category is Category.RESIDENTIAL else "by days, an estimate"))
    if category in (Category.PRODUCTION, Category.BUSINESS) and not (
        batch.three_rates[0] or batch.refused_three_rates[0]
    ):
        notes.append(note("no three rates"))
    if batch.two_component[0]:
        notes.append(note("pilot"))
    if purchase_hold is not None:
        notes.append(note("purchase held", held=purchase_hold.value))
    if batch.export_wh[0] > 0 and batch.solar[0] == Solar.NONE.code:
        notes.append(note("not bought"))
    return tuple(notes)


def note_on_netting(rule: SolarRule) -> Iterator[Note]:
    """Yield by what rule three rates were netted, unless it was read in the act."""
    if rule.net_by_rate_certainty is not Certainty.OFFICIAL:
        sources = {"source": rule.net_by_rate_source, "source_vi": rule.net_by_rate_source_vi or IN_THE_FILE_VI}
        yield note("by rate", grade=rule.net_by_rate_certainty.value, **sources)


def note_on_kept_netting(grade: str, source: str, rule: SolarRule) -> Iterator[Note]:
    """Yield the same of a bill, which keeps how sure the rule was and its source; in Vietnamese as ``rule`` has it."""
    vietnamese = rule.net_by_rate_source_vi if source == rule.net_by_rate_source else ""
    kept = replace(rule, net_by_rate_certainty=Certainty(grade), net_by_rate_source=source)
    yield from note_on_netting(replace(kept, net_by_rate_source_vi=vietnamese))


def note_on_exempt(category: Category, table: PowerFactorTable) -> Note:
    """Return that a use pays nothing for the reactive energy that was asked about."""
    return note("exempt", category=category.value, act=table.act)


def note(say: str, **words: Any) -> Note:
    """Return a note with its operands."""
    return Note(say, tuple(words.items()))
