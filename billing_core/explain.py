"""A line in words, Vietnamese or English, as a clerk reads it to a customer: how much, at what price, by which rule.

The words are made from the line's own operands, so that a stored line explains itself as it did when it was new. What
lies beside a line and makes it plainer (the hours of a rate, the energy a power factor is of, a utility's own plan) may
be given with it, and is said only if it comes to the very figures of the line.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction

import numpy as np

from billing_core.codes import Certainty, LineKind, Register
from billing_core.explain_names import (
    WARNINGS,
    Language,
    act_in,
    category_of,
    clause_in,
    use_name,
)
from billing_core.line import BillLine, Bought
from billing_core.rate_plan import RatePlan
from billing_core.reactive import power_factor, surcharge
from billing_core.tariff import PowerFactorTable

__all__ = ["Beside", "Language", "act_in", "explain_line", "format_day", "format_number", "line_name"]

RATE_NAMES = {
    Language.VI: {Register.BT: "giờ bình thường", Register.CD: "giờ cao điểm", Register.TD: "giờ thấp điểm"},
    Language.EN: {Register.BT: "normal hours", Register.CD: "peak hours", Register.TD: "off-peak hours"},
}
SENTENCES: Mapping[Language, Mapping[str, str]] = {
    Language.VI: {
        "priced": "{name}, từ {start} đến {end}: {kwh} kWh × {price} đ/kWh = {amount} đ, làm tròn đến đồng. {by}",
        "unpriced": "{name}: {kwh} kWh, chưa có giá. {by}",
        "quota": "Định mức của bậc: {width} kWh{stretched} × {households} hộ = {quota} kWh{rounded}.",
        "rounded": " (từ 0,5 làm tròn lên)",
        "stretched": " ÷ {nominal_days} ngày × {days} ngày",
        "last tier": "Bậc cuối không có giới hạn trên.",
        "vat": "Thuế GTGT: {base} đ × {percent} % = {amount} đ, làm tròn đến đồng; "
        "thuế suất theo ngày ghi chỉ số {end}. {by}",
        "reactive": "Công suất phản kháng: {factor}; {base} đ × {percent} % = {amount} đ, làm tròn đến đồng. {by}",
        "factor": "cosφ = {power_factor}{measured} dưới mức quy định{required}",
        "factor of": "cosφ = A ÷ √(A² + Q²) với A = {active} kWh, Q = {kwh} kvarh là {power_factor} (làm tròn hai chữ "
        "số), dưới mức quy định{required}",
        "k": "; k = ({limit} ÷ {power_factor} − 1) × 100 = {percent} % (làm tròn hai chữ số)",
        "k below": "; cosφ dưới {floor} thì k = {percent} %",
        "undeclared": "Người thuê nhà chưa kê khai: toàn bộ theo giá của một bậc.",
        "refused": "Khách hàng từ chối lắp công tơ ba giá: toàn bộ theo giá giờ cao điểm.",
        "demand": "Công suất cực đại trong tháng: {kwh} kW × {price} đ/kW{by_days} = {amount} đ, làm tròn đến đồng. "
        "{by}",
        "ratchet": "Công suất tính tiền là số lớn nhất của: công suất cực đại trong kỳ {drawn} kW; {percent} % của mức "
        "cao nhất {months} tháng trước, {before} kW; mức tối thiểu {floor} kW. {kwh} kW × {price} đ/kW{by_days} = "
        "{amount} đ, làm tròn đến đồng. {by}",
        "fixed": "Phí cố định: {price} đ/tháng{by_days} = {amount} đ, làm tròn đến đồng. {by}",
        "minimum": "Mức tiền tối thiểu: {price} đ/tháng{by_days} = {least} đ, làm tròn đến đồng; {least} đ − {base} đ "
        "đã tính = thu thêm {amount} đ. {by}",
        "by days": " ÷ {nominal_days} ngày × {days} ngày",
        "by": "Căn cứ: {act}{clause}.",
        "plan": "biểu giá riêng {name} có hiệu lực từ {since} (nguồn: {source})",
        "separate": "Mua toàn bộ điện phát lên lưới: {export} kWh.",
        "surplus": "Điện phát lên lưới {export} kWh; mua nhiều nhất {cap} % × sản lượng {generation} kWh = {most} kWh"
        "{down}.",
        "down": " (làm tròn xuống đến Wh)",
        "net": "Điện dư sau bù trừ được mua vì thanh toán cuối năm hoặc cuối hợp đồng, không chuyển kỳ sau.",
        "cents": "Giá mua: {cents} cent/kWh × {rate} đ/USD ÷ 100 = {price} đ/kWh, làm tròn đến đồng; tỷ giá trung tâm "
        "của Ngân hàng Nhà nước ngày làm việc cuối năm trước.",
        "doubt": "Lưu ý: số liệu này {warning}.",
    },
    Language.EN: {
        "priced": "{name}, {start} to {end}: {kwh} kWh × {price} đ/kWh = {amount} đ, rounded to the đồng. {by}",
        "unpriced": "{name}: {kwh} kWh, no price known yet. {by}",
        "quota": "Width of the tier: {width} kWh{stretched} × {households} {household_word} = {quota} kWh{rounded}.",
        "rounded": " (half rounded up)",
        "stretched": " ÷ {nominal_days} days × {days} days",
        "last tier": "The last tier has no upper end.",
        "vat": "VAT: {base} đ × {percent} % = {amount} đ, rounded to the đồng; "
        "the rate is that of {end}, when the index is read for the invoice. {by}",
        "reactive": "Reactive energy: {factor}; {base} đ × {percent} % = {amount} đ, rounded to the đồng. {by}",
        "factor": "power factor {power_factor}{measured} is under what is required{required}",
        "factor of": "power factor A ÷ √(A² + Q²) with A = {active} kWh, Q = {kwh} kvarh is {power_factor} (to two "
        "decimals), under what is required{required}",
        "k": "; k = ({limit} ÷ {power_factor} − 1) × 100 = {percent} % (to two decimals)",
        "k below": "; under {floor} k is {percent} %",
        "undeclared": "Tenants not declared: all at the price of one tier.",
        "refused": "A three-rate meter was refused: all at the peak price.",
        "demand": "Highest half hour of the month: {kwh} kW × {price} đ/kW{by_days} = {amount} đ, rounded to the đồng. "
        "{by}",
        "ratchet": "Billed demand is the largest of: the period's highest {drawn} kW; {percent} % of the highest of "
        "the {months} months before, {before} kW; the floor of {floor} kW. {kwh} kW × {price} đ/kW{by_days} = "
        "{amount} đ, rounded to the đồng. {by}",
        "fixed": "Fixed charge: {price} đ a month{by_days} = {amount} đ, rounded to the đồng. {by}",
        "minimum": "Minimum charge: {price} đ a month{by_days} = {least} đ, rounded to the đồng; {least} đ − {base} đ "
        "charged already = {amount} đ to add. {by}",
        "by days": " ÷ {nominal_days} days × {days} days",
        "by": "By {act}{clause}.",
        "plan": "the rate plan {name}, in force since {since} (source: {source})",
        "separate": "All export is bought: {export} kWh.",
        "surplus": "Export is {export} kWh; bought is at most {cap} % × {generation} kWh generated = {most} kWh{down}.",
        "down": " (rounded down to the Wh)",
        "net": "The surplus left by netting is bought, as it is settled at the end of the year or of the contract; "
        "none is carried on.",
        "cents": "Price: {cents} cents/kWh × {rate} đ/USD ÷ 100 = {price} đ/kWh, rounded to the đồng; the State Bank's "
        "central rate of the last working day of the year before.",
        "doubt": "Note: this figure is {warning}.",
    },
}
WITH_DAYS = ("vat", "reactive", "demand", "ratchet", "fixed", "minimum")


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What lies beside a line and makes its words plainer.

    Parameters
    ----------
    active_wh
        Active energy of the whole bill, which a power factor is of. [Wh]
    table
        The table its surcharge comes from.
    hours
        When each rate runs, in the language of the words.
    plan
        The utility's own rate plan that the bill is by.
    """

    active_wh: int | None = None
    table: PowerFactorTable | None = None
    hours: Mapping[Register, str] = field(default_factory=dict)
    plan: RatePlan | None = None


