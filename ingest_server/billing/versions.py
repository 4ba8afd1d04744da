"""Which version of a reading a bill rests on: the meter's own, or one that people put beside it and who they are.

A bill keeps of each reading its channel, instant, value and quality. These, and the moment when it was made, name the
version: of the changes that were approved by then the newest with that very value. So no bill has to be written anew
for its versions to be told, and the hash of its inputs stays what it was. Where no change has the value, it is what the
meter said.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TypeAlias

from psycopg import Connection
from psycopg.rows import dict_row

from billing_core.estimation.provenance import Method, Reason
from billing_core.explain import Language
from ingest_server.billing.documents import instant_text
from ingest_server.billing.period import civil_text
from ingest_server.vee.words import KIND_WORDS, METHOD_WORDS, REASON_WORDS

Key: TypeAlias = tuple[int, datetime]
"""Channel and instant of a reading."""

SELECT_VERSIONS = """
    select v.channel_id, v.measured_at, v.value, v.quality, v.method, v.reason, c.change_id, c.kind, c.made_by,
           c.made_at, c.why, a.actor as approved_by, a.role, a.acted_at as approved_at
    from reading_version v
    join reading_change c using (change_id)
    join reading_change_act a using (change_id)
    where a.act = 'approve' and a.acted_at <= %(made_at)s
      and v.channel_id = any (%(channels)s::integer[]) and v.measured_at = any (%(instants)s::timestamptz[])
    order by a.act_id desc
"""
SENTENCES = {
    Language.VI: {
        "changed": "bản sửa số {change}: {kind}{method}{reason}, {maker} lập, {approver} duyệt {on}",
        "undone": "trả lại chỉ số của công tơ theo bản sửa số {change}, {maker} lập, {approver} duyệt {on}",
        "method": ", cách làm {method}",
        "reason": ", lý do {reason}",
    },
    Language.EN: {
        "changed": "change {change}: {kind}{method}{reason}, made by {maker}, approved by {approver} on {on}",
        "undone": "the meter's own, given back by change {change}, made by {maker}, approved by {approver} on {on}",
        "method": ", by {method}",
        "reason": ", as {reason}",
    },
}
DAYS = {Language.VI: "%d/%m/%Y", Language.EN: "%Y-%m-%d"}


def versions_of(
    connection: Connection[Any], readings: Iterable[tuple[int, datetime, int, int]], made_at: datetime
) -> dict[Key, dict[str, Any]]:
    """Return the versions of readings that were not the meter's own, by channel and instant.

    Parameters
    ----------
    readings
        Channel, instant, value and quality, as the document has them.
    made_at
        When the document was made.
    """
    wanted = {(channel, at): (value, quality) for channel, at, value, quality in readings}
    parameters = {
        "made_at": made_at,
        "channels": sorted({channel for channel, _ in wanted}),
        "instants": sorted({at for _, at in wanted}),
    }
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(SELECT_VERSIONS, parameters).fetchall()
    found: dict[Key, dict[str, Any]] = {}
    undone: dict[Key, dict[str, Any]] = {}
    seen: set[Key] = set()
    for row in rows:
        key = (row["channel_id"], row["measured_at"])
        if key not in wanted or key in found:
            continue
        if row["value"] is None and key not in seen:
            undone[key] = row
        elif (row["value"], row["quality"]) == wanted[key]:
            found[key] = row
        seen.add(key)
    return {key: _version_json(row) for key, row in (undone | found).items()}


def _version_json(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "change_id": row["change_id"],
        "kind": row["kind"],
        "method": Method(row["method"]).name.lower(),
        "reason": Reason(row["reason"]).name.lower(),
        "made_by": row["made_by"],
        "made_at": instant_text(row["made_at"]),
        "why": row["why"],
        "approved_by": row["approved_by"],
        "role": row["role"],
        "approved_at": instant_text(row["approved_at"]),
    }


def version_text(version: Mapping[str, Any], language: Language) -> str:
    """Return who made a version, how, why, and who approved it, to stand behind a reading."""
    say, tongue = SENTENCES[language], language.value
    method, reason = Method[version["method"].upper()], Reason[version["reason"].upper()]
    by_hand = method in (Method.NONE, Method.EDITED)
    return say["undone" if version["kind"] == "undo" else "changed"].format(
        change=version["change_id"],
        kind=KIND_WORDS[tongue][version["kind"]],
        method="" if by_hand else say["method"].format(method=METHOD_WORDS[tongue][method]),
        reason="" if reason is Reason.NONE else say["reason"].format(reason=REASON_WORDS[tongue][reason]),
        maker=version["made_by"],
        approver=version["approved_by"],
        on=civil_text(datetime.fromisoformat(version["approved_at"]), DAYS[language]),
    )
