"""Modbus meters on a real pseudo-terminal and a real TCP port, read by pymodbus, which knows nothing of this code."""

import asyncio
import socket
import struct
from contextlib import AsyncExitStack
from random import Random

import pytest
from pymodbus.client import ModbusSerialClient, ModbusTcpClient

from protocols.errors import UsageError
from protocols.modbus.crc import crc16
from simulators.faults import NO_FAULTS, FaultPlan
from simulators.modbus.rtu import RtuSlaves, request_length
from simulators.modbus.slave import ModbusSlave
from simulators.modbus.tcp import ModbusTcpServer
from simulators.serial_line import LineSettings, SerialLine
from tests.simulators.meters import NOW, Master, meter, run

UNPACED = LineSettings(9600, paced=False)


def read_of(unit, address=0x48, count=2, function=4):
    request = struct.pack(">BBHH", unit, function, address, count)
    return request + crc16(request)


def on_line(tmp_path, meters, talk, *, settings=UNPACED, now_ms=lambda: NOW, **options):
    """Put meters on a line and let ``talk(master)`` run in a thread beside them."""

    async def work():
        line = SerialLine(tmp_path / "line", settings)
        RtuSlaves(line, [ModbusSlave(each) for each in meters], now_ms, **options)
        try:
            return await asyncio.to_thread(with_master, tmp_path / "line", talk)
        finally:
            line.close()

    return run(work)


def with_master(link, talk):
    master = Master(link)
    try:
        return talk(master)
    finally:
        master.close()


def test_pymodbus_reads_every_meter_of_a_serial_line(tmp_path):
    meters = [meter(address=1), meter(address=2), meter("eastron_sdm630", 33), meter("schneider_iem3155", 247)]

    def read_all():
        client = ModbusSerialClient(str(tmp_path / "line"), baudrate=9600, timeout=5)
        assert client.connect()
        try:
            floats = [client.read_input_registers(0x48, count=2, device_id=unit).registers for unit in (1, 2, 33)]
            whole = client.read_holding_registers(3203, count=4, device_id=247).registers
            refused = client.read_input_registers(0x100, count=2, device_id=1).exception_code
        finally:
            client.close()
        return [round(struct.unpack(">f", struct.pack(">2H", *pair))[0] * 1000) for pair in floats], whole, refused

    async def work():
        line = SerialLine(tmp_path / "line", UNPACED)
        RtuSlaves(line, [ModbusSlave(each) for each in meters], lambda: NOW)
        try:
            return await asyncio.to_thread(read_all)
        finally:
            line.close()

    floats, whole, refused = run(work)
    assert floats == [each.true_wh("1.0.1.8.0", NOW) for each in meters[:3]]
    assert struct.unpack(">q", struct.pack(">4H", *whole))[0] == meters[3].true_wh("1.0.1.8.0", NOW)
    assert refused == 2


def test_pymodbus_reads_meters_over_tcp_as_they_are_when_asked():
    meters = [meter(address=1), meter("eastron_sdm630", 2, silent=((NOW + 1000, NOW + 2000),))]
    times = iter([NOW, NOW + 500, NOW + 3_600_000])

    def read_all(port):
        client = ModbusTcpClient("127.0.0.1", port=port, timeout=5)
        assert client.connect()
        try:
            replies = [client.read_input_registers(0x48, count=2, device_id=unit) for unit in (1, 2, 1, 9)]
        finally:
            client.close()
        return replies

    async def work():
        async with AsyncExitStack() as opened:
            server = ModbusTcpServer([ModbusSlave(each) for each in meters], lambda: next(times))
            opened.push_async_callback(server.close)
            return await asyncio.to_thread(read_all, await server.open("127.0.0.1", 0))

    *read, absent = run(work)
    values = [round(struct.unpack(">f", struct.pack(">2H", *each.registers))[0] * 1000) for each in read]
    assert values == [
        meters[0].true_wh("1.0.1.8.0", NOW),
        meters[1].true_wh("1.0.1.8.0", NOW + 500),
        meters[0].true_wh("1.0.1.8.0", NOW + 3_600_000),
    ]
    assert absent.exception_code == 11


def test_a_request_may_come_octet_by_octet_and_noise_ends_with_the_next_silence(tmp_path):
    def talk(master):
        for _ in range(5):  # a busy machine may pause in between, which ends the frame as it should
            for octet in read_of(1):
                master.write(bytes((octet,)))
            if split := master.read(9, 0.5):
                break
        noisy = master.ask(b"\xff\x00\x13" + read_of(1), 9, 0.3)
        return split, noisy, master.ask(read_of(1), 9)

    split, noisy, clean = on_line(tmp_path, [meter(address=1)], talk)
    assert noisy == b""
    assert split == clean
    assert len(clean) == 9
    assert crc16(clean[:-2]) == clean[-2:]


def test_foreign_units_wrong_checks_and_broadcasts_get_no_answer(tmp_path):
    broken = read_of(1)[:-1] + b"\x00"
    replies = on_line(
        tmp_path,
        [meter(address=1)],
        lambda master: (
            [master.ask(request, 9, 0.15) for request in (read_of(2), broken, read_of(0))] + [master.ask(read_of(1), 9)]
        ),
    )
    assert [len(reply) for reply in replies] == [0, 0, 0, 9]


