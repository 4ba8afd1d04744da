"""Versions of a series: nothing is updated in place, nothing is deleted.

A series is what the meter said, and a chain of versions after it. A version names who made it, when, why, under which
rule set, who approved it, and the values it sets; it carries the hash of the one before, so that nothing can be changed
or left out without being seen. A bill pins the number of the version that it used. Undoing is a new version.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from billing_core.estimation.provenance import Method, Quality, Reason
from billing_core.rounding import Int64Array
from protocols.errors import UsageError

ORIGINAL = 0
"""The number of what the meter said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Values for some slots, with their provenance. Equally long columns; slots rise."""

    slot: NDArray[np.int64]
    energy_wh: Int64Array
    quality: NDArray[np.int8]
    method: NDArray[np.int8]
    reason: NDArray[np.int8]

    def __post_init__(self) -> None:
        columns: tuple[NDArray[Any], ...] = (self.slot, self.energy_wh, self.quality, self.method, self.reason)
        if len({column.shape for column in columns}) != 1 or (np.diff(self.slot) <= 0).any():
            raise UsageError("change: found columns of different lengths, or slots that do not rise; sort and cut them")
        for column in columns:
            column.setflags(write=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesVersion:
    """One link of the chain."""

    number: int
    parent_hash: str
    made_by: str
    made_at: datetime
    why: str
    rule_set: str
    approved_by: str
    change: Change

    @property
    def hash(self) -> str:
        """The hash of everything in this version and, through ``parent_hash``, before it."""
        digest = hashlib.blake2b(digest_size=16)
        head = (self.number, self.parent_hash, self.made_by, self.made_at.isoformat(), self.why, self.rule_set)
        digest.update(repr((*head, self.approved_by)).encode())
        for wide in (self.change.slot, self.change.energy_wh):
            digest.update(wide.astype("<i8").tobytes())
        for code in (self.change.quality, self.change.method, self.change.reason):
            digest.update(code.astype("<i1").tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Series:
    """What the meter said, and the versions after it. Appending returns another series."""

    original_wh: Int64Array
    original_quality: NDArray[np.int8]
    versions: tuple[SeriesVersion, ...] = ()

    def __post_init__(self) -> None:
        if self.original_wh.shape != self.original_quality.shape or self.original_wh.ndim != 1:
            raise UsageError("series: found energy and quality of different shapes; expected two equal columns")
        self.original_wh.setflags(write=False)
        self.original_quality.setflags(write=False)

    @property
    def origin_hash(self) -> str:
        """The hash of what the meter said."""
        digest = hashlib.blake2b(self.original_wh.astype("<i8").tobytes(), digest_size=16)
        digest.update(self.original_quality.astype("<i1").tobytes())
        return digest.hexdigest()

    @property
    def last_hash(self) -> str:
        """The hash that the next version will carry."""
        return self.versions[-1].hash if self.versions else self.origin_hash

    def at(self, number: int) -> Change:
        """Return every slot's value and provenance as of a version; 0 is what the meter said."""
        if not 0 <= number <= len(self.versions):
            raise UsageError(f"version {number}: found none; expected 0 to {len(self.versions)}")
        slots = np.arange(self.original_wh.size)
        energy, quality = self.original_wh.copy(), self.original_quality.copy()
        method = np.zeros(slots.shape, dtype=np.int8)
        reason = np.zeros(slots.shape, dtype=np.int8)
        for version in self.versions[:number]:
            change = version.change
            energy[change.slot], quality[change.slot] = change.energy_wh, change.quality
            method[change.slot], reason[change.slot] = change.method, change.reason
        return Change(slot=slots, energy_wh=energy, quality=quality, method=method, reason=reason)

    def append(
        self, change: Change, *, made_by: str, made_at: datetime, why: str, rule_set: str, approved_by: str
    ) -> "Series":
        """Return the series with one more version.

        Raises
        ------
        UsageError
            If the maker approves their own work, the time has no zone or goes back, or a slot is out of range.
        """
        if not made_by.strip() or not why.strip() or not approved_by.strip():
            raise UsageError("version: found an empty maker, approver or reason; say who, who else, and why")
        if made_by == approved_by:
            raise UsageError(f"version: {made_by} made it and approves it; expected somebody else to approve")
        if made_at.tzinfo is None:
            raise UsageError("version: found a time without a zone; give an aware datetime")
        if self.versions and made_at < self.versions[-1].made_at:
            raise UsageError(f"version: made at {made_at}, before the last one of {self.versions[-1].made_at}")
        if change.slot.size and not 0 <= int(change.slot[0]) <= int(change.slot[-1]) < self.original_wh.size:
            raise UsageError(
                f"version: found slots up to {int(change.slot[-1])}; the series has {self.original_wh.size}"
            )
        version = SeriesVersion(
            number=len(self.versions) + 1,
            parent_hash=self.last_hash,
            made_by=made_by,
            made_at=made_at,
            why=why,
            rule_set=rule_set,
            approved_by=approved_by,
            change=change,
        )
        return Series(self.original_wh, self.original_quality, (*self.versions, version))

    def undo(self, *, made_by: str, made_at: datetime, why: str, rule_set: str, approved_by: str) -> "Series":
        """Return the series with a version that restores what was before the last one."""
        if not self.versions:
            raise UsageError("undo: the series has no version yet; there is nothing to undo")
        slots = self.versions[-1].change.slot
        before = self.at(len(self.versions) - 1)
        change = Change(
            slot=slots,
            energy_wh=before.energy_wh[slots],
            quality=before.quality[slots],
            method=before.method[slots],
            reason=np.full(slots.shape, Reason.UNDONE, dtype=np.int8),
        )
        return self.append(
            change, made_by=made_by, made_at=made_at, why=why, rule_set=rule_set, approved_by=approved_by
        )

    def broken_link(self) -> int | None:
        """Return the number of the first version that does not follow the one before it, None if all do."""
        expected = self.origin_hash
        for place, version in enumerate(self.versions, start=1):
            if version.number != place or version.parent_hash != expected:
                return place
            expected = version.hash
        return None