ALONE = Beside()


def explain_line(line: BillLine, language: Language = Language.VI, beside: Beside = ALONE) -> str:
    """Return what the line charges and why, as one paragraph."""
    said = [_charged(line, language, beside), *_bought_texts(line, language)]
    if line.certainty in WARNINGS[language]:
        said.append(doubt_text(line.certainty, language))
    return " ".join(said)


def doubt_text(certainty: Certainty, language: Language) -> str:
    """Return what must be known of a figure that nobody has read in the act."""
    return SENTENCES[language]["doubt"].format(warning=WARNINGS[language][certainty])


def _charged(line: BillLine, language: Language, beside: Beside) -> str:
    say = SENTENCES[language]
    words = _operands(line, language, beside)
    if line.formula in WITH_DAYS:
        # The pilot's demand is of whole months, so its words are what they were.
        by_days = say["by days"].format_map(words) if line.days != line.nominal_days else ""
        factor = _factor_text(line, language, beside, words) if line.formula == "reactive" else ""
        return say[line.formula].format_map({**words, "by_days": by_days, "factor": factor})
    first = say["unpriced" if line.price is None else "priced"].format_map(words)
    if line.formula in ("undeclared", "refused"):
        return f"{first} {say[line.formula]}"
    if line.formula != "tier":
        return first
    if line.quota_wh is None:
        return f"{first} {say['last tier']}"
    width = (line.width_kwh or 0) * line.households
    exact = 1000 * (width if line.days == line.nominal_days else width * line.days / line.nominal_days)
    if line.quota_wh not in (exact, int(exact / 1000 + Fraction(1, 2)) * 1000, int(exact + Fraction(1, 2))):
        return first  # of households that are not those of the line
    stretched = say["stretched"].format_map(words) if line.days != line.nominal_days else ""
    rounded = "" if line.quota_wh == exact else say["rounded"]
    return f"{first} {say['quota'].format_map({**words, 'stretched': stretched, 'rounded': rounded})}"


