"""Almost valid octets: what is in the golden vectors, cut, flipped, joined and stretched by seeded chance."""

from random import Random
from typing import Any

from tests.dlms.vectors import load

LAYERS = ("acse", "xdlms", "axdr", "hdlc", "hdlc_stream", "wrapper", "push", "profile", "cipher", "object_list",
          "quirks/push")  # fmt: skip
APDU_LAYERS = ("acse", "xdlms", "cipher")
OCTETS_MAX = 400  # of a seed; longer ones only make each input slower
EVIL = (b"\x00", b"\xff", b"\x7f", b"\x80", b"\x01", b"\x82\xff\xff", b"\x84\xff\xff\xff\xff", b"\x7e", b"\x02\x02")


def _hexes(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [found for key, each in value.items() if key not in ("source", "name") for found in _hexes(each)]
    if isinstance(value, list):
        return [found for each in value for found in _hexes(each)]
    if isinstance(value, str) and len(value) >= 4 and len(value) % 2 == 0 and set(value) <= set("0123456789abcdef"):
        return [value]
    return []


def corpus(*layers: str) -> list[bytes]:
    """Return the octets in the vectors of ``layers`` (all of them when none is named), each once, in order."""
    found = [bytes.fromhex(text) for layer in layers or LAYERS for vector in load(layer) for text in _hexes(vector)]
    return list(dict.fromkeys(octets for octets in found if len(octets) <= OCTETS_MAX))


def mutate(rng: Random, seeds: list[bytes]) -> bytes:
    """Return octets near one of ``seeds``, or (one in eight) any octets."""
    if not rng.getrandbits(3):
        return rng.randbytes(rng.getrandbits(6))
    data = bytearray(seeds[rng.randrange(len(seeds))])
    for _ in range(1 + rng.getrandbits(2)):
        how, place = rng.getrandbits(3), rng.randrange(len(data) + 1)
        if how < 3 and place < len(data):
            data[place] ^= 1 << rng.getrandbits(3)
        elif how == 3 and place < len(data):
            data[place] = rng.getrandbits(8)
        elif how == 4:
            del data[place:]
        elif how == 5:
            data[place:place] = EVIL[rng.randrange(len(EVIL))]
        elif how == 6:
            other = seeds[rng.randrange(len(seeds))]
            data[place:] = other[rng.randrange(len(other)) :]
        else:
            del data[place : place + 1 + rng.getrandbits(2)]
    return bytes(data)
