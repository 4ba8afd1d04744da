"""The vocabulary of both roles: what a client asks, what it hears.

A refusal is an event: :class:`AssociationRefused`, :class:`DataAccessError`, :class:`ActionRefused`, and the two
APDUs :class:`~protocols.dlms.xdlms.refusals.ExceptionResponse` and ``ConfirmedServiceError``, which have ``words``.
"""

from dataclasses import dataclass
from typing import TypeAlias

from protocols.dlms.acse import Mechanism
from protocols.dlms.codes import ActionResult, AssociationResult, DataAccessResult
from protocols.dlms.conformance import Conformance
from protocols.dlms.data import Data
from protocols.dlms.link import LinkDown, LinkUp
from protocols.dlms.xdlms.notifications import DataNotification, EventNotification
from protocols.dlms.xdlms.references import SECRET_CLASSES, Attribute, Selection
from protocols.dlms.xdlms.refusals import ConfirmedServiceError, ExceptionResponse


def _shown(attribute: Attribute, value: Data | None) -> str:
    """Return what a repr shows of a value: nothing where it may be a secret."""
    return "<not shown>" if attribute.class_id in SECRET_CLASSES and value is not None else repr(value)


# -- requests ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connect:
    """Open the link and the association. Events: LinkUp, then Associated or AssociationRefused."""


@dataclass(frozen=True, slots=True)
class Get:
    """Read one attribute. Event: GetResult or DataAccessError."""

    attribute: Attribute
    selection: Selection | None = None


@dataclass(frozen=True, slots=True)
class GetBuffer:
    """Read one long attribute and leave it encoded. Event: BufferResult or DataAccessError."""

    attribute: Attribute
    selection: Selection | None = None


@dataclass(frozen=True, slots=True)
class GetList:
    """Read several attributes in one request (conformance multiple-references). Event: ListResult."""

    items: tuple[Get, ...]


@dataclass(frozen=True, slots=True)
class Set:
    """Write one attribute. Event: SetDone or DataAccessError."""

    attribute: Attribute
    value: Data
    selection: Selection | None = None

    def __repr__(self) -> str:
        value = _shown(self.attribute, self.value)
        return f"Set(attribute={self.attribute!r}, value={value}, selection={self.selection!r})"


@dataclass(frozen=True, slots=True)
class SetList:
    """Write several attributes in one request (conformance multiple-references). Event: SetListResult."""

    items: tuple[Set, ...]


@dataclass(frozen=True, slots=True)
class Act:
    """Invoke a method; its index is in ``method.index``. Event: ActionDone or ActionRefused."""

    method: Attribute
    parameter: Data | None = None

    def __repr__(self) -> str:
        return f"Act(method={self.method!r}, parameter={_shown(self.method, self.parameter)})"


@dataclass(frozen=True, slots=True)
class ActList:
    """Invoke several methods in one request (conformance multiple-references). Event: ActListResult."""

    items: tuple[Act, ...]


@dataclass(frozen=True, slots=True)
class Access:
    """Read, write and act in one request (conformance access; logical names only). Event: AccessResult."""

    items: tuple[Get | Set | Act, ...]


@dataclass(frozen=True, slots=True)
class Release:
    """Close the association and the link. Events: Released (unless the quirk leaves RLRQ out), then LinkDown."""


Service: TypeAlias = Get | GetBuffer | GetList | Set | SetList | Act | ActList | Access
Request: TypeAlias = Connect | Service | Release

# -- events -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Associated:
    """The association is open, with what the meter granted. ``pdu_octets_max`` is the longest APDU it takes."""

    conformance: Conformance
    pdu_octets_max: int
    mechanism: Mechanism
    server_title: bytes | None = None


@dataclass(frozen=True, slots=True)
class AssociationRefused:
    """The meter refused the association; the link is being closed. ``words`` are the standard's."""

    result: AssociationResult
    words: str


@dataclass(frozen=True, slots=True)
class GetResult:
    """The value of an attribute."""

    attribute: Attribute
    value: Data


@dataclass(frozen=True, slots=True)
class BufferResult:
    """The value of an attribute in A-XDR, not decoded; see :mod:`protocols.dlms.profile`."""

    attribute: Attribute
    octets: bytes


@dataclass(frozen=True, slots=True)
class DataAccessError:
    """The meter refused to read or write an attribute; ``code.word`` is the standard's."""

    attribute: Attribute
    code: DataAccessResult


@dataclass(frozen=True, slots=True)
class ListResult:
    """The answers to a GetList, in its order."""

    results: tuple[GetResult | DataAccessError, ...]


@dataclass(frozen=True, slots=True)
class SetDone:
    """The attribute was written."""

    attribute: Attribute


@dataclass(frozen=True, slots=True)
class SetListResult:
    """The answers to a SetList, in its order."""

    results: tuple[SetDone | DataAccessError, ...]


@dataclass(frozen=True, slots=True)
class ActionDone:
    """The method succeeded; ``value`` is what it returned, if anything."""

    method: Attribute
    value: Data | None


@dataclass(frozen=True, slots=True)
class ActionRefused:
    """The meter refused the method, or could not return its value; ``code.word`` is the standard's."""

    method: Attribute
    code: ActionResult | DataAccessResult


@dataclass(frozen=True, slots=True)
class ActListResult:
    """The answers to an ActList, in its order."""

    results: tuple[ActionDone | ActionRefused, ...]


@dataclass(frozen=True, slots=True)
class AccessResult:
    """The outcomes of an Access, in its order."""

    results: tuple[GetResult | SetDone | DataAccessError | ActionDone | ActionRefused, ...]


@dataclass(frozen=True, slots=True)
class Released:
    """The meter confirmed the release of the association."""

    reason: int | None


@dataclass(frozen=True, slots=True)
class Notified:
    """The meter pushed something."""

    notification: DataNotification | EventNotification


Answer: TypeAlias = (
    GetResult
    | BufferResult
    | ListResult
    | DataAccessError
    | SetDone
    | SetListResult
    | ActionDone
    | ActionRefused
    | ActListResult
    | AccessResult
    | ExceptionResponse
    | ConfirmedServiceError
)
Event: TypeAlias = LinkUp | LinkDown | Associated | AssociationRefused | Answer | Released | Notified
