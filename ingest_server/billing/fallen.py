"""Registers that stand lower at the end of a part than at its begin: what they said at midnights in between says why.

Few fall, so only these cost a look into the daily snapshot.
"""

from typing import Any

import numpy as np
from psycopg import Connection

from billing_core.registers import judge_fall
from ingest_server.billing.columns import ENERGIES, MISSING, FallenRegister, Parts
from ingest_server.billing.period import instant_of, midnight_of, us_of

SELECT_MIDNIGHTS = """
    select taken_on, value from vee_midnight
    where channel_id = %(channel)s and taken_on between %(first_on)s and %(last_on)s order by taken_on
"""


def gather_falls(connection: Connection[Any], parts: Parts) -> tuple[FallenRegister, ...]:
    """Return the registers of a chunk that fell."""
    read = (parts.quality[:, ENERGIES] != MISSING).all(axis=2) & ~parts.conflict[:, ENERGIES].any(axis=2)
    fell = read & (parts.value[:, ENERGIES, 1] < parts.value[:, ENERGIES, 0])
    return tuple(_fall(connection, parts, part, register) for part, register in np.argwhere(fell).tolist())


def _fall(connection: Connection[Any], parts: Parts, part: int, register: int) -> FallenRegister:
    start_us, end_us = int(parts.start_us[part]), int(parts.end_us[part])
    bounds = {
        "channel": int(parts.channel[part, register]),
        "first_on": instant_of(start_us).date(),
        "last_on": instant_of(end_us).date(),
    }
    between = [(us_of(midnight_of(day)), value) for day, value in connection.execute(SELECT_MIDNIGHTS, bounds)]
    old, new = parts.value[part, register].tolist()
    readings = [(start_us, old), *(each for each in between if start_us < each[0] < end_us), (end_us, new)]
    fall = judge_fall(np.array([value for _, value in readings], dtype=np.int64), int(parts.digits[part]))
    before, after = readings[fall.place - 1], readings[fall.place]
    return FallenRegister(part, register, fall.kind, fall.steps, *before, *after)
