"""Half-hourly registers of a few households, as a function of the instant, so that a test knows what was true."""

from datetime import datetime, timedelta
from random import Random

from tests.billing_runs.district import IMPORT, OCTOBER, Customer, District, household

HALF_HOUR = timedelta(minutes=30)
DAY_SHAPE = [60] * 12 + [180, 240, 200, 150] + [120] * 16 + [260, 420, 500, 480, 350, 260] + [150, 90] + [60] * 8
NOW = datetime.fromisoformat("2026-11-24T00:00:00+00:00")


def usage(number: int, slot: int) -> int:
    """Return what a household takes in a half hour of the window. [Wh]"""
    return DAY_SHAPE[slot % 48] + Random(slot * 1_000 + number).randrange(97)


def registers(number: int, *, before: int = 14, after: int = 7) -> list[tuple[datetime, int]]:
    """Return the readings from days before October to days after it. [Wh]"""
    start = OCTOBER.start_at - timedelta(days=before)
    value, found = 1_000_000 + number * 1_000, []
    for slot in range((before + 31 + after) * 48 + 1):
        found.append((start + slot * HALF_HOUR, value))
        value += usage(number, slot)
    return found


def install(district: District, numbers: list[int]) -> list[Customer]:
    """Enter households with all their half-hourly readings."""
    customers = [household(number, energy_wh=1) for number in numbers]
    district.add(customers)
    district.connection.execute("delete from reading")
    for customer in customers:
        [[channel]] = district.rows("select channel_id from channel where meter_id = %s", [customer.meter])
        with district.connection.cursor().copy("copy reading from stdin") as copy:
            for at, value in registers(customer.number):
                copy.write_row((channel, at, value, 0))
    return customers


def lose(district: District, customer: Customer, first: datetime, count: int) -> dict[datetime, int]:
    """Take away readings of consecutive half hours; return them."""
    lost = dict(registers(customer.number))
    instants = [first + step * HALF_HOUR for step in range(count)]
    for at in instants:
        district.forget(customer.meter, IMPORT, at)
    return {at: lost[at] for at in instants}
