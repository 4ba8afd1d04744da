"""The tariff files as they were when Decision 1279/QĐ-BCT was the newest act and five tiers waited.

Tests of what waits, and of today against it, take these: the package's own change with each new act.
"""

import re
from pathlib import Path

from billing_core.tariff import Tariffs
from billing_core.tariff_files import package_files, parse_tariffs

LAST = "act_2025_1279.toml"
LATER = re.compile(r"^effective_on = 20(2[6-9]|[3-9])", re.MULTILINE)
WAITING = """
[[waiting]]
name = "five tiers"
signed_on = 2025-05-29
waits_for = "the first adjustment of the average retail price after 29/5/2025"
widths = [100, 100, 200, 300]
percent = [90, 108, 136, 162, 180]
source = "Decision 14/2025/QĐ-TTg"
certainty = "published"
"""


def files_of_2025() -> dict[str, str]:
    """Return the texts of the files by name, without later acts and what came with them."""
    files = {name: text for name, text in package_files().items() if not name.startswith("act_") or name <= LAST}
    parts = re.split(r"^(?=\[\[)", files["structure.toml"], flags=re.MULTILINE)
    then = [part for part in parts if not part.startswith("[[waiting]]") and not LATER.search(part)]
    return files | {"structure.toml": "".join(then) + WAITING}


def tariffs_of_2025() -> Tariffs:
    """Return them as values."""
    return parse_tariffs(files_of_2025())


def write_files_of_2025(folder: Path) -> Path:
    """Write them into ``folder``, for ``--files``; return it."""
    for name, text in files_of_2025().items():
        (folder / name).write_text(text, "utf-8")
    return folder
