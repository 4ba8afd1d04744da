"""What a hold is called, in the words of the page (``ingest_server/api/static/words.js``; a test compares the two)."""

from collections.abc import Mapping

from billing_core.explain import Language

REASON_TITLES: Mapping[str, Mapping[Language, str]] = {
    "no_contract": {Language.VI: "Chưa có hợp đồng", Language.EN: "No contract"},
    "several_contracts": {Language.VI: "Nhiều hợp đồng trong kỳ", Language.EN: "Several contracts in the month"},
    "unknown_contract_term": {Language.VI: "Hợp đồng có mã lạ", Language.EN: "Contract has an unknown term"},
    "no_meter": {Language.VI: "Thiếu công tơ trong kỳ", Language.EN: "No meter for some days"},
    "missing_register_reading": {Language.VI: "Thiếu chỉ số", Language.EN: "Missing register reading"},
    "suspect_register_reading": {Language.VI: "Chỉ số nghi ngờ", Language.EN: "Suspect reading"},
    "conflicting_register_readings": {
        Language.VI: "Hai chỉ số khác nhau cùng lúc",
        Language.EN: "Two values for one instant",
    },
    "previous_period_not_billed": {Language.VI: "Kỳ trước chưa lập hóa đơn", Language.EN: "Month before not billed"},
    "issued_for_other_days": {
        Language.VI: "Đã phát hành cho những ngày khác",
        Language.EN: "Issued for other days",
    },
    "open_validation_finding": {
        Language.VI: "Kiểm tra số liệu không đạt, chưa quyết định",
        Language.EN: "Readings failed validation, undecided",
    },
    "register_set_back": {
        Language.VI: "Chỉ số bị đặt lại, chưa nhập",
        Language.EN: "Register was set back, not entered",
    },
    "ran_backwards": {Language.VI: "Công tơ chạy ngược", Language.EN: "Meter runs backwards"},
    "purchase_no_solar_price": {Language.VI: "Chưa có giá mua điện mặt trời", Language.EN: "Solar price not known"},
    "purchase_generation_unknown": {
        Language.VI: "Chưa biết sản lượng điện mặt trời",
        Language.EN: "Generation not known",
    },
    "rollover_implausible": {Language.VI: "Chỉ số giảm, cần phúc tra", Language.EN: "Register fell: read again"},
    "index_out_of_range": {
        Language.VI: "Chỉ số quá số chữ số của công tơ",
        Language.EN: "More digits than the register has",
    },
    "index_fell": {Language.VI: "Chỉ số giảm, cần phúc tra", Language.EN: "Register fell: read again"},
    "price_change_not_read": {
        Language.VI: "Giá đổi trong kỳ, thiếu chỉ số chốt",
        Language.EN: "Price changed, no reading on that day",
    },
    "no_price": {Language.VI: "Chưa có giá", Language.EN: "No price"},
    "no_vat_rate": {Language.VI: "Chưa có thuế suất", Language.EN: "No VAT rate"},
    "voltage_not_priced": {Language.VI: "Cấp điện áp không có giá", Language.EN: "Voltage without a price"},
    "energy_too_large": {Language.VI: "Điện năng quá lớn", Language.EN: "Energy too large"},
    "negative_energy": {Language.VI: "Điện năng âm", Language.EN: "Negative energy"},
    "multiplier_invalid": {Language.VI: "Hệ số nhân không hợp lệ", Language.EN: "Impossible multiplier"},
    "households_invalid": {Language.VI: "Số hộ không hợp lệ", Language.EN: "Impossible number of households"},
    "period_invalid": {Language.VI: "Kỳ không hợp lệ", Language.EN: "Impossible period"},
    "reactive_invalid": {Language.VI: "Điện năng phản kháng quá lớn", Language.EN: "Reactive energy too large"},
    "code_unknown": {Language.VI: "Hợp đồng có mã lạ", Language.EN: "Contract has an unknown term"},
    "net_metering_three_rates": {
        Language.VI: "Bù trừ ba giá, thiếu điện phát của từng giá",
        Language.EN: "Net metering of three rates, export of each unknown",
    },
    "reading_missing": {Language.VI: "Thiếu chỉ số đầu hoặc cuối", Language.EN: "First or last index missing"},
    "rates_against_total": {Language.VI: "Ba giá không khớp tổng", Language.EN: "Rates do not sum to the total"},
    "interval_missing": {Language.VI: "Thiếu biểu phụ tải", Language.EN: "Interval missing"},
    "intervals_against_register": {
        Language.VI: "Biểu phụ tải không khớp chỉ số",
        Language.EN: "Profile does not match the register",
    },
    "demand_invalid": {Language.VI: "Công suất cực đại không hợp lệ", Language.EN: "Impossible demand"},
    "change_reading_unusable": {
        Language.VI: "Chỉ số chốt giá không dùng được",
        Language.EN: "Reading at a price change cannot be used",
    },
    "power_factor_invalid": {Language.VI: "Hệ số công suất không hợp lệ", Language.EN: "Impossible power factor"},
    "shares_invalid": {Language.VI: "Tỷ lệ mục đích không hợp lệ", Language.EN: "Impossible shares of use"},
    "tenants_not_residential": {
        Language.VI: "Nhà cho thuê không phải sinh hoạt",
        Language.EN: "Tenants, but not residential",
    },
    "not_one_month": {Language.VI: "Kỳ không phải một tháng", Language.EN: "Period is not a month"},
}


def reason_title(reason: str, language: Language) -> str:
    """Return what the reason of a hold is called; one that is not known is its own title."""
    return REASON_TITLES.get(reason, {}).get(language, reason)
