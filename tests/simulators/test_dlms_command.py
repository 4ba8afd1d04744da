"""``congto sim dlms`` as a process: keys it writes, pushes it sends, what it refuses."""

import json
import re
import socket
import subprocess
import sys
from contextlib import contextmanager
from datetime import datetime

import pytest

from protocols.dlms.acse import Context, Mechanism
from protocols.dlms.association import Association
from protocols.dlms.ciphering import Keys
from protocols.dlms.client import DlmsClient
from protocols.dlms.cosem_time import date_time_of
from protocols.dlms.data import integer_of, items_of
from protocols.dlms.hdlc.primary import HdlcParameters
from protocols.dlms.link import NEED_DATA
from protocols.dlms.protection import Ciphering
from protocols.dlms.push import Pushed, PushLink, PushReceiver, PushSecurity
from protocols.dlms.services import (
    Act,
    ActionDone,
    Associated,
    Connect,
)
from protocols.dlms.wrapper import WrapperParameters
from protocols.dlms.xdlms.references import Attribute
from simulators.dlms.actuators import PUSH_SETUP
from tests.simulators.meters import Master
from tests.simulators.test_dlms_complete import OUR_TITLE
from tests.simulators.test_dlms_meters import Shell

pytestmark = pytest.mark.integration
DEADLINE_S = 20


@contextmanager
def sim(*words):
    command = [sys.executable, "-m", "deploy.cli", "sim", "dlms", *map(str, words)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield json.loads(process.stdout.readline())
        process.terminate()
        assert process.wait(DEADLINE_S) == 0, process.stderr.read()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


AT = "2026-10-07T12:00:00+07:00"


def test_the_command_serves_ciphered_clients_with_the_keys_it_wrote(tmp_path):
    path = tmp_path / "keys.json"
    words = ("--tcp", "--units", "5", "--auth", "high-gmac", "--ciphered", "--keys-out", path, "--at", AT, "--speed", 0)
    with sim(*words) as said:
        host, port = said["tcp"].split(":")
        entry = json.loads(path.read_text())["5"]
        keys = Keys(bytes.fromhex(entry["encryption_key"]), bytes.fromhex(entry["authentication_key"]))
        wanted = Association(
            Mechanism.HIGH_GMAC,
            context=Context.LN_CIPHERED,
            challenge=b"a client's token",
            ciphering=Ciphering(keys, OUR_TITLE, range(1, 100), peer_title=bytes.fromhex(entry["system_title"])),
        )
        with socket.create_connection((host, int(port)), 10) as connection:
            client = DlmsClient(WrapperParameters(1, 5), wanted)
            shell = Shell(client, connection.sendall, lambda: connection.recv(65536))
            assert isinstance(shell.ask(Connect()), Associated)
            assert date_time_of(shell.value(8, "0.0.1.0.0", 2)).at() == datetime.fromisoformat(AT)
            assert integer_of(shell.value(3, "1.0.1.8.0", 2)) > 0


@pytest.mark.parametrize("ciphered", [False, True])
def test_the_command_pushes_when_a_client_asks_for_it(tmp_path, ciphered):
    path = tmp_path / "keys.json"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE_S)
        there = f"127.0.0.1:{listener.getsockname()[1]}"
        words = ["--tcp", "--units", "5", "--push", there, "--keys-out", path, "--at", AT, "--speed", "0"]
        with sim(*words, *(["--push-ciphered"] if ciphered else [])) as said:
            host, port = said["tcp"].split(":")
            with socket.create_connection((host, int(port)), 10) as connection:
                client = DlmsClient(WrapperParameters(1, 5), Association(Mechanism.LOW, b"00000000"))
                shell = Shell(client, connection.sendall, lambda: connection.recv(65536))
                assert isinstance(shell.ask(Connect()), Associated)
                energy = integer_of(shell.value(3, "1.0.1.8.0", 2))
                assert isinstance(shell.ask(Act(Attribute(40, PUSH_SETUP, 1))), ActionDone)
            pushed, _ = listener.accept()
            with pushed:
                octets = b""
                while data := pushed.recv(4096):
                    octets += data
    entry = json.loads(path.read_text())["5"]
    keys = Keys(bytes.fromhex(entry["encryption_key"]), bytes.fromhex(entry["authentication_key"]))
    receiver = PushReceiver(PushLink.WRAPPER, {bytes.fromhex(entry["system_title"]): PushSecurity(keys)})
    receiver.receive_data(octets)
    event = receiver.next_event()
    assert isinstance(event, Pushed)
    assert (event.counter is not None) == ciphered
    values = [items_of(item)[1] for item in items_of(event.notification.data)]
    assert date_time_of(values[0]).at() == datetime.fromisoformat(AT)
    assert integer_of(values[1]) == energy


