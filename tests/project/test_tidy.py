"""The code's own properties: sizes, names, what files may say."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("edge_agent", "ingest_server", "billing_core", "protocols", "simulators", "deploy")
LINES_MAX = 450
FUNCTION_LINES_MAX = 70  # one screen
VAGUE = {"utils", "util", "common", "helpers", "helper", "base", "manager", "misc"}


def tracked(*patterns: str) -> list[Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    return [ROOT / name for name in found if name and (ROOT / name).is_file()]


def test_every_file_can_be_read_in_one_sitting():
    """What is written by a program, and captured data, is looked things up in and not read."""
    long = {
        name: lines
        for path in tracked()
        if _is_read(name := str(path.relative_to(ROOT))) and (lines := _lines(path)) > LINES_MAX
    }
    assert not long, f"split these, each by its second job: {long}"


def test_every_function_fits_on_a_screen():
    long = []
    for path in tracked(*(f"{package}/*.py" for package in PACKAGES)):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
                lines = node.end_lineno - node.lineno + 1 - _docstring_lines(node)
                if lines > FUNCTION_LINES_MAX:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines} lines")
    assert not long, "\n".join(long)


def test_no_file_has_a_vague_name():
    vague = [str(path.relative_to(ROOT)) for path in tracked("*.py") if path.stem in VAGUE or path.parent.name in VAGUE]
    assert not vague, f"name these after what they hold: {vague}"


def test_top_level_is_as_agreed():
    folders = {path.relative_to(ROOT).parts[0] for path in tracked() if len(path.relative_to(ROOT).parts) > 1}
    assert folders == {*PACKAGES, "tests", "docs", ".ci"}


@pytest.mark.parametrize("package", PACKAGES)
def test_the_readme_and_the_architecture_draw_every_folder(package: str):
    for page in ("README.md", "docs/architecture.md"):
        assert package in (ROOT / page).read_text(encoding="utf-8"), f"{page} does not mention {package}/"


def test_the_lock_carries_hashes_and_no_index_address():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in lock
    assert "--index-url" not in lock
    assert len(re.findall(r"(?m)^[a-z0-9].*==", lock)) <= lock.count("--hash=sha256:")


def test_no_file_names_a_path_of_somebodys_machine():
    pattern = re.compile(r"(?:^|[^\w.])/(?:root|work|Users)/|/home/[a-z]")
    guilty = []
    for path in tracked():
        if path.suffix in {".png", ".lock"} or path == Path(__file__):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        guilty += [f"{path.relative_to(ROOT)}: {match.group()!r}" for match in pattern.finditer(text)]
    assert not guilty, "\n".join(guilty)


def test_every_link_between_documents_leads_somewhere():
    broken = []
    for page in tracked("*.md"):
        targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
        broken += [
            f"{page.relative_to(ROOT)} → {target}"
            for target in targets
            if "://" not in target and not (page.parent / target).exists()
        ]
    assert not broken, "\n".join(broken)


def test_no_copyleft_package_is_imported():
    forbidden = {"dlms_cosem", "gurux_dlms", "pydlms", "pydlms_client", "minimalmodbus_gpl"}
    guilty = []
    for path in tracked("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            guilty += [f"{path.relative_to(ROOT)}: {name}" for name in names if name.split(".")[0] in forbidden]
    assert not guilty, "\n".join(guilty)


def _is_read(name: str) -> bool:
    written = ("docs/commands.md", "protocols/meters/schema/model.schema.json")
    return name not in written and not name.startswith("tests/golden/") and not name.endswith((".lock", ".png"))


def _lines(path: Path) -> int:
    return path.read_text(encoding="utf-8").count("\n")


def _docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    docstring = ast.get_docstring(node, clean=False)
    return docstring.count("\n") + 1 if docstring else 0
