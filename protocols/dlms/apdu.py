"""Any plain APDU, by its first octet (IEC 62056-5-3); ciphered ones are :mod:`protocols.dlms.ciphering`'s."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from protocols.dlms import acse
from protocols.dlms.octets import Cursor
from protocols.dlms.quirks import STRICT, Quirks
from protocols.dlms.xdlms import access, action, general_block, get, initiate, notifications, refusals, short
from protocols.dlms.xdlms import set as set_service
from protocols.errors import RemoteProtocolError

Acse: TypeAlias = (
    acse.AssociationRequest | acse.AssociationResponse | acse.ReleaseRequest | acse.ReleaseResponse
)  # fmt: skip
Xdlms: TypeAlias = (
    initiate.InitiateRequest
    | initiate.InitiateResponse
    | get.GetRequest
    | get.GetResponse
    | set_service.SetRequest
    | set_service.SetResponse
    | short.ShortRequest
    | short.ShortResponse
    | action.ActionRequest
    | action.ActionResponse
    | access.AccessRequest
    | access.AccessResponse
    | notifications.DataNotification
    | notifications.EventNotification
    | general_block.GeneralBlock
    | refusals.ExceptionResponse
    | refusals.ConfirmedServiceError
)
Apdu: TypeAlias = Acse | Xdlms

DECODERS: Mapping[int, Callable[[Cursor], Xdlms]] = {
    initiate.InitiateRequest.TAG: initiate.decode_initiate_request,
    initiate.InitiateResponse.TAG: initiate.decode_initiate_response,
    refusals.CONFIRMED_SERVICE_ERROR: refusals.decode_confirmed_service_error,
    notifications.DATA_NOTIFICATION: notifications.decode_data_notification,
    short.READ_REQUEST: short.decode_read_request,
    short.WRITE_REQUEST: short.decode_write_request,
    short.READ_RESPONSE: short.decode_read_response,
    short.WRITE_RESPONSE: short.decode_write_response,
    get.REQUEST: get.decode_request,
    set_service.REQUEST: set_service.decode_request,
    notifications.EVENT_NOTIFICATION: notifications.decode_event_notification,
    action.REQUEST: action.decode_request,
    get.RESPONSE: get.decode_response,
    set_service.RESPONSE: set_service.decode_response,
    action.RESPONSE: action.decode_response,
    access.REQUEST: access.decode_request,
    access.RESPONSE: access.decode_response,
    refusals.EXCEPTION: refusals.decode_exception,
    general_block.GENERAL_BLOCK: general_block.decode_general_block,
}


def decode_apdu(octets: bytes, quirks: Quirks = STRICT) -> Apdu:
    """Decode one APDU that fills ``octets``; RemoteProtocolError when it is broken or unknown."""
    if not octets:
        raise RemoteProtocolError("an empty APDU", offset=0)
    tag = octets[0]
    if tag == notifications.DATA_NOTIFICATION:
        return notifications.decode_data_notification(Cursor(octets, 1), quirks)
    decode = DECODERS.get(tag)
    if decode is not None:
        return decode(Cursor(octets, 1, tolerates_trailing=quirks.trailing_octets))
    if tag == acse.AARQ:
        return acse.decode_aarq(octets)
    if tag == acse.AARE:
        return acse.decode_aare(octets, quirks)
    if tag == acse.RLRQ:
        return acse.decode_rlrq(octets)
    if tag == acse.RLRE:
        return acse.decode_rlre(octets, quirks)
    raise RemoteProtocolError(f"an APDU of unknown tag {tag:#04x}", offset=0)
