"""``congto dlms reset``: end the billing period by the meter's script, and show what it did."""

import argparse
import asyncio
from typing import Any

from edge_agent.dlms_tool import screen, target
from edge_agent.dlms_tool.read import Reading, read_with_scalers
from edge_agent.dlms_tool.refusals import refusal_of
from edge_agent.dlms_tool.session import MeterSession, associated
from protocols.dlms import control
from protocols.dlms.cosem_time import date_time_of
from protocols.dlms.objects import ClassId
from protocols.dlms.services import ActionDone
from protocols.dlms.xdlms.references import Attribute
from protocols.errors import RemoteProtocolError, UsageError
from protocols.obis import Obis

BILLING_PROFILE = Obis(0, 0, 98, 1, 0)
ENTRIES_IN_USE, CAPTURE_TIME = 7, 5  # Blue Book 4.3.6 and 4.3.3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``congto dlms reset``."""
    parser.add_argument(
        "--script-table", default=str(control.BILLING_SCRIPTS), metavar="OBIS", help="default 0.0.10.0.1"
    )
    parser.add_argument(
        "--script", type=int, default=control.END_OF_BILLING, metavar="N", help="of the table; default 1"
    )
    parser.add_argument("--profile", default=str(BILLING_PROFILE), metavar="OBIS", help="default 0.0.98.1.0")
    parser.add_argument("--yes", action="store_true", help="do it; without, only what would change is read")
    target.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """End the period and read back; status 1 when nothing was done."""
    if not 0 < arguments.script <= 0xFFFF:
        raise UsageError(f"--script {arguments.script}: expected 1 to 65535")
    return asyncio.run(_run(arguments, Obis.parse(arguments.script_table), Obis.parse(arguments.profile)))


async def _run(arguments: argparse.Namespace, scripts: Obis, profile: Obis) -> int:
    async with associated(target.parse(arguments), trace=arguments.trace) as session:
        before = await _state(session, profile)
        after = before
        if arguments.yes:
            event = await session.ask(control.end_billing(script=arguments.script, obis=scripts))
            if not isinstance(event, ActionDone):
                what = f"script {arguments.script} of {scripts}"
                raise refusal_of(event, what) or RemoteProtocolError(f"{what}: found {type(event).__name__}")
            after = await _state(session, profile)
    if arguments.json:
        screen.print_json({"done": arguments.yes, "before": _json(before), "after": _json(after)})
    else:
        rows = [(str(old.attribute.obis), _name(old), _text(old), _text(new)) for old, new in zip(before, after,
                strict=True)]  # fmt: skip
        screen.print_table("", ("OBIS", "what", "before", "after" if arguments.yes else "now"), rows)
        if not arguments.yes:
            print("nothing was done: add --yes to end the billing period")
    return 0 if arguments.yes else 1


async def _state(session: MeterSession, profile: Obis) -> list[Reading]:
    """Return the rows that the profile holds, and the highest demands with their times; refused where there is none."""
    wanted = [Attribute(ClassId.PROFILE_GENERIC, profile, ENTRIES_IN_USE)]
    for demand in control.MAXIMUM_DEMANDS:
        wanted += [Attribute(ClassId.EXTENDED_REGISTER, demand, index) for index in (2, CAPTURE_TIME)]
    return await read_with_scalers(session, wanted)


def _name(reading: Reading) -> str:
    if reading.attribute.class_id == ClassId.PROFILE_GENERIC:
        return "rows of the billing profile"
    return "time of the highest demand" if reading.attribute.index == CAPTURE_TIME else "highest demand"


def _text(reading: Reading) -> str:
    if reading.value is None:
        return "not in this meter"
    if reading.attribute.index != CAPTURE_TIME:
        return reading.text()
    try:
        return str(date_time_of(reading.value))
    except RemoteProtocolError:
        return "never"


def _json(readings: list[Reading]) -> list[dict[str, Any]]:
    return [reading.to_json() for reading in readings]
