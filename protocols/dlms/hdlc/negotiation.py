"""Parameters of an HDLC connection, negotiated by SNRM and UA (IEC 62056-46, 6.4.4.4.3.2)."""

from dataclasses import dataclass
from typing import Self

from protocols.errors import LocalProtocolError, RemoteProtocolError

INFO_OCTETS_DEFAULT = 128  # IEC 62056-46, 6.4.4.4.3.2: when a parameter is absent
INFO_OCTETS_MAX = 2030  # Green Book 8.4.5.3.2: what the eleven bits of a frame's length leave
WINDOW_DEFAULT = 1  # IEC 62056-46, 6.4.4.4.3.2
WINDOW_MAX = 7  # sequence numbers count modulo eight

_FORMAT, _GROUP = 0x81, 0x80
_INFO_TX, _INFO_RX, _WINDOW_TX, _WINDOW_RX = 0x05, 0x06, 0x07, 0x08


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """What a station can send and receive: octets of an information field, and frames before it needs an answer."""

    info_octets_tx: int = INFO_OCTETS_DEFAULT
    info_octets_rx: int = INFO_OCTETS_DEFAULT
    window_tx: int = WINDOW_DEFAULT
    window_rx: int = WINDOW_DEFAULT

    def __post_init__(self) -> None:
        for octets in (self.info_octets_tx, self.info_octets_rx):
            if not 1 <= octets <= INFO_OCTETS_MAX:
                raise LocalProtocolError(f"an information field of {octets} octets, expected 1 to {INFO_OCTETS_MAX}")
        for window in (self.window_tx, self.window_rx):
            if not 1 <= window <= WINDOW_MAX:
                raise LocalProtocolError(f"a window of {window} frames, expected 1 to {WINDOW_MAX}")

    def encode(self) -> bytes:
        """Return the information field of SNRM or UA; lengths take one octet when they fit, windows four."""
        octets = b""
        for name, value in ((_INFO_TX, self.info_octets_tx), (_INFO_RX, self.info_octets_rx)):
            size = 1 if value < 0x100 else 2
            octets += bytes((name, size)) + value.to_bytes(size, "big")
        for name, value in ((_WINDOW_TX, self.window_tx), (_WINDOW_RX, self.window_rx)):
            octets += bytes((name, 4)) + value.to_bytes(4, "big")
        return bytes((_FORMAT, _GROUP, len(octets))) + octets

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """Decode the information field of SNRM or UA; what is absent takes its default.

        Numbers of one, two or four octets are taken. Numbers out of range are brought into it, for meters announce
        0 and 65535 to say *no limit of mine*; RemoteProtocolError for a broken field.
        """
        if not octets:
            return cls()
        if len(octets) < 3 or octets[:2] != bytes((_FORMAT, _GROUP)) or octets[2] > len(octets) - 3:
            raise RemoteProtocolError("link parameters begin 81 80 and their length", offset=0)
        values: dict[int, int] = {}
        at, end = 3, 3 + octets[2]
        while at < end:
            size = octets[at + 1] if at + 1 < end else 0
            if not 1 <= size <= 4 or at + 2 + size > end:
                raise RemoteProtocolError(f"link parameter {octets[at]:#04x} is cut or has no length", offset=at)
            values[octets[at]] = int.from_bytes(octets[at + 2 : at + 2 + size], "big")
            at += 2 + size
        return cls(
            info_octets_tx=_within(values.get(_INFO_TX), INFO_OCTETS_DEFAULT, INFO_OCTETS_MAX),
            info_octets_rx=_within(values.get(_INFO_RX), INFO_OCTETS_DEFAULT, INFO_OCTETS_MAX),
            window_tx=_within(values.get(_WINDOW_TX), WINDOW_DEFAULT, WINDOW_MAX),
            window_rx=_within(values.get(_WINDOW_RX), WINDOW_DEFAULT, WINDOW_MAX),
        )

    def meet(self, peer: Self) -> Self:
        """Return what holds for this station when the peer announced ``peer``: our sending meets its receiving."""
        return type(self)(
            info_octets_tx=min(self.info_octets_tx, peer.info_octets_rx),
            info_octets_rx=min(self.info_octets_rx, peer.info_octets_tx),
            window_tx=min(self.window_tx, peer.window_rx),
            window_rx=min(self.window_rx, peer.window_tx),
        )


def _within(value: int | None, default: int, maximum: int) -> int:
    if value is None:
        return default
    return min(value, maximum) if value else maximum
