"""A district for tests: a few customers of every kind, or thousands of one, written straight into the tables.

Registers are a function of the customer's number and the instant, so that a test can say what a bill must be without
asking the code under test.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.rows import TupleRow

from ingest_server.billing.period import Period
from ingest_server.database import migrate

OCTOBER = Period.of_month("2026-10")
NOVEMBER = Period.of_month("2026-11")
GATEWAY = "gw-01"
IMPORT, EXPORT = "1.0.1.8.0", "1.0.2.8.0"
RATES = ("1.0.1.8.1", "1.0.1.8.2", "1.0.1.8.3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """A customer with one point and one meter, and what its registers say, by OBIS code: start and end. [Wh]"""

    number: int
    registers: dict[str, tuple[int, int]]
    category: str = "residential"
    voltage: str | None = None
    households: int = 1
    three_rates: bool = False
    solar_regime: str | None = None
    multiplier: int = 1
    name: str = "Nguyễn Thị Hoa"

    @property
    def customer_id(self) -> str:
        return f"PD0100{self.number:07d}"

    @property
    def point(self) -> str:
        return f"{self.customer_id}001"

    @property
    def meter(self) -> str:
        return f"M-{self.number:04d}"


def household(number: int, energy_wh: int = 165_000, start_wh: int = 1_000_000, **terms: Any) -> Customer:
    return Customer(number=number, registers={IMPORT: (start_wh, start_wh + energy_wh)}, **terms)


class District:
    """Tables of one database, filled through one connection."""

    def __init__(self, dsn: str) -> None:
        migrate(dsn)
        self.dsn = dsn
        self.connection: psycopg.Connection[TupleRow] = psycopg.connect(dsn, autocommit=True)
        self.connection.execute("insert into gateway (gateway_id) values (%s)", [GATEWAY])

    def close(self) -> None:
        self.connection.close()

    def add(self, customers: Iterable[Customer], period: Period = OCTOBER, *, contracts: bool = True) -> None:
        """Enter customers, meters, contracts since 2025 and their registers at both ends of ``period``."""
        customers = list(customers)
        self.copy("customer (customer_id, name)", [(c.customer_id, c.name) for c in customers])
        self.copy("metering_point (metering_point_id, customer_id)", [(c.point, c.customer_id) for c in customers])
        self.copy("meter (meter_id, gateway_id, model, digits)", [(c.meter, GATEWAY, "test", 6) for c in customers])
        installed_at = datetime(2025, 1, 1, tzinfo=UTC)
        self.copy(
            "installation (metering_point_id, meter_id, installed_at, multiplier)",
            [(c.point, c.meter, installed_at, c.multiplier) for c in customers],
        )
        self.copy("channel (meter_id, obis, unit)", [(c.meter, obis, "Wh") for c in customers for obis in c.registers])
        if contracts:
            columns = "metering_point_id, valid_from, category, voltage, households, three_rates, solar_regime"
            self.copy(
                f"contract ({columns})",
                [
                    (c.point, "2025-01-01", c.category, c.voltage, c.households, c.three_rates, c.solar_regime)
                    for c in customers
                ],
            )
        self.read(customers, period)

    def read(self, customers: Sequence[Customer], period: Period = OCTOBER) -> None:
        """Store what the registers say at both ends of ``period``."""
        channels = {
            (meter, obis): channel
            for channel, meter, obis in self.rows("select channel_id, meter_id, obis from channel")
        }
        self.copy(
            "reading",
            [
                (channels[c.meter, obis], at, value, 0)
                for c in customers
                for obis, values in c.registers.items()
                for at, value in zip((period.start_at, period.end_at), values, strict=True)
            ],
        )

    def store(self, meter: str, obis: str, at: datetime, value: int, quality: int = 0) -> None:
        """Store one reading of a channel that is there."""
        self.connection.execute(
            "insert into reading select channel_id, %s, %s, %s from channel where meter_id = %s and obis = %s",
            [at, value, quality, meter, obis],
        )

    def forget(self, meter: str, obis: str, at: datetime) -> None:
        """Take a reading away, as if it had never come."""
        self.connection.execute(
            "delete from reading r using channel c where c.channel_id = r.channel_id"
            " and c.meter_id = %s and c.obis = %s and r.measured_at = %s",
            [meter, obis, at],
        )

    def rows(self, query: Any, parameters: Sequence[Any] = ()) -> list[Any]:
        return self.connection.execute(query, list(parameters)).fetchall()

    def value(self, query: Any, parameters: Sequence[Any] = ()) -> Any:
        [[value]] = self.rows(query, parameters)
        return value

    def copy(self, target: str, rows: Iterable[Sequence[Any]]) -> None:
        statement: Any = f"copy {target} from stdin"
        with self.connection.cursor().copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
