"""What ``congto tariff simulate`` says, Vietnamese and English."""

from billing_core.codes import Hold
from billing_core.codes_words import HOLDS
from billing_core.explain_names import Language

WORDS = {
    Language.VI: {
        "title": "{act} so với {other}, từ {first} đến {last}",
        "customers": "khách hàng",
        "before": "trước (triệu đ)",
        "after": "sau (triệu đ)",
        "change": "thay đổi",
        "revenue": "doanh thu, gồm thuế",
        "of_compared": "doanh thu của {percent} % khách hàng được so sánh",
        "sides": "{winners} trả ít hơn, {losers} trả nhiều hơn, {same} không đổi; doanh thu {change} đ",
        "left_title": "Không được so sánh",
        "voltage": "cấp điện áp",
        "category": "mục đích sử dụng",
        "why": "lý do",
        "energy_share": "điện năng",
        "revenue_share": "doanh thu hôm nay",
        "notice": "Bảng trên không gồm {customers} khách hàng ({customers_share} khách hàng, {energy_share} điện năng, "
        "{revenue_share} doanh thu hôm nay): một trong hai biểu giá không tính được hóa đơn của họ. Phần trăm thay đổi "
        "chỉ nói về những người được so sánh.",
        "caption": "Thay đổi hóa đơn của {counted} khách hàng được so sánh",
        "caption_left": "; {left} khách hàng không có trong hình này",
        "took": "{customers} khách hàng × 12 tháng trong {took} s",
        "today": "biểu giá hôm nay",
        "other": "biểu giá kia",
        "unchanged": "không đổi",
        "under": "dưới",
        "from": "từ",
        "to": "đến",
        Hold.NO_PRICE: "{side} không có giá cho mục đích này",
        Hold.VOLTAGE_NOT_PRICED: "{side} không có giá ở cấp điện áp này",
    },
    Language.EN: {
        "title": "{act} against {other}, {first} to {last}",
        "customers": "customers",
        "before": "before (million đ)",
        "after": "after (million đ)",
        "change": "change",
        "revenue": "revenue, with tax",
        "of_compared": "revenue of the {percent} % of customers compared",
        "sides": "{winners} pay less, {losers} pay more, {same} the same; revenue {change} đ",
        "left_title": "Left out",
        "voltage": "voltage",
        "category": "category",
        "why": "reason",
        "energy_share": "energy",
        "revenue_share": "today's revenue",
        "notice": "The table above is without {customers} customers ({customers_share} of the customers, "
        "{energy_share} of the energy, {revenue_share} of today's revenue): one of the tariffs cannot bill them. The "
        "change in percent is of those who are compared.",
        "caption": "How the bills of the {counted} customers compared change",
        "caption_left": "; {left} customers who are left out are not in it",
        "took": "{customers} customers × 12 months in {took} s",
        "today": "today's tariff",
        "other": "the other tariff",
        "unchanged": "unchanged",
        "under": "under",
        "from": "from",
        "to": "to",
        Hold.NO_PRICE: "{side} has no price for this category",
        Hold.VOLTAGE_NOT_PRICED: "{side} has no price at this voltage",
    },
}


def reason(before: Hold, after: Hold, language: Language) -> str:
    """Return why customers are left out: which tariff cannot bill them, and for what reason."""
    words = WORDS[language]
    found = []
    for side, hold in (("today", before), ("other", after)):
        if hold in words:
            found.append(words[hold].format(side=words[side]))
        elif hold is not Hold.NONE:
            found.append(f"{words[side]}: {HOLDS[language][hold]}")
    return "; ".join(found)


def class_name(name: str, language: Language) -> str:
    """Return a class of change, ``under -20 %`` or ``+5 to +10 %``, in a language."""
    words = WORDS[language]
    return " ".join(words.get(each, each) for each in name.split())
