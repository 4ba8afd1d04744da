"""What to ask a meter, as a list of requests: attributes together or singly, profiles in ranges it can serve."""

from collections.abc import Sequence
from datetime import datetime

from protocols.dlms.conformance import Conformance
from protocols.dlms.link import LinkDown, LinkUp
from protocols.dlms.quirks import STRICT, Quirks
from protocols.dlms.selective import CLOCK, CaptureObject, range_of_times, split_by_days
from protocols.dlms.services import (
    Associated,
    Connect,
    DataAccessError,
    Event,
    Get,
    GetBuffer,
    GetList,
    GetResult,
    ListResult,
    Notified,
    Release,
    Request,
)
from protocols.dlms.xdlms.references import Attribute
from protocols.errors import LocalProtocolError
from protocols.obis import Obis

LIST_ITEMS_DEFAULT = 10  # an answer of ten registers fits a PDU of 128 octets, so no meter needs blocks for it


def read_attributes(
    attributes: Sequence[Attribute], granted: Conformance, *, list_items_max: int = LIST_ITEMS_DEFAULT
) -> list[Get | GetList]:
    """Return the requests that read ``attributes`` in order.

    As lists of at most ``list_items_max`` when the meter granted multiple-references and ``list_items_max`` is above
    1, else singly.
    """
    if list_items_max < 1:
        raise LocalProtocolError(f"list_items_max {list_items_max}: expected at least 1")
    gets = [Get(attribute) for attribute in attributes]
    if list_items_max == 1 or Conformance.MULTIPLE_REFERENCES not in granted:
        return list(gets)
    groups = [gets[at : at + list_items_max] for at in range(0, len(gets), list_items_max)]
    return [GetList(tuple(group)) if len(group) > 1 else group[0] for group in groups]


def results_of(event: Event) -> tuple[GetResult | DataAccessError, ...]:
    """Return the values and refusals in the answer to a request of :func:`read_attributes`; empty for other events."""
    if isinstance(event, ListResult):
        return event.results
    return (event,) if isinstance(event, GetResult | DataAccessError) else ()


def read_profile(
    obis: Obis,
    from_at: datetime,
    to_at: datetime,
    *,
    deviation_minutes: int = -420,
    columns: tuple[CaptureObject, ...] = (),
    restricting: CaptureObject = CLOCK,
    quirks: Quirks = STRICT,
) -> list[GetBuffer]:
    """Return the requests that read the rows of profile ``obis`` captured from ``from_at`` to ``to_at``, inclusive.

    One request, or one for each ``quirks.days_per_range_max`` days. ``columns`` selects some; none means all.
    """
    attribute = Attribute(7, obis, 2)
    return [
        GetBuffer(
            attribute,
            range_of_times(
                start,
                end,
                deviation_minutes=deviation_minutes,
                columns=columns,
                restricting=restricting,
                quirks=quirks,
            ).selection(),
        )
        for start, end in split_by_days(from_at, to_at, quirks.days_per_range_max)
    ]


def ends(request: Request, event: Event) -> bool:
    """Return whether ``event`` concludes ``request``: its outcome, or the end of the link."""
    if isinstance(event, LinkDown):
        return True
    if isinstance(request, Connect):
        return isinstance(event, Associated)
    if isinstance(request, Release):
        return False
    return not isinstance(event, LinkUp | Notified)
