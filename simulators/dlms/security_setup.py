"""The security setup of a simulated meter: what protects its client, and the transfer of new keys.

New keys come wrapped under the master key (RFC 3394), all of them or none; they are in force when the answer, which
still goes under the old ones, has been made.

Source: DLMS UA 1000-1 (Blue Book), class 64, version 0.
"""

from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

from protocols.dlms.ciphering import Keys
from protocols.dlms.codes import ActionResult
from protocols.dlms.data import Data, Tag, enum, integer_of, items_of, octets, octets_of
from protocols.errors import RemoteProtocolError
from protocols.obis import Obis
from simulators.dlms.cosem import CosemObject, at_time

SECURITY_SETUP, KEY_TRANSFER = Obis(0, 0, 43, 0, 0), 2
NOT_PROTECTED, AUTHENTICATED, ENCRYPTED = 0, 1, 2  # their sum: both
UNICAST_ENCRYPTION, AUTHENTICATION = 0, 2  # key_id; 1 is the key of broadcasts, which these meters do not take


@dataclass(frozen=True, slots=True)
class Security:
    """What protects the meter's own client; titles are empty until there are any."""

    policy: int = NOT_PROTECTED
    suite: int = 0
    client_title: bytes = b""
    server_title: bytes = b""


def security_setup(now: Callable[[], Security], transfer: Callable[[Data], ActionResult]) -> CosemObject:
    """Return the object; ``now`` tells what it holds, ``transfer`` takes new keys."""

    def key_transfer(parameter: Data | None, _at_ms: int) -> tuple[ActionResult, Data | None]:
        return (ActionResult.TYPE_UNMATCHED if parameter is None else transfer(parameter)), None

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
        methods={KEY_TRANSFER: key_transfer},
    )


def unwrapped(parameter: Data, keys: Keys, master_key: bytes) -> Keys | ActionResult:
    """Return the keys that a transfer leads to, or why it leads to none: then nothing changes."""
    found: dict[int, bytes] = {}
    try:
        for each in items_of(parameter):
            key_id, wrapped = items_of(each, 2)
            if key_id.tag is not Tag.ENUM or integer_of(key_id) in found:
                return ActionResult.TYPE_UNMATCHED
            found[integer_of(key_id)] = octets_of(wrapped)
    except RemoteProtocolError:
        return ActionResult.TYPE_UNMATCHED
    if not found or found.keys() - {UNICAST_ENCRYPTION, AUTHENTICATION}:
        return ActionResult.OTHER_REASON
    try:
        new = {key_id: aes_key_unwrap(master_key, wrapped) for key_id, wrapped in found.items()}
    except (InvalidUnwrap, ValueError):
        return ActionResult.OTHER_REASON
    if any(len(key) != len(keys.encryption) for key in new.values()):
        return ActionResult.OTHER_REASON
    return Keys(new.get(UNICAST_ENCRYPTION, keys.encryption), new.get(AUTHENTICATION, keys.authentication))
