"""Load profiles as bills keep them: what was read, so that a replay needs nothing else, and what came of it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from ingest_server.billing.by_interval import Measured
from ingest_server.billing.columns import NONE, Parts, Points
from ingest_server.billing.documents import instant_text
from ingest_server.billing.period import instant_of, us_of
from ingest_server.billing.profile_columns import Profile

PROFILES, DEMAND_W = "profiles", "demand_w"  # keys of what few bills rest on besides


def profiles_by_row(points: Points, measured: Measured) -> dict[int, dict[str, Any]]:
    """Return of each row with load profiles what its bill keeps of them."""
    found: dict[int, dict[str, Any]] = {}
    for place, each in enumerate(points.profiles):
        row = int(points.parts.point[each.part])
        own = found.setdefault(row, {PROFILES: []})
        own[PROFILES].append(_profile(points.parts, each, measured, place))
        if measured.demand_w[row] != NONE:
            own[DEMAND_W] = int(measured.demand_w[row])
    return found


def _profile(parts: Parts, profile: Profile, measured: Measured, place: int) -> dict[str, Any]:
    rates = measured.rates_wh[place].tolist()
    return {
        "meter_id": parts.meter_id[profile.part],
        "begins": instant_text(instant_of(int(parts.start_us[profile.part]))),
        "channel": profile.channel,
        "from": instant_text(instant_of(profile.from_us)),
        "minutes": profile.minutes,
        "energy_wh": profile.energy_wh.tolist(),
        "estimated": profile.estimated,
        "schedules": [[instant_text(instant_of(us)), name] for us, name in profile.schedules],
        "register_wh": int(measured.register_wh[place]),
        "difference_wh": int(measured.difference_wh[place]),
    } | ({"rates_wh": rates} if any(rates) else {})


def stored_profiles(mores: Sequence[Mapping[str, Any]], parts: Parts) -> tuple[Profile, ...]:
    """Return the load profiles that bills keep; ``mores`` are in order of the rows of ``parts``."""
    place_of = {
        (int(parts.point[part]), parts.meter_id[part], int(parts.start_us[part])): part
        for part in range(len(parts.meter_id))
    }
    return tuple(
        Profile(
            part=place_of[row, kept["meter_id"], _us(kept["begins"])],
            channel=kept["channel"],
            from_us=_us(kept["from"]),
            minutes=kept["minutes"],
            energy_wh=np.array(kept["energy_wh"], dtype=np.int64),
            estimated=kept["estimated"],
            schedules=tuple((_us(at), name) for at, name in kept["schedules"]),
        )
        for row, more in enumerate(mores)
        for kept in more.get(PROFILES, ())
    )


def _us(text: str) -> int:
    return us_of(datetime.fromisoformat(text))