def _factor_text(line: BillLine, language: Language, beside: Beside, words: Mapping[str, str]) -> str:
    """Return the power factor and what follows from it, each step only if it comes to the line's own figures."""
    say, table = SENTENCES[language], beside.table
    assert line.power_factor is not None, "reactive energy has a power factor"
    more = {**words, "required": "", "power_factor": _hundredths(line.power_factor, language)}
    steps = ""
    share = None if line.share is None else line.share * 10_000
    if table is not None and share == int(surcharge(np.array([line.power_factor]), table)[0]):
        limit, floor = (_hundredths(each, language) for each in (table.required_percent, table.floor_percent))
        more |= {"required": f" {limit}", "limit": limit, "floor": floor}
        steps = say["k" if line.power_factor >= table.floor_percent else "k below"].format_map(more)
    known = beside.active_wh is not None and line.energy_wh
    if known and power_factor(np.array([beside.active_wh]), np.array([line.energy_wh]))[0] == line.power_factor:
        more["active"] = format_number(Fraction(beside.active_wh or 0, 1000), language)
        return say["factor of"].format_map(more) + steps
    return say["factor"].format_map(more) + steps


def _hundredths(value: int, language: Language) -> str:
    return f"{value // 100}{',' if language is Language.VI else '.'}{value % 100:02d}"


def _bought_texts(line: BillLine, language: Language) -> list[str]:
    """Return why so much is bought at such a price; nothing of other lines."""
    bought = line.bought
    if bought is None:
        return []
    say = SENTENCES[language]
    texts = [say[bought.method].format_map(_bought_operands(bought, language))]
    if bought.method == "surplus" and bought.generation_wh is None:
        texts = []
    if bought.cents_hundredths is not None and bought.vnd_per_usd is not None and line.price is not None:
        cents = format_number(Fraction(bought.cents_hundredths, 100), language)
        rate, price = (format_number(each, language) for each in (bought.vnd_per_usd, line.price))
        texts.append(say["cents"].format(cents=cents, rate=rate, price=price))
    return texts


def _bought_operands(bought: Bought, language: Language) -> dict[str, str]:
    most, left = divmod((bought.generation_wh or 0) * (bought.cap_percent or 0), 100)
    energies = {"export": bought.export_wh, "generation": bought.generation_wh or 0, "most": most}
    return {
        **{name: format_number(Fraction(wh, 1000), language) for name, wh in energies.items()},
        "cap": str(bought.cap_percent),
        "down": SENTENCES[language]["down"] if left else "",
    }


