"""The shapes of cases and of changes to readings, as OpenAPI shows them. Energy is integer Wh, times are UTC with Z."""

from typing import Any

from pydantic import Field

from ingest_server.api.shapes import AT, Shape


class ReasonShape(Shape):
    """A rule that speaks against a day, or against the month whose first day it names, with its numbers."""

    rule: str = Field(examples=["V06"])
    rule_version: int = Field(examples=[1])
    on: str = Field(examples=["2026-10-23"])
    text: str = Field(examples=["thiếu chỉ số"])
    evidence: dict[str, Any] = Field(examples=[{"missing": 2, "expected": 48}])


class WaitingShape(Shape):
    """A change of readings that nobody has decided on yet."""

    change_id: int = Field(examples=[1])
    kind: str = Field(examples=["estimate"])
    made_by: str = Field(examples=["Lan"])
    why: str = Field(examples=["2 readings of 2026-10 missing or failed; between the readings around each gap"])


class AcceptedShape(Shape):
    """Who said that the readings stand as they are, as what, why and when."""

    actor: str = Field(examples=["Minh"])
    role: str = Field(examples=["controller"])
    note: str = Field(examples=["đã đối chiếu"])
    at: str = Field(examples=[AT])


class CaseShape(Shape):
    """What somebody must look at: a register of a point, or a transformer with its meter; the stake in Wh a month.

    ``case_id`` is the number that ``congto vee accept`` takes; a transformer, or a register with nothing but a change
    that waits, has none. ``state`` is ``open``, ``waiting`` where nothing but a change waits, ``accepted``, or
    ``decided`` where changes of all the readings that it minds were decided on.
    """

    case_id: int | None = Field(examples=[41])
    state: str = Field(examples=["open"])
    accepted: AcceptedShape | None
    metering_point_id: str | None = Field(examples=["PD01000012345001"])
    transformer_id: str | None = Field(examples=[None])
    meter_id: str = Field(examples=["M-0001"])
    obis: str | None = Field(examples=["1.0.1.8.0"])
    score_wh: int = Field(examples=[164_250])
    reasons: list[ReasonShape]
    waiting: list[WaitingShape]


class VersionShape(Shape):
    """A reading put beside the meter's own; without a value, what the meter said stands again."""

    at: str = Field(examples=[AT])
    value_wh: int | None = Field(examples=[1_552_345])
    quality: list[str] = Field(examples=[["ESTIMATED"]])
    method: str = Field(examples=["E2_NEAREST_DAYS"])
    reason: str = Field(examples=["GAP"])


class DecisionShape(Shape):
    """Who decided on a change, as what, how, and the largest effect on one bill that was shown then."""

    act: str = Field(examples=["approve"])
    actor: str = Field(examples=["Minh"])
    role: str = Field(examples=["head"])
    effect_wh: int = Field(examples=[1_200])
    effect_vnd: int = Field(examples=[2_571])
    note: str = Field(examples=["đúng"])


class ChangeShape(Shape):
    """A change of readings: who made it, why and under which rules, what it puts in, and how it was decided."""

    change_id: int = Field(examples=[1])
    metering_point_id: str = Field(examples=["PD01000012345001"])
    meter_id: str = Field(examples=["M-0001"])
    obis: str = Field(examples=["1.0.1.8.0"])
    kind: str = Field(examples=["estimate"])
    made_by: str = Field(examples=["Lan"])
    made_at: str = Field(examples=["2026-11-01T01:00:00Z"])
    why: str = Field(examples=["2 readings of 2026-10 missing or failed; between the readings around each gap"])
    rule_set: str = Field(examples=["5d41402abc4b2a76b9719d911017c592"])
    undoes: int | None = Field(examples=[None])
    hash: str = Field(examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"])
    decision: DecisionShape | None
    readings: list[VersionShape]
