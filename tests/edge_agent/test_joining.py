"""Batches joined into messages: what can't be joined goes alone, and holds up nothing."""

from edge_agent.joining import join
from edge_agent.spool_seals import LIFE_SHIFT
from protocols.telemetry.columns import encode_columns
from protocols.telemetry.reading import Reading

GENERATION = "5f0c2e9a1b7d4463"
START_MS = 1_759_251_600_000
IN_1970_MS = 3_600_000


def batch(sequence: int, at_ms: int) -> tuple[int, bytes]:
    readings = [Reading("M-1", "1.0.1.8.0", at_ms, 1000 + sequence)]
    return (1 << LIFE_SHIFT) + sequence, encode_columns("gw-1", GENERATION, ((sequence, sequence),), readings)


def test_a_batch_that_breaks_the_contract_goes_alone_under_its_own_number() -> None:
    """The server can then put it into the quarantine and receipt it; those around it are sent as ever."""
    batches = [batch(1, START_MS), batch(2, START_MS + 1000), batch(3, IN_1970_MS), batch(4, START_MS + 2000)]
    sent = list(join(batches))
    assert [each.sequences for each in sent] == [((1, 2),), ((3, 3),), ((4, 4),)]
    assert sent[1].payload == batches[2][1]
    assert [each.last_key for each in sent] == [batches[number][0] for number in (1, 2, 3)]
    assert {each.generation for each in sent} == {GENERATION}
