"""Bills of the first form, whose inputs and lines were JSON: after the migration they read as they did."""

import json

import psycopg
import pytest

from billing_core.codes import Category
from billing_core.quote import quote
from billing_core.quote_request import QuoteRequest
from ingest_server.billing.replay import replay
from ingest_server.billing.stored import load_bill
from ingest_server.database.migrations import load_migrations, migrate
from tests.billing_runs.district import OCTOBER

pytestmark = pytest.mark.integration
LAST_OF_FIRST_FORM = 10
CONTRACT = {
    "category": "residential", "voltage": None, "households": 1, "three_rates": False, "solar_regime": None
}  # fmt: skip
READINGS = [
    {"at": "2026-09-30T17:00:00Z", "value_wh": 1_000_000, "quality": 0},
    {"at": "2026-10-31T17:00:00Z", "value_wh": 1_165_000, "quality": 1},
]
METERS = [
    {"meter_id": "M-1", "multiplier": 1, "digits": 6,
     "registers": [{"register": "SG", "obis": "1.0.1.8.0", "readings": READINGS, "energy_wh": 165_000}]}
]  # fmt: skip
PEOPLE = """
    insert into gateway (gateway_id) values ('gw-01');
    insert into customer values ('PA01AB0000001', 'Trần Thị An');
    insert into metering_point values ('PA01AB0000001001', 'PA01AB0000001');
    insert into meter (meter_id, gateway_id, model) values ('M-1', 'gw-01', 'test');
    insert into channel (meter_id, obis, unit) values ('M-1', '1.0.1.8.0', 'Wh');
    insert into billing_run (period_from, period_to, code_version) values ('2026-10-01', '2026-10-31', '0.0');
"""
BILL = """
    insert into bill (run_id, metering_point_id, period_from, period_to, energy_wh, subtotal, vat, total, inputs,
                      inputs_hash)
    values (1, 'PA01AB0000001001', '2026-10-01', '2026-10-31', 165000, %s, %s, %s, %s, repeat('ab', 32))
"""
LINE = "insert into bill_line values (1, %s, %s, %s, %s, %s, %s, %s, %s)"


def test_a_bill_of_the_first_form_is_kept_with_its_lines_its_readings_and_their_qualities(database: str) -> None:
    migrate(database, [each for each in load_migrations() if each.version <= LAST_OF_FIRST_FORM])
    answer = quote(
        QuoteRequest(
            category=Category.RESIDENTIAL, start_on=OCTOBER.first_on, end_on=OCTOBER.last_on, energy_wh=165_000
        )
    )
    lines = [line.to_json() for line in (*answer.lines, answer.vat_line)]
    tariff = {"acts": [], "prices": [1984, 2050, 2380], "vat_permille": 80}
    inputs = {
        "schema": 1, "metering_point_id": "PA01AB0000001001", "from": "2026-10-01", "to": "2026-10-31",
        "contract": CONTRACT, "meters": METERS, "tariff": tariff,
    }  # fmt: skip
    with psycopg.connect(database) as connection:
        connection.execute(PEOPLE)
        connection.execute(BILL, [answer.subtotal, answer.vat, answer.total, json.dumps(inputs)])
        for number, line in enumerate(lines, 1):
            wh = round(line["kwh"] * 1000) if "kwh" in line else None
            row = [number, line["kind"], line.get("tier"), line.get("register"), wh, line.get("price"), line["amount"]]
            connection.execute(LINE, [*row, json.dumps(line)])
    migrate(database)
    with psycopg.connect(database) as connection:
        bill = load_bill(connection, 1)
        assert bill is not None
        assert [line["operands"] for line in bill["lines"]] == lines
        told = bill["inputs"]["meters"]
        readings = [each for meter in told for register in meter["registers"] for each in register["readings"]]
        assert [each.pop("version") for each in readings] == [None] * len(readings)
        assert told == METERS
        assert bill["inputs"]["contract"] == CONTRACT
        assert bill["inputs"]["tariff"]["prices"] == tariff["prices"]
        assert (bill["inputs_hash"], bill["document_hash"]) == ("ab" * 32, None)
        assert [each.same for each in replay(connection, bills=[1])] == [True]
