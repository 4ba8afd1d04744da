"""Every authentication and suite against simulated meters, and counters that no kill makes go backwards."""

import json
import os
import signal
import subprocess
import sys
import threading
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from edge_agent.dlms_tool.counters import RESERVED_AT_ONCE, CounterFile
from edge_agent.dlms_tool.keys import with_keys_file
from protocols.errors import UsageError
from tests.dlms_tool.processes import DEADLINE_S, congto, owner_only, sim

KEY, TITLE, METER = bytes(range(16)), b"CTO\0\0\0\0\x01", b"CTO\0\0\0\0\x02"
CURVES = {"0": ec.SECP256R1(), "1": ec.SECP256R1(), "2": ec.SECP384R1()}


class Secured:
    """A meter with keys, and the words and environment to reach it."""

    def __init__(self, place: str, keys: dict[str, Any], folder: Path, suite: str) -> None:
        self.keys, self.folder = keys, folder
        self.environment = {
            "METER_KEY": keys["encryption_key"],
            "METER_AUTH_KEY": keys["authentication_key"],
            "METER_SECRET": "0x" + keys["secret"],
        }
        ours = ec.derive_private_key(int(keys["client_private_key"], 16), CURVES[suite])
        peer = ec.derive_private_key(int(keys["server_private_key"], 16), CURVES[suite]).public_key()
        private = ours.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        owner_only(folder / "ours.pem", private)
        (folder / "meter.pem").write_bytes(peer.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        self.place = ("--tcp", place, "--server", "17", "--client", "1", "--suite", suite, "--timeout", "2")
        self.with_keys = (*self.place, "--key-env", "METER_KEY", "--auth-key-env", "METER_AUTH_KEY")
        self.counters = ("--counters", str(folder / "counters.json"))
        self.signed = (
            "--signing-key-file", str(folder / "ours.pem"), "--meter-public-key-file", str(folder / "meter.pem"),
        )  # fmt: skip

    def read(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return congto("dlms", "read", "1.0.1.8.0", "--json", *words, environment={**self.environment, **environment})

    def holds_no_key(self, text: str) -> bool:
        return not any(self.keys[name] in text.lower() for name in ("encryption_key", "authentication_key", "secret"))


@contextmanager
def secured(folder: Path, *words: str, suite: str = "0") -> Iterator[Secured]:
    out = folder / "keys.json"
    with sim("dlms", "--tcp", "--units", "17", "--keys-out", out, "--suite", suite, *words) as said:
        yield Secured(said["tcp"], json.loads(out.read_text())["17"], folder, suite)


@pytest.mark.integration
@pytest.mark.parametrize("mechanism", ["high", "high-md5", "high-sha1", "high-sha256"])
def test_shared_secrets_prove_both_sides_and_a_wrong_one_is_refused(tmp_path, mechanism):
    with secured(tmp_path, "--auth", mechanism) as meter:
        words = (*meter.place, "--auth", mechanism, "--secret-env", "METER_SECRET")
        done = meter.read(*words, "--trace")
        assert done.returncode == 0, done.stderr
        assert meter.holds_no_key(done.stderr)
        of_file = meter.read(
            *meter.place, "--auth", mechanism, "--keys", str(tmp_path / "keys.json"), "--protect", "none"
        )
        assert of_file.returncode == 0, of_file.stderr
        wrong = meter.read(*words, METER_SECRET="wrong")
        assert wrong.returncode == 5, wrong.stderr
        assert "no association" in wrong.stderr


@pytest.mark.integration
@pytest.mark.parametrize("suite", ["1", "2"])
def test_signatures_prove_both_sides(tmp_path, suite):
    with secured(tmp_path, "--auth", "high-ecdsa", suite=suite) as meter:
        of_file = ("--keys", str(tmp_path / "keys.json"), "--protect", "none")
        for words in (meter.signed, of_file):
            done = meter.read(*meter.place, "--auth", "high-ecdsa", *words)
            assert done.returncode == 0, done.stderr
        without = owner_only(tmp_path / "without.json", json.dumps({"17": meter.keys | {"client_private_key": "g"}}))
        refused = meter.read(*meter.place, "--auth", "high-ecdsa", "--keys", str(without), "--protect", "none")
        assert (refused.returncode, "has no client_private_key" in refused.stderr) == (2, True), refused.stderr


@pytest.mark.integration
@pytest.mark.parametrize("suite", ["0", "1", "2"])
def test_ciphered_meters_are_read_in_every_suite_and_a_trace_shows_no_key(tmp_path, suite):
    with secured(tmp_path, "--auth", "high-gmac", "--ciphered", suite=suite) as meter:
        words = (*meter.with_keys, *meter.counters, "--auth", "high-gmac")
        for more in ((), ("--dedicated-key",), ("--general",)):
            done = meter.read(*words, "--trace", *more)
            assert done.returncode == 0, (more, done.stderr)
            assert "apdu: get-response" in done.stderr
            assert meter.holds_no_key(done.stderr)
        wrong = meter.read(*words, METER_KEY="00" * (32 if suite == "2" else 16))
        assert wrong.returncode in (4, 5), wrong.stderr
        assert "key" in wrong.stderr
        weaker = meter.read(*words, "--protect", "authenticate")
        assert (weaker.returncode, "wants other protection: --protect, --suite" in weaker.stderr) == (5, True), weaker
        assert meter.read(*words).returncode == 0


@pytest.mark.integration
def test_the_file_of_the_simulators_keys_is_taken_as_it_is(tmp_path):
    with secured(tmp_path, "--auth", "high-gmac", "--ciphered", suite="2") as meter:
        place = (*meter.place[:-4], "--timeout", "2", "--auth", "high-gmac", *meter.counters)
        words = (*place, "--keys", str(tmp_path / "keys.json"))
        for more in ((), ("--unit", "17"), ("--suite", "2")):
            done = meter.read(*words, *more)
            assert done.returncode == 0, done.stderr
        for more, said in ((("--unit", "18"), "has units 17"), (("--suite", "1"), "has security suite 2")):
            done = meter.read(*words, *more)
            assert (done.returncode, said in done.stderr) == (2, True), done.stderr
        done = meter.read(*place, "--unit", "17")
        assert (done.returncode, "goes with --keys" in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"17": 1}', '{"17": {"encryption_key": 1}}'])
def test_a_file_without_keys_is_refused_by_its_name(tmp_path, content):
    path = owner_only(tmp_path / "keys.json", content)
    with pytest.raises(UsageError, match=r"--keys .*keys\.json"):
        with_keys_file(Namespace(keys=path, unit=None, meter_title=None, suite=0))


@pytest.mark.integration
def test_a_lost_counters_file_is_recovered_from_the_meter_with_the_public_client(tmp_path):
    with secured(tmp_path, "--auth", "high-gmac", "--ciphered") as meter:
        words = (*meter.with_keys, "--auth", "high-gmac")
        for _ in range(2):
            assert meter.read(*words, *meter.counters).returncode == 0
        lost = ("--counters", str(tmp_path / "new.json"))
        refused = meter.read(*words, *lost)
        assert refused.returncode in (4, 5), refused.stderr
        assert "counter" in refused.stderr
        recovered = meter.read(*words, *lost, "--recover-counter")
        assert recovered.returncode == 0, recovered.stderr
        assert meter.read(*words, *lost).returncode == 0


# -- the file ---------------------------------------------------------------------------------------------------------


def test_reserved_counters_are_never_given_again_unless_given_back_in_order(tmp_path):
    one, two = (CounterFile(tmp_path / "c", KEY, TITLE) for _ in range(2))
    assert not one.is_known
    first = one.reserve()
    assert one.is_known
    assert first == range(RESERVED_AT_ONCE)
    second = two.reserve()
    assert second.start == first.stop
    one.close(5, METER, 7)  # two reserved after it, so nothing comes back
    assert two.reserve().start == second.stop
    two.close(second.stop + 3, METER, 3)
    assert one.reserve().start == second.stop + 3
    assert one.received(METER) == 7
    assert one.reserve(at_least=10_000).start == 10_000
    assert CounterFile(tmp_path / "c", bytes(16), TITLE).reserve().start == 0
    assert KEY.hex() not in (tmp_path / "c").read_text()
    assert (tmp_path / "c").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("content", ["", "{", "[]", '{"counters": {"x": 1}}', '{"counters": {"x": {"next": -1}}}'])
def test_a_damaged_counters_file_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "c"
    path.write_text(content)
    with pytest.raises(UsageError, match="no counters that can be trusted"):
        CounterFile(path, KEY, TITLE).reserve()
    assert path.read_text() == content


RESERVER = """
import sys
from pathlib import Path
from edge_agent.dlms_tool.counters import CounterFile
file = CounterFile(Path(sys.argv[1]), bytes(range(16)), bytes(8))
while True:
    print(file.reserve().start, flush=True)
"""


@pytest.mark.integration
def test_a_kill_at_any_moment_lets_no_counter_be_used_twice(tmp_path):
    path, seen = tmp_path / "c", []
    for patience in (1, 2, 3, 5, 8, 13):
        process = subprocess.Popen([sys.executable, "-c", RESERVER, path], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        watchdog = threading.Timer(DEADLINE_S, process.kill)
        watchdog.start()
        seen += [int(process.stdout.readline()) for _ in range(patience)]
        os.kill(process.pid, signal.SIGKILL)
        seen += [int(line) for line in process.stdout if line.endswith("\n")]
        process.wait()
        watchdog.cancel()
        process.stdout.close()
    assert len(set(seen)) == len(seen)
    assert seen == sorted(seen)
    assert all(start % RESERVED_AT_ONCE == 0 for start in seen)
