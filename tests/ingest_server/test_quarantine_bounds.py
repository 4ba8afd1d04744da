"""The quarantine is bounded, what is given up is counted, and neither holds up the neighbours."""

import asyncio
import json
import re
import urllib.error
import urllib.request
import uuid
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.cli import build_parser, main
from ingest_server.commands_quarantine import KINDS
from ingest_server.database import connect, migrate
from ingest_server.pipeline.bundle import Bundle
from ingest_server.pipeline.message import Refusal, Rejected
from ingest_server.pipeline.metrics import GIVEN_UP_TOLD_S, complaints, parse_metrics
from ingest_server.pipeline.quarantine import (
    GROUP_MIB_DEFAULT,
    MIB_MAX,
    ROW_OCTETS,
    STRANGERS,
    TOTAL_MIB_DEFAULT,
    Limits,
    how_many_fit,
)
from ingest_server.pipeline.readmit import readmit
from ingest_server.pipeline.store import open_connection, store
from ingest_server.registry import load_registry
from protocols.errors import UsageError
from protocols.telemetry.reading import Reading
from tests.ingest_server.processes import READY, Gateway, Ingest
from tests.ingest_server.stored_directly import NOW_MS, START_MS, message, registry, store_transactions
from tests.ingest_server.test_ingest import half_hours
from tests.ingest_server.test_metrics import WELL

SMALL = Limits(group_octets=8 * ROW_OCTETS, total_octets=20 * ROW_OCTETS, renew_s=0.0)
SELECT_GROUPS = "select gateway_id, kind, messages, octets, given_up, given_up_octets from quarantine_group"
SELECT_FIRSTS = """
    select distinct on (gateway_id, kind) gateway_id, kind, payload from quarantine order by 1, 2, quarantine_id
"""
SELECT_HELD = """
    select gateway_id, kind, count(*), sum(quarantine_octets(payload, topic, reason))::bigint
    from quarantine
    where not latest
    group by 1, 2
"""


def refused(gateway: str, payload: bytes, kind: Refusal = Refusal.BROKEN) -> Rejected:
    return Rejected(f"congto/v1/{gateway}/readings", payload, f"bad: {kind.value}", kind=kind)


def put(dsn: str, bundles, limits: Limits = SMALL) -> list[int]:
    """Store each list of refusals in a transaction of its own; return how many each gave up."""

    async def store_all() -> list[int]:
        async with await open_connection(dsn) as connection:
            return [(await store(connection, Bundle(rejected=each), limits)).given_up for each in bundles]

    return asyncio.run(store_all())


@given(st.lists(st.integers(1, 30), max_size=20), st.integers(-5, 100), st.booleans())
def test_what_fits_is_the_longest_beginning_that_the_room_holds(sizes, room, empty):
    kept = how_many_fit(sizes, room, empty=empty)
    assert sum(sizes[:kept]) <= max(room, 0) or (empty and kept == 1)
    if kept < len(sizes):
        assert sum(sizes[: kept + 1]) > room
    assert not (empty and sizes) or kept


def test_the_command_knows_the_kinds_and_the_defaults_of_the_program():
    assert set(KINDS) == {each.value for each in Refusal} | {"earlier"}
    given_ = build_parser(("ingest",)).parse_args(["ingest", "run"])
    assert (given_.quarantine_mib, given_.quarantine_total_mib) == (GROUP_MIB_DEFAULT, TOTAL_MIB_DEFAULT)
    assert Limits.of_mib(GROUP_MIB_DEFAULT, TOTAL_MIB_DEFAULT) == Limits()


@pytest.mark.parametrize("mib", [(0, 5), (6, 5), (1, MIB_MAX + 1), (-1, -1)])
def test_impossible_maxima_are_refused(mib):
    with pytest.raises(UsageError, match="--quarantine-mib"):
        Limits.of_mib(*mib)


def test_health_tells_that_the_quarantine_is_full_for_an_hour():
    (reason,) = complaints(WELL._replace(gave_up_s=1.0))
    assert "congto ingest quarantine" in reason
    assert complaints(WELL._replace(gave_up_s=GIVEN_UP_TOLD_S + 1)) == []


