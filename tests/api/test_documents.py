"""The contract and the guide name what the code has."""

import re
from pathlib import Path

import pytest

from billing_core.codes import Hold as EngineHold
from ingest_server.api.app import create_app
from ingest_server.api.connections import Connections
from ingest_server.api.door import Door
from ingest_server.api.problems import PROBLEMS
from ingest_server.api.security import Guard
from ingest_server.billing.documents import PURCHASE_PREFIX, HoldReason
from tests.api.server import TOKEN

DOCS = Path(__file__).parents[2] / "docs"
REASONS = {reason.value for reason in (*HoldReason, *EngineHold)} | {
    PURCHASE_PREFIX + hold.value for hold in EngineHold
}
REASONS -= {EngineHold.NONE.value}


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_contract_tells_every_problem(name: str):
    assert f"| `{name}` |" in (DOCS / "contracts/api.md").read_text(encoding="utf-8")


def test_the_contract_lists_every_route():
    page = (DOCS / "contracts/api.md").read_text(encoding="utf-8")
    door = create_app(Connections("postgresql://nobody@127.0.0.1:1/nothing"), Guard(TOKEN))
    assert isinstance(door, Door)
    assert door.paths
    assert [path for path in door.paths if f"`GET {path}" not in page] == []


@pytest.mark.parametrize("reason", HoldReason)
def test_the_guide_cures_every_reason_to_hold_a_bill(reason: HoldReason):
    assert f"`{reason.value}`" in (DOCS / "guides/billing-staff.md").read_text(encoding="utf-8")


def test_the_guide_and_the_page_know_no_reason_that_does_not_exist():
    guide = (DOCS / "guides/billing-staff.md").read_text(encoding="utf-8")
    rows = [row.split("|")[1] for row in guide.split("\n") if row.startswith("| `")]
    cured = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    vietnamese, english = (set(re.findall(r"(\w+): \"", part)) for part in words().split("reasons: {")[1:])
    vietnamese &= REASONS
    english &= REASONS
    assert cured - REASONS == set()
    assert vietnamese == english
    assert cured - english == set()


def words() -> str:
    """The page's words; after each ``reasons: {`` come those of one language."""
    return (Path(__file__).parents[2] / "ingest_server/api/static/words.js").read_text(encoding="utf-8")