def test_the_command_pushes_in_ui_frames_on_its_line(tmp_path):
    link = tmp_path / "line"
    words = ("--port-link", link, "--units", "17", "--unpaced", "--push", "line", "--at", AT, "--speed", 0)
    with sim(*words):
        master = Master(link)
        try:
            parameters = HdlcParameters(1, 1, 17, 2, retries_max=1)
            client = DlmsClient(parameters, Association(Mechanism.LOW, b"00000000"))
            shell = Shell(client, master.write, lambda: master.read(1, 5.0))
            assert isinstance(shell.ask(Connect()), Associated)
            shell._put(client.send(Act(Attribute(40, PUSH_SETUP, 1))))
            events = []
            while len(events) < 2:
                event = client.next_event()
                shell._put(client.data_to_send())
                if event is NEED_DATA:
                    client.receive_data(master.read(1, 5.0))
                else:
                    events.append(type(event).__name__)
        finally:
            master.close()
    assert sorted(events) == ["ActionDone", "Notified"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--tcp", "--auth", "high-gmac"], "--keys FILE, or --keys-out FILE"),
        (["--tcp", "--model", "dlms_secured"], "--keys FILE, or --keys-out FILE"),
        (["--tcp", "--fault", "dm=5"], "only HDLC"),
        (["--tcp", "--push", "nowhere"], "HOST:PORT"),
        (["--tcp", "--pdu", "3"], "expected 12 to 65535"),
        (["--tcp", "--model", "eastron_sdm120"], "expected a DLMS model"),
    ],
)
def test_what_cannot_be_is_refused_with_its_cure(words, expected):
    command = [sys.executable, "-m", "deploy.cli", "sim", "dlms", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 2
    assert re.search(re.escape(expected), done.stderr), done.stderr


def test_the_command_serves_and_pushes_over_udp():
    with socket.socket(type=socket.SOCK_DGRAM) as listener, socket.socket(type=socket.SOCK_DGRAM) as wire:
        for each in (listener, wire):
            each.bind(("127.0.0.1", 0))
            each.settimeout(DEADLINE_S)
        there = f"udp:127.0.0.1:{listener.getsockname()[1]}"
        with sim("--udp", "--units", "5", "--push", there, "--at", AT, "--speed", "0") as said:
            host, port = said["udp"].split(":")
            wire.connect((host, int(port)))
            wire.send(b"\0\1")  # no message: nothing is said to it
            wire.send(b"\0\1\0\1\0\6\0\1\0")  # a wPort that is not there
            client = DlmsClient(WrapperParameters(1, 5), Association(Mechanism.LOW, b"00000000"))
            shell = Shell(client, wire.send, lambda: wire.recv(65536))
            assert isinstance(shell.ask(Connect()), Associated)
            energy = integer_of(shell.value(3, "1.0.1.8.0", 2))
            assert energy > 0
            assert isinstance(shell.ask(Act(Attribute(40, PUSH_SETUP, 1))), ActionDone)
            receiver = PushReceiver(PushLink.WRAPPER, {})
            receiver.receive_data(listener.recv(65536))
            event = receiver.next_event()
            assert isinstance(event, Pushed)
            assert integer_of(items_of(items_of(event.notification.data)[1])[1]) == energy
            with socket.socket(type=socket.SOCK_DGRAM) as stranger:
                stranger.connect((host, int(port)))
                stranger.settimeout(DEADLINE_S)
                refused = DlmsClient(WrapperParameters(1, 5), Association(Mechanism.LOW, b"wrong"))
                there = Shell(refused, stranger.send, lambda: stranger.recv(65536))
                assert not isinstance(there.ask(Connect()), Associated)
            assert integer_of(shell.value(3, "1.0.1.8.0", 2)) == energy  # another address is another client
