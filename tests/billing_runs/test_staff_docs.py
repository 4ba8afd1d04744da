"""The examples in docs/domain/bill-control.md and of back-billing in docs/guides/billing-staff.md are run."""

import doctest
import re
import shlex
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deploy.cli import main
from ingest_server.billing import acts
from ingest_server.billing.acts import Actor, Role
from ingest_server.billing.limits import limits_from
from ingest_server.billing.period import Period
from ingest_server.billing.run import Plan, run_billing
from ingest_server.vee.decisions import decide_change
from ingest_server.vee.edit import propose_edit
from tests.billing_runs.district import IMPORT, OCTOBER, District, household

DOCS = Path(__file__).parents[2] / "docs"
CONTROL, STAFF = DOCS / "domain/bill-control.md", DOCS / "guides/billing-staff.md"
NOW = datetime(2026, 11, 2, tzinfo=UTC)


def run_shown(page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> int:
    """Run the commands that a page shows with what they print; return how many there are."""
    monkeypatch.setenv("COLUMNS", "120")
    shown = re.findall(r"```\n\$ congto (.*)\n((?:.*\n)*?)```", page.read_text("utf-8"))
    for command, output in shown:
        main(shlex.split(command))
        said = capsys.readouterr()
        assert [line.rstrip() for line in (said.out + said.err).splitlines()] == output.splitlines()
    return len(shown)


def test_the_python_examples_of_bill_control_are_right() -> None:
    found = doctest.testfile(str(CONTROL), module_relative=False, encoding="utf-8")
    assert found.attempted > 10
    assert found.failed == 0


@pytest.mark.integration
def test_the_commands_of_bill_control_print_what_the_page_shows(
    district: District, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    district.add([household(1)])
    lan, minh, hoa = (Actor(name, Role.HEAD, "phúc tra") for name in ("Lan", "Minh", "Hoa"))
    keyed = (household(1).point, IMPORT, OCTOBER.end_at, 1_200_000)
    change = propose_edit(district.connection, *keyed, by_hand=True, actor=lan, now=NOW)
    decide_change(district.connection, change, "approve", minh, limits_from(None))
    run_billing(district.dsn, OCTOBER)
    acts.hold(district.connection, 1, hoa)
    monkeypatch.setenv("CONGTO_DSN", district.dsn)
    assert run_shown(CONTROL, monkeypatch, capsys) == 2
    assert district.rows("select act, actor from bill_act order by act_id") == [("hold", "Hoa"), ("release", "Thu")]


@pytest.mark.integration
def test_the_commands_for_billing_staff_print_what_the_page_shows(
    district: District, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home, september = household(1, 200_000), Period.of_month("2026-09")
    district.add([home], september)
    district.store(home.meter, IMPORT, OCTOBER.end_at, 1_400_000)
    for period in (september, OCTOBER):
        run_billing(district.dsn, period, Plan(issue_as="Hoa"))
    monkeypatch.setenv("CONGTO_DSN", district.dsn)
    assert run_shown(STAFF, monkeypatch, capsys) == 1
