"""The examples in docs/domain/billing.md and in the page on consumption are run."""

import doctest
import re
import shlex
from pathlib import Path

import pytest

from deploy.cli import main

PAGES = Path(__file__).parents[2] / "docs/domain"
PAGE = PAGES / "billing.md"


@pytest.mark.parametrize("name", ["billing.md", "consumption.md"])
def test_the_pages_python_examples_are_right(name: str):
    found = doctest.testfile(str(PAGES / name), module_relative=False, encoding="utf-8")
    assert found.attempted > 5
    assert found.failed == 0


def test_the_pages_commands_print_what_it_shows(capsys):
    shown = re.findall(r"```\n\$ congto (.*)\n((?:.*\n)*?)```", PAGE.read_text("utf-8"))
    assert shown
    for command, output in shown:
        assert main(shlex.split(command)) == 0
        assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == output.splitlines()


def test_what_programs_are_told_to_import_is_there():
    lines = re.findall(r"(?m)^from billing_core.*$", (PAGES / "billing-programs.md").read_text("utf-8"))
    assert len(lines) > 5
    for line in lines:
        exec(line, {})
