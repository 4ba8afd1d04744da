"""A line in words, Vietnamese or English, as a clerk reads it to a customer: how much, at what price, by which rule.

The words are made from the line's own operands, so that a stored line explains itself as it did when it was new.
"""

from collections.abc import Mapping
from datetime import date
from enum import Enum
from fractions import Fraction

from billing_core.codes import LineKind, Register
from billing_core.line import BillLine


class Language(Enum):
    """The languages a bill is explained in."""

    VI = "vi"
    EN = "en"


RATE_NAMES = {
    Language.VI: {Register.BT: "giờ bình thường", Register.CD: "giờ cao điểm", Register.TD: "giờ thấp điểm"},
    Language.EN: {Register.BT: "normal hours", Register.CD: "peak hours", Register.TD: "off-peak hours"},
}


KINDS_OF_ACT = {
    "Document ": "Văn bản ",
    "Circular ": "Thông tư ",
    "Decision ": "Quyết định ",
    "Decree ": "Nghị định ",
    "Decrees ": "Các Nghị định ",
    "Law ": "Luật ",
    "Resolution ": "Nghị quyết ",
    " and ": " và ",
}
SENTENCES: Mapping[Language, Mapping[str, str]] = {
    Language.VI: {
        "priced": "{name}, từ {start} đến {end}: {kwh} kWh × {price} đ/kWh = {amount} đ, làm tròn đến đồng. "
        "Căn cứ: {act}.",
        "unpriced": "{name}: {kwh} kWh, chưa có giá. Căn cứ: {act}.",
        "quota": "Định mức của bậc: {width} kWh{stretched} × {households} hộ = {quota} kWh (từ 0,5 làm tròn lên).",
        "stretched": " ÷ {nominal_days} ngày × {days} ngày",
        "last tier": "Bậc cuối không có giới hạn trên.",
        "vat": "Thuế GTGT: {base} đ × {percent} % = {amount} đ, làm tròn đến đồng; "
        "thuế suất theo ngày ghi chỉ số {end}. Căn cứ: {act}.",
        "reactive": "Công suất phản kháng: cosφ = {power_factor}{measured} dưới mức quy định; "
        "{base} đ × {percent} % = {amount} đ. Căn cứ: {act}.",
        "undeclared": "Người thuê nhà chưa kê khai: toàn bộ theo giá của một bậc.",
        "refused": "Khách hàng từ chối lắp công tơ ba giá: toàn bộ theo giá giờ cao điểm.",
        "demand": "Công suất cực đại trong tháng: {kwh} kW × {price} đ/kW{by_days} = {amount} đ, làm tròn đến đồng. "
        "Căn cứ: {act}.",
        "ratchet": "Công suất tính tiền là số lớn nhất của: công suất cực đại trong kỳ {drawn} kW; {percent} % của mức "
        "cao nhất {months} tháng trước, {before} kW; mức tối thiểu {floor} kW. {kwh} kW × {price} đ/kW{by_days} = "
        "{amount} đ, làm tròn đến đồng. Căn cứ: {act}.",
        "fixed": "Phí cố định: {price} đ/tháng{by_days} = {amount} đ. Căn cứ: {act}.",
        "minimum": "Mức tiền tối thiểu: {price} đ/tháng{by_days} = {least} đ, đã tính {base} đ, thu thêm {amount} đ. "
        "Căn cứ: {act}.",
        "by days": " ÷ {nominal_days} ngày × {days} ngày",
    },
    Language.EN: {
        "priced": "{name}, {start} to {end}: {kwh} kWh × {price} đ/kWh = {amount} đ, rounded to the đồng. "
        "By {act_and_clause}.",
        "unpriced": "{name}: {kwh} kWh, no price known yet. By {act}.",
        "quota": "Width of the tier: {width} kWh{stretched} × {households} {household_word} = {quota} kWh "
        "(half rounded up).",
        "stretched": " ÷ {nominal_days} days × {days} days",
        "last tier": "The last tier has no upper end.",
        "vat": "VAT: {base} đ × {percent} % = {amount} đ, rounded to the đồng; "
        "the rate is that of {end}, when the index is read for the invoice. By {act}.",
        "reactive": "Reactive energy: power factor {power_factor}{measured} is under what is required; "
        "{base} đ × {percent} % = {amount} đ. By {act}.",
        "undeclared": "Tenants not declared: all at the price of one tier.",
        "refused": "A three-rate meter was refused: all at the peak price.",
        "demand": "Highest half hour of the month: {kwh} kW × {price} đ/kW{by_days} = {amount} đ, rounded to the đồng. "
        "By {act}, {clause}.",
        "ratchet": "Billed demand is the largest of: the period's highest {drawn} kW; {percent} % of the highest of "
        "the {months} months before, {before} kW; the floor of {floor} kW. {kwh} kW × {price} đ/kW{by_days} = "
        "{amount} đ, rounded to the đồng. By {act}, {clause}.",
        "fixed": "Fixed charge: {price} đ a month{by_days} = {amount} đ. By {act}.",
        "minimum": "Minimum charge: {price} đ a month{by_days} = {least} đ, of which {base} đ are charged; "
        "{amount} đ are missing. By {act}.",
        "by days": " ÷ {nominal_days} days × {days} days",
    },
}


def explain_line(line: BillLine, language: Language = Language.VI) -> str:
    """Return what the line charges and why, as one paragraph."""
    say = SENTENCES[language]
    words = _operands(line, language)
    if line.formula in ("vat", "reactive", "demand", "ratchet", "fixed", "minimum"):
        # The pilot's demand is of whole months, so its words are what they were.
        by_days = say["by days"].format_map(words) if line.days != line.nominal_days else ""
        return say[line.formula].format_map({**words, "by_days": by_days})
    first = say["unpriced" if line.price is None else "priced"].format_map(words)
    if line.formula in ("undeclared", "refused"):
        return f"{first} {say[line.formula]}"
    if line.formula != "tier":
        return first
    if line.quota_wh is None:
        return f"{first} {say['last tier']}"
    stretched = say["stretched"].format_map(words) if line.days != line.nominal_days else ""
    return f"{first} {say['quota'].format_map({**words, 'stretched': stretched})}"


def _operands(line: BillLine, language: Language) -> dict[str, str]:
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
        "name": line_name(line, language),
        "act": line.act if language is Language.EN else _in_vietnamese(line.act),
        "clause": line.clause,
        "act_and_clause": _with_clause(line.act, line.clause),
        "start": format_day(line.start_on, language),
        "end": format_day(line.end_on, language),
        "household_word": "household" if line.households == 1 else "households",
        "measured": f" ({words['kwh']} kvarh)" if line.energy_wh else "",
        "days": str(line.days),
        "nominal_days": str(line.nominal_days),
    }


def _with_clause(act: str, clause: str) -> str:
    """Return an act with the place in it; where the clause begins with the act's name, it is not said twice."""
    if not clause.startswith(act):
        return f"{act}, {clause}"
    rest = clause[len(act) :].strip(" ,;")
    return f"{act} ({rest})" if rest else act


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


def act_in(act: str, language: Language) -> str:
    """Return the name of an act in a language: Quyết định 1279/QĐ-BCT as its own country calls it."""
    return _in_vietnamese(act) if language is Language.VI else act


def _in_vietnamese(act: str) -> str:
    for kind, translated in KINDS_OF_ACT.items():
        act = act.replace(kind, translated)
    return act


def format_day(day: date, language: Language) -> str:
    """Return a date as the language writes it."""
    return f"{day:%d/%m/%Y}" if language is Language.VI else day.isoformat()
