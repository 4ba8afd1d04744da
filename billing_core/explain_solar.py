"""Rooftop solar in words: what of the import is billed, and what becomes of the export."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from billing_core.codes import RATES
from billing_core.explain import RATE_NAMES, format_number
from billing_core.explain_names import Language, act_in

SENTENCES = {
    Language.VI: {
        "beside": "Điện mặt trời mái nhà ({act}): tính tiền toàn bộ chiều nhận {imported} kWh; chiều phát {exported} "
        "kWh không trừ vào đó.",
        "net": "Điện mặt trời mái nhà ({act}): nhận {imported} kWh − phát {exported} kWh − dư kỳ trước {carried} kWh = "
        "{left} kWh: tính tiền {billed} kWh, chuyển kỳ sau {handed_on} kWh.",
        "settled": "Điện mặt trời mái nhà ({act}): nhận {imported} kWh − phát {exported} kWh − dư kỳ trước {carried} "
        "kWh = {left} kWh: tính tiền {billed} kWh; cuối năm hoặc cuối hợp đồng nên điện dư {bought} kWh được mua, "
        "không chuyển kỳ sau.",
    },
    Language.EN: {
        "beside": "Rooftop solar ({act}): all import, {imported} kWh, is billed; export, {exported} kWh, takes nothing "
        "off it.",
        "net": "Rooftop solar ({act}): import {imported} kWh − export {exported} kWh − surplus of the period before "
        "{carried} kWh = {left} kWh: {billed} kWh is billed, {handed_on} kWh is carried to the next period.",
        "settled": "Rooftop solar ({act}): import {imported} kWh − export {exported} kWh − surplus of the period "
        "before {carried} kWh = {left} kWh: {billed} kWh is billed; as the year or the contract ends, the surplus "
        "of {bought} kWh is bought and none is carried on.",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Netting:
    """How a roof was settled. [Wh]

    Parameters
    ----------
    method
        ``net``, ``separate`` or ``surplus``.
    settled
        Whether the surplus is bought now instead of carried on.
    """

    method: str
    act: str
    import_wh: int
    export_wh: int
    billed_wh: int
    carried_in_wh: int = 0
    carried_out_wh: int = 0
    settled: bool = False


def netting_text(netting: Netting, language: Language) -> str:
    """Return what of the import is billed and why, as a sentence."""
    left = netting.import_wh - netting.export_wh - netting.carried_in_wh
    figures = {
        "imported": netting.import_wh,
        "exported": netting.export_wh,
        "carried": netting.carried_in_wh,
        "left": left,
        "billed": netting.billed_wh,
        "handed_on": netting.carried_out_wh,
        "bought": max(-left, 0),
    }
    say = "beside" if netting.method != "net" else "settled" if netting.settled else "net"
    words = {name: format_number(Fraction(wh, 1000), language) for name, wh in figures.items()}
    return SENTENCES[language][say].format(act=act_in(netting.act, language), **words)


def netting_by_rate_texts(
    act: str, figures: Sequence[Sequence[int]], language: Language, *, settled: bool
) -> Iterator[str]:
    """Yield how each of three rates was netted by itself.

    Parameters
    ----------
    figures
        Import, export and what was carried in. [Wh, 3 × 3 rates]
    """
    for rate, taken, sent, carried in zip(RATES, *figures, strict=True):
        left = taken - sent - carried
        netting = Netting(
            method="net",
            act=act,
            import_wh=taken,
            export_wh=sent,
            billed_wh=max(left, 0),
            carried_in_wh=carried,
            carried_out_wh=0 if settled else max(-left, 0),
            settled=settled,
        )
        yield f"{rate.value}, {RATE_NAMES[language][rate]}: {netting_text(netting, language)}"
