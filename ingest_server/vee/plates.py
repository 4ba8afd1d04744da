"""What meters are, as validation asks: plates, check meters over a month, and what entries of event logs mean."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from billing_core.rounding import ENERGY_WH_MAX
from billing_core.validation import meter_rules, period_rules
from billing_core.validation.finding import Finding
from billing_core.validation.parameters import Columns
from billing_core.validation.series import Status
from billing_core.validation.validate import physical_limit_wh
from ingest_server.billing.columns import MeterRegister
from ingest_server.billing.period import Period
from protocols.telemetry.reading import Quality

if TYPE_CHECKING:
    from ingest_server.vee.gather import Channel

UNKNOWN = -1
DIGITS, MULTIPLIER, INTERVAL, VOLTAGE, CURRENT, PHASES, CLASS, INVERTER = range(8)
PLATE_COLUMNS = 8
DAY_MIN = 1_440
KWH_WH = 1_000
EVERY_MODEL = "*"

# The plate of each channel's meter that is in force on the period's last day; of one day the one entered last.
SELECT_PLATES = """
    select h.channel_id, p.digits, p.multiplier, p.interval_min, p.voltage_v, p.current_max_a, p.phases, p.class_e3,
           p.inverter_w
    from channel h
    cross join lateral (
        select * from meter_plate p where p.meter_id = h.meter_id and p.valid_from <= %(last_on)s
        order by p.valid_from desc, p.plate_id desc limit 1
    ) p
    where h.channel_id = any (%(channels)s::integer[])
"""
# Check meters that hung at these points for all of the period, with their totals at both ends and their class.
SELECT_CHECKS = f"""
    select k.metering_point_id, (e.value - s.value) * k.multiplier, coalesce(p.class_e3, {UNKNOWN})
    from (
        select distinct on (metering_point_id) * from check_meter
        where metering_point_id = any (%(points)s::text[]) and valid_from <= %(first_on)s
        order by metering_point_id, valid_from desc, check_meter_id desc
    ) k
    join channel c on c.meter_id = k.meter_id and c.obis = %(total)s
    join billing_reading s on s.channel_id = c.channel_id and s.measured_at = %(start_at)s
    join billing_reading e on e.channel_id = c.channel_id and e.measured_at = %(end_at)s
    left join lateral (
        select class_e3 from meter_plate p where p.meter_id = k.meter_id and p.valid_from <= %(last_on)s
        order by p.valid_from desc, p.plate_id desc limit 1
    ) p on true
    where (k.valid_to is null or k.valid_to >= %(last_on)s) and s.value >= 0 and e.value >= s.value
      and e.value - s.value <= {ENERGY_WH_MAX} / k.multiplier and (s.quality | e.quality) & {int(Quality.SUSPECT)} = 0
"""  # noqa: S608 - put together from constants
SELECT_LOG_CODES = """
    select distinct on (model, code) model, code, status from meter_log_code order by model, code, log_code_id desc
"""


def load_log_codes(connection: Connection[Any]) -> dict[tuple[str, int], Status]:
    """Return what entries of a model's log say, as somebody entered it."""
    return {
        (model, code): Status(0) if status == "nothing" else Status[status.upper()]
        for model, code, status in connection.execute(SELECT_LOG_CODES)
    }


def load_plates(connection: Connection[Any], channels: Sequence[int], period: Period) -> NDArray[np.int64]:
    """Return the plates of channels, ascending by id; ``UNKNOWN`` is what no plate says. [channels × columns]"""
    plates = np.full((len(channels), PLATE_COLUMNS), UNKNOWN, dtype=np.int64)
    place = {channel: row for row, channel in enumerate(channels)}
    for channel, *told in connection.execute(SELECT_PLATES, {"channels": channels, "last_on": period.last_on}):
        plates[place[channel]] = [UNKNOWN if each is None else each for each in told]
    return plates


