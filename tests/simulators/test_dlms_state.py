"""``congto sim dlms --state``: a meter that was off takes no recording, repeats no counter; and what --pdu grants."""

import json
import shutil
import socket
import subprocess
import sys
from contextlib import closing, contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.dlms.acse import Context, Mechanism
from protocols.dlms.association import Association
from protocols.dlms.ciphering import COUNTER_MAX, Keys
from protocols.dlms.client import DlmsClient
from protocols.dlms.conformance import SHORT_NAMES
from protocols.dlms.data import integer_of
from protocols.dlms.protection import Ciphering
from protocols.dlms.services import Associated, Connect
from protocols.dlms.wrapper import WrapperParameters
from protocols.errors import UsageError
from simulators.dlms.counter_file import RESERVED, CounterFile
from simulators.dlms.meter import SHORT_LOW_SAP, SHORT_SAP
from tests.simulators.test_dlms_command import AT, sim
from tests.simulators.test_dlms_complete import OUR_TITLE
from tests.simulators.test_dlms_meters import Shell

DEADLINE_S = 20


@contextmanager
def killed(*words):
    """Run the simulator and end it as a power cut does."""
    command = [sys.executable, "-m", "deploy.cli", "sim", "dlms", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            host, _, port = json.loads(process.stdout.readline())["tcp"].rpartition(":")
            with socket.create_connection((host, int(port)), DEADLINE_S) as connection:
                yield connection
        finally:
            process.kill()


def association(entry, counters):
    keys = Keys(bytes.fromhex(entry["encryption_key"]), bytes.fromhex(entry["authentication_key"]))
    return Association(
        Mechanism.HIGH_GMAC,
        context=Context.LN_CIPHERED,
        challenge=b"a client's token",
        ciphering=Ciphering(keys, OUR_TITLE, counters, peer_title=bytes.fromhex(entry["system_title"])),
    )


class Talk:
    """A client on a connection; ``sent`` is what it wrote."""

    def __init__(self, connection, wanted):
        self.sent = []
        self.client = DlmsClient(WrapperParameters(1, 5), wanted)
        self._connection = connection
        self.shell = Shell(self.client, self._write, lambda: connection.recv(65536))

    def _write(self, octets):
        self.sent.append(octets)
        self._connection.sendall(octets)

    def energy(self):
        """Return the energy, and the meter's counters from the first to the last."""
        assert isinstance(self.shell.ask(Connect()), Associated)
        first = self.client.protection.received_counter
        assert integer_of(self.shell.value(3, "1.0.1.8.0", 2)) > 0
        return range(first, self.client.protection.received_counter + 1)


@pytest.mark.integration
def test_a_meter_that_was_off_takes_no_recording_and_repeats_no_counter(tmp_path):
    keys, state = tmp_path / "keys.json", tmp_path / "state.json"
    words = ["--tcp", "--units", "5", "--auth", "high-gmac", "--ciphered", "--at", AT, "--speed", "0", "--state", state]
    with killed(*words, "--keys-out", keys) as connection:
        entry = json.loads(keys.read_text())["5"]
        recorded = Talk(connection, association(entry, range(1, 100)))
        used = recorded.energy()
        accepted = recorded.client.protection.next_counter
    assert state.stat().st_mode & 0o777 == 0o600
    for begin in (1, accepted - 1):  # all over again, and its last message
        with killed(*words, "--keys", keys) as connection:
            played = Talk(connection, association(entry, range(begin, 200)))
            assert not isinstance(played.shell.ask(Connect()), Associated)
    for _ in range(2):
        with killed(*words, "--keys", keys) as connection:
            fresh = Talk(connection, association(entry, range(accepted, 200)))
            now = fresh.energy()
            accepted = fresh.client.protection.next_counter
        assert now.start > used[-1]
        used = now


def test_a_counter_is_on_the_disk_before_it_goes(tmp_path):
    path, copy = tmp_path / "state.json", tmp_path / "as after a power cut.json"
    with closing(CounterFile(path)) as kept:
        sent = kept.sequence(17, 1000)
        for expected in range(1000, 1000 + 2 * RESERVED):
            assert next(sent) == expected
            shutil.copy(path, copy)
            with closing(CounterFile(copy)) as later:
                assert next(later.sequence(17, 0)) > expected


@settings(max_examples=20)
@given(st.lists(st.integers(0, COUNTER_MAX), min_size=1, max_size=20))
def test_what_was_received_never_goes_back(tmp_path_factory, counters):
    path = tmp_path_factory.mktemp("state") / "state.json"
    with closing(CounterFile(path)) as kept:
        for counter in counters:
            kept.note(17, {1: counter})
    with closing(CounterFile(path)) as kept:
        assert kept.received(17, 1) == max(counters)
        assert kept.received(17, 2) == kept.received(18, 1) == -1


@pytest.mark.integration
def test_two_simulators_on_one_state_are_refused_until_the_first_has_ended(tmp_path):
    path = tmp_path / "state.json"
    words = ["--tcp", "--units", "5", "--state", str(path)]
    with sim(*words):
        command = [sys.executable, "-m", "deploy.cli", "sim", "dlms", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        assert done.returncode == 2
        assert "another simulator has these meters' state" in done.stderr
        assert "Traceback" not in done.stderr
    with sim(*words) as said:
        assert "tcp" in said


@pytest.mark.parametrize(
    ("text", "mode", "expected"),
    [
        ("{}", 0o644, "chmod 600"),
        ("no JSON", 0o600, "no counters"),
        ("[1]", 0o600, "no counters"),
        ('{"17": {"sent": "1", "received": {}}}', 0o600, "no counters"),
        ('{"17": {"sent": 5000000000, "received": {}}}', 0o600, "no counters"),
        ('{"17": {"sent": 1, "received": {"1": true}}}', 0o600, "no counters"),
        ('{"17": {"received": {}}}', 0o600, "no counters"),
        ('{"17": {"sent": 1, "received": {}, "keys": {}}}', 0o600, "no counters"),
        (
            '{"17": {"sent": 1, "received": {}, "keys": {"instead_of": "", "encryption": "x", "authentication": ""}}}',
            0o600,
            "no counters",
        ),
    ],
)
def test_a_file_that_holds_no_counters_is_refused_with_its_cure(tmp_path, text, mode, expected):
    path = tmp_path / "state.json"
    path.write_text(text)
    path.chmod(mode)
    for _ in range(2):  # The lock does not outlive a refusal.
        with pytest.raises(UsageError, match=expected):
            CounterFile(path)
    assert path.read_text() == text


def test_a_place_that_is_none_is_told_at_the_start(tmp_path):
    with pytest.raises(UsageError, match="can't be"):
        CounterFile(tmp_path / "nowhere" / "state.json")
    assert not list(tmp_path.iterdir())


@pytest.mark.integration
@pytest.mark.parametrize("keyed", [False, True])
def test_what_auth_and_pdu_say_holds_with_keys_and_without(tmp_path, keyed):
    words = ["--tcp", "--units", "5", "--auth", "none", "--pdu", "300"]
    ways = [(1, Association()), (16, Association())]
    if keyed:
        words += ["--keys-out", tmp_path / "keys.json"]
        short = Association(conformance=SHORT_NAMES, context=Context.SN)
        low = Association(Mechanism.LOW, b"00000000", SHORT_NAMES, context=Context.SN)
        ways += [(SHORT_SAP, short), (SHORT_LOW_SAP, low)]
    with sim(*words) as said:
        host, _, port = said["tcp"].rpartition(":")
        for sap, wanted in ways:
            with socket.create_connection((host, int(port)), DEADLINE_S) as connection:
                client = DlmsClient(WrapperParameters(sap, 5), wanted)
                granted = Shell(client, connection.sendall, lambda there=connection: there.recv(65536)).ask(Connect())
                assert isinstance(granted, Associated), sap
                assert granted.pdu_octets_max == 300
