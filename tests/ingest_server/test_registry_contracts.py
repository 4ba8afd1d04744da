"""What contracts of a registry's file may say, and what is refused with the cure."""

import json
from datetime import date
from typing import Any

import pytest

from ingest_server.registry.contract import Contract, parse_contract
from protocols.errors import UsageError
from protocols.strict_toml import parse_toml

BUSINESS = 'category = "business"\nvoltage = "lt6"\n'
IN_2025 = "valid_to = 2025-12-31"  # later acts have other classes and categories
USE = '[[use]]\ncategory = "{}"\n{}share_percent = {}\n'


def contract_of(text: str) -> Contract:
    table = parse_toml("valid_from = 2025-01-01\n" + text, "f.toml")
    found = parse_contract(table, "P")
    table.finish()
    return found


def test_what_few_contracts_have_is_taken_over() -> None:
    text = BUSINESS + "contracted_kw = 60\nrefused_three_rates = true\n" + USE.format("residential", "", 30)
    found = contract_of(text)
    assert (found.valid_from, found.contracted_kw, found.refused_three_rates) == (date(2025, 1, 1), 60, True)
    uses: list[dict[str, Any]] = json.loads(found.uses or "")
    assert uses == [{"category": "residential", "share_percent": 30}]
    assert contract_of('category = "residential"\ntenants = 5').tenants == 5


def test_a_category_that_no_act_of_the_contracts_days_prices_is_refused_and_an_older_contract_is_not() -> None:
    """Prices of wholesale are known for Decision 2256 alone, which was in force from 16/3/2015 to 30/11/2017."""
    text = 'category = "wholesale_rural"\nvoltage = "lt6"\n'
    with pytest.raises(
        UsageError, match=r"f\.toml: category: no act in force from 2025-01-01 on has a price for whole"
    ):
        contract_of(text)
    with pytest.raises(UsageError, match="no act in force from 2025-01-01 on has a price for wholesale_rural"):
        contract_of(BUSINESS + USE.format("wholesale_rural", 'voltage = "lt6"\n', 9))
    table = parse_toml("valid_from = 2016-01-01\n" + text, "f.toml")
    assert parse_contract(table, "P").category == "wholesale_rural"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('category = "business"\nvoltage = "110"', "voltage: found '110'; no act prices business at it, only at lt6"),
        ('category = "production"\nvoltage = "ge22"', "no act prices production at it, only at lt6"),
        ('category = "business"', "voltage: missing; expected one of lt6"),
        ('category = "business"\nvoltag = "lt6"\n' + IN_2025, "ge110, ge22; found 'voltag', did you mean that?"),
        ('category = "residential"\nvoltage = "lt6"', "voltage: remove it: residential has no price by voltage"),
        ('category = "charging"\n' + IN_2025, "has a price for charging; priced are residential"),
        ('categroy = "residential"', "category: missing; expected a text; found 'categroy', did you mean that?"),
        ('category = "residential"\ncontractd_kw = 4', "contractd_kw: unknown key; did you mean 'contracted_kw'?"),
        (
            'category = "residential"\nxyz = 4',
            "known keys: category, contracted_kw, customer, households, rate_plan, refused_three_rates, ",
        ),
        (BUSINESS + "tenants = 4", "tenants: four tenants are one household of a residential contract"),
        ('category = "residential"\ntenants = 4\nhouseholds = 1', "give one of the two"),
        (BUSINESS + "undeclared_rental = true", "undeclared_rental: is of a residential contract"),
        (BUSINESS + "three_rates = true\nrefused_three_rates = true", "refused_three_rates: the meter tells"),
        (BUSINESS + "two_component = true", "two_component: the pilot is for production; found business"),
        (BUSINESS + USE.format("business", 'voltage = "lt6"\n', 9), "use: found business, business; a category stands"),
        (BUSINESS + USE.format("residential", "", 100), "share_percent: found 100; expected 1 to 99"),
        (
            BUSINESS + USE.format("residential", "", 60) + USE.format("production", 'voltage = "lt6"\n', 40),
            "use: the shares sum to 100 %; at most 99, the rest is business's",
        ),
    ],
)
def test_a_contract_that_cannot_be_is_refused_with_the_cure(text: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        contract_of(text)
    assert message in str(refused.value)
