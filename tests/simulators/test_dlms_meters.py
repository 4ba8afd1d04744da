"""DLMS meters on a real pseudo-terminal and a real TCP port, read by the client half of the protocol library."""

import asyncio
import socket
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.dlms import plan, profile
from protocols.dlms.acse import Mechanism
from protocols.dlms.association import Association
from protocols.dlms.client import DlmsClient
from protocols.dlms.codes import DataAccessResult
from protocols.dlms.cosem_time import date_time_of
from protocols.dlms.data import integer_of, octets_of
from protocols.dlms.hdlc.negotiation import LinkLimits
from protocols.dlms.hdlc.primary import HdlcParameters
from protocols.dlms.link import NEED_DATA, LinkDown
from protocols.dlms.objects import decode_object_list, scaler_unit_of, to_base
from protocols.dlms.quirks import Quirks
from protocols.dlms.selective import CLOCK, CaptureObject, Entries
from protocols.dlms.services import (
    Associated,
    AssociationRefused,
    Connect,
    DataAccessError,
    Get,
    GetBuffer,
    GetResult,
    Release,
)
from protocols.dlms.wrapper import WrapperParameters
from protocols.dlms.xdlms.references import Attribute
from protocols.errors import RemoteProtocolError
from protocols.obis import Obis
from simulators.dlms.hdlc_line import DlmsMeter, HdlcMeters, physical_address
from simulators.dlms.objects import CosemObjects
from simulators.dlms.tcp import DlmsTcpServer
from simulators.serial_line import LineSettings, SerialLine
from tests.simulators.meters import INSTALLED, NOW, Master, days, meter, run

SECRET = b"24681357"
HALF_HOUR = 1_800_000
PROFILE = Obis.parse("1.0.99.1.0")
UNPACED = LineSettings(9600, paced=False)


def hdlc(physical, client_sap=1, secret=SECRET):
    association = Association(Mechanism.LOW, secret) if secret else Association()
    link = HdlcParameters(client_sap=client_sap, server_logical=1, server_physical=physical, server_size=2,
                          limits=LinkLimits(), retries_max=1)  # fmt: skip
    return DlmsClient(link, association, Quirks())


class Shell:
    """Carries a client's requests out over anything that can write octets and read what comes."""

    def __init__(self, client, write, read):
        self.client, self._write, self._read = client, write, read

    def ask(self, request):
        self._put(self.client.send(request))
        while True:
            try:
                event = self.client.next_event()
            except RemoteProtocolError:
                continue
            self._put(self.client.data_to_send())
            if event is NEED_DATA:
                octets = self._read()
                if octets:
                    self.client.receive_data(octets)
                else:
                    self._put(self.client.receive_silence())
            elif plan.ends(request, event):
                return event

    def value(self, class_id, obis, index, selection=None):
        event = self.ask(Get(Attribute(class_id, Obis.parse(obis), index), selection))
        return event.value if isinstance(event, GetResult) else event

    def table(self, request):
        captured = profile.decode_capture_objects(self.value(7, "1.0.99.1.0", 3))
        buffer = profile.decode_buffer(self.ask(request).octets, column_count=len(captured))
        return profile.interpret(buffer, captured, period_s=1800)

    def _put(self, octets):
        if octets:
            self._write(octets)


def on_line(tmp_path, meters, talk, *, now_ms=lambda: NOW, **options):
    """Put meters on a line and let ``talk(shell_of)`` run in a thread beside them."""

    def with_master():
        master = Master(tmp_path / "line")
        try:
            return talk(lambda client, wait=5.0: Shell(client, master.write, lambda: master.read(1, wait)))
        finally:
            master.close()

    async def work():
        line = SerialLine(tmp_path / "line", UNPACED)
        dlms_meters = [each if isinstance(each, DlmsMeter) else DlmsMeter(each, SECRET) for each in meters]
        HdlcMeters(line, dlms_meters, now_ms, **options)
        try:
            return await asyncio.to_thread(with_master)
        finally:
            line.close()

    return run(work)


def connected(shell_of, physical):
    shell = shell_of(hdlc(physical))
    assert isinstance(shell.ask(Connect()), Associated)
    return shell


def test_every_measurement_of_every_meter_on_the_line_is_what_the_meter_knows(tmp_path):
    meters = [
        meter("dlms_residential", 17, panels_w=3_000),
        meter("dlms_three_phase", 18),
        meter("dlms_residential", 99),
    ]

    def talk(shell_of):
        found = []
        for each in meters:
            shell = connected(shell_of, each.address)
            for measurement in each.model.measurements:
                unit = scaler_unit_of(shell.value(3, str(measurement.obis), 3))
                value = integer_of(shell.value(3, str(measurement.obis), 2))
                found.append((each.name, measurement.obis, to_base(value, unit, measurement.obis)))
            shell.ask(Release())
        return found

    assert on_line(tmp_path, meters, talk) == [
        (each.name, measurement.obis, each.value(measurement.obis, NOW))
        for each in meters
        for measurement in each.model.measurements
    ]