FLOODS = st.lists(
    st.lists(
        st.tuples(st.sampled_from(["g1", "g2", "x1", "x2"]), st.integers(0, 40), st.sampled_from(list(Refusal)[:2])),
        min_size=1,
        max_size=12,
    ),
    min_size=1,
    max_size=8,
)


@pytest.fixture(scope="module")
def flooded(module_database):
    migrate(module_database)
    with connect(module_database) as connection:
        load_registry(connection, registry("g1", 1) + registry("g2", 1), "test.toml")
    return module_database


@pytest.mark.integration
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(floods=FLOODS)
def test_however_it_is_flooded_it_stays_within_its_maxima_and_each_message_is_kept_or_counted(flooded, floods):
    with connect(flooded) as connection:
        connection.execute("truncate quarantine, quarantine_group")
    bundles = [[refused(gateway, b"%d" % what, kind) for gateway, what, kind in each] for each in floods]
    given_up = put(flooded, bundles)
    with connect(flooded) as connection:
        groups = {tuple(row[:2]): row[2:] for row in connection.execute(SELECT_GROUPS)}
        held = {tuple(row[:2]): row[2:] for row in connection.execute(SELECT_HELD)}
        latest = connection.execute("select gateway_id, kind, payload from quarantine where latest").fetchall()
        (came,) = connection.execute("select coalesce(sum(times), 0) from quarantine").fetchone()
        firsts = connection.execute(SELECT_FIRSTS).fetchall()
    assert set(held) == set(groups)
    for group, (messages, octets, *_) in groups.items():
        assert (messages, octets) == held[group]
        assert octets <= SMALL.group_octets or messages == 1
    firsts_only = sum(octets for messages, octets, *_ in groups.values() if messages == 1)
    assert sum(octets for _, octets, *_ in groups.values()) <= SMALL.total_octets + firsts_only
    assert came + sum(given_up) == sum(map(len, bundles))
    assert sum(row[2] for row in groups.values()) == sum(given_up)
    assert {gateway for gateway, _ in groups} <= {"g1", "g2", STRANGERS}
    named = [
        ((gateway if gateway in ("g1", "g2") else STRANGERS, kind.value), b"%d" % what)
        for each in floods
        for gateway, what, kind in each
    ]
    assert {(row[0], row[1]): bytes(row[2]) for row in firsts} == dict(reversed(named))
    assert len({tuple(row[:2]) for row in latest}) == len(latest)


@pytest.mark.integration
def test_a_full_group_keeps_the_first_messages_and_renews_the_latest_only_now_and_then(flooded):
    with connect(flooded) as connection:
        connection.execute("truncate quarantine, quarantine_group")
    slow = replace(SMALL, renew_s=3600.0)
    payloads = [b"%03d" % number for number in range(30)]
    assert sum(put(flooded, [[refused("g1", each)] for each in payloads[:-1]], slow)) == 21
    with connect(flooded) as connection:
        latest = connection.execute("select payload from quarantine where latest").fetchall()
        (kept_first,) = connection.execute("select count(*) from quarantine where not latest").fetchone()
    assert latest == [(payloads[kept_first],)]
    assert put(flooded, [[refused("g1", payloads[-1])]], SMALL) == [1]
    with connect(flooded) as connection:
        kept = [bytes(row[0]) for row in connection.execute("select payload from quarantine order by quarantine_id")]
    assert kept == [*payloads[: len(kept) - 1], payloads[-1]]


@pytest.mark.integration
def test_what_a_readmitted_message_leaves_is_kept_however_full_it_is(flooded):
    with connect(flooded) as connection:
        connection.execute("truncate quarantine, quarantine_group")
    put(flooded, [[refused("g1", b"%d" % number)] for number in range(20)])
    with connect(flooded) as connection:
        ((number,),) = connection.execute("select min(quarantine_id) from quarantine").fetchall()
    rest = [refused("g1", b"a"), refused("g1", b"b"), refused("g1", b"c", Refusal.FUTURE)]

    async def take_up():
        async with await open_connection(flooded) as connection:
            return await store(connection, Bundle(rejected=rest, readmitted=number), Limits(1, 1, 3600.0))

    assert asyncio.run(take_up()).given_up == 0
    with connect(flooded) as connection:
        kept = {bytes(row[0]) for row in connection.execute("select payload from quarantine")}
    assert kept >= {b"a", b"b", b"c"}


