"""Keeps what was learned of a bus's meters over restarts: one small JSON file a bus, replaced in one step.

Losing it costs a few minutes of learning, so it is not synced, and a damaged one is as good as none. What was learned
of a meter under another model, or another version of it, is forgotten.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_agent.known import CUTS_MAX, PATIENCE_AFTER, TURNAROUND_US_MAX, Known

if TYPE_CHECKING:
    from edge_agent.config import BusConfig, MeterConfig

VERSION = 1
FILE_OCTETS_MAX = 1 << 22
SAVE_EVERY = 500  # answers of a meter; a kill costs what was learned since


class Learned:
    """What is known of the meters of one bus. Without a ``directory`` it lasts as long as the line is open."""

    def __init__(self, bus: "BusConfig", directory: Path | None) -> None:
        self._path = None if directory is None else directory / f"{bus.id}.json"
        self._meters = {meter.id: meter for meter in bus.meters}
        self._known = {} if self._path is None else _load(self._path, self._meters)

    @property
    def all(self) -> Mapping[str, Known]:
        """What is known, by meters."""
        return self._known

    def of(self, meter: str) -> Known:
        """Return what is known of ``meter``."""
        return self._known.get(meter, Known())

    def set(self, meter: str, known: Known) -> None:
        """Remember ``known``; a new cut is kept at once, turnarounds now and then and when the line is closed."""
        cuts = self.of(meter).cuts
        self._known[meter] = known
        if known.cuts != cuts or known.answers % SAVE_EVERY == PATIENCE_AFTER:
            self.save()

    def save(self) -> None:
        """Write the file; if the disk refuses, what was learned lasts until the end."""
        if self._path is None:
            return
        content = {
            "version": VERSION,
            "meters": {
                name: {
                    "model": _model_of(self._meters[name]),
                    "turnaround_us": known.turnaround_us,
                    "slowest_us": known.slowest_us,
                    "answers": known.answers,
                    "cuts": sorted(known.cuts),
                }
                for name, known in self._known.items()
            },
        }
        with suppress(OSError):
            self._path.parent.mkdir(exist_ok=True)
            new = self._path.with_suffix(".new")
            new.write_text(json.dumps(content), encoding="utf-8")
            new.replace(self._path)


def _model_of(meter: "MeterConfig") -> str:
    return f"{meter.model.key} {meter.model.version}"


def _load(path: Path, meters: dict[str, "MeterConfig"]) -> dict[str, Known]:
    try:
        if path.stat().st_size > FILE_OCTETS_MAX:
            return {}
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != VERSION:
            return {}
        return {
            name: _known(each)
            for name, each in content["meters"].items()
            if name in meters and each["model"] == _model_of(meters[name])
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _known(told: dict[str, Any]) -> Known:
    """Return what the file says of a meter; ValueError or TypeError if it says nonsense."""
    turnaround = told["turnaround_us"]
    known = Known(
        None if turnaround is None else float(turnaround),
        float(told["slowest_us"]),
        int(told["answers"]),
        frozenset((int(function), int(address)) for function, address in told["cuts"]),
    )
    if not 0 <= (known.turnaround_us or 0) <= TURNAROUND_US_MAX or not 0 <= known.slowest_us <= TURNAROUND_US_MAX:
        raise ValueError("a turnaround that is none")
    if known.answers < 0 or len(known.cuts) > CUTS_MAX:
        raise ValueError("counts that are none")
    return known
