"""``congto dlms push`` hears simulated meters over TCP, and captured pushes on a terminal and in datagrams."""

import json
import os
import pty
import re
import socket
import subprocess
import sys
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from protocols.dlms.hdlc.frames import POLL_FINAL, Address, Frame, FrameType
from protocols.dlms.hdlc.sequence import LLC_RESPONSE
from tests.dlms_tool.processes import DEADLINE_S, congto, sim

pytestmark = pytest.mark.integration
GOLDEN = Path(__file__).parent.parent / "golden" / "dlms"
PUSHES, ODD_PUSHES = (
    {vector["name"]: vector for vector in json.loads((GOLDEN / name).read_text(encoding="utf-8"))}
    for name in ("push.json", "quirks/push.json")
)


class Listener:
    """``congto dlms push`` as a process, listening at ``place``."""

    def __init__(self, words: tuple[str, ...], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "deploy.cli", "dlms", "push", "--json", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        self._watchdog = threading.Timer(DEADLINE_S, self._process.kill)
        self._watchdog.start()
        assert self._process.stderr is not None
        said = re.search(r"listening on (\S+)", self._process.stderr.readline())
        assert said
        self.place = said[1]

    def heard(self) -> list[dict[str, object]]:
        """Wait for its end and return what it printed."""
        out, err = self._process.communicate()
        assert self._process.returncode == 0, err
        return [json.loads(line) for line in out.splitlines()]

    def ended(self) -> tuple[str, str]:
        """Wait for its end and return what it said and why it ended."""
        out, err = self._process.communicate()
        assert self._process.returncode == 2, err
        return out, err

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._watchdog.cancel()


@contextmanager
def listener(*words: str, **environment: str) -> Iterator[Listener]:
    found = Listener(words, environment)
    try:
        yield found
    finally:
        found.end()


def test_pushes_of_a_simulated_meter_come_over_tcp():
    words = ("dlms", "--tcp", "--units", "17", "--push-every", "1")
    with listener("--tcp-listen", "127.0.0.1:0", "--count", "2") as ear, sim(*words, "--push", ear.place):
        heard = ear.heard()
    assert len(heard) == 2
    assert {"obis", "text"} <= set(heard[0]["values"][0])


def test_a_ciphered_push_is_opened_with_its_key_and_named_without(tmp_path):
    out = tmp_path / "keys.json"
    words = ("dlms", "--tcp", "--units", "17", "--keys-out", out, "--push-ciphered", "--push-every", "1")
    with listener("--tcp-listen", "127.0.0.1:0", "--count", "1") as ear, sim(*words, "--push", ear.place):
        heard = ear.heard()
    keys = json.loads(out.read_text())["17"]
    assert heard[0]["locked"]
    assert heard[0]["system_title"] == keys["system_title"]
    out.unlink()
    given = ("--meter-title", keys["system_title"], "--key-env", "K", "--auth-key-env", "A")
    environment = {"K": keys["encryption_key"], "A": keys["authentication_key"]}
    ear_words = ("--tcp-listen", "127.0.0.1:0", "--count", "1", *given)
    with listener(*ear_words, **environment) as ear, sim(*words, "--push", ear.place):
        heard = ear.heard()
    assert heard[0]["values"]


def test_captured_pushes_are_read_from_a_serial_line_and_from_datagrams():
    vector = PUSHES["push-hdlc-norway-han-3phase"]
    master, slave = pty.openpty()
    tty.setraw(slave)
    with listener("--serial", os.ttyname(slave), "--count", "1") as ear:
        os.write(master, bytes.fromhex(vector["hex"]))
        values = {value["obis"]: value for value in ear.heard()[0]["values"]}
    os.close(slave)
    os.close(master)
    assert values["1.0.1.8.0"]["text"] == "10049926 Wh"
    apdu = bytes.fromhex(PUSHES["push-raw-salzburg-netz"]["hex"])
    with listener("--udp-listen", "127.0.0.1:0", "--count", "1") as ear:
        host, port = ear.place.split(":")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            header = b"".join(number.to_bytes(2, "big") for number in (1, 1, 103, len(apdu)))
            sender.sendto(header + apdu, (host, int(port)))
        values = {value["obis"]: value for value in ear.heard()[0]["values"]}
    assert values["1.0.32.7.0"]["text"] == "229.2 V"


@pytest.mark.parametrize("name", list(ODD_PUSHES))
def test_pushes_that_break_the_rules_are_read_with_their_quirk(name):
    vector = ODD_PUSHES[name]
    octets = bytes.fromhex(vector["hex"])
    if vector["link"] == "raw":
        octets = Frame(Address(16), Address(1), FrameType.UI | POLL_FINAL, LLC_RESPONSE + octets).encode()
    master, slave = pty.openpty()
    tty.setraw(slave)
    with listener("--serial", os.ttyname(slave), "--count", "1", "--quirk", vector["quirk"]) as ear:
        os.write(master, octets)
        shown = json.dumps(ear.heard()[0])
    os.close(slave)
    os.close(master)
    for obis, value in vector["expected"].items():
        name_and_value = re.compile(rf"{bytes(map(int, obis.split('.'))).hex()}.{{0,60}}[^0-9]{value}[^0-9]")
        assert name_and_value.search(shown), (obis, value)


def test_silence_ends_the_wait_with_a_message():
    done = congto("dlms", "push", "--tcp-listen", "127.0.0.1:0", "--wait", "0.2")
    assert (done.returncode, "no push for 0.2 s" in done.stderr) == (3, True), done.stderr


def pushed_to(place: str, octets: bytes) -> None:
    """Send what a meter would push, over a connection of its own."""
    host, port = place.split(":")
    with socket.create_connection((host, int(port))) as sender:
        sender.sendall(octets)
        sender.shutdown(socket.SHUT_WR)
        assert sender.recv(1) == b""


def captured_pushes(keys_out: Path, count: int) -> list[bytes]:
    """Return what a simulated meter pushes, ciphered."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        words = ("dlms", "--tcp", "--units", "17", "--keys-out", keys_out, "--push-ciphered", "--push-every", "1")
        found = []
        with sim(*words, "--push", f"{host}:{port}"):
            for _ in range(count):
                connection, _ = server.accept()
                with connection, connection.makefile("rb") as stream:
                    found.append(stream.read())
        return found


def test_a_push_is_taken_once_over_all_connections_and_with_counters_for_good(tmp_path):
    keys, counters = tmp_path / "keys.json", tmp_path / "counters.json"
    first, second = captured_pushes(keys, 2)
    words = ("--tcp-listen", "127.0.0.1:0", "--count", "1", "--keys", str(keys), "--counters", str(counters))
    with listener(*words) as ear:
        pushed_to(ear.place, first)
        (heard,) = ear.heard()
    assert heard["values"]
    with listener(*words) as ear:
        pushed_to(ear.place, first)  # Played again after a restart: refused.
        pushed_to(ear.place, second)
        (again,) = ear.heard()
    assert again["counter"] > heard["counter"]
    with listener(*words[:6]) as ear:  # Without the file both are news, each once.
        pushed_to(ear.place, second)
        assert ear.heard()[0]["counter"] == again["counter"]
    with listener("--tcp-listen", "127.0.0.1:0", "--count", "2", *words[4:6]) as ear:
        for octets in (first, first, second):
            pushed_to(ear.place, octets)
        assert [one["counter"] for one in ear.heard()] == [heard["counter"], again["counter"]]


def test_a_push_whose_counter_cannot_be_kept_is_not_taken(tmp_path):
    keys = tmp_path / "keys.json"
    (push,) = captured_pushes(keys, 1)
    counters = tmp_path / "counters.json"
    words = ("--tcp-listen", "127.0.0.1:0", "--count", "1", "--keys", str(keys), "--counters", str(counters))
    with listener(*words) as ear:
        counters.write_text("no counters")
        pushed_to(ear.place, push)
        out, err = ear.ended()
    assert (out, "holds no counters that can be trusted" in err) == ("", True)
    done = congto("dlms", "push", "--tcp-listen", "127.0.0.1:0", "--counters", counters)
    assert (done.returncode, "--counters goes with keys" in done.stderr) == (2, True)
    decoded = congto("dlms", "decode", push.hex(), "--keys", keys, "--json")
    assert "1.0.1.8.0" in decoded.stdout or "0100010800ff" in decoded.stdout, decoded.stdout
