"""The golden vectors, by layer."""

import json
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parent.parent / "golden" / "dlms"


def load(layer: str) -> list[dict[str, Any]]:
    return list(json.loads((GOLDEN / f"{layer}.json").read_text(encoding="utf-8")))


def name_of(vector: dict[str, Any]) -> str:
    return str(vector["name"])


def differences(expected: Any, found: Any, where: str = "") -> list[str]:
    """Return where ``found`` lacks or contradicts ``expected``; ``found`` may say more."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return [
            difference
            for key, value in expected.items()
            for difference in (
                differences(value, found[key], f"{where}.{key}") if key in found else [f"{where}.{key} is missing"]
            )
        ]
    if isinstance(expected, list) and isinstance(found, list | tuple) and len(expected) == len(found):
        pairs = enumerate(zip(expected, found, strict=True))
        return [d for place, (one, other) in pairs for d in differences(one, other, f"{where}[{place}]")]
    return [] if expected == found else [f"{where}: {found!r}, expected {expected!r}"]
