"""Whatever order messages come in, however often and however late: the same readings, conflicts and daily energy."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest_server.database import connect, migrate
from ingest_server.registry import load_registry
from protocols.telemetry.reading import Quality, Reading
from tests.ingest_server.stored_directly import (
    DAY_MS,
    HALF_HOUR_MS,
    START_MS,
    message,
    registry,
    store_transactions,
)

pytestmark = pytest.mark.integration

STREAMS = 20  # of one example, each a gateway with a spool of its own
SELECT_READINGS = """
    select meter_id, (extract(epoch from measured_at) * 1000)::bigint, value
    from reading join channel using (channel_id)
"""
SELECT_CONFLICTS = SELECT_READINGS.replace("from reading ", "from reading_conflict ")
SELECT_ENERGY = """
    select meter_id, used_on - date '2025-10-01', energy from daily_energy join channel using (channel_id)
"""


@pytest.fixture(scope="module")
def dsn(module_database):
    migrate(module_database)
    with connect(module_database) as connection:
        load_registry(connection, "".join(registry(f"g{number}", 1) for number in range(STREAMS)), "test.toml")
    return module_database


@st.composite
def streams(draw):
    """Return what each of the gateways has sent, as batches, and the order in which they come, as transactions."""
    sent, messages = [], []
    for number in range(STREAMS):
        gateway, meter = f"g{number}", f"g{number}-M0"
        steps = draw(st.lists(st.sampled_from([0, 1, 2, 47, 48, 49, 96, 144]), unique=True, min_size=1, max_size=8))
        rows = [Reading(meter, "1.0.1.8.0", START_MS + step * HALF_HOUR_MS, 1000 + step) for step in sorted(steps)]
        cut = draw(st.integers(0, len(rows)))
        batches = [part for part in (rows[:cut], rows[cut:]) if part]
        if draw(st.booleans()):  # taken again from the load profile
            batches.append([row._replace(quality=Quality.PROFILE) for row in rows])
        if draw(st.booleans()):  # another gateway's idea of the same reading, or a clone's
            batches.append([rows[0]._replace(value=7)])
        sent += [row for batch in batches for row in batch]
        messages += [message(gateway, sequence, batch) for sequence, batch in enumerate(batches, 1)]
    messages += draw(st.lists(st.sampled_from(messages), max_size=10))
    order = draw(st.permutations(messages))
    cuts = sorted(draw(st.lists(st.integers(0, len(order)), max_size=6)))
    return sent, [order[first:end] for first, end in zip([0, *cuts], [*cuts, len(order)], strict=True)]


def energy_of(readings):
    """Return the energy of each meter's day, by a sum that knows nothing of triggers."""
    at = {(meter, at_ms): value for meter, at_ms, value in readings}
    found = set()
    for (meter, at_ms), value in at.items():
        after = at.get((meter, at_ms + DAY_MS))
        if (at_ms - START_MS) % DAY_MS == 0 and after is not None:
            found.add((meter, (at_ms - START_MS) // DAY_MS, after - value if after >= value else None))
    return found


@given(streams())
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_order_repetition_and_delay_make_no_difference(dsn, drawn):
    sent, transactions = drawn
    with connect(dsn) as connection:
        connection.execute("truncate reading, reading_conflict, gateway_sequence, daily_register")
        connection.commit()
        store_transactions(dsn, transactions)
        readings = connection.execute(SELECT_READINGS).fetchall()
        conflicts = connection.execute(SELECT_CONFLICTS).fetchall()
        assert len({row[:2] for row in readings}) == len(readings)
        # Each value that was sent is kept, once: the first to come as the reading, any other as a conflict.
        assert sorted(readings + conflicts) == sorted({(row.meter, row.measured_at_ms, row.value) for row in sent})
        assert set(connection.execute(SELECT_ENERGY)) == energy_of(readings)
        assert connection.execute("select count(*) from gateway_sequence_gap").fetchone() == (0,)
        # What is changed or withdrawn afterwards changes the days that it belongs to.
        connection.execute("update reading set value = value + 11 where measured_at >= '2025-10-01 17:00+00'")
        connection.execute("delete from reading where measured_at = '2025-10-02 17:00+00' and channel_id % 2 = 0")
        left = connection.execute(SELECT_READINGS).fetchall()
        assert set(connection.execute(SELECT_ENERGY)) == energy_of(left)
        connection.rollback()


def test_what_only_voltage_has_makes_no_daily_register(dsn):
    with connect(dsn) as connection:
        load_registry(connection, registry("gv", 1, '["1.0.32.7.0"]'), "test.toml")
        store_transactions(dsn, [[message("gv", 1, [Reading("gv-M0", "1.0.32.7.0", START_MS, 230_000)])]])
        found = connection.execute("""
            select count(r.value), count(d.value)
            from channel join reading r using (channel_id) left join daily_register d using (channel_id)
            where meter_id = 'gv-M0'
        """).fetchone()
    assert found == (1, 0)
