"""What the demo proves: figures that compare what was taken, what is stored, what the meters know, and what is billed.

Each comparison is between two things that were come by in different ways: the agents' count against the database's, the
stored registers against the simulated meters' own, the bills against an exact recomputation from the meters' energy.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from fractions import Fraction
from typing import Any

import psycopg

from deploy.demo.exact import exact_bill
from deploy.demo.exact_values import ExactBill, Use
from deploy.demo.village_files import Contract, billing_registers, contract_of
from protocols.telemetry.reading import Quality
from simulators.vietnam_days import DAY_MS, local_midnight_ms
from simulators.village import Village, VillageMeter

SELECT_REGISTERS = """
    select meter_id, obis, (extract(epoch from measured_at) * 1000)::bigint, value, quality
    from reading join channel using (channel_id)
    where split_part(obis, '.', 4) = '8' and measured_at between %(start_at)s and %(end_at)s
"""
SELECT_BILLS = """
    select metering_point_id, subtotal, vat, total, solar_purchase.amount, coalesce(solar_purchase.carried_out_wh, 0)
    from bill left join solar_purchase using (bill_id)
    where period_from = %(first_on)s and period_to = %(last_on)s
"""
SELECT_COUNTS = """
    select (select count(*) from reading_conflict), (select coalesce(sum(times), 0)::bigint from quarantine)
"""
DIFFERENCES_TOLD_MAX = 5


@dataclass(slots=True, kw_only=True)
class Figures:
    """The figures of one run of the demo. [readings, Wh, đ]"""

    readings_taken: int = 0
    readings_stored: int = 0
    days_compared: int = 0
    days_differing: int = 0
    conflicts: int = 0
    quarantined: int = 0
    registers_compared: int = 0
    registers_differing: int = 0
    channels_incomplete: int = 0
    energy_in_meters_wh: int = 0
    energy_in_database_wh: int = 0
    healed_from_profile: int = 0
    slots_never_read: int = 0
    bills: int = 0
    bills_held: int = 0
    bills_differing: int = 0
    billed_vnd: int = 0
    purchased_vnd: int = 0
    purchases_waiting: int = 0
    broker_down_batches: int = 0
    replay_s: float = 0.0
    total_s: float = 0.0
    differences: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether everything agrees: stored exactly once, right to the Wh, billed right to the đồng."""
        return (
            self.readings_taken == self.readings_stored > 0
            and self.days_compared > 0
            and not self.days_differing
            and not self.conflicts
            and not self.quarantined
            and self.registers_compared > 0
            and not self.registers_differing
            and not self.channels_incomplete
            and self.energy_in_meters_wh == self.energy_in_database_wh > 0
            and self.healed_from_profile > 0
            and self.broker_down_batches > 0
            and self.bills > 0
            and not self.bills_held
            and not self.bills_differing
        )

    def as_json(self) -> str:
        """Return the figures as one JSON object."""
        return json.dumps({"holds": self.holds, **asdict(self)}, ensure_ascii=False)

    def note(self, difference: str) -> None:
        """Keep the first differences, for whoever must look."""
        if len(self.differences) < DIFFERENCES_TOLD_MAX:
            self.differences.append(difference)


def compare_readings(figures: Figures, taken: Mapping[str, Any], stored: Mapping[str, Any]) -> None:
    """Compare, gateway by gateway and day by day, what the agent took with what the database holds.

    Both map a gateway to a list of ``{"day": "2026-10-01", "readings": n, "digest": "…"}``.
    """
    for gateway in sorted(set(taken) | set(stored)):
        taken_days = {each["day"]: each for each in taken.get(gateway, [])}
        stored_days = {each["day"]: each for each in stored.get(gateway, [])}
        for day in sorted(set(taken_days) | set(stored_days)):
            ours, theirs = taken_days.get(day), stored_days.get(day)
            figures.days_compared += 1
            figures.readings_taken += ours["readings"] if ours else 0
            figures.readings_stored += theirs["readings"] if theirs else 0
            if ours != theirs:
                figures.days_differing += 1
                figures.note(f"{gateway} {day}: taken {ours}, stored {theirs}")


