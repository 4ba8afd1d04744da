"""Nobody sets a lower bound above its upper one: neither for a class nor for a point, on no day."""

from datetime import date
from importlib import resources

import pytest

from billing_core.validation.parameters import RISING, load_parameters, parse_parameters
from ingest_server.vee.settings import decide_setting, propose_setting
from ingest_server.vee.terms_by_day import FOREVER, Setting
from protocols.errors import UsageError
from tests.billing_runs.district import District
from tests.vee.village import install

BEGIN, END = date(2026, 10, 1), date(2026, 10, 31)


def test_the_sets_that_come_with_the_package_rise_and_one_that_does_not_is_refused_with_place_and_cure() -> None:
    for each in load_parameters():
        for row in RISING:
            for values in zip(*(each.values[name] for name in row), strict=True):
                assert list(values) == sorted(values)
    text = (resources.files("billing_core.validation") / "parameters.toml").read_text(encoding="utf-8")
    with pytest.raises(
        UsageError, match=r"household\.low_percent: found 400, above high_percent = 250; lower this one"
    ):
        parse_parameters(text.replace("\nlow_percent = 40\n", "\nlow_percent = 400\n", 1))
    with pytest.raises(UsageError, match=r"all\.stuck_exponent: found 20, above stuck_exponent_sum_ok = 8"):
        parse_parameters(text.replace("stuck_exponent = 6", "stuck_exponent = 20"))


@pytest.mark.integration
def test_a_value_that_crosses_its_bound_for_the_class_or_the_point_is_refused_and_another_one_first_cures_it(
    district: District,
) -> None:
    [one] = install(district, [1])
    connection = district.connection

    def set_to(name: str, value: int, *, point: str | None = None, first: date = BEGIN, last: date = END) -> int:
        whose = (None, point) if point else ("household", None)
        return propose_setting(connection, Setting(*whose, name, value, first, last), why="x", made_by="Lan")

    with pytest.raises(
        UsageError, match="on 2026-10-01 low_percent = 300 would lie above high_percent = 250 for house"
    ):
        set_to("low_percent", 300)
    with pytest.raises(UsageError, match="give at least 40, or have another low_percent approved"):
        set_to("high_percent", 30, point=one.point)
    decide_setting(connection, set_to("high_percent", 500, first=date(2026, 10, 10)), "approve", "Minh", "x")
    with pytest.raises(UsageError, match="on 2026-10-01 low_percent = 300"):
        set_to("low_percent", 300)
    set_to("low_percent", 300, first=date(2026, 10, 10))
    with pytest.raises(UsageError, match="on 2026-11-01 low_percent = 300"):
        set_to("low_percent", 300, first=date(2026, 10, 10), last=FOREVER)


@pytest.mark.integration
def test_two_values_that_go_together_with_what_held_but_not_with_each_other_are_refused_when_the_second_is_approved(
    district: District,
) -> None:
    [one] = install(district, [1])
    numbers = [
        propose_setting(district.connection, Setting(*whose, name, value, BEGIN, END), why="x", made_by="Lan")
        for whose, name, value in (
            (("household", None), "low_percent", 200),
            ((None, one.point), "high_percent", 150),
        )
    ]
    decide_setting(district.connection, numbers[1], "approve", "Minh", "x")
    with pytest.raises(UsageError, match=rf"low_percent = 200 would lie above high_percent = 150 for {one.point}"):
        decide_setting(district.connection, numbers[0], "approve", "Minh", "x")
    decide_setting(district.connection, numbers[0], "reject", "Minh", "x")
