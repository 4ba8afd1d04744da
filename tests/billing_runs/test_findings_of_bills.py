"""Which bills an open finding of validation concerns: those of its day, of its month, or of its month's end."""

from datetime import date

import pytest

from ingest_server.billing.findings import OpenFinding

SEPTEMBER, OCTOBER = (date(2026, 9, 1), date(2026, 9, 30)), (date(2026, 10, 1), date(2026, 10, 31))
CYCLE = (date(2026, 9, 17), date(2026, 10, 16))


@pytest.mark.parametrize(
    ("rule", "found_on", "concerned"),
    [
        ("V30", date(2026, 9, 20), [SEPTEMBER, CYCLE]),
        ("V30", date(2026, 9, 3), [SEPTEMBER]),
        ("V34", date(2026, 9, 1), [SEPTEMBER, CYCLE]),
        ("V34", date(2026, 10, 1), [CYCLE, OCTOBER]),
        ("V37", date(2026, 9, 1), [SEPTEMBER, CYCLE]),
        ("V37", date(2026, 10, 1), [OCTOBER]),
    ],
)
def test_a_finding_concerns_the_bills_that_touch_its_day_its_month_or_its_months_end(
    rule: str, found_on: date, concerned: list[tuple[date, date]]
):
    finding = OpenFinding("PD01000000001001", 1, 1, rule, found_on)
    assert [days for days in (SEPTEMBER, CYCLE, OCTOBER) if finding.concerns(*days)] == concerned
