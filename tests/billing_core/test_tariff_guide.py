"""The guide to a new price act is followed to the letter, in a copy of the project."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs/guides/tariff.md"
FOLDERS = (
    *("billing_core", "deploy", "edge_agent", "ingest_server", "protocols", "simulators", "docs"),
    *("tests/billing_core", "tests/golden/bills", "tests/golden/explained", "tests/peers"),
)
PARSE_CONTRACTS = """
import sys
from ingest_server.registry.file import parse_registry
print(*(each.voltage for each in parse_registry(open(sys.argv[1], encoding="utf-8").read(), sys.argv[1]).contracts))
"""
BLOCK = re.compile(r"```(toml|text|console)\n(.*?)```", re.DOTALL)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of what the guide needs, with commands of its own."""
    ignored = shutil.ignore_patterns("__pycache__")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    for name in ("pyproject.toml", "tests/__init__.py", "tests/conftest.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, module in (("congto", "deploy.cli"), ("pytest", "pytest")):
        script = commands / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n', encoding="utf-8")
        script.chmod(0o755)
    return tmp_path


@pytest.mark.integration
def test_a_newcomer_who_follows_the_guide_has_next_years_act(copy: Path):
    environment = os.environ | {
        "PATH": f"{copy / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(copy),
        "COLUMNS": "100",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    steps = BLOCK.findall(GUIDE.read_text(encoding="utf-8"))
    assert len(steps) == 9
    for kind, text in steps:
        if kind == "console":
            command, _, shown = text.removeprefix("$ ").partition("\n")
            done = subprocess.run(
                ["sh", "-c", command],
                cwd=copy,
                env=environment,
                capture_output=True,
                text=True,
                timeout=900,
                check=False,
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
            if shown:
                assert [line.rstrip() for line in done.stdout.splitlines()] == shown.splitlines(), command
        else:
            first, _, rest = text.partition("\n")
            path = copy / first.removeprefix("# add to ").removeprefix("# ")
            added = first.startswith("# add to ")
            assert path.exists() == added
            path.parent.mkdir(exist_ok=True)
            before = path.read_text(encoding="utf-8") + "\n" if added else ""
            path.write_text(before + rest, encoding="utf-8")
    contracts = subprocess.run(
        [sys.executable, "-c", PARSE_CONTRACTS, "classes-2026-12.toml"],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert contracts.stdout == "lt6 le1\n"