@dataclass(frozen=True, slots=True)
class Limit:
    """What a role may approve: the size of a change in kWh and in đồng. ``None`` is no limit."""

    kwh: int | None
    vnd: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """An edit by hand before it is approved: the change, and what it does to energy and money."""

    change: Change
    effect_wh: int
    effect_vnd: int


def propose_edit(series: Series, slot: NDArray[np.int64], energy_wh: Int64Array, *, effect_vnd: int) -> Edit:
    """Return an edit with its effect; ``effect_vnd`` is the difference of the bills, from the caller's dry run."""
    change = Change(
        slot=slot,
        energy_wh=energy_wh,
        quality=np.full(slot.shape, Quality.SUBSTITUTED, dtype=np.int8),
        method=np.full(slot.shape, Method.EDITED, dtype=np.int8),
        reason=np.full(slot.shape, Reason.EDITED_BY_HAND, dtype=np.int8),
    )
    before = series.at(len(series.versions))
    return Edit(change=change, effect_wh=int((energy_wh - before.energy_wh[slot]).sum()), effect_vnd=effect_vnd)


def refuse_beyond(edit: Edit, role: str, limits: Mapping[str, Limit]) -> None:
    """Raise :class:`UsageError` if the role may not approve an edit of this size."""
    if role not in limits:
        raise UsageError(f"role {role!r}: found no limit for it; expected one of {', '.join(sorted(limits))}")
    limit = limits[role]
    kwh, vnd = -(-abs(edit.effect_wh) // 1000), abs(edit.effect_vnd)
    if (limit.kwh is not None and kwh > limit.kwh) or (limit.vnd is not None and vnd > limit.vnd):
        raise UsageError(
            f"role {role!r} may approve {limit.kwh} kWh and {limit.vnd} đ; this edit is {kwh} kWh and {vnd} đ: "
            "somebody with a higher limit must approve it"
        )