@pytest.mark.integration
def test_two_processes_and_a_clerk_at_once_lose_no_count_and_lock_nobody_out(flooded, monkeypatch):
    """The same gateways in opposite orders, the same messages among them, and somebody who deletes meanwhile."""
    monkeypatch.setenv("CONGTO_DSN", flooded)
    with connect(flooded) as connection:
        connection.execute("truncate quarantine, quarantine_group")
    gateways = ("g1", "g2", "x1")

    async def flood(name: str, order: tuple[str, ...]) -> int:
        async with await open_connection(flooded) as connection:
            given_up = 0
            for step in range(30):
                bundle = [refused(gateway, f"{who}{step}".encode()) for gateway in order for who in (name, "both")]
                given_up += (await store(connection, Bundle(rejected=bundle), SMALL)).given_up
            return given_up

    async def clerk() -> int:
        for _ in range(10):
            assert await asyncio.to_thread(main, ["ingest", "quarantine", "--forget-all", "--gateway", "g2"]) == 0
        return 0

    async def at_once() -> list[int]:
        return await asyncio.gather(flood("a", gateways), flood("b", gateways[::-1]), clerk())

    given_up = sum(asyncio.run(at_once()))
    with connect(flooded) as connection:
        groups = {tuple(row[:2]): row[2:] for row in connection.execute(SELECT_GROUPS)}
        held = {tuple(row[:2]): row[2:] for row in connection.execute(SELECT_HELD)}
    assert {group: row[:2] for group, row in groups.items() if row[0]} == held
    assert sum(row[2] for row in groups.values()) == given_up > 0


@pytest.mark.integration
def test_a_neighbours_messages_are_kept_while_another_floods(flooded):
    with connect(flooded) as connection:
        connection.execute("truncate quarantine, quarantine_group")
    flood = [refused("g1", b"%d" % number) for number in range(500)]
    put(flooded, [flood, [refused("g2", b"mine")], [refused("g1", b"other", Refusal.FUTURE)]])
    with connect(flooded) as connection:
        rows = connection.execute("select gateway_id, payload from quarantine where not latest and gateway_id = 'g2'")
        assert rows.fetchall() == [("g2", b"mine")]
        assert connection.execute("select count(*) from quarantine where kind = 'future'").fetchone() == (1,)


@pytest.mark.integration
def test_what_is_kept_is_readmitted_in_spite_of_a_full_group_and_makes_room(database, monkeypatch, capsys):
    migrate(database)
    monkeypatch.setenv("CONGTO_DSN", database)
    with connect(database) as connection:
        load_registry(connection, registry("g1", 1), "test.toml")
    strange = [Reading("g1-M1", "1.0.1.8.0", START_MS + slot * 1_800_000, slot, 0) for slot in range(40)]
    small = Limits(10 * ROW_OCTETS, 10 * ROW_OCTETS, 0.0)
    store_transactions(database, [[message("g1", slot + 1, [each])] for slot, each in enumerate(strange)], small)
    assert main(["ingest", "quarantine", "--json"]) == 1
    shown = json.loads(capsys.readouterr().out)
    (group,) = shown["groups"]
    assert (group["gateway"], group["kind"]) == ("g1", "unregistered")
    assert shown["messages"] == group["messages"] + 1
    assert shown["messages"] + group["given_up"] == 40
    with connect(database) as connection:
        load_registry(connection, registry("g1", 2), "test.toml")
    assert asyncio.run(readmit(database, NOW_MS)).messages == shown["messages"]
    with connect(database) as connection:
        values = [value for (value,) in connection.execute("select value from reading order by measured_at")]
        assert values == [*range(group["messages"]), 39]
        assert connection.execute("select messages, octets from quarantine_group").fetchall() == [(0, 0)]
    assert main(["ingest", "quarantine"]) == 1
    assert f"no room: g1, unregistered: 0 messages fill it with 0 octets; {group['given_up']} of" in (
        capsys.readouterr().out
    )
    assert main(["ingest", "quarantine", "--clear-given-up", "--gateway", "g1"]) == 0
    assert main(["ingest", "quarantine"]) == 0


