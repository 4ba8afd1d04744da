"""Mistakes between spool and server: receipts, sending again, requests."""

from dataclasses import replace
from typing import Any

from edge_agent import publisher
from edge_agent.store import Store
from edge_agent.window import Window
from protocols.telemetry.loss import is_loss
from protocols.telemetry.readings import decode_header
from protocols.telemetry.receipt import Receipt
from tests.simulation.broker import StubConnection
from tests.simulation.faults import Kind
from tests.simulation.planted import PlantedBug, replacing, rewriting_sql, wrapping

LOSSES = (Kind.BROKER_EMPTY, Kind.BROKER_DROPS, Kind.SERVER_DOWN, Kind.QUEUE_SMALL)
RECEIPTS = (Kind.RECEIPTS_LOST, Kind.SERVER_DOWN, Kind.CUT_ONE_WAY, Kind.DUPLICATES)


def _forgetting(original: Any) -> Any:
    async def publish(self: StubConnection, topic: str, payload: bytes, *, retain: bool = False) -> None:
        await original(self, topic, payload, retain=retain)
        store = self.broker.process.store
        if topic.endswith("/readings") and not is_loss(payload) and store is not None:
            header = decode_header(payload)
            await store.settle(Receipt(header.gateway, header.generation, header.settles), 0)

    return publish


class _AnyGeneration(str):
    """Equals every other."""

    __slots__ = ()

    def __eq__(self, _other: object) -> bool:
        return True

    __hash__ = str.__hash__


def _any_generation(original: Any) -> Any:
    def decode(payload: bytes) -> Receipt:
        receipt = original(payload)
        return replace(receipt, generation=_AnyGeneration(receipt.generation))

    return decode


def _from_the_first_on(original: Any) -> Any:
    def decode(payload: bytes) -> Receipt:
        receipt = original(payload)
        return replace(receipt, sequences=tuple((1, last) for _, last in receipt.sequences))

    return decode


def _never_overdue(window: Window, now_s: float) -> list[Any]:
    for each in window.under_way:
        each.at_s = now_s
    return []


async def _nothing_asked(_store: Store, _asked: Any) -> int:
    return 0


async def _no_losses(_store: Store) -> list[Any]:
    return []


BUGS = (
    PlantedBug(
        "a batch is forgotten when the broker acknowledges it", wrapping(StubConnection, "publish", _forgetting), LOSSES
    ),
    PlantedBug(
        "a receipt of another generation is taken",
        wrapping(publisher, "decode_receipt", _any_generation),
        (Kind.FLIP, Kind.SERVER_DOWN, Kind.DUPLICATES),
        schedules_max=400,
    ),
    PlantedBug(
        "a receipt is taken for all before it", wrapping(publisher, "decode_receipt", _from_the_first_on), LOSSES
    ),
    PlantedBug("nothing is sent again without a receipt", replacing(Window, "overdue", _never_overdue), RECEIPTS),
    PlantedBug(
        "a request to send again is not heeded", replacing(Store, "wait_again", _nothing_asked), (Kind.SERVER_RESTORED,)
    ),
    PlantedBug(
        "what is receipted is not kept",
        rewriting_sql(
            lambda sql: sql.replace(
                "update batch set settled_ms = seal_settled(key, max(?, to_ms)) where",
                "delete from batch where ? >= 0 and",
            )
        ),
        (Kind.SERVER_RESTORED,),
    ),
    PlantedBug(
        "what was lost is not declared",
        replacing(Store, "losses", _no_losses),
        (Kind.BROKER_DOWN, Kind.CUT, Kind.SERVER_DOWN),
        schedules_max=400,
    ),
)
