"""What of a session's APDUs may be shown: hidden is whatever is not known to be harmless.

Octets and values are shown of APDUs that decode to their end, in the clear or opened, and whose every attribute and
method is of a class that holds no secrets. Blocks and answers are judged as the question that they belong to, by its
invoke-id; parts of APDUs in general blocks are never shown, and what they carry is judged as a whole.
"""

from typing import Any

from protocols.dlms import acse
from protocols.dlms.apdu import Acse, Xdlms, decode_apdu
from protocols.dlms.ciphering import Keys, decode_ciphered, is_ciphered, unprotect
from protocols.dlms.quirks import Quirks
from protocols.dlms.short_names import ShortNames
from protocols.dlms.xdlms import access, action, general_block, get, initiate, notifications, refusals, short
from protocols.dlms.xdlms import set as set_service
from protocols.dlms.xdlms.references import SECRET_CLASSES, Attribute
from protocols.errors import ProtocolError

NOT_SHOWN = "(not shown)"
_HARMLESS = frozenset(
    (
        "apdu", "plain_apdu", "type", "invoke_id", "confirmed", "high_priority", "long_invoke_id", "attribute",
        "method", "class_id", "obis", "index", "kind", "short_name", "list", "block_number", "last_block",
        "streaming", "window", "block_number_ack", "system_title", "security_control", "suite", "authenticated",
        "encrypted", "broadcast_key", "compressed", "sc", "invocation_counter", "result", "access_result",
    )
)  # fmt: skip
_CONTINUED = (
    get.GetRequestNext, short.ReadNext, set_service.SetRequestBlock, action.ActionRequestBlock,
    action.ActionRequestNext,
)  # fmt: skip
_WITHOUT_VALUES = (
    refusals.ExceptionResponse, refusals.ConfirmedServiceError, initiate.InitiateResponse,
    set_service.SetResponseNormal, set_service.SetResponseBlock, set_service.SetResponseList, short.WriteResponse,
    action.ActionResponseNext,
)  # fmt: skip


class Secrecy:
    """Judges the APDUs of one session, in their order. ``names`` are the meter's short names, as far as learned."""

    def __init__(self, quirks: Quirks) -> None:
        self._quirks = quirks
        self._open: dict[int, bool] = {}  # by invoke-id, whether the question and its answer may be shown
        self.names = ShortNames()

    def may_show(self, apdu: bytes, keys: Keys | None, title: bytes | None, *, out: bool) -> bool:
        """Return whether a whole APDU's octets and values may be shown; ``title`` is its sender's."""
        try:
            decoded = self._decoded(apdu, keys, title)
        except ProtocolError:
            decoded = None
        if isinstance(decoded, general_block.GeneralBlock) and not decoded.octets:
            return True  # It acknowledges, and belongs to no question of its own.
        return self._judged_question(decoded) if out else self._judged_answer(decoded)

    def _decoded(self, apdu: bytes, keys: Keys | None, title: bytes | None) -> Acse | Xdlms | None:
        if is_ciphered(apdu):
            ciphered = decode_ciphered(apdu)
            title = ciphered.title or title
            if keys is None or title is None:
                return None
            apdu = unprotect(keys, title, ciphered.control, ciphered.counter, ciphered.payload)
        return decode_apdu(apdu, self._quirks)

    def _judged_question(self, decoded: Acse | Xdlms | None) -> bool:
        if isinstance(decoded, acse.ReleaseRequest):
            return decoded.user_information is None
        if isinstance(decoded, _CONTINUED):
            return self._open.get(_invoke_id(decoded), False)
        about = self._about(decoded)
        if about is None:
            self._open.clear()
            return False
        harmless = all(each is not None and each.class_id not in SECRET_CLASSES for each in about)
        self._open[_invoke_id(decoded)] = harmless
        return harmless

    def _judged_answer(self, decoded: Acse | Xdlms | None) -> bool:
        if isinstance(decoded, notifications.EventNotification):
            return decoded.attribute.class_id not in SECRET_CLASSES
        if isinstance(decoded, notifications.DataNotification | acse.AssociationResponse | acse.ReleaseResponse):
            return True
        if isinstance(decoded, general_block.GeneralBlock) or decoded is None:
            return False
        return isinstance(decoded, _WITHOUT_VALUES) or self._open.get(_invoke_id(decoded), False)

    def _about(self, decoded: Acse | Xdlms | None) -> list[Attribute | None] | None:
        """Return what a question is about, None in the list for an unknown short name; None for no such question."""
        match decoded:
            case get.GetRequestNormal() | set_service.SetRequestNormal() | set_service.SetRequestFirstBlock():
                return [decoded.attribute]
            case action.ActionRequestNormal() | action.ActionRequestFirstBlock():
                return [decoded.method]
            case get.GetRequestList() | set_service.SetRequestList():
                return [attribute for attribute, _ in decoded.items]
            case action.ActionRequestList():
                return list(decoded.methods)
            case access.AccessRequest():
                return [item.attribute for item in decoded.items]
            case short.ReadRequest() | short.WriteRequest():
                found = [self.names.find(variable.name) for variable in decoded.variables]
                return [each[0] if each else None for each in found]
        return None


def _invoke_id(decoded: object) -> int:
    """Return what ties an answer to its question: the invoke-id, long ones below zero; short names have none."""
    if isinstance(decoded, access.AccessRequest | access.AccessResponse):
        return -1 - (decoded.long_invoke & 0xFF_FFFF)
    invoke = getattr(decoded, "invoke", None)
    return invoke.id if invoke is not None else 1 << 8


def bare(shown: Any) -> Any:
    """Return an explanation without its values."""
    if isinstance(shown, dict):
        return {key: bare(value) if key in _HARMLESS else NOT_SHOWN for key, value in shown.items()}
    if isinstance(shown, list):
        return [bare(each) for each in shown]
    return shown
