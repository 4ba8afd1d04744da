"""Characters of seven bits with even parity, as octets (IEC 62056-21, 5.2).

A line set to eight bits without parity carries 7E1 unchanged: the parity is the eighth bit. So it is put on and checked
here, and a line need not be set anew when HDLC follows, but for its speed.
"""

from typing import Final

from protocols.errors import LocalProtocolError, RemoteProtocolError

_WITH_PARITY: Final = bytes(octet | (octet.bit_count() & 1) << 7 for octet in range(128))
_CHARACTERS: Final = {octet: character for character, octet in enumerate(_WITH_PARITY)}


def put_parity(characters: bytes) -> bytes:
    """Return the octets of ``characters``; LocalProtocolError for what is not ASCII."""
    try:
        return bytes(_WITH_PARITY[character] for character in characters)
    except IndexError as error:
        raise LocalProtocolError("a character beyond 7 bits") from error


def take_parity(octets: bytes) -> bytes:
    """Return the characters in ``octets``; RemoteProtocolError where a parity is odd."""
    try:
        return bytes(_CHARACTERS[octet] for octet in octets)
    except KeyError:
        at = next(place for place, octet in enumerate(octets) if octet not in _CHARACTERS)
        raise RemoteProtocolError(
            f"octet {octets[at]:02x} has odd parity: noise, another speed, or no 7E1", offset=at
        ) from None
