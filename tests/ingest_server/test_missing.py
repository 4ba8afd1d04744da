"""What is missing: declared by the gateway, asked for again, or told as a gap; and clocks that are off."""

import asyncio
import json
import uuid

import psycopg
import pytest

from deploy.cli import main
from ingest_server.database import connect, migrate
from ingest_server.pipeline.asking import TIMES_AWAY_MAX, TIMES_MAX, ask_once
from ingest_server.pipeline.bundle import Arrival, make_bundle
from ingest_server.pipeline.counts import Counts
from ingest_server.pipeline.message import Message, decode
from ingest_server.pipeline.metrics import Snapshot, parse_metrics, render_metrics
from ingest_server.pipeline.monitoring import Requests, requests
from ingest_server.pipeline.quarantine import Limits
from ingest_server.registry import load_registry
from protocols.telemetry.batch import Clocks
from protocols.telemetry.columns import encode_columns
from protocols.telemetry.loss import Loss, Reason
from protocols.telemetry.reading import Reading
from protocols.telemetry.receipt import State, Status, decode_receipt
from protocols.telemetry.resend import Resend, decode_resend
from protocols.telemetry.sequences import SEQUENCE_MAX
from tests.ingest_server.processes import READY, Gateway, Ingest
from tests.ingest_server.stored_directly import (
    GENERATION,
    HALF_HOUR_MS,
    NOW_MS,
    START_MS,
    message,
    receipts_of,
    registry,
    store_transactions,
)
from tests.ingest_server.test_ingest import half_hours, stored

pytestmark = pytest.mark.integration


@pytest.fixture
def dsn(database):
    migrate(database)
    with connect(database) as connection:
        load_registry(connection, registry("g1", 2), "test.toml")
    return database


def reading(step):
    return Reading("g1-M0", "1.0.1.8.0", START_MS + step * HALF_HOUR_MS, 1000 + step)


def batch(sequence):
    return message("g1", sequence, [reading(sequence)])


def loss(*sequences, reason=Reason.SPACE):
    found = Loss("g1", GENERATION, sequences, reason, 40, START_MS, START_MS + HALF_HOUR_MS)
    return Message("congto/v1/g1/readings", found.encode())


def ask(dsn, after_s=0.0):
    """Return what the gateways are asked just now."""
    asked = []

    async def publish(topic, payload):
        asked.append((topic, decode_resend(payload)))
        return True

    async def once():
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            await ask_once(connection, publish, Limits(), after_s)

    asyncio.run(once())
    return asked


def look(dsn):
    async def once():
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            return await requests(connection)

    return asyncio.run(once())


def gaps(dsn):
    with connect(dsn) as connection:
        return connection.execute("select first, last from gateway_sequence_gap order by 1").fetchall()


def test_a_declared_loss_is_receipted_kept_and_no_gap(dsn):
    bundle = make_bundle(
        [Arrival(each, decode(each)) for each in (batch(1), loss((2, 3)))], lambda _: None, lambda _: 0, 0
    )
    ((_, payload),) = receipts_of(bundle)
    assert decode_receipt(payload).sequences == ((1, 3),)
    store_transactions(dsn, [[batch(1), batch(6)], [loss((2, 3))], [loss((2, 3))]])
    assert gaps(dsn) == [(4, 5)]
    with connect(dsn) as connection:
        rows = connection.execute("select sequences::text, reason, readings from gateway_loss").fetchall()
    assert rows == [("{[2,4)}", "space", 40)]
    # Should it come after all, it is stored: readings are worth more than their loss.
    store_transactions(dsn, [[batch(2)]])
    with connect(dsn) as connection:
        assert connection.execute("select count(*) from reading").fetchone() == (3,)


def test_a_gap_that_stays_is_asked_for_until_it_is_filled_or_declared(dsn):
    store_transactions(dsn, [[batch(1), batch(4), batch(7)]])
    assert ask(dsn, after_s=3600) == []
    assert ask(dsn) == [("congto/v1/g1/receipts", Resend("g1", GENERATION, ((2, 3), (5, 6))))]
    store_transactions(dsn, [[batch(2), batch(3), loss((5, 5), reason=Reason.EXPIRED)]])
    assert ask(dsn) == [("congto/v1/g1/receipts", Resend("g1", GENERATION, ((6, 6),)))]
    store_transactions(dsn, [[batch(6)]])
    assert ask(dsn) == []
    with connect(dsn) as connection:
        assert connection.execute("select count(*) from resend_request").fetchone() == (0,)


