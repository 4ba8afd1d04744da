"""Published bills, to the đồng, through the command line and through the Python API."""

import json
import tomllib
from fractions import Fraction
from pathlib import Path

import pytest

from billing_core.consumption import consume
from billing_core.line import ENERGY_KEYS
from billing_core.quote import Quote, quote
from billing_core.request_text import request_from_text
from deploy.cli import main

FOLDER = Path(__file__).parents[1] / "golden/bills"
CASES = {path.parent.name: tomllib.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*/bill.toml"))}
BILLS = [(name, place) for name, case in CASES.items() for place in range(len(case["bill"]))]


def by_command(request, capsys):
    words = [word for name, text in request.items() for word in (f"--{name.replace('_', '-')}", text)]
    assert main(["quote", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(("case", "place"), BILLS)
def test_a_published_bill_comes_out_of_the_command(case: str, place: int, capsys):
    wanted = CASES[case]["bill"][place]
    found = by_command(wanted["request"], capsys)
    assert {key: found[key] for key in ("subtotal", "vat", "total")} == {
        key: wanted[key] for key in ("subtotal", "vat", "total")
    }
    assert [{key: line[key] for key in wish} for line, wish in zip(found["lines"], wanted["lines"], strict=True)] == (
        wanted["lines"]
    )


@pytest.mark.parametrize(("case", "place"), BILLS)
def test_a_published_bill_comes_out_of_the_api(case: str, place: int):
    wanted = CASES[case]["bill"][place]
    found = quote(request_from_text(wanted["request"]))
    assert (found.subtotal, found.vat, found.total) == (wanted["subtotal"], wanted["vat"], wanted["total"])
    for line, wish in zip(found.lines, wanted["lines"], strict=True):
        energy = wish[ENERGY_KEYS.get(line.kind, "kwh")]
        assert (line.tier, line.price, line.amount) == (wish.get("tier"), wish.get("price"), wish["amount"])
        assert Fraction(line.energy_wh, 1000) == Fraction(energy)
        assert line.tier or line.register.value == wish["register"]


@pytest.mark.parametrize("case", [name for name, case in CASES.items() if "published" in case])
def test_what_the_source_itself_says_is_met(case: str):
    published = CASES[case]["published"]
    found = [quote(request_from_text(bill["request"])) for bill in CASES[case]["bill"]]
    assert published
    for name, value in published.items():
        assert READ[name](found[0]) == value, name


READ = {
    "households": lambda found: float(found.request.households),
    "subtotal": lambda found: found.subtotal,
    "total": lambda found: found.total,
    "quota_kwh": lambda found: [line.quota_wh // 1000 for line in found.lines if line.quota_wh],
    "surcharge_million": lambda found: round(found.lines[-1].amount / 1_000_000),
}


@pytest.mark.parametrize("case", [name for name, case in CASES.items() if "increase" in case])
def test_a_published_increase_is_the_difference_of_two_bills(case: str):
    increase = CASES[case]["increase"]
    before, after = (amount_of(quote(request_from_text(b["request"])), increase["of"]) for b in CASES[case]["bill"])
    difference = after - before
    assert difference - difference % increase["rounded_down_to"] == increase["published"]


def amount_of(found: Quote, name: str) -> int:
    return found.subtotal if name == "subtotal" else found.total


@pytest.mark.parametrize("case", [name for name, case in CASES.items() if "registers" in case])
def test_published_registers_give_the_published_energy(case: str):
    registers = CASES[case]["registers"]
    found = consume([registers["old_kwh"] * 1000], [registers["new_kwh"] * 1000], digits=registers["digits"])
    assert (found.energy_wh[0], found.hold[0]) == (registers["kwh"] * 1000, 0)


def test_every_case_says_where_it_comes_from_and_why():
    for name, case in CASES.items():
        assert case["source"].strip(), name
        assert case["bill"], name
        assert str(case["bill"][0]["request"]["from"]), name
        assert "Source:" in (FOLDER / name / "why.md").read_text("utf-8"), name
