"""A stored bill in words, in Vietnamese or English, as a clerk reads it to a customer.

Everything comes from what was stored with the bill: its readings, its lines' operands, its purchase. Nothing is
computed but the number of days.
"""

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from fractions import Fraction
from typing import Any

from billing_core.explain import Language, explain_line, format_number
from billing_core.line import BillLine
from ingest_server.billing.explain_metering import metering_texts
from ingest_server.billing.period import civil_text
from protocols.telemetry.reading import Quality

CLOCKS = {Language.VI: "%H:%M %d/%m/%Y", Language.EN: "%Y-%m-%d %H:%M"}
REGISTER_NAMES = {
    Language.VI: {
        "SG": "tổng (SG)",
        "BT": "giờ bình thường (BT)",
        "CD": "giờ cao điểm (CĐ)",
        "TD": "giờ thấp điểm (TĐ)",
        "export": "chiều phát lên lưới",
        "VC": "phản kháng (VC)",
        "Pmax": "công suất cực đại",
    },
    Language.EN: {
        "SG": "total (SG)",
        "BT": "normal hours (BT)",
        "CD": "peak hours (CD)",
        "TD": "off-peak hours (TD)",
        "export": "export to the grid",
        "VC": "reactive energy (VC)",
        "Pmax": "maximum demand",
    },
}

UNITS = {"VC": "kvarh", "Pmax": "kW"}  # of registers that do not count kWh
QUALITY_NAMES = {
    Language.VI: {
        Quality.PROFILE: "lấy từ biểu đồ phụ tải lưu trong công tơ",
        Quality.CLOCK_UNCERTAIN: "đồng hồ chưa chắc đúng giờ",
        Quality.SUSPECT: "nghi ngờ",
        Quality.NOT_DURABLE: "chưa kịp lưu bền ở thiết bị tập trung",
        Quality.ESTIMATED: "ước tính",
        Quality.SUBSTITUTED: "thay thế",
        Quality.MANUAL: "do người ghi",
    },
    Language.EN: {
        Quality.PROFILE: "from the load profile kept in the meter",
        Quality.CLOCK_UNCERTAIN: "clock not certain",
        Quality.SUSPECT: "suspect",
        Quality.NOT_DURABLE: "not kept on the gateway's disk",
        Quality.ESTIMATED: "estimated",
        Quality.SUBSTITUTED: "substituted",
        Quality.MANUAL: "read by a person",
    },
}


def explain_bill(bill: Mapping[str, Any], language: Language) -> list[str]:
    """Return ``bill``, as :func:`ingest_server.billing.stored.load_bill` gives it, in sentences."""
    return [
        _period_text(bill, language),
        *(_register_text(meter, register, language) for meter, register in _registers(bill["inputs"])),
        *metering_texts(bill["inputs"], UNITS, REGISTER_NAMES[language], language),
        *([] if bill["purchase"] is None else [_netting_text(bill, language)]),
        *(explain_line(BillLine.from_json(line["operands"]), language) for line in bill["lines"]),
        _total_text(bill, language),
        *_purchase_texts(bill, language),
    ]


def quality_texts(quality: int, language: Language) -> list[str]:
    """Return what is known against a reading, in words; nothing for an actual one."""
    return [text for flag, text in QUALITY_NAMES[language].items() if quality & flag]


