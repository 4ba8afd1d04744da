"""The examples in docs/domain/oracle.md are run, its commands with fewer bills; what it counts is counted."""

import doctest
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.billing_core.comparison import exactly
from tests.billing_core.test_exact import BILLS, random_uses

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/domain/oracle.md"
TEXT = PAGE.read_text("utf-8")
COMMANDS = re.findall(r"^\$ python -m (.*)$", TEXT, re.MULTILINE)
FEWER = {"--bills": "300", "--points": "20", "--cases": "20"}


def test_the_pages_examples_are_right():
    found = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert found.attempted > 12
    assert found.failed == 0


@pytest.mark.integration
@pytest.mark.parametrize("command", COMMANDS)
def test_the_pages_commands_find_no_difference(command: str):
    words = command.split()
    for option, few in FEWER.items():
        if option in words:
            words[words.index(option) + 1] = few
    assert words != command.split(), "expected a number of cases that a test can cut down"
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_page_counts_is_so():
    kinds = [tomllib.loads(path.read_text("utf-8"))["kind"] for path in ROOT.glob("tests/golden/bills/*/bill.toml")]
    published = sum(kind != "computed by hand from the rules" for kind in kinds)
    assert "At least nineteen published cases" in TEXT
    assert published >= 19  # each new act brings another
    assert ("each test run compares two thousand" in TEXT, BILLS) == (True, 2_000)
    [share] = re.findall(r"About (\d+) % of the random bills are bills", TEXT)
    computed = sum(exactly(use) is not None for use in random_uses())
    assert abs(100 * computed / BILLS - int(share)) <= 2
