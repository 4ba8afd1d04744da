"""The energy values of a meter that were accepted last, as octets for the spool: what a restart compares with.

One line for each register: its measurement's key, the gateway's clock when it was taken [ms], the value in the base
unit, its octets on the line. The first line names the meter's model and its version: under another one a register may
be another.
"""

from collections.abc import Mapping
from typing import NamedTuple

from protocols.meters.model import MeterModel


class Accepted(NamedTuple):
    """A value that was accepted: when by the gateway's clock [ms], the value in the base unit, its octets."""

    at_ms: int
    value: int
    raw: bytes


def encode_accepted(model: MeterModel, values: Mapping[str, Accepted]) -> bytes:
    """Return the values by their measurements' keys as octets."""
    lines = [_head(model), *(f"{key} {at_ms} {value} {raw.hex()}" for key, (at_ms, value, raw) in values.items())]
    return "\n".join(lines).encode()


def decode_accepted(model: MeterModel, octets: bytes) -> dict[str, Accepted]:
    """Return the values; none if they are of another model, or no such octets."""
    try:
        head, *lines = octets.decode().split("\n")
        if head != _head(model):
            return {}
        parts = [line.split(" ") for line in lines]
        return {key: Accepted(int(at_ms), int(value), bytes.fromhex(raw)) for key, at_ms, value, raw in parts}
    except ValueError:
        return {}


def _head(model: MeterModel) -> str:
    return f"{model.key} {model.version}"
