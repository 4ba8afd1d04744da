"""A stored bill in words, in Vietnamese or English, as a clerk reads it to a customer.

Everything comes from what was stored with the bill: its readings and who made them, its lines' operands, its purchase,
its place in the chain of bills. What is worked out beside it (shares, averages) is said only where it comes to the very
figures that were stored.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from fractions import Fraction
from typing import Any

from billing_core.codes import Category, Register, Solar, Voltage
from billing_core.explain import Beside, Language, explain_line, format_number
from billing_core.explain_hours import hours_of, schedule_text
from billing_core.explain_registers import Counted, counted_text
from billing_core.explain_sharing import Use, days_texts, households_texts, uses_texts
from billing_core.explain_solar import Netting, netting_by_rate_texts, netting_text
from billing_core.line import BillLine
from billing_core.notes import note_on_kept_netting, notes_text
from billing_core.rate_plan import rate_plan_from_json
from billing_core.tariff_files import load_tariffs
from ingest_server.billing.chain import heading_texts
from ingest_server.billing.explain_metering import metering_texts
from ingest_server.billing.period import civil_text
from ingest_server.billing.schedules import programmed
from ingest_server.billing.sentences import text_of
from ingest_server.billing.unpack import changes_of_households
from ingest_server.billing.versions import version_text
from protocols.telemetry.reading import Quality

CLOCKS = {Language.VI: "%H:%M %d/%m/%Y", Language.EN: "%Y-%m-%d %H:%M"}
REGISTER_NAMES = {
    Language.VI: {
        "SG": "tổng (SG)",
        "BT": "giờ bình thường (BT)",
        "CD": "giờ cao điểm (CĐ)",
        "TD": "giờ thấp điểm (TĐ)",
        "export": "chiều phát lên lưới",
        "export BT": "chiều phát lên lưới, giờ bình thường (BT)",
        "export CD": "chiều phát lên lưới, giờ cao điểm (CĐ)",
        "export TD": "chiều phát lên lưới, giờ thấp điểm (TĐ)",
        "VC": "phản kháng (VC)",
        "Pmax": "công suất cực đại",
    },
    Language.EN: {
        "SG": "total (SG)",
        "BT": "normal hours (BT)",
        "CD": "peak hours (CD)",
        "TD": "off-peak hours (TD)",
        "export": "export to the grid",
        "export BT": "export to the grid, normal hours (BT)",
        "export CD": "export to the grid, peak hours (CD)",
        "export TD": "export to the grid, off-peak hours (TD)",
        "VC": "reactive energy (VC)",
        "Pmax": "maximum demand",
    },
}

WAITS = {
    Language.VI: "Mua điện mặt trời: chưa lập chứng từ, hóa đơn tiền điện không phải chờ. Lý do: {why}.",
    Language.EN: "Solar energy bought: no document yet, which the bill does not wait for. Reason: {why}.",
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
    lines = [BillLine.from_json(line["operands"]) for line in bill["lines"]]
    beside = _beside(bill, language)
    return [
        *heading_texts(bill, language),
        _period_text(bill, language),
        *(_register_text(meter, register, language) for meter, register in _registers(bill["inputs"])),
        *metering_texts(bill["inputs"], UNITS, REGISTER_NAMES[language], language),
        *_netting_texts(bill, language),
        *_sharing_texts(bill, lines, language),
        *(schedule_text(each, language) for each in programmed(bill["schedules"])),
        *(explain_line(line, language, beside) for line in lines),
        _total_text(bill, language),
        *_purchase_texts(bill, language),
    ]


def _beside(bill: Mapping[str, Any], language: Language) -> Beside:
    """Return what makes the lines plainer: the bill's energy, its plan, and the hours if its meters have the same."""
    contract = bill["inputs"]["contract"]
    schedules = {each.schedule.name: each.schedule for each in programmed(bill["schedules"])}
    hours: Mapping[Register, str] = {}
    if len(schedules) == 1:
        hours = hours_of(next(iter(schedules.values())), language)
    plan = contract.get("rate_plan")
    return Beside(
        active_wh=bill["energy_wh"],
        table=load_tariffs().power_factor_on(date.fromisoformat(bill["period_to"])),
        hours=hours,
        plan=rate_plan_from_json(plan) if isinstance(plan, dict) else None,
    )


