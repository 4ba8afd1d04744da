"""Stored bills of every kind in words: equations come out, languages stay apart, chain, versions and hours are told."""

import re

import pytest

from billing_core.explain import Language
from deploy.cli import main
from ingest_server.billing.corrections import differences_of
from ingest_server.billing.difference_words import explain_difference
from ingest_server.billing.explain import explain_bill
from ingest_server.billing.gather import Selection
from ingest_server.billing.replay import replay
from ingest_server.billing.stored import load_bill
from tests.billing_core.explained import english_in, equations_in, holds
from tests.billing_runs.district import District
from tests.billing_runs.every_bill import SUNNY, every_kind, fill

SAME = re.compile(r"Nguyễn Thị Hoa|Hoa|Minh|Lan|Tuấn|role\W+generation")  # names, and what the registry's file calls it
pytestmark = pytest.mark.integration


def check(texts: dict[Language, list[str]]) -> None:
    """See that each equation comes out, that both languages say as much, and that Vietnamese has no English words."""
    for language, said in texts.items():
        for sentence in said:
            for value, outcome, percent in equations_in(sentence, language):
                assert holds(value, outcome, percent=percent), sentence
    assert len(texts[Language.VI]) == len(texts[Language.EN])
    vietnamese, english = (SAME.sub("", " ".join(texts[language])) for language in (Language.VI, Language.EN))
    assert english_in(vietnamese, english) == set()


def told(district: District, bill_id: int, language: Language) -> list[str]:
    stored = load_bill(district.connection, bill_id)
    assert stored is not None
    return explain_bill(stored, language)


def test_bills_of_every_kind_and_a_difference_are_told_in_both_languages(
    district: District, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bills = fill(district)
    assert set(bills) == set(every_kind())
    texts = {kind: {each: told(district, bill, each) for each in Language} for kind, bill in bills.items()}
    for said in texts.values():
        check(said)
    for kind, part in (
        ("rollover", "120 kWh (lúc 00:00 01/11/2025) + 1.000.000 kWh (công tơ 6 chữ số đã quay vòng về 0)"),
        ("mixed", "sinh hoạt (dưới 6 kV) 60 % × 667 kWh = 400 kWh"),
        ("mixed", "Điện năng, kinh doanh, từ 01/10/2025 đến 31/10/2025: 267 kWh × 3.152 đ/kWh"),
        ("factory", "Biểu thời gian năm 2014 của công tơ M-0003: giờ cao điểm (CĐ) 09:30–11:30 và 17:00–20:00"),
        ("factory", "A = 1.000 kWh, Q = 600 kvarh là 0,86"),
        ("factory", "k = (0,90 ÷ 0,86 − 1) × 100 = 4,65 %"),
        ("tenants", "5 người thuê nhà ÷ 4 = 1,25 hộ"),
        ("separate", "8,38 cent/kWh × 24.335 đ/USD ÷ 100 = 2.039 đ/kWh"),
        ("separate", "chưa xác minh"),
        ("waiting", "Mua điện mặt trời: chưa lập chứng từ"),
        ("net", "điện dư 20 kWh được mua"),
        ("estimated", "bản sửa số 1: ước tính, cách làm E1 nội suy, lý do thiếu chỉ số, Hoa lập, Tuấn duyệt"),
        ("rebilled", "Thay cho hóa đơn"),
        ("corrected", "Có 1 điều chỉnh đã duyệt"),
        ("shop", "kinh doanh, từ 6 kV đến dưới 22 kV, giá giờ bình thường"),
    ):
        assert part in " ".join(texts[kind][Language.VI]), kind
    stored = load_bill(district.connection, bills["estimated"])
    assert stored is not None
    old, new = stored["inputs"]["meters"][0]["registers"][0]["readings"]
    assert old["version"] is None
    names = ("change_id", "method", "reason", "made_by", "approved_by")
    assert [new["version"][name] for name in names] == [1, "e1_linear", "gap", "Hoa", "Tuấn"]
    replaced = stored_before(district, bills["rebilled"])
    assert "Hóa đơn này đã bị hủy ngày" in " ".join(told(district, replaced, Language.VI))
    [difference] = differences_of(district.connection, SUNNY, Selection())
    number = difference["difference_id"]
    said = {each: explain_difference(district.connection, number, each) for each in Language}
    reading = "chỉ số đã dùng 1.165 kWh (lúc 00:00 01/11/2025) được thay bằng 1.200 kWh"
    assert reading in " ".join(said[Language.VI])
    assert "chênh lệch 238.000 − 154.700 = +83.300 đ" in " ".join(said[Language.VI])
    assert [each.why for each in replay(district.connection) if not each.same] == []
    monkeypatch.setenv("CONGTO_DSN", district.dsn)
    assert main(["bill", "explain", "--difference", str(number)]) == 0
    assert reading in capsys.readouterr().out
    assert main(["bill", "list", "--period", "2025-10", "--json"]) == 0
    assert f'"replaced_by": [\n        {bills["rebilled"]}' in capsys.readouterr().out
    assert main(["bill", "show", str(bills["separate"])]) == 0
    assert "* Mua điện mặt trời: chưa xác minh" in capsys.readouterr().out


def stored_before(district: District, bill_id: int) -> int:
    """Return the bill in whose place another stands."""
    stored = load_bill(district.connection, bill_id)
    assert stored is not None
    [before] = stored["replaces"]
    return int(before)