def _operands(line: BillLine, language: Language, beside: Beside) -> dict[str, str]:
    """Return the operands of ``line`` as words; a dash for one it does not have."""
    numbers = {
        "kwh": Fraction(line.energy_wh, 1000),
        "price": line.price,
        "amount": line.amount,
        "width": line.width_kwh,
        "quota": None if line.quota_wh is None else Fraction(line.quota_wh, 1000),
        "households": line.households,
        "base": line.base_amount,
        "percent": None if line.share is None else line.share * 100,
        "drawn": None if line.drawn_w is None else Fraction(line.drawn_w, 1000),
        "before": None if line.before_w is None else Fraction(line.before_w, 1000),
        "least": line.least,
        "power_factor": None if line.power_factor is None else Fraction(line.power_factor, 100),
    }
    words = {key: "–" if value is None else format_number(value, language) for key, value in numbers.items()}
    if line.ratchet is not None:
        words["percent"], words["months"] = str(line.ratchet.percent), str(line.ratchet.months)
        words["floor"] = format_number(Fraction(line.ratchet.least_w, 1000), language)
    return words | {
        "name": _full_name(line, language, beside),
        "by": _by(line, language, beside),
        "start": format_day(line.start_on, language),
        "end": format_day(line.end_on, language),
        "household_word": "household" if line.households == 1 else "households",
        "measured": f" ({words['kwh']} kvarh)" if line.energy_wh else "",
        "days": str(line.days),
        "nominal_days": str(line.nominal_days),
    }


def _full_name(line: BillLine, language: Language, beside: Beside) -> str:
    """Return what the line is called, the hours of its rate, and of energy what it is used for."""
    name = line_name(line, language)
    hours = None if line.register is None or line.formula != "rate" else beside.hours.get(line.register)
    if hours is not None:
        name = f"{name} ({hours})"
    use = category_of(line.clause) if line.kind is LineKind.ENERGY else None
    return name if use is None else f"{name}, {use_name(use, language)}"


def _by(line: BillLine, language: Language, beside: Beside) -> str:
    """Return the act, or a utility's own plan with its day and source, and the place in it."""
    say, plan = SENTENCES[language], beside.plan
    own = plan is not None and plan.name == line.act
    act = act_in(line.act, language)
    if plan is not None and own:
        since = format_day(plan.effective_on, language)
        act = say["plan"].format(name=plan.name, since=since, source=" ".join(plan.source.split()).rstrip("."))
    clause = clause_in(line.clause, language, any_voltage=own)
    if clause.startswith(act):  # not said twice
        clause = clause[len(act) :].strip(" ,;")
    return say["by"].format(act=act, clause=f", {clause}" if clause else "")


def line_name(line: BillLine, language: Language) -> str:
    """Return what the line is called on the bill."""
    vietnamese = language is Language.VI
    if line.tier is not None:
        return f"Bậc {line.tier}" if vietnamese else f"Tier {line.tier}"
    match line.kind:
        case LineKind.VAT:
            return "Thuế GTGT" if vietnamese else "VAT"
        case LineKind.REACTIVE:
            return "Công suất phản kháng" if vietnamese else "Reactive energy"
        case LineKind.DEMAND:
            return "Công suất" if vietnamese else "Capacity"
        case LineKind.FIXED:
            return "Phí cố định" if vietnamese else "Fixed charge"
        case LineKind.MINIMUM:
            return "Mức tối thiểu" if vietnamese else "Minimum charge"
        case LineKind.SOLAR_PURCHASE:
            return "Mua điện mặt trời" if vietnamese else "Solar energy bought"
    named = RATE_NAMES[language].get(line.register) if line.register is not None else None
    if named is None or line.formula in ("single", "refused"):
        return "Điện năng" if vietnamese else "Energy"
    return f"{line.register.value}, {named}" if line.register is not None else named


def format_number(value: int | Fraction, language: Language) -> str:
    """Return a number with its thousands parted: 1.234,5 in Vietnamese, 1,234.5 in English.

    A fraction that does not end within six decimals stays a fraction.
    """
    number = Fraction(value)
    scaled = number * 10**6
    if scaled.denominator != 1:
        return str(number)
    whole, decimals = divmod(abs(scaled.numerator), 10**6)
    text = f"{whole:,}" + (f".{decimals:06d}".rstrip("0") if decimals else "")
    if language is Language.VI:
        text = text.translate(str.maketrans(",.", ".,"))
    return f"-{text}" if number < 0 else text


def format_day(day: date, language: Language) -> str:
    """Return a date as the language writes it."""
    return f"{day:%d/%m/%Y}" if language is Language.VI else day.isoformat()