def test_what_a_restored_database_lacks_is_asked_for_though_one_batch_of_it_came_before_by_itself(dsn):
    """Of a spool that has ended no later batch comes that would show the gap."""
    store_transactions(dsn, [[batch(1)]])
    with connect(dsn) as connection:
        connection.execute(
            "insert into resend_request (gateway_id, generation, watermark) values ('g1', %s, 1)", [GENERATION]
        )
    store_transactions(dsn, [[batch(2)]])
    everything = Resend("g1", GENERATION, ((2, SEQUENCE_MAX),), ((1, SEQUENCE_MAX),))
    assert ask(dsn) == [("congto/v1/g1/receipts", everything)]
    store_transactions(dsn, [[batch(3)]])
    assert ask(dsn) == []


def test_nobody_is_asked_for_ever_and_the_last_time_is_told(dsn, caplog):
    store_transactions(dsn, [[batch(1), batch(3)]])
    assert look(dsn) == Requests(0, 0, 0)
    assert sum(len(ask(dsn)) for _ in range(TIMES_MAX - 1)) == TIMES_MAX - 1
    assert look(dsn) == Requests(1, 0, 0)
    assert "resend.unanswered" not in caplog.text
    assert sum(len(ask(dsn)) for _ in range(4)) == 1
    assert caplog.text.count("resend.unanswered") == 1
    assert look(dsn) == Requests(0, 1, 0)
    text = render_metrics(Snapshot(Counts(), True, True, 0, 0, False, 0.0, requests=look(dsn)))
    assert parse_metrics(text)['resend_requests{state="unanswered"}'] == 1


def test_a_gateway_that_is_away_is_still_asked_when_it_is_back(dsn):
    """After weeks away it has heard of nothing that was asked meanwhile."""
    store_transactions(dsn, [[batch(1), batch(3)]])
    with connect(dsn) as connection:
        connection.execute("update gateway set state = 'offline'")
        connection.commit()
    assert all(len(ask(dsn)) == 1 for _ in range(2 * TIMES_MAX))
    with connect(dsn) as connection:
        connection.execute("update gateway set state = 'online'")
        connection.commit()
    assert sum(len(ask(dsn)) for _ in range(TIMES_MAX)) == TIMES_MAX - TIMES_AWAY_MAX


def test_two_who_look_at_once_ask_once(dsn):
    store_transactions(dsn, [[batch(1), batch(3)]])
    asked = []

    async def publish(_topic, payload):
        asked.append(decode_resend(payload))
        return True

    async def together():
        async with (
            await psycopg.AsyncConnection.connect(dsn, autocommit=True) as one,
            await psycopg.AsyncConnection.connect(dsn, autocommit=True) as two,
        ):
            await asyncio.gather(
                ask_once(one, publish, Limits(), 3600), ask_once(two, publish, Limits(), 3600)
            )  # makes the row
            await one.execute("update resend_request set seen_at = 'epoch'")
            await asyncio.gather(ask_once(one, publish, Limits(), 3600), ask_once(two, publish, Limits(), 3600))

    asyncio.run(together())
    assert len(asked) == 1


def test_a_spool_of_which_nothing_is_known_is_asked_for_all(dsn):
    status = Status("g1", State.ONLINE, NOW_MS, GENERATION, 0, 12, "0.1.0")
    store_transactions(dsn, [[Message("congto/v1/g1/status", status.encode())]])
    everything = ((1, SEQUENCE_MAX),)
    assert ask(dsn) == [("congto/v1/g1/receipts", Resend("g1", GENERATION, everything, everything))]
    store_transactions(dsn, [[batch(1)]])
    assert ask(dsn) == []


