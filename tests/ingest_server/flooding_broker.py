"""A broker that lets anybody in and then sends as fast as it is read, whatever Receive Maximum it was told."""

import socket
import struct
import threading
from collections.abc import Callable, Sequence
from itertools import cycle

CONNACK = bytes.fromhex("2003000000")  # MQTT 5, section 3.2: no session, success, no properties
CONNECT, SUBSCRIBE, PUBLISH, PUBACK, PINGREQ = 1, 8, 3, 4, 12
PINGRESP = bytes.fromhex("d000")
RECEIVE_OCTETS = 1 << 16


class FloodingBroker:
    """Sends ``messages``, pairs of topic and payload, over and over to whoever subscribes; or only ``once``.

    One that is ``mute`` acknowledges nothing. ``acknowledged`` are the numbers of its own messages that it was told to
    forget, in the order in which it was told.
    """

    def __init__(self, messages: Sequence[tuple[str, bytes]], *, once: bool = False, mute: bool = False) -> None:
        self._mute = mute
        self._once = once
        self._packets = [_publish(topic, payload) for topic, payload in messages]
        self._server = socket.create_server(("127.0.0.1", 0))
        self.sent = 0
        self.sent_octets = 0
        self.acknowledged: list[int] = []
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self._server.getsockname()[1]}"

    def close(self) -> None:
        self._server.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        """Answer; begin the flood with the first subscription, and swallow everything else."""
        flooding = False
        received = b""
        turn = threading.Lock()  # two threads send

        def send(packet: bytes) -> None:
            with turn:
                connection.sendall(packet)

        try:
            while data := connection.recv(RECEIVE_OCTETS):
                received += data
                while len(received) >= 2 and (whole := _length(received)) is not None and len(received) >= whole:
                    packet, received = received[:whole], received[whole:]
                    if packet[0] >> 4 == CONNECT:
                        send(CONNACK)
                    elif packet[0] >> 4 == SUBSCRIBE:
                        send(_suback(packet))
                        if not flooding:
                            threading.Thread(target=self._flood, args=(send,), daemon=True).start()
                        flooding = True
                    elif packet[0] >> 4 == PUBLISH:  # a receipt: QoS 1, so it wants an acknowledgement
                        begin = 1 + _head(packet)
                        topic = int.from_bytes(packet[begin : begin + 2])
                        if not self._mute:
                            send(b"\x40\x02" + packet[begin + 2 + topic : begin + 4 + topic])
                    elif packet[0] >> 4 == PUBACK:
                        self.acknowledged.append(int.from_bytes(packet[2:4]))
                    elif packet[0] >> 4 == PINGREQ:
                        send(PINGRESP)
        except OSError:
            pass
        connection.close()

    def _flood(self, send: Callable[[bytes], None]) -> None:
        number = 0
        try:
            for before, after in self._packets if self._once else cycle(self._packets):
                number = number % 65_535 + 1
                packet = before + struct.pack(">H", number) + after
                send(packet)
                self.sent += 1
                self.sent_octets += len(packet)
        except OSError:
            pass


def _publish(topic: str, payload: bytes) -> tuple[bytes, bytes]:
    """Return what stands before and after the packet identifier."""
    name = struct.pack(">H", len(topic)) + topic.encode()
    length = len(name) + 2 + 1 + len(payload)
    digits = bytearray()
    while True:
        length, digit = divmod(length, 128)
        digits.append(digit | (128 if length else 0))
        if not length:
            return b"\x32" + bytes(digits) + name, b"\0" + payload


def _head(packet: bytes) -> int:
    """Return how many octets the length takes."""
    return next(count for count in range(1, 5) if packet[count] < 128)


def _length(packet: bytes) -> int | None:
    """Return how long the packet is, ``None`` if that is not there yet."""
    value, shift = 0, 0
    for at, octet in enumerate(packet[1:5], 1):
        value |= (octet & 127) << shift
        shift += 7
        if octet < 128:
            return 1 + at + value
    return None


def _suback(packet: bytes) -> bytes:
    begin = 1 + _head(packet)
    number, rest = packet[begin : begin + 2], packet[begin + 3 :]
    filters = 0
    while rest:
        rest = rest[3 + int.from_bytes(rest[:2]) :]
        filters += 1
    return bytes([0x90, 3 + filters]) + number + b"\0" + b"\x01" * filters