def load_checks(connection: Connection[Any], channels: Sequence["Channel"], period: Period) -> NDArray[np.int64]:
    """Return what check meters counted over the period at the channels' points, and their classes. [rows × 2]

    ``UNKNOWN`` where there is none, or where the channel is no total of a meter that hung there for all of the period.
    """
    found = np.full((len(channels), 2), UNKNOWN, dtype=np.int64)
    rows = [
        row
        for row, each in enumerate(channels)
        if each.obis == MeterRegister.SG.value
        and not each.generation
        and each.installed_at <= period.start_at
        and (each.removed_at is None or each.removed_at >= period.end_at)
    ]
    asked = {
        "points": sorted({channels[row].point for row in rows}),
        "total": MeterRegister.SG.value,
        "first_on": period.first_on,
        "last_on": period.last_on,
        "start_at": period.start_at,
        "end_at": period.end_at,
    }
    counted = {point: told for point, *told in connection.execute(SELECT_CHECKS, asked)} if rows else {}
    for row in rows:
        found[row] = counted.get(channels[row].point, UNKNOWN)
    return found


def master_data(channels: Sequence["Channel"], plate: NDArray[np.int64], highest_wh: NDArray[np.int64]) -> Finding:
    """Compare plates to the registry: digits, multiplier and interval; a register too high for its digits differs too.

    Parameters
    ----------
    highest_wh
        The highest that each register showed. [Wh, rows]
    """
    names = {"digits": DIGITS, "multiplier": MULTIPLIER, "interval_min": INTERVAL}
    expected = {name: np.array([getattr(each, name) for each in channels], dtype=np.int64) for name in names}
    reported = {
        name: np.where(plate[:, column] == UNKNOWN, expected[name], plate[:, column]) for name, column in names.items()
    }
    shown = np.array([len(str(max(int(each), 0) // KWH_WH)) for each in highest_wh], dtype=np.int64)
    reported["digits"] = np.where(shown > expected["digits"], shown, reported["digits"])
    finding = meter_rules.v03_master_data(reported, expected)
    told = {f"{name}_{side}": column for side, some in (("plate", reported), ("registry", expected))
            for name, column in some.items()}  # fmt: skip
    return Finding(finding.rule, finding.mask, {**finding.evidence, **told})


def limit_wh(
    channels: Sequence["Channel"], plate: NDArray[np.int64], parameters: Columns, slots_per_day: int
) -> NDArray[np.int64]:
    """Return the most energy of an interval, from the plate and the contracted power; 0 where neither tells it. [Wh]"""
    contracted = np.array([each.contracted_kw for each in channels], dtype=np.int64) * KWH_WH
    carried = physical_limit_wh(
        voltage_v=plate[:, VOLTAGE].clip(0),
        current_a=plate[:, CURRENT].clip(0),
        phases=plate[:, PHASES],
        multiplier=np.array([each.multiplier for each in channels], dtype=np.int64),
        contract_w=contracted,
        slots_per_day=slots_per_day,
        parameters=parameters,
    )
    agreed = contracted * parameters["contract_percent"] // 100 * 24 // slots_per_day
    return np.where(plate[:, VOLTAGE] == UNKNOWN, agreed, carried)


def check_meters(
    energy_wh: NDArray[np.int64], known: NDArray[np.bool_], plate: NDArray[np.int64], check: NDArray[np.int64]
) -> Finding:
    """Hold each month against its check meter's (V41), where both are known and both meters' classes are.

    Parameters
    ----------
    energy_wh, known
        Of the main meter. [rows]
    check
        What the check meter counted, and its class. [rows × 2]
    """
    may = known & (check[:, 0] != UNKNOWN) & (check[:, 1] != UNKNOWN) & (plate[:, CLASS] != UNKNOWN)
    finding = period_rules.v41_check_meter(energy_wh, check[:, 0].clip(0), plate[:, CLASS].clip(0), check[:, 1].clip(0))
    return Finding(finding.rule, finding.mask & may, finding.evidence)
