"""``congto dlms clock``: how far the meter's clock is off, and setting it within a limit."""

import argparse
import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime

from edge_agent.dlms_tool import items, screen, target
from edge_agent.dlms_tool.load_profile import add_deviation
from edge_agent.dlms_tool.refusals import refusal_of
from edge_agent.dlms_tool.session import MeterSession, associated
from protocols.dlms import control
from protocols.dlms.cosem_time import STATUS_DST, STATUS_UNSPECIFIED, CosemDateTime, date_time_of, zone_of
from protocols.dlms.quirks import Quirks
from protocols.dlms.selective import CLOCK_OBIS
from protocols.dlms.services import ActionDone, Set, SetDone
from protocols.dlms.xdlms.references import Attribute
from protocols.errors import RemoteProtocolError, UsageError

LIMIT_S_DEFAULT = 60  # beyond, somebody should ask why before the load profile gets a gap or a double hour
CLOCK_TIME = Attribute(control.CLOCK_CLASS, CLOCK_OBIS, 2)
_STATUS_WORDS = (
    (0x01, "invalid"),
    (0x02, "doubtful"),
    (0x04, "other base"),
    (0x08, "invalid status"),
    (0x80, "summer"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``congto dlms clock``."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--set", dest="set_to", metavar="now|TIME", help="set the clock, to this computer's time with now"
    )
    what.add_argument("--adjust", action="store_true", help="shift the clock by how far it is off (method 6)")
    parser.add_argument(
        "--limit", type=int, default=LIMIT_S_DEFAULT, metavar="S", help=f"change no more; default {LIMIT_S_DEFAULT}"
    )
    add_deviation(parser)
    target.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Read the clock, change it if told to, print both; status 1 when the change is beyond the limit."""
    if arguments.limit < 0:
        raise UsageError(f"--limit {arguments.limit}: expected 0 or more seconds")
    if arguments.adjust and arguments.limit > control.SHIFT_S_MAX:
        most = control.SHIFT_S_MAX
        raise UsageError(
            f"--limit {arguments.limit}: expected 0 to {most} with --adjust, by the standard; --set has none"
        )
    wanted = arguments.set_to
    at = None if wanted in (None, "now") else items.parse_instant(wanted, arguments.deviation)
    return asyncio.run(_run(arguments, target.parse(arguments), at))


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the clock says, what that means with the meter's quirks, and how far it is ahead."""

    said: CosemDateTime
    at: datetime
    deviation_minutes: int
    ahead_s: int


async def _run(arguments: argparse.Namespace, where: target.Target, wanted_at: datetime | None) -> int:
    async with associated(where, trace=arguments.trace) as session:
        before = await _read(session, arguments.deviation)
        changed = arguments.adjust or arguments.set_to is not None
        change_s = round((wanted_at - before.at).total_seconds()) if wanted_at else -before.ahead_s
        if changed and abs(change_s) > arguments.limit:
            _print(arguments, before, f"not changed: {change_s} s are beyond --limit {arguments.limit}", False)
            return 1
        if not changed:
            _print(arguments, before, "", False)
            return 0
        if arguments.adjust:
            event = await session.ask(control.shift_clock(change_s))
        else:
            event = await session.ask(_set_request(wanted_at or datetime.now(UTC), before, where.quirks))
        if not isinstance(event, SetDone | ActionDone):
            raise refusal_of(event, "clock") or RemoteProtocolError(f"found {type(event).__name__}")
        after = await _read(session, arguments.deviation)
    _print(arguments, after, f"changed by {change_s} s", True)
    return 0


async def _read(session: MeterSession, assumed_minutes: int) -> _Reading:
    said, quirks = date_time_of(await session.get(CLOCK_TIME, "clock")), session.target.quirks
    inverted, winter = quirks.inverted_deviation, quirks.winter_deviation
    at = said.at(assumed_minutes, inverted=inverted, winter=winter)
    deviation = said.true_deviation(assumed_minutes, inverted=inverted, winter=winter)
    assert deviation is not None  # One was assumed.
    return _Reading(said, at, deviation, round((at - datetime.now(UTC).replace(microsecond=0)).total_seconds()))


def _set_request(at: datetime, before: _Reading, quirks: Quirks) -> Set:
    """Return the request in the meter's own way: its deviation as it says it, and summer time as it tells it."""
    said = before.said
    is_summer = quirks.winter_deviation and said.status != STATUS_UNSPECIFIED and said.status & STATUS_DST
    return control.set_clock(
        at,
        deviation_minutes=before.deviation_minutes,
        said_deviation_minutes=said.deviation_minutes,
        status=STATUS_DST if is_summer else 0,
    )


def _print(arguments: argparse.Namespace, reading: _Reading, remark: str, changed: bool) -> None:
    moment, at, off_s = reading.said, reading.at, reading.ahead_s
    status = [] if moment.status == 0xFF else [word for bit, word in _STATUS_WORDS if moment.status & bit]
    if arguments.json:
        screen.print_json(
            {
                "at": f"{at:%Y-%m-%dT%H:%M:%SZ}",
                "deviation_minutes": None if moment.deviation_minutes is None else reading.deviation_minutes,
                "status": status,
                "ahead_s": off_s,
                "changed": changed,
                "remark": remark,
            }
        )
        return
    local = at.astimezone(zone_of(reading.deviation_minutes))
    ahead = "right to the second" if not off_s else f"{abs(off_s)} s {'ahead' if off_s > 0 else 'behind'}"
    print(f"{local:%Y-%m-%d %H:%M:%S %z}, {ahead}{'; ' + ', '.join(status) if status else ''}")
    if remark:
        print(remark)
