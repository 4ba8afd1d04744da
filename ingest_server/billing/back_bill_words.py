"""What back-billing says, in Vietnamese and English: why a bill is left alone, by which rule days are priced again."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from billing_core.back_billing import ACT, CERTAINTY, MONTHS_BACK
from billing_core.codes import Certainty
from billing_core.explain import Language, act_in, format_day
from ingest_server.billing.reasons import reason_title

WORDS: Mapping[str, Mapping[Language, str]] = {
    "title": {
        Language.VI: "Truy thu, thoái hoàn của {point}",
        Language.EN: "Back-billing of {point}",
    },
    "bill": {Language.VI: "Hóa đơn", Language.EN: "Bill"},
    "days": {Language.VI: "Những ngày tính lại", Language.EN: "Days priced again"},
    "energy": {Language.VI: "kWh", Language.EN: "kWh"},
    "before": {Language.VI: "Đã tính (đ)", Language.EN: "As billed (đ)"},
    "after": {Language.VI: "Đúng ra (đ)", Language.EN: "As it should be (đ)"},
    "difference": {Language.VI: "Chênh lệch (đ)", Language.EN: "Difference (đ)"},
    "sum": {Language.VI: "Cộng, gồm thuế", Language.EN: "Sum, with tax"},
    "known": {
        Language.VI: "Áp sai giá từ {first}, phát hiện ngày {found}.",
        Language.EN: "Wrong price from {first}, found on {found}.",
    },
    "unknown": {
        Language.VI: "Không rõ áp sai giá từ khi nào: tính từ {first}, {months} tháng trước ngày phát hiện {found}.",
        Language.EN: "Nobody knows since when the price is wrong: from {first}, {months} months before it was found on "
        "{found}.",
    },
    "act": {Language.VI: "Căn cứ: {act}{unsure}.", Language.EN: "By {act}{unsure}."},
    "unsure": {Language.VI: " (chưa xác minh điều khoản)", Language.EN: " (the article is not verified)"},
    "dry_run": {
        Language.VI: "Chưa ghi gì; thêm --propose --as TÊN --note LÝ_DO để đề nghị.",
        Language.EN: "Nothing is written; give --propose --as NAME --note TEXT to propose it.",
    },
    "proposed": {
        Language.VI: "{who} đã đề nghị điều chỉnh {numbers}: người khác phải duyệt (`congto bill approve`).",
        Language.EN: "Differences {numbers} proposed by {who}: another person must approve them (`congto bill "
        "approve`).",
    },
    "nothing": {
        Language.VI: "{point} không có hóa đơn nào từ {first} đến {found}.",
        Language.EN: "{point} has no bill from {first} to {found}.",
    },
    "left": {
        Language.VI: "Hóa đơn {bill} ({period}) không tính lại: {why}",
        Language.EN: "Bill {bill} ({period}) is left alone: {why}",
    },
}
LEFT_ALONE: Mapping[str, Mapping[Language, str]] = {
    "not_issued": {
        Language.VI: "chưa phát hành: sửa hợp đồng rồi tính lại tháng đó",
        Language.EN: "it was not issued: correct the contract and run its month again",
    },
    "back_billed": {
        Language.VI: "điều chỉnh {about} đã truy thu, thoái hoàn hóa đơn này: bác nó, hoặc hủy hóa đơn và lập lại",
        Language.EN: "difference {about} back-bills it already: reject that one, or cancel the bill and bill it again",
    },
    "several_uses": {
        Language.VI: "hợp đồng có nhiều mục đích: sửa tỷ lệ trong hợp đồng, hủy hóa đơn và lập lại",
        Language.EN: "the contract has several uses: correct their shares in the contract and bill it again (rebill)",
    },
    "not_the_same": {
        Language.VI: "tính lại không ra đúng số đã phát hành: hủy hóa đơn và lập lại, hoặc tính tay",
        Language.EN: "computed again it does not come out as it stands: bill it again (rebill), or settle it by hand",
    },
    "no_plan": {
        Language.VI: "chưa có biểu giá riêng đó có hiệu lực từ đầu kỳ: nhập biểu giá đó",
        Language.EN: "no rate plan of that name is in force on its first day: load it",
    },
}


def word(name: str, language: Language, **operands: Any) -> str:
    """Return one of the words of back-billing."""
    return WORDS[name][language].format(**operands)


def left_alone(reason: str, about: int, language: Language) -> str:
    """Return why a bill is not priced again."""
    texts = LEFT_ALONE.get(reason)
    return reason_title(reason, language) if texts is None else texts[language].format(about=about)


def basis_text(first_on: date, found_on: date, since_on: date | None, language: Language) -> str:
    """Return from which day prices are wrong, and by which rule: a sentence or two."""
    first, found = format_day(first_on, language), format_day(found_on, language)
    name = "unknown" if since_on is None else "known"
    unsure = word("unsure", language) if CERTAINTY is Certainty.UNVERIFIED else ""
    since = word(name, language, first=first, found=found, months=MONTHS_BACK)
    return f"{since} {word('act', language, act=act_in(ACT, language), unsure=unsure)}"
