"""What the codes of a price list are called in Vietnamese and English: uses, voltages, and the places of an act.

A line keeps its place in the price list as codes (``business, lt6, normal rate``), so that what was stored years ago
can be said in any language. What is prose there (a source) is not translated: the acts that stand in it are named.
"""

import re
from collections.abc import Mapping
from enum import Enum

from billing_core.codes import Category, Certainty, Voltage


class Language(Enum):
    """The languages a bill is explained in."""

    VI = "vi"
    EN = "en"


CATEGORIES = {
    Language.VI: {
        Category.RESIDENTIAL: "Sinh hoạt",
        Category.PRODUCTION: "Sản xuất",
        Category.BUSINESS: "Kinh doanh",
        Category.HOSPITAL_SCHOOL: "Bệnh viện, trường học",
        Category.LIGHTING_ADMIN: "Chiếu sáng, hành chính sự nghiệp",
        Category.PREPAID: "Sinh hoạt trả trước",
        Category.WHOLESALE_RURAL: "Bán buôn nông thôn, sinh hoạt",
        Category.WHOLESALE_RURAL_OTHER: "Bán buôn nông thôn, mục đích khác",
        Category.WHOLESALE_CITY_SELLER: "Bán buôn khu tập thể thành phố, thị xã, sinh hoạt, trạm bên bán",
        Category.WHOLESALE_CITY_BUYER: "Bán buôn khu tập thể thành phố, thị xã, sinh hoạt, trạm bên mua",
        Category.WHOLESALE_TOWN_SELLER: "Bán buôn khu tập thể thị trấn, huyện lỵ, sinh hoạt, trạm bên bán",
        Category.WHOLESALE_TOWN_BUYER: "Bán buôn khu tập thể thị trấn, huyện lỵ, sinh hoạt, trạm bên mua",
        Category.WHOLESALE_CLUSTER_OTHER: "Bán buôn khu tập thể, mục đích khác",
        Category.WHOLESALE_COMPLEX: "Bán buôn tổ hợp thương mại – dịch vụ – sinh hoạt, sinh hoạt",
        Category.WHOLESALE_COMPLEX_OTHER: "Bán buôn tổ hợp thương mại – dịch vụ – sinh hoạt, mục đích khác",
        Category.TOURISM: "Cơ sở lưu trú du lịch",
        Category.CHARGING: "Trạm sạc xe điện",
    },
    Language.EN: {category: category.value.replace("_", ", ").capitalize() for category in Category},
}
VOLTAGES = {
    Language.VI: {
        Voltage.LT6: "dưới 6 kV",
        Voltage.KV6_22: "từ 6 kV đến dưới 22 kV",
        Voltage.KV22_110: "từ 22 kV đến dưới 110 kV",
        Voltage.GE110: "từ 110 kV trở lên",
        Voltage.GE22: "từ 22 kV trở lên",
        Voltage.GE6: "từ 6 kV trở lên",
        Voltage.LE1: "đến 1 kV",
        Voltage.GT1: "trên 1 kV",
        Voltage.KV1_35: "trên 1 kV đến 35 kV",
        Voltage.KV35_220: "trên 35 kV đến dưới 220 kV",
        Voltage.GE220: "từ 220 kV trở lên",
    },
    Language.EN: {
        Voltage.LT6: "under 6 kV",
        Voltage.KV6_22: "6 kV to under 22 kV",
        Voltage.KV22_110: "22 kV to under 110 kV",
        Voltage.GE110: "110 kV and over",
        Voltage.GE22: "22 kV and over",
        Voltage.GE6: "6 kV and over",
        Voltage.LE1: "up to 1 kV",
        Voltage.GT1: "over 1 kV",
        Voltage.KV1_35: "over 1 kV to 35 kV",
        Voltage.KV35_220: "over 35 kV to under 220 kV",
        Voltage.GE220: "220 kV and over",
    },
}
PLACES: Mapping[Language, Mapping[str, str]] = {
    Language.VI: {
        "normal rate": "giá giờ bình thường",
        "peak rate": "giá giờ cao điểm",
        "BT": "giá giờ bình thường",
        "CD": "giá giờ cao điểm",
        "TD": "giá giờ thấp điểm",
        "tenants not declared": "người thuê nhà chưa kê khai",
        "price of capacity": "giá công suất",
        "price of demand": "giá công suất",
        "table of k": "bảng hệ số k",
        "fixed charge": "phí cố định",
        "minimum charge": "mức tiền tối thiểu",
        "price given with the bill": "giá được cho kèm theo",
    },
    Language.EN: {"BT": "normal rate", "CD": "peak rate", "TD": "off-peak rate"},
}
"""Places of a price list beside use, voltage and tier; what English lacks is in it as it is."""

