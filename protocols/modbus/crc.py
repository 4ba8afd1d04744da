"""The checksum of Modbus RTU: CRC-16, polynomial 0xA001 (reflected 0x8005), start 0xFFFF, low octet first on the wire.

Source: Modbus over Serial Line V1.02, section 6.2.2.
"""


def _table() -> tuple[int, ...]:
    entries = []
    for value in range(256):
        crc = value
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
        entries.append(crc)
    return tuple(entries)


_TABLE = _table()


def crc16(data: bytes) -> bytes:
    """Return the two octets that follow ``data`` on the wire."""
    crc = 0xFFFF
    for octet in data:
        crc = (crc >> 8) ^ _TABLE[(crc ^ octet) & 0xFF]
    return crc.to_bytes(2, "little")
