"""``make bench``: measure, print a table, write ``build/bench.json``.

Each module beside this one offers ``measure() -> list[dict]``; a row has ``name, value, unit, target, met, command``.
Figures of shared machines are noisy: most rows are ratios of two measurements from this very run.
"""

import importlib
import json
import pkgutil
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import tests.bench

KEYS = ("name", "value", "unit", "target", "met", "command")
OUTPUT = Path("build/bench.json")


def collect(wanted: list[str], console: Console) -> list[dict[str, Any]]:
    """Run the measurements named in ``wanted`` (all if empty) and return their rows."""
    rows: list[dict[str, Any]] = []
    for module in sorted(info.name for info in pkgutil.iter_modules(tests.bench.__path__)):
        if module.startswith("_") or (wanted and module not in wanted):
            continue
        console.print(f"measuring {module} …", style="dim")
        for row in importlib.import_module(f"tests.bench.{module}").measure():
            if tuple(row) != KEYS:
                raise SystemExit(f"tests/bench/{module}.py: a row has the keys {tuple(row)}; expected {KEYS}")
            rows.append(row)
    return rows


def main() -> int:
    """Print and write all rows; return 1 if a target was missed."""
    console = Console()
    rows = collect(sys.argv[1:], console)
    table = Table("figure", "value", "unit", "target", "met", title="congto bench")
    for row in rows:
        value = row["value"]
        shown = f"{value:,.3g}" if isinstance(value, float) and value < 1000 else f"{value:,.0f}"
        table.add_row(row["name"], shown, row["unit"], str(row["target"]), "yes" if row["met"] else "NO")
    console.print(table)
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    console.print(f"written to {OUTPUT}")
    return 0 if all(row["met"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
