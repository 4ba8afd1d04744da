"""Two values for one reading: the one that stands, which came first, and each other that came.

Which of them counts a person may say (``congto vee edit``, approved by another): what was put in the place of a reading
(flag 32, SUBSTITUTED) or keyed (64, MANUAL) is taken for bills whatever else came.
"""

from datetime import datetime
from typing import Any, NamedTuple

from psycopg import Connection

SELECT_CONFLICTS = """
    select found.gateway_id, meter_id, obis, unit, found.measured_at, r.value, r.quality, found.value, found.quality,
        generation, sequence, received_at, o.value
    from (
        select c.*, meter_id, obis, unit
        from reading_conflict c
        join channel using (channel_id)
        where (%(gateway)s::text is null or gateway_id = %(gateway)s)
            and (%(meter)s::text is null or meter_id = %(meter)s)
        order by received_at desc, channel_id, measured_at, value
        limit %(most)s
    ) found
    left join reading r using (channel_id, measured_at)
    left join reading_overlay o on (o.channel_id, o.measured_at) = (found.channel_id, found.measured_at)
        and o.quality & 96 <> 0
    order by received_at desc, meter_id, obis, measured_at, found.value
"""
COUNT_CONFLICTS = """
    select count(*), count(o.value)
    from reading_conflict c
    join channel using (channel_id)
    left join reading_overlay o on (o.channel_id, o.measured_at) = (c.channel_id, c.measured_at) and o.quality & 96 <> 0
    where (%(gateway)s::text is null or gateway_id = %(gateway)s) and (%(meter)s::text is null or meter_id = %(meter)s)
"""


class Conflict(NamedTuple):
    """A value that came for a reading that was there with another one. Values are in ``unit``.

    ``gateway``, ``generation`` and ``sequence`` say whose batch it was; of a file ``generation`` is the beginning of
    its hash. What stands is ``None`` if it was withdrawn since, ``decided`` if nobody has said which value counts.
    """

    gateway: str
    meter: str
    obis: str
    unit: str
    measured_at: datetime
    stands: int | None
    stands_quality: int | None
    value: int
    quality: int
    generation: str
    sequence: int
    received_at: datetime
    decided: int | None


def select_conflicts(
    connection: Connection[Any], gateway: str | None, meter: str | None, most: int
) -> tuple[list[Conflict], int, int]:
    """Return at most so many conflicts, those that came last first; how many there are, and how many are decided."""
    given = {"gateway": gateway, "meter": meter, "most": most}
    count, decided = connection.execute(COUNT_CONFLICTS, given).fetchone() or (0, 0)
    return [Conflict(*row) for row in connection.execute(SELECT_CONFLICTS, given)], count, decided