@pytest.mark.integration
def test_all_of_a_gateway_and_kind_are_forgotten_at_once_and_never_everything(database, monkeypatch, capsys):
    migrate(database)
    monkeypatch.setenv("CONGTO_DSN", database)
    put(database, [[refused("g1", b"%d" % number) for number in range(5)], [refused("g2", b"x")]])
    assert main(["ingest", "quarantine", "--forget-all"]) == 2
    assert main(["ingest", "quarantine", "--forget-all", "--gateway", "g1", "--kind", "future"]) == 0
    assert main(["ingest", "quarantine", "--forget-all", "--gateway", "g1"]) == 0
    assert "0 messages deleted\n5 messages deleted\n" in capsys.readouterr().out
    with connect(database) as connection:
        assert connection.execute("select topic from quarantine").fetchall() == [("congto/v1/g2/readings",)]
        assert connection.execute("select messages from quarantine_group").fetchall() == [(1,)]


@pytest.mark.integration
def test_a_database_of_before_has_its_messages_counted_by_gateway(database):
    from ingest_server.database.migrations import load_migrations

    migrate(database, load_migrations()[:16])
    with connect(database) as connection:
        connection.execute("insert into gateway (gateway_id) values ('g1')")
        connection.execute(
            "insert into quarantine (fingerprint, topic, payload, reason) values"
            " ('a', 'congto/v1/g1/readings', 'abc', 'why'), ('b', 'congto/v1/g2/readings', 'abc', 'why')"
        )
    migrate(database)
    with connect(database) as connection:
        octets = len("congto/v1/g1/readings") + len("abcwhy") + ROW_OCTETS
        assert connection.execute(f"{SELECT_GROUPS} order by 1").fetchall() == [
            ("", "earlier", 1, octets, 0, 0),
            ("g1", "earlier", 1, octets, 0, 0),
        ]


@pytest.mark.integration
def test_a_gateway_that_sends_rubbish_without_end_fills_its_share_and_the_others_are_stored(database, runtime):
    """The real program: bounded to 1 MiB, flooded with 4, while a neighbour's readings are stored and receipted."""
    migrate(database)
    noisy, quiet = (f"gw-{uuid.uuid4().hex[:8]}" for _ in range(2))
    with connect(database) as connection:
        load_registry(connection, registry(noisy, 1) + registry(quiet, 2), "test.toml")
    program = Ingest(database, runtime.broker_url)
    program.start("--metrics-port", "0", "--quarantine-mib", "1")
    try:
        url = re.search(r"url=(\S+)/metrics", program.wait_for(r"metrics\.ready"))[1]
        program.wait_for(READY)
        flooding, gateway = Gateway(runtime.broker_url, noisy), Gateway(runtime.broker_url, quiet)
        for number in range(400):
            flooding.publish(b"%04d" % number + bytes(10_000))
        gateway.send(half_hours(quiet, 0, 5))
        gateway.wait_for_receipts()
        program.wait_for(r"quarantine\.full")
        with pytest.raises(urllib.error.HTTPError) as told:
            urllib.request.urlopen(f"{url}/health", timeout=10)
        with told.value as answer:
            assert (answer.code, "the quarantine is full" in answer.read().decode()) == (503, True)
        flooding.close()
        gateway.close()
        assert program.end()[0] == 0
        with connect(database) as connection:
            (octets, given_up) = connection.execute("select octets, given_up from quarantine_group").fetchone()
            (kept,) = connection.execute("select count(*) from quarantine").fetchone()
            assert connection.execute("select count(*) from reading").fetchone() == (10,)
        assert octets <= 1 << 20
        assert 90 < kept < 110
        assert given_up > 0
    finally:
        program.clear()


def test_what_is_given_up_is_a_metric():
    from ingest_server.pipeline.metrics import render_metrics

    text = render_metrics(WELL._replace(counts=replace(WELL.counts, given_up=7)))
    assert parse_metrics(text)["quarantine_given_up_total"] == 7
