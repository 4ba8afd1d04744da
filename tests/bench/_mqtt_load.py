"""A publisher and a subscriber that cost as little as may be, so that a figure is the broker's or ingest's, not theirs.

Packets are made beforehand and sent in bulk; of what comes only as much is read as is needed to count it and to
acknowledge it. MQTT 5, QoS 1; nothing here is for use outside of measurements.
"""

import json
import selectors
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from protocols.telemetry.batch import decompress

PUBLISH, PUBACK = 3, 4
CONNACK, SUBACK = b"\x20", b"\x90"
CHUNK_PACKETS = 200
RECEIVE_OCTETS = 1 << 18
UNSENT_OCTETS_MAX = 1 << 20
SILENCE_S_MAX = 60.0
TICK_S = 0.005


def make_packet(kind: int, body: bytes) -> bytes:
    """Return a control packet: MQTT 5, section 2.1."""
    length, left = bytearray(), len(body)
    while True:
        left, digit = divmod(left, 128)
        length.append(digit | (128 if left else 0))
        if not left:
            return bytes([kind]) + bytes(length) + body


def make_publish(topic: str, payload: bytes, number: int) -> bytes:
    """Return a PUBLISH of QoS 1 with the packet identifier ``number``: section 3.3."""
    return make_packet(0x32, _text(topic) + struct.pack(">H", number) + b"\0" + payload)


def _text(text: str) -> bytes:
    return struct.pack(">H", len(text.encode())) + text.encode()


def open_session(
    address: tuple[str, int], client_id: str, *, context: ssl.SSLContext | None = None, receive_maximum: int = 65_535
) -> socket.socket:
    """Return a connection with a clean session."""
    connection = socket.create_connection(address)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if context is not None:
        connection = context.wrap_socket(connection, server_hostname=address[0])
    properties = b"\x21" + struct.pack(">H", receive_maximum)
    flags = _text("MQTT") + b"\x05\x02" + struct.pack(">H", 0)
    connection.sendall(make_packet(0x10, flags + bytes([len(properties)]) + properties + _text(client_id)))
    answer = connection.recv(RECEIVE_OCTETS)
    assert answer[:1] == CONNACK, answer
    assert answer[3] == 0, answer
    return connection


def subscribe(connection: socket.socket, topic: str) -> None:
    """Subscribe with QoS 1."""
    connection.sendall(make_packet(0x82, struct.pack(">H", 1) + b"\0" + _text(topic) + b"\x01"))
    answer = connection.recv(RECEIVE_OCTETS)
    assert answer[:1] == SUBACK, answer
    assert answer[-1] < 0x80, answer


def split(data: bytes) -> tuple[list[tuple[int, int, int]], int]:
    """Return the whole packets in ``data`` as (first octet, begin and end of the body), and where the rest begins."""
    packets, at = [], 0
    while True:
        length, shift, begin = 0, 0, at + 1
        while begin < len(data) and data[begin] & 128:
            length |= (data[begin] & 127) << shift
            begin, shift = begin + 1, shift + 7
        if begin >= len(data):
            return packets, at
        length |= data[begin] << shift
        begin += 1
        if begin + length > len(data):
            return packets, at
        packets.append((data[at], begin, begin + length))
        at = begin + length


def swallow(address: tuple[str, int], topic: str, messages: int, tell: Callable[[object], None]) -> None:
    """Subscribe, acknowledge ``messages`` and do nothing with them; tell when it is subscribed and when it is done."""
    connection = open_session(address, "bench-swallow")
    subscribe(connection, topic)
    tell("subscribed")
    rest, seen = b"", 0
    while seen < messages:
        rest += connection.recv(RECEIVE_OCTETS)
        packets, at = split(rest)
        answers = bytearray()
        for first, begin, _ in packets:
            if first >> 4 == PUBLISH:
                length = int.from_bytes(rest[begin : begin + 2])
                answers += b"\x40\x02" + rest[begin + 2 + length : begin + 4 + length]
                seen += 1
        rest = rest[at:]
        connection.sendall(answers)
    tell(time.perf_counter())
    connection.close()


@dataclass(slots=True)
class Publisher:
    """Sends ``packets`` over ``connection`` in their order, and counts what the server's receipts settle."""

    connection: socket.socket
    packets: Sequence[bytes]
    batches: Sequence[tuple[str, int]]  # gateway and sequence of each packet
    receipted: bool = True  # otherwise the broker's acknowledgements are what is counted
    sent: int = 0
    settled: int = 0
    latencies_s: list[float] = field(default_factory=list)
    _sent_s: dict[tuple[str, int], float] = field(default_factory=dict)
    _unsent: deque[bytes] = field(default_factory=deque)
    _piece: bytes = b""
    _received: bytes = b""

    def run(self, *, ahead: int, per_s: float | None = None, until: Callable[[], bool] = lambda: False) -> float:
        """Send all, at most so many ``ahead`` of what is settled, or paced; return how long it took until all was."""
        self.connection.setblocking(False)
        with selectors.DefaultSelector() as selector:
            selector.register(self.connection, selectors.EVENT_READ)
            started = heard = time.perf_counter()
            while self.settled < len(self.packets) and not until():
                now = time.perf_counter()
                room = (
                    self.settled + ahead if per_s is None else min(self.settled + ahead, int((now - started) * per_s))
                )
                self._fill(min(len(self.packets), room), now)
                wants = selectors.EVENT_WRITE if self._piece or self._unsent else 0
                selector.modify(self.connection, selectors.EVENT_READ | wants)
                before = self.settled
                for _, events in selector.select(TICK_S):
                    if events & selectors.EVENT_WRITE:
                        self._write()
                    if events & selectors.EVENT_READ:
                        self._read()
                heard = time.perf_counter() if self.settled != before or self.sent == self.settled else heard
                assert time.perf_counter() - heard < SILENCE_S_MAX, f"{self.settled} of {self.sent} are settled"
        return time.perf_counter() - started

    def _fill(self, up_to: int, now: float) -> None:
        while self.sent < up_to and sum(map(len, self._unsent)) < UNSENT_OCTETS_MAX:
            end = min(up_to, self.sent + CHUNK_PACKETS)
            self._unsent.append(b"".join(self.packets[self.sent : end]))
            self._sent_s.update(dict.fromkeys(self.batches[self.sent : end], now))
            self.sent = end

    def _write(self) -> None:
        try:
            while self._piece or self._unsent:
                self._piece = self._piece or self._unsent.popleft()
                self._piece = self._piece[self.connection.send(self._piece) :]
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass

    def _read(self) -> None:
        try:
            while True:
                received = self.connection.recv(RECEIVE_OCTETS)
                assert received, "the broker has ended the connection"
                self._received += received
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        packets, at = split(self._received)
        now = time.perf_counter()
        for first, begin, end in packets:
            if first >> 4 == PUBLISH:
                self._take_receipt(self._received[begin:end], now)
            elif first >> 4 == PUBACK and not self.receipted:
                self.settled += 1
        self._received = self._received[at:]

    def _take_receipt(self, body: bytes, now: float) -> None:
        length = int.from_bytes(body[:2])
        self._unsent.append(b"\x40\x02" + body[2 + length : 4 + length])
        receipt = json.loads(decompress(body[5 + length :]))
        for first, last in receipt["sequences"]:
            for sequence in range(first, last + 1):
                sent_s = self._sent_s.pop((receipt["gateway"], sequence), None)
                if sent_s is not None:
                    self.settled += 1
                    self.latencies_s.append(now - sent_s)
