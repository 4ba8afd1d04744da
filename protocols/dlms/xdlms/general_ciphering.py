"""General-ciphering: an envelope that names both ends and the key (IEC 62056-5-3, tag 221).

Keys are identified (the global unicast key) or wrapped under the master key (RFC 3394). Agreed keys and the envelope
general-signing are not supported. What is authenticated beside the payload is what it is everywhere else, the security
control byte and the authentication key: implementations differ here, and the standard's example settles nothing.
"""

from dataclasses import dataclass, field

from protocols.dlms import axdr
from protocols.dlms.octets import Cursor
from protocols.errors import RemoteProtocolError

GENERAL_CIPHERING = 0xDD
GLOBAL_UNICAST, MASTER_KEY = 0, 0
_IDENTIFIED, _WRAPPED = 0, 1


@dataclass(frozen=True, slots=True)
class GeneralCiphering:
    """The envelope; ``content`` is security header and payload. ``wrapped_key`` None: the global unicast key."""

    transaction_id: bytes
    originator: bytes
    recipient: bytes
    content: bytes
    wrapped_key: bytes | None = field(default=None, repr=False)
    date_time: bytes = b""
    other_information: bytes = b""

    def encode(self) -> bytes:
        """Return the APDU."""
        fields = (self.transaction_id, self.originator, self.recipient, self.date_time, self.other_information)
        parts = [bytes((GENERAL_CIPHERING,)), *(axdr.encode_length(len(each)) + each for each in fields)]
        if self.wrapped_key is None:
            parts.append(bytes((1, _IDENTIFIED, GLOBAL_UNICAST)))
        else:
            parts += [bytes((1, _WRAPPED, MASTER_KEY)), axdr.encode_length(len(self.wrapped_key)), self.wrapped_key]
        return b"".join([*parts, axdr.encode_length(len(self.content)), self.content])


def decode_general_ciphering(octets: bytes) -> GeneralCiphering:
    """Decode the APDU; RemoteProtocolError for a broken one, or a key that is neither identified nor wrapped."""
    cursor = Cursor(octets)
    if cursor.u8("a tag") != GENERAL_CIPHERING:
        raise RemoteProtocolError(f"found tag {octets[0]:#04x}, expected general-ciphering", offset=0)
    names = ("a transaction-id", "an originator", "a recipient", "a date-time", "other information")
    transaction, originator, recipient, date_time, other = (cursor.counted(name) for name in names)
    wrapped = None
    if cursor.flag("the key's presence"):
        kind, which = cursor.u8("a kind of key"), cursor.u8("a key's name")
        if kind not in (_IDENTIFIED, _WRAPPED) or which != 0:
            raise RemoteProtocolError(
                f"key of kind {kind}, name {which}: expected the global unicast key, or one wrapped by the master key",
                offset=cursor.at - 2,
            )
        wrapped = cursor.counted("a wrapped key") if kind == _WRAPPED else None
    content = cursor.counted("ciphered content")
    cursor.end("general-ciphering")
    return GeneralCiphering(transaction, originator, recipient, content, wrapped, date_time, other)
