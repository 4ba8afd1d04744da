"""``congto dlms read``: attributes with their meaning; without any named, what an ordinary meter has to say."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from edge_agent.dlms_tool import items, screen, target
from edge_agent.dlms_tool.asking import get_all
from edge_agent.dlms_tool.listing import read_object_list
from edge_agent.dlms_tool.pushed_values import text_of
from edge_agent.dlms_tool.refusals import RefusedError, refusal_of
from edge_agent.dlms_tool.session import MeterSession, associated
from protocols.dlms.cosem_time import date_time_of
from protocols.dlms.data import Data, Tag, float_of
from protocols.dlms.explain import explain_data
from protocols.dlms.objects import SCALER_UNIT_INDEX, ClassId, ScalerUnit, to_base
from protocols.dlms.services import DataAccessError, GetResult
from protocols.dlms.xdlms.references import Attribute
from protocols.errors import RemoteProtocolError
from protocols.obis import base_unit

_ORDINARY = frozenset({1, 3, 4, 5, 8})  # data, the three registers, clock
_CLOCK_TIME = 2


@dataclass(frozen=True, slots=True)
class Reading:
    """One attribute: its value and scaler, or why the meter does not tell it: whole and in a word."""

    attribute: Attribute
    value: Data | None = None
    scaler_unit: ScalerUnit | None = None
    refused: str = field(default="")
    refused_as: str = field(default="")

    @property
    def number(self) -> Decimal | None:
        """The value in its unit; None when it is no number."""
        if self.value is None:
            return None
        content = self.value.content
        if self.value.tag in (Tag.FLOAT32, Tag.FLOAT64):
            number = Decimal(str(float_of(self.value)))
        elif isinstance(content, int) and not isinstance(content, bool):
            number = Decimal(content)
        else:
            return None
        return number.scaleb(self.scaler_unit.scaler) if self.scaler_unit else number

    def to_json(self) -> dict[str, Any]:
        """Return the reading as plain values; ``base`` is an integer in the base unit of the code, if it has one."""
        attribute = self.attribute
        shown: dict[str, Any] = {"class": attribute.class_id, "obis": str(attribute.obis), "index": attribute.index}
        if self.value is None:
            return shown | {"refused": self.refused}
        kind, content = explain_data(self.value)
        shown |= {"type": kind, "raw": content, "text": self.text()}
        if self.scaler_unit is not None:
            shown |= {"scaler": self.scaler_unit.scaler, "unit": self.scaler_unit.word}
            number = self.number
            shown["value"] = items.plain(number) if number is not None else None
            shown["base"] = self._base()
        return shown

    def _base(self) -> dict[str, Any] | None:
        content = self.value.content if self.value is not None else None
        if self.scaler_unit is None or not isinstance(content, int) or isinstance(content, bool):
            return None
        try:
            return {
                "value": to_base(content, self.scaler_unit, self.attribute.obis),
                "unit": base_unit(self.attribute.obis),
            }
        except RemoteProtocolError:
            return None

    def text(self) -> str:
        """Return the value as people read it."""
        if self.value is None:
            return self.refused
        number = self.number
        if number is not None and self.scaler_unit is not None:
            return f"{items.plain(number)} {self.scaler_unit.word}".strip()
        if self.attribute.class_id == ClassId.CLOCK and self.attribute.index == _CLOCK_TIME:
            return str(date_time_of(self.value))
        return text_of(self.value)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``congto dlms read``."""
    parser.add_argument(
        "items", nargs="*", metavar="[CLASS:]OBIS[:INDEX]", help="what to read; default: names, clock and registers"
    )
    target.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Read and print. Status 5 when the meter told nothing of what was asked."""
    wanted = [items.parse_attribute(text) for text in arguments.items]
    where = target.parse(arguments)
    readings = asyncio.run(_read(where, wanted, trace=arguments.trace))
    if arguments.json:
        screen.print_json({"readings": [reading.to_json() for reading in readings]})
    else:
        rows = [
            (str(one.attribute.obis), f"{one.attribute.class_id}:{one.attribute.index}", one.refused_as or one.text())
            for one in readings
        ]
        screen.print_table("", ("OBIS", "class:index", "value"), rows)
        if len(readings) > 1:
            for advice in dict.fromkeys(one.refused.partition(": ")[2] for one in readings if one.refused):
                print(f"congto: refused: {advice}", file=sys.stderr)
    if wanted and all(reading.value is None for reading in readings):
        raise RefusedError(readings[0].refused)
    return 0


async def _read(where: target.Target, wanted: Sequence[Attribute], *, trace: bool) -> list[Reading]:
    async with associated(where, trace=trace) as session:
        if not wanted:
            entries = await read_object_list(session)
            wanted = [entry.attribute(2) for entry in entries if entry.class_id in _ORDINARY]
        return await read_with_scalers(session, wanted)


async def read_with_scalers(session: MeterSession, wanted: Sequence[Attribute]) -> list[Reading]:
    """Return the readings of ``wanted`` in order; registers with their scaler and unit."""
    values = await get_all(session, wanted)
    registers = [
        one for one, result in zip(wanted, values, strict=True) if isinstance(result, GetResult) and _has_scaler(one)
    ]
    scalers = await session.remembered.scalers(registers)
    return [_reading(result, scalers) for result in values]


def _has_scaler(attribute: Attribute) -> bool:
    return attribute.class_id in SCALER_UNIT_INDEX and attribute.index in (
        (2, 3) if attribute.class_id == ClassId.DEMAND_REGISTER else (2,)
    )


def _reading(result: GetResult | DataAccessError, scalers: dict[Attribute, ScalerUnit]) -> Reading:
    if isinstance(result, GetResult):
        return Reading(result.attribute, result.value, scalers.get(result.attribute))
    why = str(refusal_of(result, str(result.attribute)))
    return Reading(result.attribute, refused=why, refused_as=f"refused: {result.code.word}")
