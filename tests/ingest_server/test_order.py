"""Whatever order messages come in, however often and however late: the same readings, conflicts and daily energy."""

from random import Random

import numpy as np
import pytest

from ingest_server.database import connect, migrate
from ingest_server.pipeline import suspects
from ingest_server.pipeline.compare import Compared, compare
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

STREAMS = 250  # of one world, each a gateway with a spool of its own
WORLDS = 40  # 10,000 streams
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


def streams(chance):
    """Return what each of the gateways has sent, as batches, and the order in which they come, as transactions."""
    sent, messages = [], []
    for number in range(STREAMS):
        gateway, meter = f"g{number}", f"g{number}-M0"
        steps = chance.sample([0, 1, 2, 47, 48, 49, 96, 144], chance.randint(1, 8))
        rows = [Reading(meter, "1.0.1.8.0", START_MS + step * HALF_HOUR_MS, 1000 + step) for step in sorted(steps)]
        cut = chance.randint(0, len(rows))
        batches = [part for part in (rows[:cut], rows[cut:]) if part]
        if chance.random() < 0.5:  # taken again from the load profile
            batches.append([row._replace(quality=Quality.PROFILE) for row in rows])
        if chance.random() < 0.5:  # another gateway's idea of the same reading, or a clone's
            batches.append([rows[0]._replace(value=7)])
        sent += [row for batch in batches for row in batch]
        messages += [message(gateway, sequence, batch) for sequence, batch in enumerate(batches, 1)]
    messages += chance.choices(messages, k=chance.randint(0, STREAMS))
    chance.shuffle(messages)
    cuts = sorted(chance.randint(0, len(messages)) for _ in range(chance.randint(0, 12)))
    return sent, [messages[first:end] for first, end in zip([0, *cuts], [*cuts, len(messages)], strict=True)]


def energy_of(readings):
    """Return the energy of each meter's day, by a sum that knows nothing of triggers."""
    at = {(meter, at_ms): value for meter, at_ms, value in readings}
    found = set()
    for (meter, at_ms), value in at.items():
        after = at.get((meter, at_ms + DAY_MS))
        if (at_ms - START_MS) % DAY_MS == 0 and after is not None:
            found.add((meter, (at_ms - START_MS) // DAY_MS, after - value if after >= value else None))
    return found


def check_world(dsn, seed):
    """Send everything in some order; the readings, conflicts and days must be those that any order gives."""
    sent, transactions = streams(Random(seed))
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
        connection.execute("delete from reading where measured_at = '2025-10-02 17:00+00' and channel_id % 4 = 1")
        left = connection.execute(SELECT_READINGS).fetchall()
        assert set(connection.execute(SELECT_ENERGY)) == energy_of(left)
        connection.rollback()


@pytest.mark.parametrize("seed", range(WORLDS))
def test_order_repetition_and_delay_make_no_difference(dsn, seed):
    check_world(dsn, seed)


def test_the_check_sees_days_that_do_not_follow(dsn):
    """Planted: a midnight's register stays when its reading is withdrawn."""
    with connect(dsn) as connection:
        (defined,) = connection.execute("select pg_get_functiondef('keep_daily_register'::regproc)").fetchone()
        connection.execute(defined.replace("if tg_op <> 'INSERT'", "if tg_op = 'UPDATE'"))
        connection.commit()
        with pytest.raises(AssertionError):
            check_world(dsn, 0)
        connection.execute(defined)
        connection.commit()
    check_world(dsn, 0)


def test_the_check_sees_a_value_that_is_forgotten(dsn, monkeypatch):
    """Planted: what comes with another value in the same transaction is compared with what is stored alone."""

    def keys(rows):
        return rows.channel_id.astype(np.int64) * (1 << 42) + rows.at_ms

    def forgetful(staged, place, value):
        compared = compare(staged, place, value)
        stored = np.isin(keys(compared.conflicts.rows), keys(staged.rows)[place])
        return Compared(compared.new, compared.conflicts.chosen(stored), compared.duplicates)

    with monkeypatch.context() as planted:
        planted.setattr(suspects, "compare", forgetful)
        with pytest.raises(AssertionError):
            check_world(dsn, 0)
    check_world(dsn, 0)


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