def test_a_list_of_registers_is_of_one_moment_and_its_rates_sum_to_the_total(tmp_path):
    """The clock runs on between requests, but not inside one."""
    ticks = iter(range(NOW, NOW + 10**9, 777_777))
    codes = [Obis.parse(f"1.0.1.8.{rate}") for rate in range(4)]

    def talk(shell_of):
        shell = connected(shell_of, 18)
        (request,) = plan.read_attributes([Attribute(3, code, 2) for code in codes], shell.client.granted.conformance)
        return [integer_of(each.value) for each in plan.results_of(shell.ask(request))]

    total, *rates = on_line(tmp_path, [meter("dlms_three_phase", 18)], talk, now_ms=lambda: next(ticks))
    assert total == sum(rates)


def test_names_clock_and_object_list(tmp_path):
    device = meter("dlms_residential", 17)

    def talk(shell_of):
        shell = connected(shell_of, 17)
        return (
            octets_of(shell.value(1, "0.0.42.0.0", 2)),
            octets_of(shell.value(1, "0.0.96.1.0", 2)).decode(),
            date_time_of(shell.value(8, "0.0.1.0.0", 2)),
            decode_object_list(shell.value(15, "0.0.40.0.0", 2)),
            [shell.value(each.class_id, str(each.obis), index)
             for each in decode_object_list(shell.value(15, "0.0.40.0.0", 2)) for index, _ in each.attributes],
            [shell.value(class_id, obis, index).code for class_id, obis, index in
             ((3, "1.0.9.8.0", 2), (1, "1.0.1.8.0", 2), (3, "1.0.1.8.0", 9))],
        )  # fmt: skip

    name, serial, clock, listed, values, refused = on_line(tmp_path, [device], talk)
    assert len(name) == 16
    assert name.endswith(serial.encode())
    assert serial == device.serial
    assert clock.at() == datetime.fromtimestamp(NOW // 1000, UTC)
    assert (clock.hour, clock.deviation_minutes) == (12, -420)
    assert {(7, PROFILE), (3, Obis.parse("1.0.1.8.0")), (8, Obis.parse("0.0.1.0.0"))} <= {
        (each.class_id, each.obis) for each in listed
    }
    assert not [each for each in values if isinstance(each, DataAccessError)]
    assert refused == [
        DataAccessResult.OBJECT_UNDEFINED,
        DataAccessResult.OBJECT_CLASS_INCONSISTENT,
        DataAccessResult.READ_WRITE_DENIED,
    ]


def test_a_wrong_secret_is_refused_and_the_public_client_sees_no_energy(tmp_path):
    def talk(shell_of):
        public = shell_of(hdlc(17, client_sap=16, secret=b""))
        granted = public.ask(Connect())
        return granted, public.value(3, "1.0.1.8.0", 2), public.value(1, "0.0.96.1.0", 2)

    def refused(shell_of):
        shell = shell_of(hdlc(17, secret=b"00000000"))
        events = []
        shell._put(shell.client.send(Connect()))
        while not any(isinstance(each, AssociationRefused | Associated) for each in events):
            event = shell.client.next_event()
            shell._put(shell.client.data_to_send())
            if event is NEED_DATA:
                shell.client.receive_data(shell._read())
            else:
                events.append(event)
        return events[-1]

    device = meter("dlms_residential", 17)
    assert isinstance(on_line(tmp_path, [device], refused), AssociationRefused)
    granted, energy, serial = on_line(tmp_path, [device], talk)
    assert isinstance(granted, Associated)
    assert energy.code is DataAccessResult.READ_WRITE_DENIED
    assert octets_of(serial).decode() == device.serial


def test_the_load_profile_holds_the_registers_at_each_half_hour_of_a_range(tmp_path):
    device = meter("dlms_three_phase", 18, silent=((NOW - days(3), NOW - days(1)),))
    first, last = NOW // HALF_HOUR * HALF_HOUR - days(2), NOW // HALF_HOUR * HALF_HOUR - days(1)

    def talk(shell_of):
        shell = connected(shell_of, 18)
        (request,) = plan.read_profile(
            PROFILE, datetime.fromtimestamp(first / 1000, UTC), datetime.fromtimestamp(last / 1000, UTC)
        )
        return shell.table(request), integer_of(shell.value(7, "1.0.99.1.0", 4))

    table, period_s = on_line(tmp_path, [device], talk)
    assert period_s == 1800
    assert table.at == list(range(first // 1000, last // 1000 + 1, 1800))
    for rate in range(4):
        column = table.column(CaptureObject(3, Obis.parse(f"1.0.1.8.{rate}"), 2))
        assert column == [device.true_wh(f"1.0.1.8.{rate}", at * 1000) for at in table.at]


def test_the_load_profile_keeps_sixty_days_and_nothing_from_before_the_installation(tmp_path):
    late, early = INSTALLED + days(100), INSTALLED + days(1) + 1

    def rows(tmp, now):
        def talk(shell_of):
            shell = connected(shell_of, 17)
            return shell.table(GetBuffer(Attribute(7, PROFILE, 2))), integer_of(shell.value(7, "1.0.99.1.0", 7))

        return on_line(tmp, [meter("dlms_residential", 17)], talk, now_ms=lambda: now)

    table, entries = rows(tmp_path, late)
    assert entries == len(table.at) == 60 * 48
    assert table.at[-1] == late // 1000
    table, entries = rows(tmp_path, early)
    assert entries == len(table.at) == 48
    assert table.at[0] == (INSTALLED + HALF_HOUR) // 1000


def test_the_load_profile_by_entries_and_by_columns(tmp_path):
    import_active = CaptureObject(3, Obis.parse("1.0.1.8.0"), 2)
    to_at = datetime.fromtimestamp(NOW // 1000, UTC)
    from_at = datetime.fromtimestamp(NOW // 1000 - 7200, UTC)

    def talk(shell_of):
        shell = connected(shell_of, 17)
        buffers = [
            GetBuffer(Attribute(7, PROFILE, 2), Entries(1, 3, 1, 2).selection()),
            plan.read_profile(PROFILE, from_at, to_at, columns=(CLOCK, import_active))[0],
        ]
        foreign = plan.read_profile(PROFILE, from_at, to_at, columns=(CaptureObject(3, Obis.parse("1.0.9.8.0"), 2),))
        return [profile.decode_buffer(shell.ask(each).octets) for each in buffers], shell.ask(foreign[0])

    (entries, columns), foreign = on_line(tmp_path, [meter("dlms_residential", 17)], talk)
    assert (entries.row_count, len(entries.columns)) == (3, 2)
    assert (columns.row_count, len(columns.columns)) == (4, 2)
    assert foreign.code is DataAccessResult.SCOPE_OF_ACCESS_VIOLATED


def test_a_silent_meter_says_nothing_and_its_neighbour_answers(tmp_path):
    meters = [meter("dlms_residential", 17, silent=((NOW - 1, NOW + 1),)), meter("dlms_residential", 18)]

    def talk(shell_of):
        return shell_of(hdlc(17), 0.1).ask(Connect()), shell_of(hdlc(18)).ask(Connect())

    silent, neighbour = on_line(tmp_path, meters, talk)
    assert isinstance(silent, LinkDown)
    assert isinstance(neighbour, Associated)


def test_after_any_rubbish_and_a_silence_a_meter_answers_again(tmp_path):
    rng = Random(7)
    blobs = [b"\x7e\xa7\xff" + rng.randbytes(40), rng.randbytes(300), b"\x7e" * 9]

    def with_master():
        master = Master(tmp_path / "line")
        try:
            for blob in blobs:
                master.ask(blob, 600, 0.2)
                shell = Shell(hdlc(17), master.write, lambda: master.read(1))
                assert isinstance(shell.ask(Connect()), Associated)
        finally:
            master.close()

    async def work():
        line = SerialLine(tmp_path / "line", UNPACED)
        HdlcMeters(line, [DlmsMeter(meter("dlms_residential", 17), SECRET)], lambda: NOW)
        try:
            await asyncio.to_thread(with_master)
        finally:
            line.close()

    run(work)


def test_meters_over_tcp_are_told_apart_by_their_wports():
    meters = [meter("dlms_residential", 17), meter("dlms_three_phase", 300)]

    def talk(port):
        found = []
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            for each in meters:
                client = DlmsClient(WrapperParameters(1, each.address), Association(Mechanism.LOW, SECRET), Quirks())
                shell = Shell(client, connection.sendall, lambda: connection.recv(65536))
                assert isinstance(shell.ask(Connect()), Associated)
                found.append(integer_of(shell.value(3, "1.0.1.8.0", 2)))
        return found

    async def work():
        async with AsyncExitStack() as opened:
            server = DlmsTcpServer([DlmsMeter(each, SECRET) for each in meters], lambda: NOW)
            opened.push_async_callback(server.close)
            return await asyncio.to_thread(talk, await server.open("127.0.0.1", 0))

    assert run(work) == [each.true_wh("1.0.1.8.0", NOW) for each in meters]


@pytest.mark.parametrize(
    ("frame", "address"),
    [("7ea0082102232193ab7e", None), ("", None), ("7e", None), ("7ea00a000200232193......7e".replace(".", "0"), None)],
)
def test_only_one_whole_frame_names_a_meter(frame, address):
    assert physical_address(bytes.fromhex(frame)) is address


def test_the_address_of_a_whole_frame_is_found():
    assert physical_address(hdlc(17).send(Connect())) == 17
    assert physical_address(hdlc(17).send(Connect())[:-1]) is None
    assert physical_address(hdlc(17).send(Connect()) * 2) is None


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 200), st.sampled_from(["1.0.1.8.0", "1.0.99.1.0", "0.0.1.0.0", "1.0.16.7.0"]), st.integers(-128, 127)
)
def test_no_question_breaks_the_objects(class_id, obis, index):
    objects = CosemObjects(meter("dlms_three_phase", 18))
    assert objects.get(1, Attribute(class_id, Obis.parse(obis), index), None) is not None
