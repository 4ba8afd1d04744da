"""Initiate: what client and server agree on (IEC 62056-5-3)."""

from dataclasses import dataclass, field

from protocols.dlms.conformance import Conformance, decode_conformance, encode_conformance
from protocols.dlms.octets import Cursor
from protocols.errors import RemoteProtocolError

DLMS_VERSION = 6
PDU_OCTETS_MIN = 12  # IEC 62056-5-3: smaller ones are refused with pdu-size-too-short
VAA_LOGICAL_NAMES = 0x0007  # IEC 62056-5-3: the fixed name of a logical-name association
VAA_SHORT_NAMES = 0xFA00  # the base name of the association object


@dataclass(frozen=True, slots=True)
class InitiateRequest:
    """What the client proposes; ``pdu_octets_max`` is the largest APDU it can receive, 0 for no limit."""

    TAG = 0x01
    conformance: Conformance
    pdu_octets_max: int = 0xFFFF
    dedicated_key: bytes | None = field(default=None, repr=False)
    response_allowed: bool = True
    quality_of_service: int | None = None
    version: int = DLMS_VERSION

    def encode(self) -> bytes:
        """Return the APDU."""
        key = b"\0" if self.dedicated_key is None else bytes((1, len(self.dedicated_key))) + self.dedicated_key
        allowed = b"\0" if self.response_allowed else b"\1\0"
        quality = b"\0" if self.quality_of_service is None else bytes((1, self.quality_of_service))
        head = b"\x01" + key + allowed + quality + bytes((self.version,))
        return head + encode_conformance(self.conformance) + self.pdu_octets_max.to_bytes(2, "big")


@dataclass(frozen=True, slots=True)
class InitiateResponse:
    """What the server grants; ``pdu_octets_max`` is the largest APDU it can receive, 0 for no limit."""

    TAG = 0x08
    conformance: Conformance
    pdu_octets_max: int
    vaa: int = VAA_LOGICAL_NAMES
    quality_of_service: int | None = None
    version: int = DLMS_VERSION

    def encode(self) -> bytes:
        """Return the APDU."""
        quality = b"\0" if self.quality_of_service is None else bytes((1, self.quality_of_service))
        numbers = self.pdu_octets_max.to_bytes(2, "big") + self.vaa.to_bytes(2, "big")
        return b"\x08" + quality + bytes((self.version,)) + encode_conformance(self.conformance) + numbers


def decode_initiate_request(cursor: Cursor) -> InitiateRequest:
    """Decode what follows the tag."""
    key = cursor.counted("the dedicated key") if cursor.flag("the dedicated key's presence") else None
    allowed = cursor.flag("response-allowed") if cursor.flag("response-allowed's presence") else True
    quality = cursor.u8("quality of service") if cursor.flag("quality of service's presence") else None
    version = cursor.u8("the DLMS version")
    conformance, cursor.at = decode_conformance(cursor.octets, cursor.at)
    request = InitiateRequest(conformance, cursor.u16("the largest PDU"), key, allowed, quality, version)
    cursor.end("the initiate-request")
    return request


def decode_initiate_response(cursor: Cursor) -> InitiateResponse:
    """Decode what follows the tag."""
    quality = cursor.u8("quality of service") if cursor.flag("quality of service's presence") else None
    version = cursor.u8("the DLMS version")
    if version != DLMS_VERSION:
        raise RemoteProtocolError(f"found DLMS version {version}, expected {DLMS_VERSION}", offset=cursor.at - 1)
    conformance, cursor.at = decode_conformance(cursor.octets, cursor.at)
    response = InitiateResponse(conformance, cursor.u16("the largest PDU"), cursor.u16("the VAA name"), quality)
    cursor.end("the initiate-response")
    return response
