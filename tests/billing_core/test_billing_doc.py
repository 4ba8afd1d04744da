"""The examples in docs/domain/billing.md are run."""

import doctest
import re
import shlex
from pathlib import Path

from deploy.cli import main

PAGE = Path(__file__).parents[2] / "docs/domain/billing.md"


def test_the_pages_python_examples_are_right():
    found = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert found.attempted > 5
    assert found.failed == 0


def test_the_pages_commands_print_what_it_shows(capsys):
    shown = re.findall(r"```\n\$ congto (.*)\n((?:.*\n)*?)```", PAGE.read_text("utf-8"))
    assert shown
    for command, output in shown:
        assert main(shlex.split(command)) == 0
        assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == output.splitlines()