KINDS_OF_ACT = {
    "Document ": "Văn bản ",
    "Circular ": "Thông tư ",
    "Decision ": "Quyết định ",
    "Decree ": "Nghị định ",
    "Decrees ": "Các Nghị định ",
    "Law ": "Luật ",
    "Resolution ": "Nghị quyết ",
    " and ": " và ",
    ", article ": ", điều ",
}
ACT = re.compile(
    r"(?:Circular|Decision|Decree|Resolution|Law|Document) \d[\w/-]*/[\w-]+(?:, article \d+(?:\(\w+\))?)?",
)
CERTAINTIES = {
    Language.VI: {
        Certainty.OFFICIAL: "văn bản gốc",
        Certainty.PUBLISHED: "đã công bố",
        Certainty.DERIVED: "tính từ tỷ lệ",
        Certainty.UNVERIFIED: "chưa xác minh",
    },
    Language.EN: {certainty: certainty.value for certainty in Certainty},
}
"""What a certainty is called."""
WARNINGS = {
    Language.VI: {
        Certainty.DERIVED: "tính theo tỷ lệ phần trăm của giá bình quân, chưa đọc trong văn bản",
        Certainty.UNVERIFIED: "chưa xác minh: ghi theo trí nhớ, chưa đọc trong văn bản",
    },
    Language.EN: {
        Certainty.DERIVED: "computed as a percentage of the average price, not read in the act",
        Certainty.UNVERIFIED: "unverified: remembered, not read in the act",
    },
}
"""What a reader must know of a figure that nobody has read in the act."""


def use_name(category: Category, language: Language) -> str:
    """Return what a use is called within a sentence: small."""
    named = CATEGORIES[language][category]
    return named[:1].lower() + named[1:]


def category_of(clause: str) -> Category | None:
    """Return the use a place in a price list begins with; none for what is no use's own."""
    first = clause.partition(",")[0]
    return Category(first) if first in {each.value for each in Category} else None


def act_in(act: str, language: Language) -> str:
    """Return the name of an act in a language: Quyết định 1279/QĐ-BCT as its own country calls it."""
    if language is Language.VI:
        for kind, translated in KINDS_OF_ACT.items():
            act = act.replace(kind, translated)
    return act


def acts_in(prose: str, language: Language) -> str:
    """Return the acts that a source names, with their articles; nothing if it names none."""
    return ", ".join(act_in(act, language) for act in dict.fromkeys(ACT.findall(" ".join(prose.split()))))


def clause_in(clause: str, language: Language, *, any_voltage: bool = False) -> str:
    """Return a place in an act in words; of prose only the acts that it names.

    Parameters
    ----------
    any_voltage
        Whether the price list has one class of voltage alone (a utility's own), so that it is not worth saying.
    """
    words = []
    for place in clause.split(", "):
        found = _place(place, language)
        if found is None:
            return acts_in(clause, language)
        if not (any_voltage and place in VOLTAGE_CODES):
            words.append(found)
    return ", ".join(words)


VOLTAGE_CODES = frozenset(each.value for each in Voltage)
CATEGORY_CODES = frozenset(each.value for each in Category)


def _place(place: str, language: Language) -> str | None:
    if place in CATEGORY_CODES:
        return use_name(Category(place), language)
    if place in VOLTAGE_CODES:
        return VOLTAGES[language][Voltage(place)]
    if place.startswith("tier "):
        return place.replace("tier", "bậc") if language is Language.VI else place
    named = PLACES[language].get(place)
    if named is None and language is Language.EN and place in PLACES[Language.VI]:
        return place
    return named
