"""What the demo shows: the table of bills and the figures, for a terminal."""

from typing import Any

import psycopg
from rich import box
from rich.console import Console
from rich.table import Table

from deploy.demo.figures import Figures, Month

CATEGORIES = {
    "residential": "sinh hoạt",
    "business": "kinh doanh",
    "production": "sản xuất",
    "hospital_school": "trường, viện",
    "lighting_admin": "công cộng",
}
METER_WIDTH_MIN, AMOUNT_WIDTH_MIN = 6, 11  # of a factory's bill: no digit may be cut off
NAME_WIDTH_MAX = 22  # the table fits into 80 columns
SELECT_TABLE = """
    select installation.meter_id, customer.name, contract.category, contract.solar_regime, bill.energy_wh, bill.total,
           solar_purchase.amount
    from bill
    join metering_point using (metering_point_id)
    join customer using (customer_id)
    join installation on installation.metering_point_id = bill.metering_point_id and installation.removed_at is null
     and installation.role = 'supply'
    join contract on contract.metering_point_id = bill.metering_point_id and contract.valid_to is null
    left join solar_purchase using (bill_id)
    where period_from = %(first_on)s and period_to = %(last_on)s
    order by installation.meter_id
"""


def show_bills(console: Console, connection: psycopg.Connection[Any], month: Month) -> None:
    """Print the month's bills as a table."""
    table = Table(title=f"Hóa đơn tiền điện · Bills {month.first_on:%m/%Y}", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Công tơ", no_wrap=True, min_width=METER_WIDTH_MIN)
    table.add_column("Khách hàng · Customer", no_wrap=True, max_width=NAME_WIDTH_MAX)
    table.add_column("Mục đích", no_wrap=True)
    for heading in ("kWh", "Tiền điện (đ)", "Mua lại (đ)"):
        table.add_column(heading, justify="right", no_wrap=True, min_width=AMOUNT_WIDTH_MIN)
    period = {"first_on": month.first_on, "last_on": month.last_on}
    for meter, name, category, solar, energy_wh, total, bought in connection.execute(SELECT_TABLE, period):
        purchase = "" if solar is None else "chờ giá" if bought is None else _grouped(bought)
        table.add_row(
            meter,
            name,
            CATEGORIES.get(category, category),
            _grouped((energy_wh + 500) // 1000),
            _grouped(total),
            purchase,
        )
    console.print(table)
    console.print("[dim]chờ giá: the purchase from the roof waits for the year's price, which no source gives yet")


def show_figures(console: Console, figures: Figures) -> None:
    """Print what was compared, and whether it holds."""
    table = Table(title="What was compared", show_header=False)
    taken, stored = f"{figures.readings_taken:,}", f"{figures.readings_stored:,}"
    rows = [
        ("readings taken by the agents · stored", f"{taken} · {stored}", figures.days_differing == 0),
        (
            f"digests of {figures.days_compared} gateway days that differ",
            figures.days_differing,
            not figures.days_differing,
        ),
        (
            f"of {figures.registers_compared:,} register readings, other than the meter's own",
            figures.registers_differing,
            not figures.registers_differing,
        ),
        (
            "energy in the meters · in the database",
            f"{figures.energy_in_meters_wh:,} · {figures.energy_in_database_wh:,} Wh",
            figures.energy_in_meters_wh == figures.energy_in_database_wh,
        ),
        ("batches that waited while the broker was away", figures.broker_down_batches, figures.broker_down_batches > 0),
        ("readings filled from load profiles", figures.healed_from_profile, figures.healed_from_profile > 0),
        ("register readings that a silent Modbus meter never gave", figures.slots_never_read, True),
        ("conflicts · quarantined", f"{figures.conflicts} · {figures.quarantined}", not figures.conflicts),
        (
            f"of {figures.bills} bills, other than an exact recomputation",
            figures.bills_differing,
            not figures.bills_differing,
        ),
        ("bills held", figures.bills_held, not figures.bills_held),
        ("month replayed in · demo so far", f"{figures.replay_s} · {figures.total_s} s", True),
    ]
    for name, value, good in rows:
        table.add_row(name, str(value), "[green]✓" if good else "[red]✗")
    console.print(table)
    for difference in figures.differences:
        console.print(f"[red]{difference}")


def _grouped(amount: int) -> str:
    return f"{amount:,}".replace(",", ".")
