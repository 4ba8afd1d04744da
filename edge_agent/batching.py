"""A cycle's readings as batches: rows of the spool, ready to be sent."""

from collections.abc import Sequence
from zlib import crc32

from edge_agent.cycle import Cycle
from edge_agent.giving_up import is_billing
from edge_agent.spool_seals import SEQUENCE_MASK, WAITING
from protocols.telemetry.batch import ROWS_MAX, Clocks
from protocols.telemetry.columns import encode_columns
from protocols.telemetry.reading import Reading

Row = tuple[int, int, int, int, int, int, int, bytes]
"""Of the table ``batch``: key, checksum, billing, readings, from, to, settled, payload."""


def encode_cycle(gateway: str, generation: str, first_key: int, cycle: Cycle) -> list[Row]:
    """Return the batches of ``cycle``, whose keys are ``first_key`` and those after it."""
    clocks = Clocks(cycle.taken_at_ms, dict(cycle.clock_offsets_ms))
    found = []
    for key, (billing, part) in enumerate(_parts(cycle.readings), start=first_key):
        sequence = key & SEQUENCE_MASK
        payload = encode_columns(gateway, generation, ((sequence, sequence),), part, clocks)
        times = [reading.measured_at_ms for reading in part]
        found.append((key, crc32(payload), int(billing), len(part), min(times), max(times), WAITING, payload))
    return found


def _parts(readings: Sequence[Reading]) -> list[tuple[bool, list[Reading]]]:
    """Return the readings by batch: billing ones apart, no key twice in a batch, none too long."""
    parts: list[tuple[bool, list[Reading]]] = []
    for billing in (True, False):
        left = [each for each in readings if is_billing(each.obis) is billing]
        while left:
            part: dict[tuple[str, str, int], Reading] = {}
            later = []
            for reading in left:
                if len(part) < ROWS_MAX and reading[:3] not in part:
                    part[reading[:3]] = reading
                else:
                    later.append(reading)
            parts.append((billing, list(part.values())))
            left = later
    return parts
