"""A cursor over the octets of an APDU: each step says what it expected and where when they run out."""

from protocols.dlms import axdr
from protocols.dlms.data import Data
from protocols.errors import RemoteProtocolError


class Cursor:
    """Reads ``octets`` from left to right; everything it raises is a RemoteProtocolError with the offset."""

    __slots__ = ("at", "octets", "tolerates_trailing")

    def __init__(self, octets: bytes, at: int = 0, *, tolerates_trailing: bool = False) -> None:
        self.octets = octets
        self.at = at
        self.tolerates_trailing = tolerates_trailing

    @property
    def left(self) -> int:
        """How many octets are left."""
        return len(self.octets) - self.at

    def take(self, size: int, what: str) -> bytes:
        """Return the next ``size`` octets, which are ``what``."""
        if size > len(self.octets) - self.at:
            raise RemoteProtocolError(f"{what} needs {size} octets, {self.left} are left", offset=self.at)
        taken = self.octets[self.at : self.at + size]
        self.at += size
        return taken

    def rest(self) -> bytes:
        """Return all octets that are left."""
        return self.take(self.left, "the rest")

    def u8(self, what: str) -> int:
        """Return one octet as a number."""
        return self.take(1, what)[0]

    def i8(self, what: str) -> int:
        """Return one octet as a signed number."""
        return int.from_bytes(self.take(1, what), "big", signed=True)

    def u16(self, what: str) -> int:
        """Return two octets as a number."""
        return int.from_bytes(self.take(2, what), "big")

    def u32(self, what: str) -> int:
        """Return four octets as a number."""
        return int.from_bytes(self.take(4, what), "big")

    def flag(self, what: str) -> bool:
        """Return an A-XDR boolean or presence flag: 00 is no, anything else yes (IEC 61334-6, 6.2)."""
        return self.u8(what) != 0

    def choice(self, what: str) -> bool:
        """Return which of two alternatives comes: 00 the first (False), 01 the second (True)."""
        octet = self.u8(what)
        if octet > 1:
            raise RemoteProtocolError(f"{what} is {octet}, expected 0 or 1", offset=self.at - 1)
        return bool(octet)

    def count(self, what: str) -> int:
        """Return a length or count that the octets left can hold."""
        start = self.at
        number, self.at = axdr.decode_length(self.octets, self.at)
        if number > self.left:
            raise RemoteProtocolError(f"{what} announces {number}, {self.left} octets are left", offset=start)
        return number

    def counted(self, what: str) -> bytes:
        """Return an octet string with its length in front."""
        return self.take(self.count(what), what)

    def data(self) -> Data:
        """Return one A-XDR value."""
        value, self.at = axdr.decode_from(self.octets, self.at)
        return value

    def end(self, what: str) -> None:
        """Make sure that nothing is left, unless a quirk tolerates it."""
        if self.left and not self.tolerates_trailing:
            raise RemoteProtocolError(f"{self.left} octets follow {what}", offset=self.at)
