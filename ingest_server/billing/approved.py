"""Readings that people put beside the meters' own, and another person approved (:mod:`ingest_server.vee`)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from ingest_server.billing.period import instant_of
from ingest_server.database.binary_rows import Field, fetch_columns
from protocols.telemetry.reading import Quality

PUT_IN = int(Quality.SUBSTITUTED | Quality.MANUAL)  # stands in the place of what the meter said; an estimate does not
SELECT_APPROVED = """
    select channel_id, value, quality from reading_overlay
    where measured_at = %(at)s and channel_id between %(lowest)s and %(highest)s
"""
_LAYOUT = {"channel": Field("i4"), "value": Field("i8"), "quality": Field("i2")}


def with_approved(
    connection: Connection[Any], us: int, channels: NDArray[np.int64], stored: dict[str, Any]
) -> dict[str, Any]:
    """Return what counts at one instant: what is stored, with what was approved beside it.

    An approved estimate counts while the meter's own reading is not there; what was put in its place always does. Where
    nothing was ever approved this costs a look into an empty table.

    Parameters
    ----------
    us
        The instant, in microseconds since 1970 UTC.
    channels
        Which ones are wanted, ascending and not empty.
    stored
        Columns ``channel``, ``value`` and ``quality``, each channel once.
    """
    parameters = {"at": instant_of(us), "lowest": int(channels[0]), "highest": int(channels[-1])}
    approved = fetch_columns(connection, SELECT_APPROVED, parameters, _LAYOUT)
    if not approved["channel"].size:
        return stored
    replaces = (approved["quality"] & PUT_IN) != 0
    taken = replaces | ~np.isin(approved["channel"], stored["channel"])
    stands = ~np.isin(stored["channel"], approved["channel"][replaces])
    return {name: np.concatenate([stored[name][stands], approved[name][taken]]) for name in _LAYOUT}
