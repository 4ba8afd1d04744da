"""What is different in a bill that was computed again, in Vietnamese and English."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from billing_core.explain import Language, format_number
from ingest_server.billing.documents import Hold
from ingest_server.billing.reasons import reason_title
from ingest_server.billing.sentences import text_of


class Reason(NamedTuple):
    """Which figure is different, what it is today and what is stored; of a hold the reason's name, and itself."""

    figure: str
    computed: Any = None
    stored: Any = None


FIGURES: Mapping[Language, Mapping[str, str]] = {
    Language.VI: {
        "energy_wh": "điện năng tính tiền",
        "subtotal": "tiền điện",
        "vat": "thuế GTGT",
        "total": "tổng cộng",
        "line_wh": "điện năng của các khoản",
        "line_amount": "thành tiền của các khoản",
        "regime": "cơ chế điện mặt trời",
        "purchased_wh": "điện mặt trời mua",
        "purchase_price": "giá mua điện mặt trời",
        "purchased": "tiền mua điện mặt trời",
        "carried_out_wh": "điện dư chuyển kỳ sau",
        "carried_cd_wh": "điện dư giờ cao điểm chuyển kỳ sau",
        "carried_td_wh": "điện dư giờ thấp điểm chuyển kỳ sau",
    },
    Language.EN: {
        "energy_wh": "billed energy",
        "subtotal": "electricity before tax",
        "vat": "VAT",
        "total": "the total",
        "line_wh": "the energy of the lines",
        "line_amount": "the amounts of the lines",
        "regime": "the solar regime",
        "purchased_wh": "solar energy bought",
        "purchase_price": "the price of solar energy bought",
        "purchased": "the amount of solar energy bought",
        "carried_out_wh": "the surplus handed on",
        "carried_cd_wh": "the surplus of peak hours handed on",
        "carried_td_wh": "the surplus of off-peak hours handed on",
    },
}
SENTENCES: Mapping[Language, Mapping[str, str]] = {
    Language.VI: {
        "unlike": "{figure} tính lại là {computed}, đã lưu {stored}",
        "behind": "các số tiền bằng nhau, nhưng văn bản, đơn giá hoặc định mức đằng sau đã khác",
        "purchase_waits": "chứng từ mua điện mặt trời đã lập, nay không tính được vì thiếu giá hoặc sản lượng",
        "held": "hôm nay không tính được: {title} [{reason}]: {detail}",
        "refused": "hôm nay không tính được: {detail}",
        "unknown hold": "hôm nay không tính được",
    },
    Language.EN: {
        "unlike": "{figure}: {computed} today, {stored} stored",
        "behind": "amounts are equal, but not an act, a price or a quota behind them",
        "purchase_waits": "the purchase of solar energy that was made can't be computed today: its price or the "
        "generation is missing",
        "held": "it can't be computed today: {title} [{reason}]: {detail}",
        "refused": "it can't be computed today: {detail}",
        "unknown hold": "it can't be computed today",
    },
}


def reason_of_hold(hold: Hold | None) -> Reason:
    """Return that a bill is held today, and why."""
    return Reason("held", hold) if hold is not None else Reason("unknown hold")


def reasons_text(reasons: Sequence[Reason], language: Language) -> str:
    """Return what is different as one text."""
    return "; ".join(_text(reason, language) for reason in reasons)


def _text(reason: Reason, language: Language) -> str:
    say = SENTENCES[language]
    if reason.figure == "held":
        hold: Hold = reason.computed
        detail = text_of(hold.sentences, language) if hold.sentences else hold.detail
        return say["held"].format(title=reason_title(hold.reason, language), reason=hold.reason, detail=detail)
    if reason.figure not in FIGURES[language]:
        return say[reason.figure].format(detail=reason.computed)
    computed, stored = (_figure(reason.figure, value, language) for value in (reason.computed, reason.stored))
    return say["unlike"].format(figure=FIGURES[language][reason.figure], computed=computed, stored=stored)


def _figure(figure: str, value: Any, language: Language) -> str:
    """Return a figure with its unit; of several each, and of a regime its code."""
    if isinstance(value, list):
        return ", ".join(_figure(figure, each, language) for each in value)
    if isinstance(value, str):
        return value
    if figure.endswith("_wh"):
        return f"{format_number(Fraction(value, 1000), language)} kWh"
    return f"{format_number(value, language)} {'đ/kWh' if figure == 'purchase_price' else 'đ'}"
