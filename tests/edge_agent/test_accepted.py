"""What a counter said last is kept over a restart, with its reading; what it says first is doubted."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.accepted import Accepted, decode_accepted, encode_accepted
from edge_agent.cycle import Cycle
from edge_agent.log import EventLog, Recurring
from edge_agent.meter import Answer
from edge_agent.rescue import open_spool
from edge_agent.spool_file import SUSPECT
from edge_agent.store import Store
from edge_agent.suspicion import LONG_AGO_MS, Watch
from protocols.errors import UnavailableError
from protocols.meters.catalogue import load_model
from protocols.meters.glitch import Verdict
from protocols.obis import Obis
from tests.edge_agent.test_spool_damage import MEGABYTE, NOON, readings

MODEL, OTHER = load_model("eastron_sdm630"), load_model("eastron_sdm120")
IMPORTED = MODEL.measurement(Obis.parse("1.0.1.8.0"))
assert IMPORTED is not None
HALF_HOUR = 1_800_000
values = st.builds(Accepted, st.integers(0, 1 << 50), st.integers(-(1 << 62), 1 << 62), st.binary(max_size=12))


def said(value: int, *, raw: bytes = b"") -> Answer:
    return Answer(((IMPORTED, value),), raw={IMPORTED.key: raw} if raw else {})


def restarted(watch: Watch, now_ms: int) -> Watch:
    fresh = Watch(MODEL)
    fresh.restore(watch.kept(), now_ms, 0)
    return fresh


@given(st.dictionaries(st.sampled_from([each.key for each in MODEL.measurements]), values))
def test_what_is_kept_is_what_comes_back_and_only_for_the_same_model(found: dict[str, Accepted]) -> None:
    octets = encode_accepted(MODEL, found)
    assert decode_accepted(MODEL, octets) == found
    assert decode_accepted(OTHER, octets) == {}


@given(st.binary(max_size=60))
def test_octets_that_are_nothing_are_no_values(octets: bytes) -> None:
    assert decode_accepted(MODEL, octets) == {}
    assert decode_accepted(MODEL, encode_accepted(MODEL, {}) + b"\n" + octets.replace(b"\n", b"")) == {}


def test_a_counter_that_went_back_while_the_agent_was_down_is_doubted() -> None:
    watch = Watch(MODEL)
    watch.take(said(5_000_000), 0, {}, NOON)
    later = restarted(watch, NOON + HALF_HOUR)
    assert {each.verdict for each in later.doubts(said(4_000_000), 10).values()} == {Verdict.GOING_BACK}
    assert later.doubts(said(5_000_100), 10) == {}


def test_how_much_it_may_have_risen_is_told_by_the_time_it_was_away_or_anything_if_the_clock_was_wrong() -> None:
    watch = Watch(MODEL)
    watch.take(said(5_000_000), 0, {}, NOON)
    much = said(5_000_000 + 2_000_000)
    assert restarted(watch, NOON + HALF_HOUR).doubts(much, 10)
    assert not restarted(watch, NOON + LONG_AGO_MS).doubts(much, 10)
    assert not restarted(watch, NOON - HALF_HOUR).doubts(much, 10)
    assert restarted(watch, NOON - HALF_HOUR).doubts(said(4_999_999), 10)


def test_the_first_octets_of_a_register_are_asked_for_twice_and_accepted_when_they_agree() -> None:
    watch = Watch(MODEL)
    first = said(5_000_000, raw=b"\x4a\x98\x96\x80")
    assert watch.is_first(first, 0)
    assert not watch.is_first(first, 100)
    assert watch.doubts(first, 100) == {}
    watch.take(first, 100, {}, NOON)
    assert watch.changed
    assert watch.doubts(said(4_000_000), HALF_HOUR)


def test_first_octets_that_do_not_agree_are_marked_until_two_do() -> None:
    watch = Watch(MODEL)
    assert watch.is_first(said(900_000_000, raw=b"\x01\x01\x01\x01"), 0)
    second = said(5_000_000, raw=b"\x02\x02\x02\x02")
    doubts = watch.doubts(second, 100)
    assert {each.verdict for each in doubts.values()} == {Verdict.GOING_BACK}
    watch.take(second, 100, doubts, NOON)
    assert not watch.changed
    assert watch.doubts(said(5_000_100, raw=b"\x03\x03\x03\x03"), HALF_HOUR) == {}


def test_without_octets_nothing_can_be_torn_and_the_first_value_is_accepted() -> None:
    assert not Watch(MODEL).is_first(said(5_000_000), 0)


def test_what_counters_said_is_committed_with_their_readings_and_survives_a_damage(tmp_path: Path) -> None:
    path = tmp_path / "spool.sqlite"

    async def commit() -> None:
        spool, _ = open_spool(path, "gw-01", MEGABYTE)
        store = Store(spool)
        for number in range(3):
            cycle = Cycle(readings(number), registers={"M-0001": b"%d" % number, "M-0002": b"before"})
            assert await store.commit(cycle, "bus-1", Recurring(EventLog()))
        assert store.registers() == {"M-0001": b"2", "M-0002": b"before"}
        store.close()

    asyncio.run(commit())
    with closing(sqlite3.connect(path)) as db:
        db.execute("update register set payload = x'00' where meter = 'M-0002'")
        db.commit()
    spool, aside = open_spool(path, "gw-01", MEGABYTE)
    assert aside is None  # one that was altered is left out: it is only a value to compare with
    assert spool.registers() == {"M-0001": b"2"}
    spool.close()
    path.with_name(f"{path.name}{SUSPECT}").touch()
    spool, aside = open_spool(path, "gw-01", MEGABYTE)
    assert aside is not None
    assert spool.registers() == {"M-0001": b"2"}
    spool.close()


def test_a_cycle_that_is_not_taken_leaves_what_counters_said_before(tmp_path: Path) -> None:
    spool, _ = open_spool(tmp_path / "spool.sqlite", "gw-01", MEGABYTE)
    spool.commit(Cycle(readings(1), registers={"M-0001": b"1"}))
    spool._db.execute("pragma query_only = 1")
    with pytest.raises(UnavailableError, match="can't be written"):
        spool.commit(Cycle(readings(2), registers={"M-0001": b"2"}))
    assert spool.registers() == {"M-0001": b"1"}
    spool.close()


def test_what_memory_had_to_hold_is_written_when_the_disk_takes_a_cycle_again(tmp_path: Path) -> None:
    async def commit() -> None:
        spool, _ = open_spool(tmp_path / "spool.sqlite", "gw-01", MEGABYTE)
        store = Store(spool)
        for number in range(4):
            spool._db.execute(f"pragma query_only = {int(number in (1, 2))}")
            registers = {"M-0001": b"%d" % number, **({"M-0002": b"in memory"} if number == 1 else {})}
            assert await store.commit(Cycle(readings(number), registers=registers), "bus-1", Recurring(EventLog()))
            assert store.registers()["M-0001"] == b"%d" % number  # also after memory had an older one
        assert spool.registers() == store.registers() == {"M-0001": b"3", "M-0002": b"in memory"}
        store.close()

    asyncio.run(commit())
