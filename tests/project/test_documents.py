"""Documents and code say the same: glossary, configuration keys, commands."""

import argparse
import ast
import re
from pathlib import Path

import pytest

from deploy.cli import COMMANDS, build_parser
from deploy.reference import render_page
from protocols.obis import UNIT_FACTORS
from protocols.telemetry.reading import Quality

ROOT = Path(__file__).parents[2]
PACKAGES = ("edge_agent", "ingest_server", "billing_core", "protocols", "simulators", "deploy")


def glossary() -> list[list[str]]:
    page = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")] for line in page.split("\n") if line[:2] == "| "
    ]
    assert rows[0] == ["term", "Vietnamese", "unit", "meaning", "in the code"]
    return rows[1:]


def sources(*suffixes: str) -> str:
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*")) if path.suffix in suffixes]
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def test_the_glossary_holds_each_word_once_in_order_with_its_meaning():
    terms = [row[0].casefold() for row in glossary()]
    assert terms == sorted(set(terms))
    assert all(len(row) == 5 and row[1] and row[3] for row in glossary())


def test_what_the_glossary_calls_code_is_in_the_code():
    code = sources(".py", ".sql", ".toml")
    missing = [
        f"{row[0]}: {word}"
        for row in glossary()
        for word in re.findall(r"`([^`]+)`", row[4])
        if not re.search(rf"\b{re.escape(word)}\b", code)
    ]
    assert not missing, "\n".join(missing)


def test_the_glossary_knows_every_table_of_the_database():
    tables = set(re.findall(r"(?m)^create table (\w+)", sources(".sql")))
    known = {word for row in glossary() for word in re.findall(r"`([^`]+)`", row[4])}
    assert tables - known == set()


@pytest.mark.parametrize("flag", [flag.name for flag in Quality])
def test_the_glossary_knows_every_quality(flag: str):
    assert any(f"`{flag}`" in row[4] for row in glossary())


@pytest.mark.parametrize("unit", sorted({base for base, _, _ in UNIT_FACTORS.values()}))
def test_the_glossary_uses_every_base_unit(unit: str):
    assert any(unit in row[2] for row in glossary())


def test_the_page_of_agent_configuration_shows_exactly_the_keys_that_are_read():
    modules = ("config", "broker_tls", "dlms_access", "keys", "remote/settings")
    text = "\n".join((ROOT / f"edge_agent/{module}.py").read_text(encoding="utf-8") for module in modules)
    tree = ast.parse(text)
    methods = {"take", "integer", "table", "tables"}
    functions = {
        "_identifier",
        "_duration",
        "_interval",
        "_tcp_place",
        "parse_title",
    }  # their second argument is the key
    read = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            key = None
            if isinstance(node.func, ast.Attribute) and node.func.attr in methods:
                key = node.args[0]
            elif isinstance(node.func, ast.Name) and node.func.id in functions:
                key = node.args[1]
            if isinstance(key, ast.Constant):
                read.add(key.value)
    page = (ROOT / "docs/contracts/agent-configuration.md").read_text(encoding="utf-8")
    keys = re.findall(r"(?m)^\| `([^|]+)` \|", page.partition("## Keys\n")[2].partition("\n## ")[0])
    shown = {part for key in keys for name in key.split("`, `") for part in name.split(".")}
    assert read - shown == set(), "read, but not on the page"
    assert shown - read == set(), "on the page, but not read"


def test_the_page_of_commands_is_what_the_commands_say():
    page = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    assert page == render_page(), "run: python -m deploy.reference"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_purpose_and_every_argument_a_help(name: str):
    parser = build_parser((name,))
    assert COMMANDS[name].purpose
    subparsers = next(action for action in parser._actions if action.dest == "command")
    assert subparsers.choices is not None
    assert _without_help(subparsers.choices[name], f"congto {name}") == []


def _without_help(parser, command: str) -> list[str]:
    found = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child_name, child in action.choices.items():
                found += _without_help(child, f"{command} {child_name}")
        elif not action.help:
            found.append(f"{command}: {action.dest}")
    return found
