"""Image transfer, class 18: a new firmware block by block, resumed where it stopped (Blue Book 4.4.6).

:func:`update` is the whole course as a generator: it yields what to do next, a request or a :class:`Pause`, takes the
outcome of the request, and returns the :class:`Updated`. It knows no line and no clock.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from protocols.dlms.codes import ActionResult
from protocols.dlms.data import (
    BitString,
    Data,
    Tag,
    double_long_unsigned,
    integer,
    integer_of,
    items_of,
    octets,
    octets_of,
    structure,
)
from protocols.dlms.services import Act, ActionDone, ActionRefused, Event, Get, GetResult
from protocols.dlms.xdlms.references import Attribute
from protocols.errors import ProtocolError, RemoteProtocolError
from protocols.obis import Obis

IMAGE_CLASS, IMAGE_OBIS = 18, Obis(0, 0, 44, 0, 0)
BLOCK_SIZE, BLOCKS_STATUS, FIRST_MISSING, ENABLED, STATUS, TO_ACTIVATE = range(2, 8)
INITIATE, TRANSFER, VERIFY, ACTIVATE = range(1, 5)
IMAGE_OCTETS_MAX = 16 << 20  # no electricity meter holds more
BLOCKS_MAX = 1 << 20
ROUNDS_MAX = 5  # of sending again what the meter says is missing
PAUSES_MAX = 600  # while the meter verifies or activates; the caller gives a pause its length


class ImageStatus(IntEnum):
    """Image_transfer_status, attribute 6."""

    NOT_INITIATED = 0
    INITIATED = 1
    VERIFICATION_INITIATED = 2
    VERIFICATION_SUCCESSFUL = 3
    VERIFICATION_FAILED = 4
    ACTIVATION_INITIATED = 5
    ACTIVATION_SUCCESSFUL = 6
    ACTIVATION_FAILED = 7

    @property
    def word(self) -> str:
        """The standard's word."""
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True, slots=True)
class Image:
    """What is transferred, and the name that the meter is told."""

    identification: bytes
    content: bytes

    def count(self, block_size: int) -> int:
        """Return how many blocks it has."""
        return -(-len(self.content) // block_size)

    def block(self, number: int, block_size: int) -> bytes:
        """Return a block; the last may be short."""
        return self.content[number * block_size : (number + 1) * block_size]


@dataclass(frozen=True, slots=True)
class ToActivate:
    """One element of image_to_activate_info: what the meter found in the octets it was given."""

    size: int
    identification: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait before going on: the meter is at work, in ``status``."""

    status: ImageStatus


@dataclass(frozen=True, slots=True)
class Updated:
    """How it ended: the meter's status, blocks sent of those the image has, what the meter would activate."""

    status: ImageStatus
    sent: int
    blocks: int
    to_activate: tuple[ToActivate, ...]


class ImageRefusedError(ProtocolError):
    """The meter said no: ``what`` was asked for, and ``event`` is the answer."""

    def __init__(self, what: str, event: Event) -> None:
        super().__init__(f"{what}: {event}")
        self.what, self.event = what, event


Step: TypeAlias = Get | Act | Pause
Course: TypeAlias = Generator[Step, "Event | None", Updated]


# -- requests and what the answers say --------------------------------------------------------------------------------


def read(index: int, obis: Obis = IMAGE_OBIS) -> Get:
    """Return the request that reads an attribute."""
    return Get(Attribute(IMAGE_CLASS, obis, index))


def initiate(image: Image, obis: Obis = IMAGE_OBIS) -> Act:
    """Return the request that begins: from here on the meter has none of the blocks."""
    what = structure(octets(image.identification), double_long_unsigned(len(image.content)))
    return Act(Attribute(IMAGE_CLASS, obis, INITIATE), what)


def transfer(number: int, block: bytes, obis: Obis = IMAGE_OBIS) -> Act:
    """Return the request that sends a block; numbers count from 0."""
    return Act(Attribute(IMAGE_CLASS, obis, TRANSFER), structure(double_long_unsigned(number), octets(block)))


def verify(obis: Obis = IMAGE_OBIS) -> Act:
    """Return the request that has the meter verify what it holds."""
    return Act(Attribute(IMAGE_CLASS, obis, VERIFY), integer(0))


def activate(obis: Obis = IMAGE_OBIS) -> Act:
    """Return the request that makes the image the meter's firmware; many meters restart then."""
    return Act(Attribute(IMAGE_CLASS, obis, ACTIVATE), integer(0))


def status_of(data: Data) -> ImageStatus:
    """Decode attribute 6; RemoteProtocolError for a status that the standard does not know."""
    number = integer_of(data)
    if number not in ImageStatus._value2member_map_:
        raise RemoteProtocolError(f"image transfer status {number}, expected 0 to 7")
    return ImageStatus(number)


def missing_of(data: Data, blocks: int, first_missing: int = 0) -> tuple[int, ...]:
    """Return the numbers of the blocks that attribute 3 says the meter lacks, from ``first_missing`` on.

    RemoteProtocolError when it counts other blocks than the image has: then the meter holds another image.
    """
    found = data.content
    if data.tag is not Tag.BIT_STRING or not isinstance(found, BitString):
        raise RemoteProtocolError(f"found {data.tag.word} where the blocks' bit-string was expected")
    if found.length != blocks:
        raise RemoteProtocolError(
            f"the meter counts {found.length} blocks, the image {blocks}: transfer without resuming, it holds another"
        )
    return tuple(n for n in range(max(0, first_missing), blocks) if not found.octets[n >> 3] & (0x80 >> (n & 7)))


def to_activate_of(data: Data) -> tuple[ToActivate, ...]:
    """Decode attribute 7."""
    found = []
    for element in items_of(data):
        size, identification, signature = items_of(element, 3)
        found.append(ToActivate(integer_of(size), octets_of(identification), octets_of(signature)))
    return tuple(found)


# -- the course -------------------------------------------------------------------------------------------------------


def update(
    image: Image,
    *,
    resume: bool = False,
    activates: bool = False,
    obis: Obis = IMAGE_OBIS,
    progress: Callable[[int, int], None] = lambda _done, _blocks: None,
) -> Course:
    """Transfer ``image``, verify it, and activate it when told to.

    With ``resume`` the blocks that the meter holds are not sent again, and an image that it verified is not sent at
    all. ``progress`` is told the blocks the meter holds and how many there are. The outcome's status says whether the
    image is verified, activated, or was refused. Raises :class:`ImageRefusedError` when the meter says no,
    RemoteProtocolError when it contradicts itself or never gets ready.
    """
    size = integer_of((yield from _get(BLOCK_SIZE, obis)))
    if size < 1 or image.count(size) > BLOCKS_MAX:
        raise RemoteProtocolError(f"an image block size of {size}, expected at least 1 and at most {BLOCKS_MAX} blocks")
    enabled = yield from _get(ENABLED, obis)
    if enabled.content is not True:
        raise RemoteProtocolError(
            f"image transfer is not enabled: write boolean true to {read(ENABLED, obis).attribute}"
        )
    blocks, sent = image.count(size), 0
    status = yield from _settled(obis) if resume else _begun(image, obis)
    if status is not ImageStatus.VERIFICATION_SUCCESSFUL:
        if status is not ImageStatus.INITIATED:
            status = yield from _begun(image, obis)
            resume = False
        sent = yield from _send(image, size, resume, obis, progress)
        status = yield from _carry_out(verify(obis), "image verify", obis)
    found: tuple[ToActivate, ...] = ()
    if status is ImageStatus.VERIFICATION_SUCCESSFUL:
        found = to_activate_of((yield from _get(TO_ACTIVATE, obis)))
        if not any(each.size == len(image.content) and each.identification == image.identification for each in found):
            raise RemoteProtocolError(f"the meter verified another image: {_names(found)}; transfer without resuming")
        if activates:
            status = yield from _carry_out(activate(obis), "image activate", obis)
    return Updated(status, sent, blocks, found)


def _names(found: tuple[ToActivate, ...]) -> str:
    return ", ".join(f"{each.identification!r} of {each.size} octets" for each in found) or "none"


def _begun(image: Image, obis: Obis) -> Generator[Step, "Event | None", ImageStatus]:
    event = yield initiate(image, obis)
    if not isinstance(event, ActionDone):
        raise ImageRefusedError("image transfer initiate", _known(event))
    return ImageStatus.INITIATED


def _send(
    image: Image, size: int, resume: bool, obis: Obis, progress: Callable[[int, int], None]
) -> Generator[Step, "Event | None", int]:
    """Send what the meter lacks until it lacks nothing; return how many blocks were sent."""
    blocks, sent = image.count(size), 0
    missing: tuple[int, ...] = tuple(range(blocks))
    if resume:
        missing = yield from _missing(blocks, obis)
    for _ in range(ROUNDS_MAX):
        held = blocks - len(missing)
        for place, number in enumerate(missing):
            progress(held + place, blocks)
            event = yield transfer(number, image.block(number, size), obis)
            if not isinstance(event, ActionDone):
                raise ImageRefusedError(f"image block {number}", _known(event))
            sent += 1
        missing = yield from _missing(blocks, obis)
        progress(blocks - len(missing), blocks)
        if not missing:
            return sent
    raise RemoteProtocolError(f"after {ROUNDS_MAX} rounds the meter still lacks {len(missing)} blocks")


def _missing(blocks: int, obis: Obis) -> Generator[Step, "Event | None", tuple[int, ...]]:
    first = integer_of((yield from _get(FIRST_MISSING, obis)))
    if first >= blocks:
        return ()
    return missing_of((yield from _get(BLOCKS_STATUS, obis)), blocks, first)


def _carry_out(request: Act, what: str, obis: Obis) -> Generator[Step, "Event | None", ImageStatus]:
    """Verify or activate: the meter may take its time (temporary-failure), and its status is what counts."""
    event = yield request
    late = isinstance(event, ActionRefused) and event.code is ActionResult.TEMPORARY_FAILURE
    status = yield from _settled(obis)
    failed = status in (ImageStatus.VERIFICATION_FAILED, ImageStatus.ACTIVATION_FAILED)
    if not isinstance(event, ActionDone) and not late and not failed:
        raise ImageRefusedError(what, _known(event))
    return status


def _settled(obis: Obis) -> Generator[Step, "Event | None", ImageStatus]:
    """Return the status once the meter is no longer at work."""
    for _ in range(PAUSES_MAX):
        status = status_of((yield from _get(STATUS, obis)))
        if status not in (ImageStatus.VERIFICATION_INITIATED, ImageStatus.ACTIVATION_INITIATED):
            return status
        yield Pause(status)
    raise RemoteProtocolError(f"the meter's image transfer status stays {status.word}")


def _get(index: int, obis: Obis) -> Generator[Step, "Event | None", Data]:
    event = yield read(index, obis)
    if isinstance(event, GetResult):
        return event.value
    raise ImageRefusedError(f"image transfer, attribute {index}", _known(event))


def _known(event: Event | None) -> Event:
    if event is None or isinstance(event, GetResult | ActionDone):
        raise RemoteProtocolError(f"found {type(event).__name__} where the answer to an image transfer was expected")
    return event
