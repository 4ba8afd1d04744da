"""The publisher against a stub that is broker and server in one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from edge_agent.config import parse_config
from edge_agent.connection import BrokerLostError, Letter
from edge_agent.cycle import Cycle
from edge_agent.log import EventLog, Recurring
from edge_agent.publisher import (
    EVENTS_AGAIN_MAX_S,
    EVENTS_AGAIN_MIN_S,
    FENCED_S,
    LIVE_BATCHES,
    Publisher,
    pause_after,
)
from edge_agent.spooling import Spool
from edge_agent.store import Store
from protocols.telemetry.batch import Batch, Clocks
from protocols.telemetry.event import EventKind, MeterEvent, decode_events
from protocols.telemetry.loss import Loss, Reason, decode_loss, is_loss
from protocols.telemetry.reading import Reading, reading_digest
from protocols.telemetry.readings import decode_readings
from protocols.telemetry.receipt import Receipt, Status, decode_status
from protocols.telemetry.resend import Resend
from protocols.telemetry.topics import Kind, parse_topic

NOON = 1_767_268_800_000
DEADLINE_S = 60.0
CONFIG = """
[gateway]
id = "gw-01"
spool = "spool.sqlite"
keep_receipted = "1h"
[broker]
url = "mqtt://stub"
[[bus]]
id = "rs485-1"
port = "line"
[[bus.meter]]
id = "M-0001"
model = "eastron_sdm120"
address = 1
"""


def readings(number: int, count: int = 20) -> list[Reading]:
    return [
        Reading(f"M-{meter:04}", "1.0.1.8.0", NOON + number * 900_000, number * 100 + meter) for meter in range(count)
    ]


class Stub:
    """Keeps what it is sent, and receipts it while ``receipting``."""

    def __init__(self) -> None:
        self.receipting = True
        self.refusing: BrokerLostError | None = None
        self.batches: list[Batch] = []
        self.events: list[int] = []
        self.losses: list[Loss] = []
        self.statuses: list[Status] = []
        self.changed = asyncio.Condition()
        self._letters: asyncio.Queue[Letter] = asyncio.Queue()

    @asynccontextmanager
    async def connect(self, _will: Letter) -> AsyncIterator["Stub"]:
        if self.refusing is not None:
            raise self.refusing
        yield self

    async def subscribe(self, topic: str) -> None:
        assert topic == "congto/v1/gw-01/receipts"

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        kind = parse_topic(topic).kind
        if kind is Kind.STATUS:
            self.statuses.append(decode_status(payload))
            receipt = None
        elif kind is Kind.EVENTS:
            header = decode_events(payload).header
            self.events.append(header.sequence)
            receipt = Receipt("gw-01", header.generation, (), ((header.sequence, header.sequence),))
        elif is_loss(payload):
            self.losses.append(decode_loss(payload))
            receipt = Receipt("gw-01", self.losses[-1].generation, self.losses[-1].sequences)
        else:
            self.batches.append(decode_readings(payload))
            receipt = Receipt("gw-01", self.batches[-1].generation, self.batches[-1].header.settles)
        if receipt is not None and self.receipting:
            self.say(receipt.encode())
        async with self.changed:
            self.changed.notify_all()

    def say(self, payload: bytes) -> None:
        self._letters.put_nowait(Letter("congto/v1/gw-01/receipts", payload))

    async def messages(self) -> AsyncIterator[Letter]:
        while True:
            yield await self._letters.get()

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S), self.changed:
            await self.changed.wait_for(condition)

    def sequences(self) -> list[int]:
        return [each for batch in self.batches for first, last in batch.sequences for each in range(first, last + 1)]


def with_publisher(
    directory: Path, test: Callable[[Stub, Store, Publisher], Awaitable[None]], before: Callable[[Spool], object]
) -> None:
    """Run ``test`` beside a publisher, on a spool that ``before`` has filled."""

    async def run() -> None:
        spool = Spool(directory / "spool.sqlite", "gw-01", 1 << 22)
        before(spool)
        store, stub, stop = Store(spool), Stub(), asyncio.Event()
        publisher = Publisher(
            parse_config(CONFIG, "agent.toml", directory, {}),
            store,
            EventLog(),
            connect=stub.connect,
            now_ms=lambda: NOON,
            version="test",
            chance=Random(1),
        )
        publishing = asyncio.create_task(publisher.run(stop))
        await test(stub, store, publisher)
        stop.set()
        await asyncio.wait_for(publishing, DEADLINE_S)
        store.close()

    asyncio.run(run())


def fill(count: int) -> Callable[[Spool], object]:
    return lambda spool: [spool.commit(Cycle(readings(number))) for number in range(count)]


def test_the_newest_batches_go_first_and_the_backlog_joined_and_in_order(tmp_path: Path) -> None:
    async def test(stub: Stub, store: Store, _publisher: Publisher) -> None:
        await stub.wait_until(lambda: len(stub.sequences()) == 500)
        found = stub.sequences()
        assert found[0] == 500 - LIVE_BATCHES + 1
        assert sorted(found) == list(range(1, 501))
        backlog = [each for each in found if each <= 500 - LIVE_BATCHES]
        assert backlog == sorted(backlog)
        assert len(stub.batches) < 20
        stored = {reading for batch in stub.batches for reading in batch.readings()}
        assert stored == {reading for number in range(500) for reading in readings(number)}

    with_publisher(tmp_path, test, fill(500))


def test_the_status_says_what_was_taken_each_day_and_what_was_given_up(tmp_path: Path) -> None:
    def damaged(spool: Spool) -> None:
        fill(40)(spool)
        spool._db.execute("update batch set payload = zeroblob(9) where key & 63 = 3")

    async def test(stub: Stub, store: Store, _publisher: Publisher) -> None:
        await stub.wait_until(lambda: bool(stub.losses))
        assert [(loss.sequences, loss.reason, loss.readings) for loss in stub.losses] == [
            (((3, 3),), Reason.DAMAGE, 20)
        ]
        await stub.wait_until(lambda: len(stub.sequences()) == 39)

    with_publisher(tmp_path, test, damaged)

    async def again(stub: Stub, _store: Store, _publisher: Publisher) -> None:
        await stub.wait_until(lambda: bool(stub.statuses))
        status = stub.statuses[0]
        assert status.losses == {"damage": (1, 20)}
        for day in status.days:
            of_day = [
                each
                for number in range(40)
                for each in readings(number)
                if each.measured_at_ms // 86_400_000 == (day.on.toordinal() - 719_163)
            ]
            assert (day.readings, day.digest) == (len(of_day), reading_digest(of_day))
        assert sum(day.readings for day in status.days) == 800

    with_publisher(tmp_path, again, lambda _spool: None)


def test_what_the_server_lacks_is_sent_again_and_what_is_not_kept_declared(tmp_path: Path) -> None:
    def old(spool: Spool) -> None:
        fill(30)(spool)
        taken_ms = readings(30)[0].measured_at_ms
        spool.settle(spool.generation, ((1, 10),), (), taken_ms)
        spool.settle(spool.generation, ((11, 30),), (), taken_ms + 7_200_000)
        spool.forget_settled(taken_ms + 3_600_000)

    async def test(stub: Stub, store: Store, _publisher: Publisher) -> None:
        await stub.wait_until(lambda: bool(stub.statuses))
        assert stub.batches == []
        stub.say(Resend("gw-01", store.spool.generation, ((8, (1 << 53) - 1),)).encode())
        await stub.wait_until(lambda: len(stub.sequences()) >= 20 and bool(stub.losses))
        assert sorted(stub.sequences()) == list(range(11, 31))
        assert [(loss.sequences, loss.reason) for loss in stub.losses] == [(((8, 10),), Reason.EXPIRED)]

    with_publisher(tmp_path, test, old)


def test_readings_travel_with_what_is_known_of_the_clocks(tmp_path: Path) -> None:
    async def test(stub: Stub, store: Store, _publisher: Publisher) -> None:
        seen = [MeterEvent(EventKind.CLOCK, f"M-000{meter}", NOON, value=meter * 1000) for meter in range(4)]
        shifted = MeterEvent(EventKind.CLOCK_SHIFTED, "M-0002", NOON, value=-2000)
        for events in (seen, [shifted]):
            await store.commit(Cycle(events=events), "rs485-1", Recurring(EventLog()))
        await store.commit(Cycle(readings(1), taken_at_ms=NOON + 7), "rs485-1", Recurring(EventLog()))
        await stub.wait_until(lambda: bool(stub.batches))
        assert stub.batches[0].clocks == Clocks(NOON + 7, {"M-0001": 1000, "M-0003": 3000})

    with_publisher(tmp_path, test, lambda _spool: None)


def test_events_are_kept_until_they_are_receipted(tmp_path: Path) -> None:
    def some(spool: Spool) -> None:
        spool.commit(Cycle(events=[MeterEvent(EventKind.CLOCK, "M-0001", NOON, value=0)]))

    async def unheard(stub: Stub, _store: Store, _publisher: Publisher) -> None:
        stub.receipting = False
        await stub.wait_until(lambda: stub.events == [1])

    async def heard(stub: Stub, store: Store, _publisher: Publisher) -> None:
        await stub.wait_until(lambda: stub.events == [1])
        async with asyncio.timeout(DEADLINE_S):
            while await store.events(store.spool, 0, 1):  # its receipt is on the way
                pass

    with_publisher(tmp_path, unheard, some)
    with_publisher(tmp_path, heard, lambda _spool: None)
    spool = Spool(tmp_path / "spool.sqlite", "gw-01", 1 << 22)
    assert spool.events(0, 10) == []
    spool.close()


def test_the_pause_before_events_go_again_doubles_when_it_has_run_out_and_not_with_each_new_event() -> None:
    pause_s = EVENTS_AGAIN_MIN_S
    for _ in range(10):
        pause_s = pause_after(pause_s, grown=True, heard=False)
    assert pause_s == EVENTS_AGAIN_MIN_S
    pause_s = pause_after(pause_s, grown=False, heard=False)
    assert pause_s == 2 * EVENTS_AGAIN_MIN_S
    for _ in range(20):
        pause_s = pause_after(pause_s, grown=False, heard=False)
    assert pause_s == EVENTS_AGAIN_MAX_S
    assert pause_after(pause_s, grown=True, heard=True) == EVENTS_AGAIN_MIN_S


def test_a_receipt_ahead_of_the_spool_begins_a_generation_and_nothing_is_sent_under_a_used_number(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(stub: Stub, store: Store, _publisher: Publisher) -> None:
        first = store.spool.generation
        await stub.wait_until(lambda: len(stub.sequences()) == 3)
        stub.say(Receipt("gw-01", first, ((1, 9),)).encode())
        async with asyncio.timeout(DEADLINE_S):
            while store.spool.generation == first:  # noqa: ASYNC110 - the spool tells nobody
                await asyncio.sleep(0)
        await store.commit(Cycle(readings(50)), "rs485-1", Recurring(EventLog()))
        await stub.wait_until(lambda: stub.batches[-1].generation == store.spool.generation)
        assert stub.batches[-1].sequences == ((1, 1),)

    with_publisher(tmp_path, test, fill(3))
    assert "spool.renewed" in caplog.text


@pytest.mark.parametrize("copied", [False, True])
def test_who_is_taken_over_comes_back_soon_unless_it_is_the_copy(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, copied: bool
) -> None:
    async def run() -> None:
        spool = Spool(tmp_path / "spool.sqlite", "gw-01", 1 << 22)
        spool.renewed = "the spool was copied or restored from a backup" if copied else None
        store, stub = Store(spool), Stub()
        publisher = Publisher(
            parse_config(CONFIG, "agent.toml", tmp_path, {}),
            store,
            EventLog(),
            connect=stub.connect,
            now_ms=lambda: NOON,
            version="test",
            chance=Random(1),
        )
        pause_s = publisher.yield_identity()
        assert (pause_s >= FENCED_S) is copied
        store.close()

    asyncio.run(run())
    assert "gateway.identity_taken" in caplog.text
