"""What a meter's no means and what to try: the standard's words first, then advice.

Exit status of the tools: 3 the line (silence, no port), 4 the protocol (noise, broken rules), 5 the meter refuses.
"""

from protocols.dlms.codes import ActionResult, DataAccessResult
from protocols.dlms.services import ActionRefused, AssociationRefused, DataAccessError, Event
from protocols.dlms.xdlms.refusals import ConfirmedServiceError, ExceptionResponse
from protocols.errors import CongtoError

PROTOCOL_STATUS, REFUSED_STATUS = 4, 5

OTHER_PROTECTION = "or the meter wants other protection: --protect, --suite"
_SEE_LIST = "`congto dlms list` shows the objects this client sees and its rights"
_STRONGER = f"this client has no right to it; {_SEE_LIST}; try another --client or a stronger --auth"
_BY_CODE: dict[str, str] = {
    "hardware-fault": "the meter reports a fault of its own: look at its display and error register 0.0.97.97.0",
    "temporary-failure": "the meter can't now: try again in a minute",
    "read-write-denied": _STRONGER,
    "object-undefined": f"the meter has no such object for this client; {_SEE_LIST}",
    "object-class-inconsistent": f"the object is of another class; {_SEE_LIST}; write it as CLASS:OBIS:INDEX",
    "object-unavailable": "the object is there but not now: try again, or it is switched off in the configuration",
    "type-unmatched": "the value is of another type: read the attribute first, `read --json` names its type",
    "scope-of-access-violated": _STRONGER,
    "data-block-unavailable": "the range may hold nothing, or too much: ask for a shorter one",
    "long-get-aborted": "the meter gave up in the middle: ask for a shorter range",
    "other-reason": "the meter does not say why: is the index right, the value within its limits, the clock set?",
}
_BY_WORD: tuple[tuple[str, str], ...] = (
    ("authentication-failure", "the secret or key is not this meter's, for this client; do not guess: meters lock"),
    ("refused the proof", "the secret or key is not this meter's, for this client; do not guess: meters lock"),
    ("did not prove", "the meter does not know our secret or key: is it the meter you mean?"),
    ("signature is wrong", "--meter-public-key-file is not this meter's"),
    ("authentication-required", "this client must authenticate: give --auth and the secret"),
    ("authentication-mechanism", "this client takes another mechanism: try another --auth, or --client 16 --auth none"),
    ("application-context", "try --protect both with keys, --protect none without, or --short-names"),
    ("calling-ap-title", "the meter does not know our --system-title"),
    ("invocation-counter-error", "our counter is behind the meter's: give --recover-counter"),
    ("deciphering-error", f"the keys or --system-title are not what the meter has, {OTHER_PROTECTION}"),
    ("service-not-supported", "the meter does not do that service; try without --columns and with --no-lists"),
    ("no-reason-given", "often the secret, the client or its keys: try --client 16 --auth none to see that it answers"),
    ("FRMR", "meter and client disagree on the link: a smaller --info-octets, --window 1; who else is on this line?"),
    ("DM", "the meter is there but takes no link for this client or now: another --client, or wait two minutes"),
    ("object-undefined", _BY_CODE["object-undefined"]),
    ("object-access", _STRONGER),
    ("scope-of-access", _STRONGER),
)


class RefusedError(CongtoError):
    """The meter understood and said no, or has not what was asked for: exit status 5."""


def advice_on(words: str) -> str:
    """Return what to try, as a clause to add; empty where nothing is known."""
    for word, text in _BY_WORD:
        if word in words:
            return f"; {text}"
    return ""


def refusal_of(event: Event, what: str) -> RefusedError | None:
    """Return the refusal that ``event`` is, None when it is none. ``what`` was asked for."""
    if isinstance(event, DataAccessError | ActionRefused):
        return RefusedError(f"{what}: the meter says {event.code.word}{_code_advice(event.code)}")
    if isinstance(event, ExceptionResponse):
        return RefusedError(f"{what}: the meter says exception-response: {event.words}{advice_on(event.words)}")
    if isinstance(event, ConfirmedServiceError):
        return RefusedError(f"{what}: the meter says confirmed-service-error: {event.words}{advice_on(event.words)}")
    if isinstance(event, AssociationRefused):
        return RefusedError(f"no association: the meter says {event.words}{advice_on(event.words)}")
    return None


def _code_advice(code: DataAccessResult | ActionResult) -> str:
    text = _BY_CODE.get(code.word)
    return f"; {text}" if text else ""