def test_after_any_rubbish_and_a_silence_a_meter_answers_again(tmp_path):
    rng = Random(7)
    blobs = [rng.randbytes(rng.randrange(1, 600)) for _ in range(4)]

    def talk(master):
        replies = []
        for blob in blobs:
            master.ask(blob, 600, 0.15)
            replies.append(master.ask(read_of(1), 9))
        return replies

    assert {len(reply) for reply in on_line(tmp_path, [meter(address=1)], talk)} == {9}


def test_tcp_rubbish_ends_its_connection_and_no_other():
    def talk(port):
        with socket.create_connection(("127.0.0.1", port), 5) as bad:
            bad.sendall(b"GET / HTTP/1.1\r\n\r\n")
            ended = bad.recv(100)
        with socket.create_connection(("127.0.0.1", port), 5) as good:
            good.sendall(b"\0\1\0\0\0\6\1\4\0\0")
            good.sendall(b"\0\2" + b"\0\2\0\0\0\6\1\4\0\0\0\2")
            return ended, good.recv(13), good.recv(13)

    async def work():
        async with AsyncExitStack() as opened:
            server = ModbusTcpServer([ModbusSlave(meter())], lambda: NOW)
            opened.push_async_callback(server.close)
            return await asyncio.to_thread(talk, await server.open("127.0.0.1", 0))

    ended, first, second = run(work)
    assert ended == b""
    assert (first[:2], second[:2]) == (b"\0\1", b"\0\2")
    assert first[2:] == second[2:]


def test_functions_without_a_known_length_are_refused_after_the_silence(tmp_path):
    request = b"\x01\x2b\x0e\x01\x00"
    reply = on_line(tmp_path, [meter(address=1)], lambda master: master.ask(request + crc16(request), 5))
    assert reply[:3] == b"\x01\xab\x01"


@pytest.mark.parametrize(
    ("request_", "length"),
    [(b"\x01", None), (b"\x01\x04", 8), (b"\x01\x07", 4), (b"\x01\x10\0\0\0\2\4", 13), (b"\x01\x10\0\0", None),
     (b"\x01\x17\0\0\0\1\0\0\0\1\2", 15), (b"\x01\x2b\x0e", None)],
)  # fmt: skip
def test_the_length_of_a_request_follows_from_its_function(request_, length):
    assert request_length(request_) == length


def test_a_meter_is_silent_in_its_silent_hours_and_answers_before_and_after(tmp_path):
    times = iter([NOW - 1, NOW, NOW + 999, NOW + 1000])
    replies = on_line(
        tmp_path,
        [meter(address=1, silent=((NOW, NOW + 1000),))],
        lambda master: [len(master.ask(read_of(1), 9, wait)) for wait in (5, 0.15, 0.15, 5)],
        now_ms=lambda: next(times),
    )
    assert replies == [9, 0, 0, 9]


@pytest.mark.parametrize(("baud", "parity", "bits"), [(4800, "N", 10), (9600, "E", 11), (115_200, "N", 10)])
def test_octets_come_no_faster_than_the_line_allows(tmp_path, baud, parity, bits):
    """The request takes its time, then the silence of 3.5 characters, then each octet of the reply."""
    settings = LineSettings(baud, parity)

    def talk(master):
        import time

        asked_at = time.monotonic()
        master.write(read_of(1, 0, 40))
        return asked_at, master.read_timed(85)

    asked_at, lumps = on_line(tmp_path, [meter("eastron_sdm630", 1)], talk, settings=settings)
    character_s = bits / baud
    assert settings.character_s == character_s
    came = 0
    for at, octets in lumps:
        came += len(octets)
        assert at - asked_at >= 8 * character_s + settings.silence_s + came * character_s
    assert came == 85


def test_a_late_reply_meets_a_line_on_which_the_meters_hear_nothing(tmp_path):
    """While a reply is on its way, what the master says collides with it and is lost."""
    late = FaultPlan(delay=1000, pause_ms=400)
    reply = on_line(
        tmp_path,
        [meter(address=1), meter(address=2)],
        lambda master: (master.ask(read_of(1), 9, 0.05), master.ask(read_of(2), 9), master.read(1, 0.2)),
        faults=late,
        rng=Random(1),
    )
    assert reply[0] == b""
    assert reply[1][0] == 1
    assert reply[2] == b""


def test_two_meters_on_one_unit_and_units_beyond_247_are_refused(tmp_path):
    for meters, message in (([meter(address=5), meter(address=5, name="B")], "taken"), ([meter(address=248)], "247")):
        with pytest.raises(UsageError, match=message):
            on_line(tmp_path, meters, lambda master: None)


def test_the_link_replaces_a_dead_one_never_a_file_and_goes_with_the_line(tmp_path):
    link = tmp_path / "lines" / "line"

    async def open_and_close():
        line = SerialLine(link, UNPACED)
        assert str(link.readlink()) == line.port
        line.close()

    run(open_and_close)
    assert not link.is_symlink()
    link.symlink_to("/nowhere")
    run(open_and_close)
    link.write_text("a file")
    with pytest.raises(UsageError, match="no symbolic link"):
        run(open_and_close)
    assert link.read_text() == "a file"


def test_no_faults_is_the_default_and_changes_nothing():
    assert FaultPlan() == NO_FAULTS
