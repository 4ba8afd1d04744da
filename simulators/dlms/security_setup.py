"""The security setup of a simulated meter, to be read: class 64, version 0 (Blue Book 4.4.7); no key transfer."""

from collections.abc import Callable
from dataclasses import dataclass

from protocols.dlms.data import enum, octets
from protocols.obis import Obis
from simulators.dlms.cosem import CosemObject, at_time

SECURITY_SETUP = Obis(0, 0, 43, 0, 0)
NOT_PROTECTED, AUTHENTICATED, ENCRYPTED = 0, 1, 2  # their sum: both


@dataclass(frozen=True, slots=True)
class Security:
    """What protects the meter's own client; titles are empty until there are any."""

    policy: int = NOT_PROTECTED
    suite: int = 0
    client_title: bytes = b""
    server_title: bytes = b""


def security_setup(now: Callable[[], Security]) -> CosemObject:
    """Return the object; ``now`` tells what it holds."""
    return CosemObject(
        class_id=64,
        version=0,
        obis=SECURITY_SETUP,
        reads={
            2: at_time(lambda _at_ms: enum(now().policy)),
            3: at_time(lambda _at_ms: enum(now().suite)),
            4: at_time(lambda _at_ms: octets(now().client_title)),
            5: at_time(lambda _at_ms: octets(now().server_title)),
        },
    )