def _sharing_texts(bill: Mapping[str, Any], lines: Sequence[BillLine], language: Language) -> Iterator[str]:
    """Yield how the energy of the meters comes to the lines: uses, changes of price, households."""
    inputs = bill["inputs"]
    contract = inputs["contract"]
    yield from uses_texts(lines, _uses(contract), language)
    read_at = [
        datetime.fromisoformat(reading["at"]) for _, register in _registers(inputs) for reading in register["readings"]
    ]
    read_on = {date.fromisoformat(civil_text(at, "%Y-%m-%d")) for at in read_at}
    yield from days_texts(lines, read_on, language)
    parts = contract.get("households_parts", 1)
    households = Fraction(contract["households"], parts)
    yield from households_texts(lines, households, changes_of_households(inputs), language, parts=parts)


def _uses(contract: Mapping[str, Any]) -> list[Use]:
    """Return the uses of a mixed one in the order in which energy is shared out; none of a single use."""
    others = [
        Use(
            Category(use["category"]),
            Voltage(use.get("voltage") or Voltage.LT6.value),
            Fraction(str(use["share_percent"])),
        )
        for use in contract.get("uses", ())
    ]
    if not others:
        return []
    voltage = Voltage(contract["voltage"] or Voltage.LT6.value)
    rest = Fraction(100) - sum((use.percent for use in others), Fraction(0))
    return [Use(Category(contract["category"]), voltage, rest), *others]


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
    name = REGISTER_NAMES[language][label]
    if meter.get("role") == "generation":
        name = "sản lượng điện mặt trời" if vietnamese else "generation of the panels"
    whose = f"Công tơ {meter['meter_id']}" if vietnamese else f"Meter {meter['meter_id']}"
    *before, last = register["readings"]  # of demand the highest of the month alone stands in the register
    counted = Counted(
        whose=f"{whose}, {name}",
        unit=unit,
        old=before[0]["value_wh"] if before else None,
        new=last["value_wh"],
        digits=meter["digits"],
        multiplier=meter["multiplier"],
        used=register["energy_wh"],
        old_note=note_on(before[0], language) if before else "",
        new_note=note_on(last, language),
    )
    return counted_text(counted, language)


def note_on(reading: Mapping[str, Any], language: Language) -> str:
    """Return when a reading was taken, what is known against it, and of which version it is."""
    at = civil_text(datetime.fromisoformat(reading["at"]), CLOCKS[language])
    marks = quality_texts(reading["quality"], language)
    if reading.get("version") is not None:
        marks.append(version_text(reading["version"], language))
    return "; ".join([f"lúc {at}" if language is Language.VI else f"at {at}", *marks])


def _netting_texts(bill: Mapping[str, Any], language: Language) -> Iterator[str]:
    """Yield how a roof was settled, each rate by itself where it was netted so; nothing without a purchase."""
    purchase = bill["purchase"]
    if purchase is None:
        return
    operands, settled = purchase["operands"], bool(bill["inputs"].get("settle_carry"))
    if "import_rates_wh" in operands:
        figures = [operands[name] for name in ("import_rates_wh", "export_rates_wh", "carried_in_rates_wh")]
        yield from netting_by_rate_texts(operands["act"], figures, language, settled=settled)
        rule = load_tariffs().solar_rule(Solar.NET_2017)
        doubts = note_on_kept_netting(operands["by_rate_certainty"], operands["by_rate_source"], rule)
        yield from (f"{text[0].upper()}{text[1:]}." for text in notes_text(tuple(doubts), language))
        return
    netting = Netting(
        method=operands["method"],
        act=operands["act"],
        import_wh=operands["import_wh"],
        export_wh=operands["export_wh"],
        billed_wh=bill["energy_wh"],
        carried_in_wh=purchase["carried_in_wh"],
        carried_out_wh=purchase["carried_out_wh"],
        settled=settled,
    )
    yield netting_text(netting, language)


def _total_text(bill: Mapping[str, Any], language: Language) -> str:
    subtotal, vat, total = (format_number(bill[name], language) for name in ("subtotal", "vat", "total"))
    if language is Language.VI:
        return f"Cộng: tiền điện {subtotal} đ + thuế GTGT {vat} đ = {total} đ phải trả."
    return f"Sum: electricity {subtotal} đ + VAT {vat} đ = {total} đ to pay."


def _purchase_texts(bill: Mapping[str, Any], language: Language) -> list[str]:
    """Return what is bought beside the bill, or why that waits; nothing without a roof, or if nothing is bought."""
    purchase, waits = bill["purchase"], bill["purchase_waits"]
    if purchase is None and waits is not None:
        why = waits["detail"] if waits["sentences"] is None else text_of(waits["sentences"], language)
        return [WAITS[language].format(why=why)]
    if purchase is None or purchase["operands"]["line"] is None:
        return []
    line = explain_line(BillLine.from_json(purchase["operands"]["line"]), language)
    beside = "Chứng từ mua điện, lập riêng" if language is Language.VI else "Purchase document, beside the bill"
    return [f"{beside}: {line}"]
