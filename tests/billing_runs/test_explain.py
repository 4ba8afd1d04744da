"""A stored bill in words: what a clerk reads, from what was stored and nothing else."""

from datetime import date
from typing import Any

import pytest

from billing_core.codes import Category
from billing_core.explain import Language
from billing_core.quote import quote
from billing_core.quote_request import QuoteRequest
from ingest_server.billing.explain import explain_bill, quality_texts
from protocols.telemetry.reading import Quality

CONTRACT = {"category": "residential", "voltage": None, "households": 1, "three_rates": False, "solar_regime": None}


def stored_bill(**changes: Any) -> dict[str, Any]:
    """A household's bill as the database gives it, with its second reading taken from the load profile."""
    answer = quote(
        QuoteRequest(
            category=Category.RESIDENTIAL, start_on=date(2026, 10, 1), end_on=date(2026, 10, 31), energy_wh=165_000
        )
    )
    readings = [
        {"at": "2026-09-30T17:00:00Z", "value_wh": 99_950_000, "quality": 0},
        {"at": "2026-10-31T17:00:00Z", "value_wh": 115_000, "quality": int(Quality.PROFILE)},
    ]
    register = {"register": "SG", "obis": "1.0.1.8.0", "readings": readings, "energy_wh": 165_000}
    return {
        "bill_id": 7,
        "version": 1,
        "metering_point_id": "PD01000000001001",
        "customer_name": "Nguyễn Thị Hoa",
        "customer_address": "12 ngõ 3, Đông Anh",
        "state": "issued",
        "replaced_by": [],
        "replaces": [],
        "difference": 0,
        "differences": 0,
        "proposed": 0,
        "schedules": {},
        "purchase_waits": None,
        "period_from": "2026-10-01",
        "period_to": "2026-10-31",
        "energy_wh": 165_000,
        "subtotal": answer.subtotal,
        "vat": answer.vat,
        "total": answer.total,
        "lines": [{"operands": line.to_json()} for line in (*answer.lines, answer.vat_line)],
        "inputs": {
            "contract": CONTRACT,
            "meters": [{"meter_id": "M-1", "digits": 5, "multiplier": 1, "registers": [register]}],
        },
        "purchase": None,
        **changes,
    }


def test_it_begins_with_whose_bill_and_which_days_goes_on_with_the_indexes_and_ends_with_the_sum():
    said = explain_bill(stored_bill(), Language.VI)
    assert said[0] == (
        "Hóa đơn 7 (bản 1), khách hàng Nguyễn Thị Hoa (12 ngõ 3, Đông Anh), điểm đo PD01000000001001: đã phát hành."
    )
    assert said[1] == "Kỳ hóa đơn từ 01/10/2026 đến hết 31/10/2026: 31 ngày."
    assert "chỉ số mới 115 kWh (lúc 00:00 01/11/2026; lấy từ biểu đồ phụ tải lưu trong công tơ)" in said[2]
    assert "công tơ 5 chữ số đã quay vòng về 0" in said[2]
    assert said[-1] == "Cộng: tiền điện 356.400 đ + thuế GTGT 28.512 đ = 384.912 đ phải trả."


def test_it_says_the_same_in_english():
    said = explain_bill(stored_bill(), Language.EN)
    assert len(said) == len(explain_bill(stored_bill(), Language.VI))
    assert "new index 115 kWh (at 2026-11-01 00:00; from the load profile kept in the meter)" in said[2]
    assert said[-1] == "Sum: electricity 356,400 đ + VAT 28,512 đ = 384,912 đ to pay."


@pytest.mark.parametrize(
    ("language", "text"), [(Language.VI, "chuyển kỳ sau 100 kWh"), (Language.EN, "100 kWh is carried")]
)
def test_net_metering_says_what_was_netted_and_what_is_handed_on(language: Language, text: str):
    operands = {
        "method": "net",
        "act": "Decision 11/2017/QĐ-TTg",
        "import_wh": 300_000,
        "export_wh": 400_000,
        "line": None,
    }
    purchase = {"operands": operands, "carried_in_wh": 0, "carried_out_wh": 100_000, "energy_wh": 0}
    said = explain_bill(stored_bill(purchase=purchase, energy_wh=0), language)
    assert any(text in sentence and "11/2017/QĐ-TTg" in sentence for sentence in said)


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("flag", [flag for flag in Quality if flag])
def test_every_quality_has_words(language: Language, flag: Quality):
    assert len(quality_texts(int(flag), language)) == 1
