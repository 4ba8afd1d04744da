"""What is told after differences were proposed: which wait no longer, and where estimates should be trued up first."""

from typing import Any, NamedTuple

from psycopg import Connection

from billing_core.estimation.provenance import Reason
from protocols.telemetry.reading import Quality

SELECT_REPLACED = """
    select f.difference_id, old.difference_id from bill_difference f
    join bill_difference old on old.bill_id = f.bill_id and old.difference_id < f.difference_id
    where f.run_id = %(run)s
      and not exists (select from bill_difference_act a where a.difference_id = old.difference_id)
      and not exists (select from back_billing k where k.difference_id = old.difference_id)
    order by 1, 2 limit %(rows_max)s
"""
# Differences whose bills go on from an estimate that nothing had come for, to a reading of the meter's own. Every ninth
# of ``metered`` is a channel; see billing.pack.
SELECT_BEFORE_TRUE_UP = f"""
    select f.difference_id from bill_difference f
    where f.run_id = %(run)s and exists (
        select from generate_series(1, cardinality(f.metered), 9) as place (n)
        join reading_overlay o on o.channel_id = f.metered[place.n]
         and o.measured_at = timestamptz 'epoch' + f.metered[place.n + 1] * interval '1 microsecond'
         and o.value = f.metered[place.n + 2] and o.reason = {int(Reason.OPEN_END)}
        where f.metered[place.n + 6] >= 0 and f.metered[place.n + 6] & {int(Quality.ESTIMATED)} = 0
          and not exists (select from reading r where r.channel_id = o.channel_id and r.measured_at = o.measured_at))
    order by 1 limit %(rows_max)s
"""  # noqa: S608 - put together from constants


class Notes(NamedTuple):
    """What a run of corrections leaves to be told.

    ``replaced`` are pairs of a new difference and one that waited before it; ``before_true_up`` differences that hold
    all that the estimated periods before their bill were too high or too low.
    """

    replaced: tuple[tuple[int, int], ...]
    before_true_up: tuple[int, ...]


def notes_of_run(connection: Connection[Any], run_id: int | None, rows_max: int) -> Notes:
    """Return what is to be told of a run that proposed differences, the first of each."""
    about = {"run": run_id, "rows_max": rows_max}
    replaced = [(new, old) for new, old in connection.execute(SELECT_REPLACED, about)]
    before = [number for (number,) in connection.execute(SELECT_BEFORE_TRUE_UP, about)]
    return Notes(tuple(replaced), tuple(before))