def _registers(inputs: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    for meter in inputs["meters"]:
        for register in meter["registers"]:
            yield meter, register


def _period_text(bill: Mapping[str, Any], language: Language) -> str:
    first_on, last_on = date.fromisoformat(bill["period_from"]), date.fromisoformat(bill["period_to"])
    days = (last_on - first_on).days + 1
    if language is Language.VI:
        return f"Kỳ hóa đơn từ {first_on:%d/%m/%Y} đến hết {last_on:%d/%m/%Y}: {days} ngày."
    return f"Billing period from {first_on} to the end of {last_on}: {days} days."


def _register_text(meter: Mapping[str, Any], register: Mapping[str, Any], language: Language) -> str:
    vietnamese = language is Language.VI
    label = register["register"]
    unit = UNITS.get(label, "kWh")
    readings = [_reading_text(reading, unit, language) for reading in register["readings"]]
    name = REGISTER_NAMES[language][label]
    if meter.get("role") == "generation":
        name = "sản lượng điện mặt trời" if vietnamese else "generation of the panels"
    used = f"{_number(register['energy_wh'], language)} {unit}"
    factor = meter["multiplier"]
    times = "" if factor == 1 else (f", nhân hệ số {factor}" if vietnamese else f", times the multiplier {factor}")
    whose = f"Công tơ {meter['meter_id']}" if vietnamese else f"Meter {meter['meter_id']}"
    if len(readings) == 1:  # the highest of the month stands in the register itself
        return f"{whose}, {name}: {readings[0]}{times} = {used}."
    old, new = readings
    fell = register["readings"][1]["value_wh"] < register["readings"][0]["value_wh"]
    digits = meter["digits"]
    if vietnamese:
        round_text = f" (công tơ {digits} chữ số đã quay vòng về 0)" if fell else ""
        return f"{whose}, {name}: chỉ số mới {new} − chỉ số cũ {old}{round_text}{times} = {used}."
    round_text = f" (the register of {digits} digits passed its end and began at 0)" if fell else ""
    return f"{whose}, {name}: new index {new} − old index {old}{round_text}{times} = {used}."


def _reading_text(reading: Mapping[str, Any], unit: str, language: Language) -> str:
    at = civil_text(datetime.fromisoformat(reading["at"]), CLOCKS[language])
    marks = "".join(f"; {text}" for text in quality_texts(reading["quality"], language))
    when = f"lúc {at}" if language is Language.VI else f"at {at}"
    return f"{_number(reading['value_wh'], language)} {unit} ({when}{marks})"


def _netting_text(bill: Mapping[str, Any], language: Language) -> str:
    purchase = bill["purchase"]
    operands = purchase["operands"]
    imported, exported = (_kwh(operands[name], language) for name in ("import_wh", "export_wh"))
    carried, handed_on = (_kwh(purchase[name], language) for name in ("carried_in_wh", "carried_out_wh"))
    billed = _kwh(bill["energy_wh"], language)
    number = operands["act"].partition(" ")[2]  # Decision 11/2017/QĐ-TTg: the number tells a reader what it is
    if operands["method"] != "net":
        if language is Language.VI:
            return (
                f"Điện mặt trời mái nhà (theo {number}): tính tiền toàn bộ chiều nhận {imported}; "
                f"chiều phát {exported} mua riêng."
            )
        return (
            f"Rooftop solar ({operands['act']}): all import, {imported}, is billed; "
            f"export, {exported}, is bought apart."
        )
    if language is Language.VI:
        return (
            f"Điện mặt trời mái nhà (theo {number}): nhận {imported} − phát {exported} − dư kỳ trước {carried}: "
            f"tính tiền {billed}, chuyển kỳ sau {handed_on}."
        )
    return (
        f"Rooftop solar ({operands['act']}): import {imported} − export {exported} − surplus of the period before "
        f"{carried}: {billed} is billed, {handed_on} is carried to the next period."
    )


def _total_text(bill: Mapping[str, Any], language: Language) -> str:
    subtotal, vat, total = (format_number(bill[name], language) for name in ("subtotal", "vat", "total"))
    if language is Language.VI:
        return f"Cộng: tiền điện {subtotal} đ + thuế GTGT {vat} đ = {total} đ phải trả."
    return f"Sum: electricity {subtotal} đ + VAT {vat} đ = {total} đ to pay."


def _purchase_texts(bill: Mapping[str, Any], language: Language) -> list[str]:
    purchase = bill["purchase"]
    if purchase is None or purchase["operands"]["line"] is None:
        return []
    line = explain_line(BillLine.from_json(purchase["operands"]["line"]), language)
    beside = "Chứng từ mua điện, lập riêng" if language is Language.VI else "Purchase document, beside the bill"
    return [f"{beside}: {line}"]


def _kwh(energy_wh: int, language: Language) -> str:
    return f"{_number(energy_wh, language)} kWh"


def _number(thousandths: int, language: Language) -> str:
    return format_number(Fraction(thousandths, 1000), language)
