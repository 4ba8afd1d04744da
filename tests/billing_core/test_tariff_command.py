"""``congto tariff list|show|check``."""

import json
import re
from importlib import resources
from pathlib import Path

import pytest

from billing_core.codes import Certainty, Solar
from billing_core.explain_names import CERTAINTIES, WARNINGS, Language
from billing_core.tariff_files import load_tariffs
from deploy.cli import main
from tests.billing_core.tariffs_of_2025 import write_files_of_2025

OWN = resources.files("billing_core") / "tariffs"
GUIDE = Path(__file__).parents[2] / "docs/guides/tariff.md"
NEWEST = (OWN / "act_2025_1279.toml").read_text("utf-8")
NEXT = NEWEST.replace("1279", "7777").replace("2025-05-10", "2026-02-01").replace("2025-05-09", "2026-01-31")


def test_the_list_names_every_act_the_waiting_structure_and_the_taxes(capsys):
    assert main(["tariff", "list", "--language", "en"]) == 0
    shown = capsys.readouterr().out
    for act in load_tariffs().acts:
        assert str(act.effective_on) in shown
    assert shown.count("waits: ") == len(load_tariffs().waiting)
    assert main(["tariff", "list", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["acts"]) == len(load_tariffs().acts)


def test_a_day_shows_all_its_prices_with_their_certainty(capsys):
    assert main(["tariff", "show", "2025-12-31", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["prices"]["residential"] == [1984, 2050, 2380, 2998, 3350, 3460]
    assert found["prices"]["business"]["lt6"] == {"BT": 3152, "CD": 5422, "TD": 1918}
    assert (found["vat"]["percent"], found["certainty"]["residential"]) == (8, "published")
    assert main(["tariff", "show", "2026-01-01", "--language", "en"]) == 0
    assert "peak 09:30–11:30, 17:00–20:00 but Sunday" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("vi", ("Quyết định 1279/QĐ-BCT", "khung giờ đang chờ 2026", "mua phần dư đến 50 % sản lượng", "Quốc khánh")),
        (
            "en",
            ("Decision 1279/QĐ-BCT", "waiting schedule 2026", "surplus bought up to 50 % of generation", "National"),
        ),
    ],
)
def test_all_that_is_dated_is_listed_in_both_languages(language, said, tmp_path: Path, capsys, monkeypatch):
    """Solar regimes, exchange rates, cosφ, holidays, schedules and the pilot have sources and certainties too."""
    monkeypatch.setenv("COLUMNS", "160")
    files = ["--files", str(write_files_of_2025(tmp_path))]
    assert main(["tariff", "list", "--language", language, *files]) == 0
    shown = capsys.readouterr().out
    for each in (*said, "24.335" if language == "vi" else "24,335", "2026-02-17", "286", "2014-12-10", "net_2017"):
        assert each in shown, each
    assert ("52,54 %" if language == "vi" else "52.54 %") in shown
    assert main(["tariff", "show", "2025-12-31", "--language", language, *files]) == 0
    shown = capsys.readouterr().out
    assert ("2.039 đ" if language == "vi" else "2,039 đ") in shown  # 8.38 ¢ × 24,335
    assert "surplus_2026" not in shown
    assert "2025-01-29" in shown
    assert "2026-02-17" not in shown


def test_a_figure_nobody_verified_is_called_the_same_in_tables_and_in_notes(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["tariff", "list", "--language", "vi"]) == 0
    assert "chưa xác minh" in capsys.readouterr().out
    for language in Language:
        for certainty in Certainty:
            assert CERTAINTIES[language][certainty]
        assert WARNINGS[language][Certainty.UNVERIFIED].startswith(CERTAINTIES[language][Certainty.UNVERIFIED])


def test_json_has_all_that_is_dated_with_source_and_certainty(tmp_path: Path, capsys):
    files = ["--files", str(write_files_of_2025(tmp_path))]
    assert main(["tariff", "list", "--json", *files]) == 0
    found = json.loads(capsys.readouterr().out)
    kinds = ("power_factor", "solar", "exchange_rates", "schedules", "two_component", "holidays")
    assert all(found[kind] and all(each["source"] and each["certainty"] for each in found[kind]) for kind in kinds)
    assert [each["regime"] for each in found["solar"]] == [each.value for each in Solar if each is not Solar.NONE]
    assert [each["name"] for each in found["schedules"] if each["waits"]] == ["2026"]
    assert main(["tariff", "show", "2026-06-30", "--json", *files]) == 0
    on_day = json.loads(capsys.readouterr().out)
    assert on_day["solar"][-1]["regime"] == "surplus_2026"
    assert on_day["exchange_rates"] == []
    assert {"name": "National Day", "days": ["2026-09-02"]}.items() <= on_day["holidays"][3].items()


def test_the_packages_own_files_are_right(capsys):
    assert main(["tariff", "check"]) == 0
    assert capsys.readouterr().out.endswith("right\n")


def test_a_new_act_beside_the_others_is_checked_before_it_is_added(tmp_path: Path, capsys):
    path = tmp_path / "act_2026_0201.toml"
    path.write_text(NEXT, encoding="utf-8")
    assert main(["tariff", "check", "--files", str(path)]) == 0
    assert f"{len(load_tariffs().acts) + 1} acts, the newest " in capsys.readouterr().out


def test_a_price_that_is_not_its_percentage_is_named_with_both_figures(tmp_path: Path, capsys):
    path = write_files_of_2025(tmp_path) / "act_2026_0201.toml"
    path.write_text(NEXT.replace("2998", "2989"), encoding="utf-8")
    assert main(["tariff", "check", "--files", str(tmp_path), "--json"]) == 1
    [wrong] = json.loads(capsys.readouterr().out)["deviations"]
    assert wrong == "Decision 7777/QĐ-BCT, tier 4 of 6: found 2989, 136 % of 2204.0655 is 2998"


def test_a_price_without_a_percentage_is_held_against_the_act_before(tmp_path: Path, capsys):
    """The order of the three rates alone does not find a digit too much in all of them."""
    path = write_files_of_2025(tmp_path) / "act_2026_0201.toml"
    dear = NEXT.replace("BT = 1987\nCD = 3640\nTD = 1300", "BT = 19870\nCD = 36400\nTD = 13000")
    assert dear != NEXT
    path.write_text(dear, encoding="utf-8")
    assert main(["tariff", "check", "--files", str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    assert "not plausible: Decision 7777/QĐ-BCT, production lt6 BT: found 19870, expected some 1987, the price" in shown
    assert shown.count("not plausible") == 3
    path.write_text(NEXT.replace("2204.0655", "3204.0655"), encoding="utf-8")
    assert main(["tariff", "check", "--files", str(tmp_path), "--json"]) == 1
    strange = json.loads(capsys.readouterr().out)["implausible"]
    assert strange[0].startswith("Decision 7777/QĐ-BCT, average: found 3204.0655, expected one within 25% of 2204.0655")


def folder_of_the_guide(folder: Path) -> Path:
    """The files of 2025 and the invented act of the guide, which has the classes and percentages of Decision 14."""
    act, structure = re.findall(r"```toml\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)[:2]
    write_files_of_2025(folder)
    tiers = folder / "structure.toml"
    tiers.write_text(tiers.read_text("utf-8").partition("[[waiting]]")[0] + structure, "utf-8")
    (folder / "act_2026_9999.toml").write_text(act, "utf-8")
    return folder


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("le1 = { BT = 2148, CD = 3881, TD = 1409 }", "le1 = { BT = 29999, CD = 39999, TD = 1 }", "production le1 BT"),
        ("le1 = { BT = 2888", "le1 = { BT = 2889", "charging le1 BT: found 2889, 125 % of 2310.00 is 2888"),
        ("gt1 = 2287", "gt1 = 2288", "lighting_admin gt1: found 2288, 99 % of 2310.00 is 2287"),
        ("le1 = 2218", "le1 = 2128", "hospital_school le1: found 2128"),
    ],
)
def test_every_percentage_of_decision_14_is_checked(old: str, new: str, what: str, tmp_path: Path, capsys):
    path = folder_of_the_guide(tmp_path) / "act_2026_9999.toml"
    assert main(["tariff", "check", "--files", str(tmp_path)]) == 0
    assert "checked against nothing" not in capsys.readouterr().out
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    assert main(["tariff", "check", "--files", str(tmp_path)]) == 1
    assert f"not as its percentage: Decision 9999/QĐ-BCT, {what}" in capsys.readouterr().out


def test_prices_that_nothing_checks_are_named(tmp_path: Path, capsys):
    tiers = folder_of_the_guide(tmp_path) / "structure.toml"
    text = tiers.read_text("utf-8")
    tiers.write_text(re.sub(r"^(production|tourism).*\n", "", text, flags=re.MULTILINE), encoding="utf-8")
    assert main(["tariff", "check", "--files", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "note: Decision 9999/QĐ-BCT: checked against nothing: production le1 BT, production le1 CD" in shown
    assert "tourism gt1 TD; have a second person read them" in shown


WRONG = [
    (NEXT.replace('source = """', 'sauce = """'), "source: missing"),
    (NEXT.replace("2026-02-01", "2025-05-10"), "effective_on: found 2025-05-10"),
    (NEXT.replace("prepaid = 2909", "prepaid = 77779"), "prepaid"),
    ("\x00", "not TOML"),
]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[message for _, message in WRONG])
def test_a_wrong_file_is_refused_with_its_key(text: str, message: str, tmp_path: Path, capsys):
    path = tmp_path / "act_2026_0201.toml"
    path.write_text(text, encoding="utf-8")
    assert main(["tariff", "check", "--files", str(path)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show", "2010-01-01"], "the first act"),
        (["show", "soon"], "expected a day"),
        (["list", "--files", "/nowhere/act_1.toml"], "expected a folder"),
    ],
)
def test_what_is_not_there_is_said(words: list[str], message: str, capsys):
    assert main(["tariff", *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("action", ["list", "show", "check"])
def test_a_file_that_is_not_utf8_is_refused_with_line_and_cure(action: str, tmp_path: Path, capsys):
    """As an editor saves it that knows only its machine's code page."""
    write_files_of_2025(tmp_path)
    act = tmp_path / "act_2025_1279.toml"
    act.write_bytes(act.read_text("utf-8").replace("QĐ", "Q\udcd0").encode("utf-8", "surrogateescape"))
    assert main(["tariff", action, "--files", str(tmp_path)]) == 2
    refused = capsys.readouterr().err
    assert f"{act}: line 2: found octet 0xd0, which is not UTF-8 here" in refused
    assert "save the file in that encoding" in refused
