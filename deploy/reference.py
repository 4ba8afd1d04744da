"""The page of all commands, ``docs/commands.md``, written from the commands' own arguments.

``python -m deploy.reference`` writes it anew; a test keeps page and code in step. The rendering is our own because the
standard library's differs from one Python version to the next.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from deploy.cli import COMMANDS, build_parser

PAGE = Path("docs/commands.md")
_HEAD = """\
# Commands

Written by `python -m deploy.reference`; do not edit. Exit status of every command: 0 done · 1 done, and the answer
is no · 2 the caller must change the call, the configuration or the data · 3 something outside failed · 130 interrupted.
`congto dlms` and `congto iec62056-21` tell 3, the line, from 4, the protocol, and 5, the meter's refusal.
"""


def render_page() -> str:
    """Return the page."""
    top = build_parser(tuple(COMMANDS))
    sections = [_HEAD]
    for name, parser in _children(top):
        sections.extend(_render(f"congto {name}", parser, level=2))
    return "\n".join(sections)


def _render(command: str, parser: argparse.ArgumentParser, level: int) -> Iterator[str]:
    yield f"{'#' * level} {command}\n"
    if parser.description:
        yield f"{' '.join(parser.description.split())}\n"
    rows = [_row(action) for action in parser._actions if _is_shown(action)]
    if rows:
        yield "| argument | meaning | default |\n|---|---|---|\n" + "\n".join(rows) + "\n"
    for name, child in _children(parser):
        yield from _render(f"{command} {name}", child, level + 1)


def _children(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from sorted(action.choices.items())


def _is_shown(action: argparse.Action) -> bool:
    return (
        not isinstance(action, argparse._HelpAction | argparse._SubParsersAction) and action.help != argparse.SUPPRESS
    )


def _row(action: argparse.Action) -> str:
    value = ""
    if action.nargs != 0:
        value = "\\|".join(map(str, action.choices)) if action.choices else str(action.metavar or action.dest.upper())
    name = f"{', '.join(action.option_strings)} {value}".strip() if action.option_strings else value
    text = (action.help or "").replace("%(default)s", str(action.default)).replace("%%", "%")
    meaning = " ".join(text.split()).replace("|", "\\|")
    shown = action.default not in (None, False, argparse.SUPPRESS) and "%(default)s" not in (action.help or "")
    required = "required" if action.required and action.option_strings else ""
    return f"| `{name}` | {meaning} | {f'`{action.default}`' if shown else required} |"


if __name__ == "__main__":
    PAGE.write_text(render_page(), encoding="utf-8")
    print(f"written: {PAGE}", file=sys.stderr)
