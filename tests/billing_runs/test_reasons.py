"""What holds are called: in a list on the terminal and on the page, in both languages."""

import re
from importlib.resources import files

import pytest

from billing_core.codes import Hold
from billing_core.explain import Language
from ingest_server.billing.documents import PURCHASE_PREFIX, HoldReason
from ingest_server.billing.print_bill import print_list
from ingest_server.billing.reasons import REASON_TITLES, reason_title


def hold(reason: str) -> dict[str, str]:
    return {"metering_point_id": "PD01", "customer_name": "Trần [b]", "reason": reason, "detail": "the detail"}


def test_the_terminal_and_the_page_call_a_hold_the_same():
    script = files("ingest_server").joinpath("api", "static", "words.js").read_text(encoding="utf-8")
    blocks = re.findall(r"reasons: \{(.*?)\n    \}", script, re.DOTALL)
    page = [dict(re.findall(r'(\w+): "([^"]*)"', block)) for block in blocks]
    terminal = [{reason: titles[language] for reason, titles in REASON_TITLES.items()} for language in Language]
    assert [language.value for language in Language] == ["vi", "en"]
    assert page == terminal


def test_every_reason_to_hold_has_a_title():
    reasons = {reason.value for reason in HoldReason} | {reason.value for reason in Hold if reason is not Hold.NONE}
    reasons |= {PURCHASE_PREFIX + reason.value for reason in (Hold.NO_SOLAR_PRICE, Hold.GENERATION_UNKNOWN)}
    solar_alone = {Hold.NO_SOLAR_PRICE.value, Hold.GENERATION_UNKNOWN.value}
    assert reasons - REASON_TITLES.keys() <= solar_alone
    assert reason_title("nobody_knows", Language.VI) == "nobody_knows"


@pytest.mark.parametrize(
    ("reason", "language", "said"),
    [
        ("no_contract", Language.VI, "Chưa lập hóa đơn PD01 (Trần [b]): Chưa có hợp đồng [no_contract]: the detail"),
        ("no_contract", Language.EN, "Not billed PD01 (Trần [b]): No contract [no_contract]: the detail"),
        (
            "purchase_no_solar_price",
            Language.VI,
            (
                "Đã lập hóa đơn, chưa mua điện mặt trời PD01 (Trần [b]): "
                "Chưa có giá mua điện mặt trời [purchase_no_solar_price]: the detail"
            ),
        ),
        (
            "purchase_no_solar_price",
            Language.EN,
            (
                "Billed, purchase of solar energy waits PD01 (Trần [b]): "
                "Solar price not known [purchase_no_solar_price]: the detail"
            ),
        ),
    ],
)
def test_a_customer_whose_purchase_alone_waits_is_not_said_to_be_unbilled(
    capsys: pytest.CaptureFixture[str], reason: str, language: Language, said: str
):
    print_list([], [hold(reason)], language)
    assert capsys.readouterr().out.splitlines()[-1] == said
