"""What ``congto sim dlms`` says unasked: pushes in M-Bus frames, events in event-notifications."""

import socket
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime

import pytest

from protocols.dlms.acse import Mechanism
from protocols.dlms.association import Association
from protocols.dlms.client import DlmsClient
from protocols.dlms.control import ControlState, set_clock, switch
from protocols.dlms.cosem_time import decode_date_time
from protocols.dlms.data import integer_of, items_of, unsigned
from protocols.dlms.link import NEED_DATA
from protocols.dlms.push import Pushed, PushLink, PushReceiver
from protocols.dlms.services import Act, ActionDone, Associated, Connect, Get, GetResult, Notified, SetDone
from protocols.dlms.wrapper import WrapperParameters
from protocols.dlms.xdlms.references import Attribute
from simulators.dlms.actuators import PUSH_SETUP
from simulators.dlms.meter import CIPHERED_SAP, DlmsMeter, Manners, MeterFaults
from simulators.dlms.profiles import (
    CLOCK_NEW,
    CLOCK_OLD,
    COVER_REMOVED,
    DISCONNECTS,
    FRAUD,
    REMOTE_DISCONNECTION,
    STANDARD,
    event_code,
    log_obis,
)
from tests.simulators.meters import NOW, Master, meter
from tests.simulators.test_dlms_command import AT, DEADLINE_S, sim
from tests.simulators.test_dlms_complete import IMPORT, association, keyed, over_tcp, own_shell
from tests.simulators.test_dlms_meters import SECRET, Shell, hdlc, on_line

PUSH = Act(Attribute(40, PUSH_SETUP, 1))
LOW = Association(Mechanism.LOW, b"00000000")


def next_notified(shell):
    """Return the next event-notification, however it comes."""
    while True:
        event = shell.client.next_event()
        if event is NEED_DATA:
            shell.client.receive_data(shell._read())
        elif isinstance(event, Notified):
            return event.notification


def told(notification):
    return notification.attribute, integer_of(notification.data)


# -- M-Bus ------------------------------------------------------------------------------------------------------------


def pushed_energy(read):
    receiver = PushReceiver(PushLink.MBUS)
    while (event := receiver.next_event()) is NEED_DATA:
        octets = read()
        assert octets, "the meter stopped in the middle of a push"
        receiver.receive_data(octets)
    assert isinstance(event, Pushed)
    return integer_of(items_of(items_of(event.notification.data)[1])[1])


@pytest.mark.integration
def test_the_command_pushes_in_mbus_frames_over_tcp():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE_S)
        there = f"mbus:127.0.0.1:{listener.getsockname()[1]}"
        with sim("--tcp", "--units", "5", "--push", there, "--at", AT, "--speed", "0") as said:
            host, port = said["tcp"].split(":")
            with socket.create_connection((host, int(port)), DEADLINE_S) as connection:
                client = DlmsClient(WrapperParameters(1, 5), LOW)
                shell = Shell(client, connection.sendall, lambda: connection.recv(65536))
                assert isinstance(shell.ask(Connect()), Associated)
                energy = integer_of(shell.value(3, "1.0.1.8.0", 2))
                assert isinstance(shell.ask(PUSH), ActionDone)
            pushed, _ = listener.accept()
            with pushed:
                pushed.settimeout(DEADLINE_S)
                assert pushed_energy(lambda: pushed.recv(4096)) == energy > 0


