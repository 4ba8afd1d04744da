"""What holds are called: in a list on the terminal and on the page, in both languages."""

import re
from collections.abc import Iterable
from importlib.resources import files
from typing import Any

import pytest

from billing_core.codes import HOLD_TEXTS, Hold
from billing_core.codes_words import HOLDS
from billing_core.control.judge import ControlRule
from billing_core.control.thresholds import Signer
from billing_core.explain import Language
from billing_core.ledger import Account
from ingest_server.billing.control_words import ACCOUNT_WORDS, RULE_WORDS, SIGNER_WORDS, STATE_WORDS
from ingest_server.billing.documents import PURCHASE_PREFIX, HoldReason
from ingest_server.billing.print_bill import print_list
from ingest_server.billing.print_run import FIGURES
from ingest_server.billing.reasons import REASON_TITLES, reason_title
from ingest_server.billing.run_words import RUN_WORDS
from ingest_server.billing.sentences import SENTENCES, text_of
from ingest_server.billing.standing import STATES


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


@pytest.mark.parametrize("hold", [each for each in Hold if each is not Hold.NONE], ids=lambda hold: hold.value)
def test_every_hold_of_the_engine_has_a_sentence_in_both_languages(hold: Hold):
    sentence = {"say": f"engine.{hold.value}"}
    vietnamese, english = (text_of([sentence], language) for language in (Language.VI, Language.EN))
    assert english == HOLD_TEXTS[hold]
    assert vietnamese not in ("", english)


def test_the_cure_of_readings_at_changes_is_one_for_each_change_in_both_languages():
    hold = Hold.CHANGE_READING_UNUSABLE
    assert "give one for each change of the period" in HOLDS[Language.EN][hold]
    assert "cho một chỉ số cho mỗi lần đổi giá trong kỳ" in HOLDS[Language.VI][hold]


@pytest.mark.parametrize("say", SENTENCES)
def test_every_other_sentence_of_a_hold_has_words_of_its_own_in_both_languages(say: str):
    texts = SENTENCES[say]
    assert say.startswith("engine.") or texts[Language.VI] != texts[Language.EN]


@pytest.mark.parametrize(
    ("words", "members"),
    [
        (RULE_WORDS, ControlRule),
        (SIGNER_WORDS, Signer),
        (ACCOUNT_WORDS, Account),
        (STATE_WORDS, STATES),
        (
            RUN_WORDS,
            (
                *FIGURES,
                "title",
                "billed",
                "dry_run",
                "difference",
                "one_held",
                "one_purchase_held",
                "more",
                "one_differs",
            ),
        ),
    ],
    ids=["rules", "signers", "accounts", "states", "run"],
)
def test_bill_control_the_ledger_and_a_run_have_words_for_all_there_is_in_both_languages(
    words: Any, members: Iterable[Any]
):
    assert set(words) == {getattr(member, "value", member) for member in members}
    assert all(set(texts) == set(Language) and all(texts.values()) for texts in words.values())


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
