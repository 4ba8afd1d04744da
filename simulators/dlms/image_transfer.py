"""Image transfer of a simulated meter: class 18 with its state machine (Blue Book 4.4.6), blocks lost on demand.

An image is right when its last 32 octets are the SHA-256 of those before. It becomes the active firmware, whose name
(1.0.0.2.0.255) is then the image's identification; the meter goes on working. Verifying and activating take a while: as
long as it takes to be asked twice.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TypeAlias

from protocols.dlms import image
from protocols.dlms.codes import ActionResult, DataAccessResult
from protocols.dlms.data import (
    BitString,
    Data,
    Tag,
    array,
    double_long_unsigned,
    enum,
    integer_of,
    items_of,
    octets,
    octets_of,
    structure,
)
from protocols.dlms.image import ImageStatus
from protocols.errors import RemoteProtocolError
from protocols.obis import Obis
from simulators.dlms.cosem import CosemObject, at_time, fixed

FIRMWARE = Obis(1, 0, 0, 2, 0)
FIRMWARE_FIRST = b"CTO-1.0"
BLOCK_OCTETS = 200  # with its APDU around it in two HDLC frames of 128 octets
IMAGE_OCTETS_MAX = 1 << 20
IDENTIFICATION_OCTETS_MAX = 64
QUESTIONS_UNTIL_DONE = 2
SIGNATURE_OCTETS = 32

_BUSY = (ImageStatus.VERIFICATION_INITIATED, ImageStatus.ACTIVATION_INITIATED)
Method: TypeAlias = Callable[[Data], ActionResult]


def signed(content: bytes) -> bytes:
    """Return the image that simulated meters take for right."""
    return content + sha256(content).digest()


@dataclass(slots=True)
class ImageTransfer:
    """What a meter holds of an image. Each ``loses``-th new block is taken and lost; 0: none is."""

    loses: int = 0
    enabled: bool = True
    status: ImageStatus = ImageStatus.NOT_INITIATED
    firmware: bytes = FIRMWARE_FIRST
    identification: bytes = b""
    size: int = 0
    blocks: dict[int, bytes] = field(default_factory=dict)
    _taken: int = 0
    _asked: int = 0
    _lost: set[int] = field(default_factory=set)

    @property
    def _count(self) -> int:
        return -(-self.size // BLOCK_OCTETS)

    @property
    def _content(self) -> bytes:
        return b"".join(self.blocks[number] for number in sorted(self.blocks))

    def to_objects(self) -> list[CosemObject]:
        """Return the image transfer object and the name of the active firmware."""
        return [
            CosemObject(
                class_id=image.IMAGE_CLASS,
                version=0,
                obis=image.IMAGE_OBIS,
                reads={
                    image.BLOCK_SIZE: fixed(double_long_unsigned(BLOCK_OCTETS)),
                    image.BLOCKS_STATUS: at_time(lambda _at_ms: self._held()),
                    image.FIRST_MISSING: at_time(lambda _at_ms: double_long_unsigned(self._first_missing())),
                    image.ENABLED: at_time(lambda _at_ms: Data(Tag.BOOLEAN, self.enabled)),
                    image.STATUS: at_time(lambda _at_ms: enum(self._status_told())),
                    image.TO_ACTIVATE: at_time(lambda _at_ms: self._to_activate()),
                },
                writes={image.ENABLED: self._enable},
                methods={
                    image.INITIATE: lambda parameter, _at_ms: self._ready(self._initiate, parameter),
                    image.TRANSFER: lambda parameter, _at_ms: self._ready(self._take, parameter),
                    image.VERIFY: lambda parameter, _at_ms: self._ready(self._verify, parameter),
                    image.ACTIVATE: lambda parameter, _at_ms: self._ready(self._activate, parameter),
                },
            ),
            CosemObject(1, 0, FIRMWARE, {2: at_time(lambda _at_ms: octets(self.firmware))}, public=True),
        ]

    # -- attributes ---------------------------------------------------------------------------------------------------

    def _held(self) -> Data:
        bits = bytearray((self._count + 7) // 8)
        for number in self.blocks:
            bits[number >> 3] |= 0x80 >> (number & 7)
        return Data(Tag.BIT_STRING, BitString(self._count, bytes(bits)))

    def _first_missing(self) -> int:
        return next((number for number in range(self._count) if number not in self.blocks), self._count)

    def _enable(self, value: Data, _at_ms: int) -> DataAccessResult:
        if value.tag is not Tag.BOOLEAN:
            return DataAccessResult.TYPE_UNMATCHED
        self.enabled = value.content is True
        return DataAccessResult.SUCCESS

    def _to_activate(self) -> Data:
        if self.status not in (ImageStatus.VERIFICATION_SUCCESSFUL, ImageStatus.ACTIVATION_SUCCESSFUL):
            return array()
        signature = self._content[-SIGNATURE_OCTETS:]
        return array(structure(double_long_unsigned(self.size), octets(self.identification), octets(signature)))

    def _status_told(self) -> ImageStatus:
        if self.status in _BUSY:
            self._asked += 1
            if self._asked >= QUESTIONS_UNTIL_DONE:
                self._finish()
        return self.status

    def _finish(self) -> None:
        self._asked = 0
        if self.status is ImageStatus.ACTIVATION_INITIATED:
            self.status, self.firmware = ImageStatus.ACTIVATION_SUCCESSFUL, self.identification
            return
        content = self._content
        right = len(content) > SIGNATURE_OCTETS and signed(content[:-SIGNATURE_OCTETS]) == content
        self.status = ImageStatus.VERIFICATION_SUCCESSFUL if right else ImageStatus.VERIFICATION_FAILED

    # -- methods ------------------------------------------------------------------------------------------------------

    def _ready(self, method: Method, parameter: Data | None) -> tuple[ActionResult, Data | None]:
        if not self.enabled:
            return ActionResult.READ_WRITE_DENIED, None
        if self.status in _BUSY:
            return ActionResult.TEMPORARY_FAILURE, None
        try:
            return method(parameter or Data(Tag.NULL_DATA, None)), None
        except RemoteProtocolError:
            return ActionResult.TYPE_UNMATCHED, None

    def _initiate(self, parameter: Data) -> ActionResult:
        name, size = items_of(parameter, 2)
        identification, wanted = octets_of(name), integer_of(size)
        if not 0 < wanted <= IMAGE_OCTETS_MAX or not 0 < len(identification) <= IDENTIFICATION_OCTETS_MAX:
            return ActionResult.OTHER_REASON
        self.identification, self.size = identification, wanted
        self.status, self._taken = ImageStatus.INITIATED, 0
        self.blocks.clear()
        self._lost.clear()
        return ActionResult.SUCCESS

    def _take(self, parameter: Data) -> ActionResult:
        if self.status is not ImageStatus.INITIATED:
            return ActionResult.OTHER_REASON
        which, what = items_of(parameter, 2)
        number, block = integer_of(which), octets_of(what)
        if not 0 <= number < self._count or len(block) != min(BLOCK_OCTETS, self.size - number * BLOCK_OCTETS):
            return ActionResult.SCOPE_OF_ACCESS_VIOLATED
        self._taken += number not in self._lost
        if self.loses and self._taken % self.loses == 0 and number not in self._lost:
            self._lost.add(number)
        else:
            self.blocks[number] = block
        return ActionResult.SUCCESS

    def _verify(self, _parameter: Data) -> ActionResult:
        if self.status not in (ImageStatus.INITIATED, ImageStatus.VERIFICATION_SUCCESSFUL):
            return ActionResult.OTHER_REASON
        if self._first_missing() < self._count:
            return ActionResult.OTHER_REASON
        self.status = ImageStatus.VERIFICATION_INITIATED
        return ActionResult.TEMPORARY_FAILURE

    def _activate(self, _parameter: Data) -> ActionResult:
        if self.status is not ImageStatus.VERIFICATION_SUCCESSFUL:
            return ActionResult.OTHER_REASON
        self.status = ImageStatus.ACTIVATION_INITIATED
        return ActionResult.TEMPORARY_FAILURE
