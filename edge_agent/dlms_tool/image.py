"""``congto dlms image``: a new firmware into the meter, block by block; resumed, verified, activated when told to."""

import argparse
import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from edge_agent.dlms_tool import screen, target
from edge_agent.dlms_tool.refusals import RefusedError, refusal_of
from edge_agent.dlms_tool.session import MeterSession, associated
from protocols.dlms import image
from protocols.dlms.image import Image, ImageRefusedError, ImageStatus, Pause, Updated
from protocols.dlms.services import Event
from protocols.errors import RemoteProtocolError, UsageError
from protocols.obis import Obis

PAUSE_S = 1.0  # between the questions whether the meter is ready; it has ten minutes
IDENTIFICATION_OCTETS_MAX = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``congto dlms image``."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the image, as the maker delivers it")
    parser.add_argument(
        "--identification", required=True, metavar="TEXT", help="the image's name, from its maker; 0x… for hex"
    )
    parser.add_argument("--resume", action="store_true", help="send only the blocks that the meter lacks")
    parser.add_argument("--activate", action="store_true", help="make it the meter's firmware when it is verified")
    parser.add_argument("--object", default=str(image.IMAGE_OBIS), metavar="OBIS", help="default 0.0.44.0.0")
    parser.add_argument("--yes", action="store_true", help="do it; without, only the state is read")
    target.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Transfer, verify, perhaps activate; status 1 when nothing was done."""
    return asyncio.run(_run(arguments, target.parse(arguments), _image(arguments), Obis.parse(arguments.object)))


def _image(arguments: argparse.Namespace) -> Image:
    try:
        with arguments.file.open("rb") as file:
            content = file.read(image.IMAGE_OCTETS_MAX + 1)
    except OSError as error:
        raise UsageError(f"{arguments.file}: can't be read: {error.strerror}") from error
    if not 0 < len(content) <= image.IMAGE_OCTETS_MAX:
        raise UsageError(f"{arguments.file}: expected 1 to {image.IMAGE_OCTETS_MAX} octets")
    text = arguments.identification
    try:
        name = bytes.fromhex(text[2:]) if text.startswith("0x") else text.encode("ascii")
    except ValueError as error:
        raise UsageError(f"--identification {text!r}: expected ASCII, or 0x and pairs of hex digits") from error
    if not 0 < len(name) <= IDENTIFICATION_OCTETS_MAX:
        raise UsageError(f"--identification {text!r}: expected 1 to {IDENTIFICATION_OCTETS_MAX} octets")
    return Image(name, content)


async def _run(arguments: argparse.Namespace, where: target.Target, what: Image, obis: Obis) -> int:
    async with associated(where, trace=arguments.trace) as session:
        if not arguments.yes:
            status = image.status_of(await session.get(image.read(image.STATUS, obis).attribute, f"image {obis}"))
            remark = f"{len(what.content)} octets would be sent: add --yes to write them"
            _print(arguments, Updated(status, 0, 0, ()), f"nothing was done: {remark}")
            return 1
        with _bar() as bar:
            task = bar.add_task("blocks", total=None)

            def progress(done: int, blocks: int) -> None:
                bar.update(task, completed=done, total=blocks)

            done = await _carry_out(session, arguments, what, obis, progress)
    wanted = ImageStatus.ACTIVATION_SUCCESSFUL if arguments.activate else ImageStatus.VERIFICATION_SUCCESSFUL
    if done.status is not wanted:
        advice = "the image is damaged, of another meter, or wrongly signed"
        raise RefusedError(f"image {arguments.identification}: the meter says {done.status.word}; {advice}")
    _print(arguments, done, "" if arguments.activate else "not activated: add --resume --activate")
    return 0


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(file=sys.stderr), disable=not sys.stderr.isatty())


async def _carry_out(
    session: MeterSession,
    arguments: argparse.Namespace,
    what: Image,
    obis: Obis,
    progress: Callable[[int, int], None],
) -> Updated:
    """Go through the course; after an interruption, ``--resume`` begins where it stopped."""
    course = image.update(what, resume=arguments.resume, activates=arguments.activate, obis=obis, progress=progress)
    event: Event | None = None
    try:
        while True:
            step = course.send(event)
            if isinstance(step, Pause):
                await asyncio.sleep(PAUSE_S)
                event = None
            else:
                event = await session.ask(step)
    except StopIteration as end:
        done: Updated = end.value
        return done
    except ImageRefusedError as refused:
        raise refusal_of(refused.event, refused.what) or RemoteProtocolError(str(refused)) from refused


def _print(arguments: argparse.Namespace, done: Updated, remark: str) -> None:
    if arguments.json:
        screen.print_json(
            {
                "status": int(done.status),
                "word": done.status.word,
                "sent": done.sent,
                "blocks": done.blocks,
                "to_activate": [
                    {
                        "size": each.size,
                        "identification": each.identification.decode("ascii", "backslashreplace"),
                        "signature": each.signature.hex(),
                    }
                    for each in done.to_activate
                ],
                "remark": remark,
            }
        )
        return
    print(f"{done.status.word}; {done.sent} of {done.blocks} blocks sent" if done.blocks else done.status.word)
    if remark:
        print(remark)