def test_clocks_that_are_off_are_kept_and_shown(dsn, capsys, monkeypatch):
    monkeypatch.setenv("CONGTO_DSN", dsn)
    assert main(["ingest", "clocks"]) == 0

    def told(sequence, taken_at_ms, **offsets):
        clocks = Clocks(taken_at_ms, {f"g1-{meter}": offset for meter, offset in offsets.items()})
        payload = encode_columns("g1", GENERATION, ((sequence, sequence),), [reading(sequence)], clocks)
        return Message("congto/v1/g1/readings", payload)

    status = Status("g1", State.ONLINE, NOW_MS - 90_000, GENERATION, 0, 12, "0.1.0")
    messages = [told(1, START_MS, M0=45_000, M1=-3_000, M9=1), told(2, START_MS + 1000, M0=-61_000)]
    store_transactions(
        dsn, [[Message("congto/v1/g1/status", status.encode(), arrived_us=NOW_MS * 1000), *messages], [messages[0]]]
    )
    capsys.readouterr()
    assert main(["ingest", "clocks", "--json"]) == 1
    found = {(each["what"], each["name"]): each["ahead_ms"] for each in json.loads(capsys.readouterr().out)}
    assert found == {("gateway", "g1"): -90_000, ("meter", "g1-M0"): -61_000}
    assert main(["ingest", "clocks", "--limit", "2"]) == 1
    assert "meter g1-M1: 3 s behind" in capsys.readouterr().out


class Keeping(Gateway):
    """A gateway that keeps what was receipted, and sends it again when it is asked."""

    def __init__(self, broker_url, name):
        self.kept = {}
        self.asked = 0
        super().__init__(broker_url, name)

    def publish(self, payload, kind="readings"):
        self.kept[len(self.kept) + 1] = payload
        super().publish(payload, kind)

    def on_request(self, request):
        assert (request.gateway, request.generation) == (self.name, self.generation)
        for first, last in request.sequences:
            for sequence, payload in list(self.kept.items()):
                if first <= sequence <= last:
                    super().publish(payload)
        self.asked += 1


def test_after_a_restore_gateways_send_what_came_after_the_backup(runtime, database, tmp_path, monkeypatch, capsys):
    """Also one that has nothing new to send."""
    migrate(database)
    names = [f"gw-{uuid.uuid4().hex[:8]}" for _ in range(2)]
    with connect(database) as connection:
        load_registry(connection, "".join(registry(name, 2) for name in names), "test.toml")
    restored = f"restored_{uuid.uuid4().hex[:8]}"
    restored_dsn = psycopg.conninfo.make_conninfo(database, dbname=restored)
    gateways = [Keeping(runtime.broker_url, name) for name in names]
    program = Ingest(database, runtime.broker_url)
    try:
        program.start()
        program.wait_for(READY)
        for step in range(5):
            for gateway in gateways:
                gateway.send(half_hours(gateway.name, step, 1))
        for gateway in gateways:
            gateway.wait_for_receipts()
        assert main(["ingest", "backup", "--dsn-file", dsn_file(tmp_path, database), str(tmp_path / "backup")]) == 0
        for step in range(5, 12):
            for gateway in gateways:
                gateway.send(half_hours(gateway.name, step, 1))
        for gateway in gateways:
            gateway.wait_for_receipts()
        program.kill()
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(f"create database {restored}")
        assert (
            main(["ingest", "restore", "--dsn-file", dsn_file(tmp_path, restored_dsn), str(tmp_path / "backup")]) == 0
        )
        program.point_at(restored_dsn)
        program.start()
        gateways[0].send(half_hours(gateways[0].name, 12, 1))
        for _ in gateways:
            program.wait_for(r"resend\.asked")
        for gateway in gateways:
            gateway.wait_until(
                lambda gateway=gateway: gateway.asked and len(stored_in(restored_dsn, gateway)) == len(gateway.sent)
            )
            assert stored_in(restored_dsn, gateway) == sorted(gateway.sent)
        assert gaps(restored_dsn) == []
    finally:
        program.clear()
        for gateway in gateways:
            gateway.close()
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(f"drop database if exists {restored} with (force)")


def stored_in(dsn, gateway):
    with connect(dsn) as connection:
        return stored(connection, gateway)


def dsn_file(directory, dsn):
    path = directory / "dsn"
    path.write_text(dsn, encoding="utf-8")
    return str(path)