@dataclass(frozen=True, slots=True)
class Month:
    """The replayed month: its civil dates, both inclusive, and the instants at its ends, read every ``slot_ms``."""

    first_on: date
    last_on: date
    slot_ms: int

    @property
    def start_ms(self) -> int:
        """The midnight in Vietnam with which it begins."""
        return local_midnight_ms(self.first_on)

    @property
    def end_ms(self) -> int:
        """The midnight in Vietnam with which it ends."""
        return self.start_ms + ((self.last_on - self.first_on).days + 1) * DAY_MS

    @property
    def slots(self) -> int:
        """How many readings a register has, both ends included."""
        return (self.end_ms - self.start_ms) // self.slot_ms + 1


def compare_energy(figures: Figures, village: Village, connection: psycopg.Connection[Any], month: Month) -> None:
    """Compare every stored register with what the meter itself had counted at that time, to the Wh."""
    start_ms, end_ms = month.start_ms, month.end_ms
    meters = {meter.name: meter for meter in village.meters}
    stored: dict[tuple[str, str], dict[int, int]] = {}
    span = {"start_at": _instant(start_ms), "end_at": _instant(end_ms)}
    for meter, obis, at_ms, value, quality in connection.execute(SELECT_REGISTERS, span):
        stored.setdefault((meter, obis), {})[at_ms] = value
        figures.healed_from_profile += bool(quality & Quality.PROFILE)
        figures.registers_compared += 1
        true = meters[meter].true_wh(obis, at_ms)
        if true != value:
            figures.registers_differing += 1
            figures.note(f"{meter} {obis} at {at_ms}: the meter says {true}, the database {value}")
    for name, meter in meters.items():
        for code in map(str, billing_registers(meter)):
            series = stored.get((name, code), {})
            figures.slots_never_read += month.slots - len(series)
            figures.energy_in_meters_wh += meter.true_wh(code, end_ms) - meter.true_wh(code, start_ms)
            if start_ms not in series or end_ms not in series:
                figures.channels_incomplete += 1
                figures.note(f"{name} {code}: no reading at the month's start or end")
            else:
                figures.energy_in_database_wh += series[end_ms] - series[start_ms]


def compare_bills(figures: Figures, village: Village, connection: psycopg.Connection[Any], month: Month) -> None:
    """Compare every bill with an exact recomputation from the energy that the meter itself has counted."""
    period = {"first_on": month.first_on, "last_on": month.last_on}
    bills = {row[0]: row[1:] for row in connection.execute(SELECT_BILLS, period)}
    for meter in village.meters:
        contract = contract_of(meter)
        exact = exact_bill(_use(meter, contract, month))
        bill = bills.get(contract.metering_point)
        if bill is None:
            figures.bills_held += 1
            figures.note(f"{contract.metering_point} ({meter.name}): no bill")
            continue
        figures.bills += 1
        figures.billed_vnd += bill[2]
        figures.purchased_vnd += bill[3] or 0
        expected = _expected(exact, contract)
        figures.purchases_waiting += contract.solar_regime is not None and exact.purchase is None
        if bill != expected:
            figures.bills_differing += 1
            figures.note(f"{contract.metering_point} ({meter.name}): billed {bill}, exactly {expected}")


def count_trouble(figures: Figures, connection: psycopg.Connection[Any]) -> None:
    """Count conflicts and quarantined messages, of which the demo has none."""
    row = connection.execute(SELECT_COUNTS).fetchone()
    figures.conflicts, figures.quarantined = row or (0, 0)


def _expected(exact: ExactBill, contract: Contract) -> Sequence[int | None]:
    # A purchase whose price of the year is not published yet is no document: it waits.
    purchase = exact.purchase if contract.solar_regime is not None else None
    return (exact.subtotal, exact.vat, exact.total, purchase, int(exact.carry_out_kwh * 1000))


def _use(meter: VillageMeter, contract: Contract, month: Month) -> Use:
    def kwh(obis: str) -> Fraction:
        counted = meter.true_wh(obis, month.end_ms) - meter.true_wh(obis, month.start_ms)
        return Fraction(counted * contract.multiplier, 1000)

    rates = {"BT": kwh("1.0.1.8.1"), "CD": kwh("1.0.1.8.2"), "TD": kwh("1.0.1.8.3")}
    return Use(
        category=contract.category,
        start_on=month.first_on,
        end_on=month.last_on,
        kwh=rates if contract.three_rates else {"SG": kwh("1.0.1.8.0")},
        voltage=contract.voltage or "lt6",
        households=Fraction(contract.households),
        export_kwh=kwh("1.0.2.8.0") if contract.solar_regime else Fraction(0),
        solar=contract.solar_regime,
    )


def _instant(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