@pytest.mark.integration
def test_the_command_pushes_in_mbus_frames_on_its_line_and_the_tool_prints_them(tmp_path):
    link = tmp_path / "line"
    words = ("--port-link", link, "--units", "17", "--unpaced", "--push", "mbus", "--push-every", "1", "--at", AT)
    with sim(*words, "--speed", "0"):
        with closing(Master(link)) as master:
            energy = pushed_energy(lambda: master.read(1, DEADLINE_S))
        command = [sys.executable, "-m", "deploy.cli", "dlms", "push", "--serial", link, "--link", "mbus"]
        done = subprocess.run(
            [*map(str, command), "--count", "1", "--wait", "20", "--json"],
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert str(energy) in done.stdout


@pytest.mark.parametrize(
    "words", [["--tcp", "--push", "mbus"], ["--tcp", "--push", "line"], ["--udp", "--push", "mbus:x"]]
)
@pytest.mark.integration
def test_a_destination_that_is_none_is_told_with_those_that_are(words):
    command = [sys.executable, "-m", "deploy.cli", "sim", "dlms", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 2
    assert "udp:HOST:PORT or mbus:HOST:PORT" in done.stderr


# -- events -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ciphered", [False, True])
@pytest.mark.parametrize("opened", [False, True])
def test_a_client_is_told_of_what_it_does_and_of_what_befalls_the_meter(ciphered, opened):
    device = keyed(tells_events=True, faults=MeterFaults(event=1000 * opened))
    sap = CIPHERED_SAP + Mechanism.HIGH_GMAC if ciphered else 1
    wanted = association(device, Mechanism.HIGH_GMAC, ciphered=True) if ciphered else None

    def talk(shell_of):
        shell = own_shell(shell_of, association_=wanted, sap=sap)
        if opened:
            return [next_notified(shell)]
        assert isinstance(shell.ask(switch(connect=False)), ActionDone)
        found = [next_notified(shell)]
        assert isinstance(shell.ask(set_clock(datetime.fromtimestamp(NOW // 1000 + 60, UTC))), SetDone)
        return [*found, next_notified(shell), next_notified(shell)]

    found = over_tcp([device], talk)
    at_s = [decode_date_time(each.date_time).at().timestamp() - NOW // 1000 for each in found]
    if opened:
        assert list(map(told, found)) == [(event_code(FRAUD), COVER_REMOVED)]
        assert at_s == [0]
    else:
        codes = [(DISCONNECTS, REMOTE_DISCONNECTION), (STANDARD, CLOCK_OLD), (STANDARD, CLOCK_NEW)]
        assert list(map(told, found)) == [(event_code(group), code) for group, code in codes]
        assert at_s == [0, 60, 60]  # by the meter's clock as it is now


def test_a_client_on_a_line_is_told_too_and_its_answers_stay_right(tmp_path):
    device = DlmsMeter(
        meter("dlms_residential", 17), SECRET, manners=Manners(tells_events=True, faults=MeterFaults(event=400))
    )

    def talk(shell_of):
        shell = shell_of(hdlc(17), 5.0)
        assert isinstance(shell.ask(Connect()), Associated)
        found = []
        while len(found) < 20:
            event = shell.ask(Get(IMPORT))
            found.append(event)
        return found

    found = on_line(tmp_path, [device], talk)
    truth = device.meter.true_wh("1.0.1.8.0", NOW)
    assert {integer_of(each.value) for each in found if isinstance(each, GetResult)} == {truth}


def test_nobody_is_told_unless_the_meter_tells_events():
    device = keyed(faults=MeterFaults(event=1000))

    def talk(shell_of):
        shell = own_shell(shell_of)
        shell.ask(Get(IMPORT))
        codes = [integer_of(items_of(row)[1]) for row in items_of(shell.value(7, str(log_obis(FRAUD)), 2))]
        return codes, shell.client.next_event()

    codes, event = over_tcp([device], talk)
    assert codes.count(COVER_REMOVED) >= 2
    assert event is NEED_DATA


@pytest.mark.integration
@pytest.mark.parametrize("link", ["tcp", "udp"])
def test_the_command_tells_a_client_that_asks_for_nothing_of_what_another_one_did(link):
    kind = socket.SOCK_STREAM if link == "tcp" else socket.SOCK_DGRAM
    with (
        sim(f"--{link}", "--units", "5", "--tell-events", "--at", AT, "--speed", "0") as said,
        socket.socket(type=kind) as one,
        socket.socket(type=kind) as other,
    ):
        host, port = said[link].split(":")
        shells = []
        for each in (one, other):
            each.settimeout(DEADLINE_S)
            each.connect((host, int(port)))
            client = DlmsClient(WrapperParameters(1, 5), LOW)
            shells.append(Shell(client, each.send, lambda there=each: there.recv(65536)))
            assert isinstance(shells[-1].ask(Connect()), Associated)
        assert isinstance(shells[0].ask(switch(connect=False)), ActionDone)
        notifications = [next_notified(shell) for shell in shells]
        assert [told(each) for each in notifications] == [(event_code(DISCONNECTS), REMOTE_DISCONNECTION)] * 2
        assert notifications[0].data == unsigned(REMOTE_DISCONNECTION)
        assert integer_of(shells[1].value(70, "0.0.96.3.10", 3)) == ControlState.DISCONNECTED
