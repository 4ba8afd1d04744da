"""A small district behind a running API, for all tests of a module."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from ingest_server.billing.acts import Actor, Role
from ingest_server.billing.run import run_billing
from ingest_server.vee.edit import propose_edit
from protocols.telemetry.reading import Quality
from tests.api.server import Api, serving
from tests.billing_runs.district import EXPORT, IMPORT, OCTOBER, Customer, District, household

SCRIPT = "<script>alert(1)</script>"
STEP = timedelta(minutes=30)


@pytest.fixture(scope="module")
def district(module_database: str) -> Iterator[District]:
    """Give seven meters: the second has a day of half hours with a hole, the last is held."""
    found = District(module_database)
    customers = [household(number, name=SCRIPT if number == 3 else "Nguyễn Thị Hoa") for number in range(1, 7)]
    solar = Customer(number=7, registers={IMPORT: (0, 300_000), EXPORT: (0, 400_000)}, solar_regime="net_2017")
    found.add([*customers, solar])
    for slot in range(1, 48):
        if not 10 <= slot < 20:
            quality = Quality.PROFILE if slot == 30 else 0
            found.store("M-0002", IMPORT, OCTOBER.start_at + slot * STEP, 1_000_000 + slot * 100, quality)
    found.forget("M-0006", IMPORT, OCTOBER.end_at)
    found.connection.execute(
        "insert into gateway (gateway_id, state) values ('gw-02', 'offline'), (%s, 'unknown')", [SCRIPT]
    )
    found.connection.execute(
        "insert into gateway_sequence (gateway_id, generation, received) values"
        " ('gw-01', 'a', '{[1,11)}'), ('gw-02', 'b', '{[3,5),[8,11)}')"
    )
    for hour in range(5):
        found.connection.execute(
            "insert into meter_event (meter_id, happened_at, fingerprint, kind, object, code, gateway_id, received_at)"
            " values ('M-0002', %s, %s, 'log', '0.0.99.98.0', %s, 'gw-01', %s)",
            [OCTOBER.start_at + hour * timedelta(hours=1), bytes([hour]), hour, OCTOBER.start_at + timedelta(days=1)],
        )
    found.connection.execute(
        "insert into meter_event (meter_id, happened_at, fingerprint, kind, object, code, value, text, gateway_id)"
        " values ('M-0007', %s, 'b', 'relay', '0.0.96.3.10', 0, 2, %s, 'gw-01'),"
        " ('M-0007', %s, 'a', 'push', null, null, null, null, 'gw-01')",
        [OCTOBER.start_at, SCRIPT, OCTOBER.start_at],
    )
    run_billing(found.dsn, OCTOBER)
    agreed = Actor("Lan", Role.BILLER, "khách hàng đọc")
    propose_edit(
        found.connection, customers[5].point, IMPORT, OCTOBER.end_at, 1_100_000, by_hand=False, agreed=True,
        actor=agreed, now=OCTOBER.end_at + timedelta(days=1),
    )  # fmt: skip
    yield found
    found.close()


@pytest.fixture(scope="module")
def api(district: District) -> Iterator[Api]:
    """Give a running API over the district."""
    with serving(district.dsn) as running:
        yield running
