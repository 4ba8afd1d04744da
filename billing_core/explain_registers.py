"""What a register counted between two readings, in words: new index less old, over its end, times the multiplier."""

from dataclasses import dataclass
from fractions import Fraction

from billing_core.explain import format_number
from billing_core.explain_names import Language

WH_PER_UNIT = 1000
SENTENCES = {
    Language.VI: {
        "counted": "{whose}: chỉ số mới {new} {unit}{new_note}{over} − chỉ số cũ {old} {unit}{old_note}{times} = "
        "{used} {unit}.",
        "over": " + {range} {unit} (công tơ {digits} chữ số đã quay vòng về 0)",
        "times": ", nhân hệ số {factor}",
        "stands": "{whose}: {new} {unit}{new_note}{times} = {used} {unit}.",
    },
    Language.EN: {
        "counted": "{whose}: new index {new} {unit}{new_note}{over} − old index {old} {unit}{old_note}{times} = {used} "
        "{unit}.",
        "over": " + {range} {unit} (the register of {digits} digits passed its end and began at 0)",
        "times": ", times the multiplier {factor}",
        "stands": "{whose}: {new} {unit}{new_note}{times} = {used} {unit}.",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """A register's two readings, or the one of a demand that stands in it, and what was used. [Wh, varh, W]

    Parameters
    ----------
    whose
        Which register of which meter.
    old, new
        What it showed, before the multiplier; of a demand ``old`` is ``None``.
    old_note, new_note
        What is known of each reading, in words; empty for nothing.
    """

    whose: str
    unit: str
    old: int | None
    new: int
    digits: int
    multiplier: int
    used: int
    old_note: str = ""
    new_note: str = ""


def counted_text(counted: Counted, language: Language) -> str:
    """Return how what was used follows from what the register showed, as a sentence."""
    say, unit = SENTENCES[language], counted.unit
    old = counted.old or 0
    over = ""
    turn = 10**counted.digits * WH_PER_UNIT
    if (
        counted.old is not None
        and counted.new < old
        and (counted.new + turn - old) * counted.multiplier == counted.used
    ):
        over = say["over"].format(range=_number(turn, language), unit=unit, digits=counted.digits)
    factor = format_number(counted.multiplier, language)
    return say["stands" if counted.old is None else "counted"].format(
        whose=counted.whose,
        unit=unit,
        old=_number(old, language),
        new=_number(counted.new, language),
        old_note=f" ({counted.old_note})" if counted.old_note else "",
        new_note=f" ({counted.new_note})" if counted.new_note else "",
        over=over,
        times="" if counted.multiplier == 1 else say["times"].format(factor=factor),
        used=_number(counted.used, language),
    )


def _number(thousandths: int, language: Language) -> str:
    return format_number(Fraction(thousandths, WH_PER_UNIT), language)
