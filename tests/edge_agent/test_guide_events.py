"""Every event that the agent can log is in the guide: errors with a section and a cure, others with their meaning."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs/guides/gateway.md").read_text(encoding="utf-8")
ERRORS = ("error", "crash", "failed")
# What a call of this name tells, by the position of its arguments; Recurring tells a failure and its recovery.
TELLING = {"info": (0,), "warning": (0,), "error": (0,), "crash": (0,), "failed": (1,), "recovered": (1, 2)}


def told() -> Iterator[tuple[str, str]]:
    """Yield each event with the method that tells it."""
    for path in sorted((ROOT / "edge_agent").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                for place in TELLING.get(node.func.attr, ()):
                    argument = node.args[place] if place < len(node.args) else None
                    if isinstance(argument, ast.Constant) and isinstance(argument.value, str) and "." in argument.value:
                        yield argument.value, node.func.attr


def test_every_event_is_in_the_guide() -> None:
    events = {event for event, _ in told()}
    assert len(events) > 50
    assert {event for event in events if f"`{event}`" not in GUIDE and f"#### {event}\n" not in GUIDE} == set()


def test_every_error_has_a_section_with_a_cure() -> None:
    errors = {event for event, method in told() if method in ERRORS}
    sections = GUIDE.split("\n#### ")[1:]
    cures = {section.split("\n", 1)[0]: section.split("\n", 1)[1].split("\n###")[0].strip() for section in sections}
    assert {event for event in errors if len(cures.get(event, "")) < 40} == set()
