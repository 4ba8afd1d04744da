"""What a data link gives to the layer above it, whichever link it is (HDLC, the TCP/UDP wrapper).

A link eats octets with ``receive_data``; ``next_event`` gives :class:`LinkUp`, :class:`LinkDown`,
:class:`ApduReceived` or NEED_DATA, or raises RemoteProtocolError for octets that break the rules and stays usable.
What is to be written waits in ``data_to_send``. Time enters as ``receive_silence``: the caller's deadline passed.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol, TypeAlias

APDU_OCTETS_MAX = 1 << 17  # client-max-receive-pdu-size has 16 bits (IEC 62056-5-3); ciphering adds a few octets

CLIENTS_MAX = 16  # links one meter keeps; the public, management, reading and pre-established clients are seven


class NeedData(Enum):
    """Not enough octets yet: the caller reads on, or tells that the line fell silent."""

    NEED_DATA = "need data"


NEED_DATA: Final = NeedData.NEED_DATA


@dataclass(frozen=True, slots=True)
class LinkUp:
    """The link is there. ``octets_tx``, ``octets_rx`` and windows are what HDLC negotiated; None on the wrapper."""

    info_octets_tx: int | None = None
    info_octets_rx: int | None = None
    window_tx: int | None = None
    window_rx: int | None = None


@dataclass(frozen=True, slots=True)
class LinkDown:
    """The link is gone, for the reason given: asked for, refused (DM), broken (FRMR), or nobody answered."""

    reason: str


@dataclass(frozen=True, slots=True)
class ApduReceived:
    """An APDU arrived; not ``confirmed`` when it came unasked (HDLC UI frame)."""

    octets: bytes
    confirmed: bool = True


LinkEvent: TypeAlias = LinkUp | LinkDown | ApduReceived


class Link(Protocol):
    """One end of a data link."""

    def open(self) -> None:
        """Begin to connect (client); the answer is :class:`LinkUp` or :class:`LinkDown`."""

    def close(self) -> None:
        """Begin to disconnect (client); the answer is :class:`LinkDown`."""

    def send_apdu(self, apdu: bytes) -> None:
        """Send an APDU, in as many pieces as it takes."""

    def receive_data(self, data: bytes) -> None:
        """Store octets as they come."""

    def receive_silence(self) -> None:
        """Hear that the deadline passed: repeat what may have been lost, or give up with :class:`LinkDown`."""

    def forget(self) -> None:
        """Drop an incomplete frame: nothing was asked, so nothing is repeated."""

    def next_event(self) -> LinkEvent | NeedData:
        """Return what happened next."""

    def data_to_send(self) -> bytes:
        """Return the octets to write, each of them once."""


@dataclass(frozen=True, slots=True)
class ClientApdu:
    """An APDU from the client at ``client_sap``."""

    client_sap: int
    octets: bytes
    confirmed: bool = True


@dataclass(frozen=True, slots=True)
class ClientLink:
    """The link of the client at ``client_sap`` went up or down."""

    client_sap: int
    change: LinkUp | LinkDown


class ServerLink(Protocol):
    """A meter's end of a data link, with any number of clients up to CLIENTS_MAX."""

    def send_apdu(self, client_sap: int, apdu: bytes) -> None:
        """Answer a client."""

    def send_unconfirmed(self, client_sap: int, apdu: bytes) -> None:
        """Send ``apdu`` unasked (push)."""

    def receive_data(self, data: bytes) -> None:
        """Store octets as they come."""

    def receive_silence(self) -> None:
        """Hear that the line fell silent: drop an incomplete frame."""

    def next_event(self) -> ClientApdu | ClientLink | NeedData:
        """Return what happened next."""

    def data_to_send(self) -> bytes:
        """Return the octets to write, each of them once."""
