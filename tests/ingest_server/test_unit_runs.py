"""What ingest's unit starts, started as systemd does: its words, its environment alone, its directory, its socket."""

import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request
import uuid
from pathlib import Path

import pytest

from deploy.runtime.processes import wait_until
from ingest_server.database import connect, migrate
from ingest_server.registry import load_registry
from protocols.telemetry.reading import Reading
from tests.ingest_server.processes import DEADLINE_S, Gateway
from tests.ingest_server.stored_directly import START_MS, registry
from tests.ingest_server.test_unit import INGEST, UNITS

ROOT = Path(__file__).parents[2]
CREDENTIALS = struct.Struct("3i")  # ucred: pid, uid, gid; unix(7)


def free_ports(count):
    """Return the first of so many ports in a row that nobody listens on."""
    for first in range(21_000, 31_000, 10):
        held = []
        try:
            held.extend(socket.create_server(("127.0.0.1", port)) for port in range(first, first + count))
        except OSError:
            continue
        finally:
            for each in held:
                each.close()
        return first
    raise AssertionError("no free ports")


def environment_of(path):
    """Return what an EnvironmentFile says: systemd.exec(5)."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    pairs = (line.partition("=") for line in lines if line and line[0] not in "#;")
    return {key: value.strip('"') for key, _, value in pairs}


class Service:
    """The unit's program with a notification socket, as systemd starts it."""

    def __init__(self, tmp_path, dsn, broker_url):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.settimeout(DEADLINE_S)
        self.socket.bind(str(tmp_path / "notify"))
        file = tmp_path / "ingest.env"
        file.write_text(f'# written by hand\nCONGTO_DSN="{dsn}"\nCONGTO_BROKER={broker_url}\n', encoding="utf-8")
        (_, *words) = INGEST["ExecStart"][0].split()
        self.port = free_ports(2)
        words[words.index("--metrics-port") + 1] = str(self.port)
        words += ["--client-id", f"unit-{uuid.uuid4().hex[:8]}"]
        environment = {
            **environment_of(file),
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin",
            "LANG": "C.UTF-8",
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "WATCHDOG_USEC": str(int(INGEST["WatchdogSec"][0]) * 1_000_000),
            "PYTHONPATH": str(ROOT),  # the package is installed where the unit is
        }
        self.log = (tmp_path / "log").open("w+b")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "deploy.cli", *words],
            cwd=INGEST["WorkingDirectory"][0],
            env=environment,
            umask=int(INGEST["UMask"][0], 8),
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )

    def hear(self):
        """Return a notification of the main process, the only one that systemd listens to (NotifyAccess=main)."""
        said, ancillary, _, _ = self.socket.recvmsg(4096, socket.CMSG_SPACE(CREDENTIALS.size))
        ((_, _, credentials),) = ancillary
        assert CREDENTIALS.unpack(credentials)[0] == self.process.pid, "systemd would not take it"
        return said.decode()

    def hear_until(self, wanted):
        said = []
        while wanted not in said:
            said.append(self.hear())
        return said

    def end(self):
        """Stop the main process alone, as KillMode=mixed does first."""
        assert INGEST["KillMode"] == ["mixed"]
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(int(INGEST["TimeoutStopSec"][0]))

    def clear(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.socket.close()
        self.log.close()


@pytest.mark.integration
def test_the_units_program_is_ready_feeds_the_watchdog_stores_and_stops_as_systemd_asks(database, runtime, tmp_path):
    migrate(database)
    name = f"gw-{uuid.uuid4().hex[:8]}"
    with connect(database) as connection:
        load_registry(connection, registry(name, 1), "test.toml")
    service = Service(tmp_path, database, runtime.broker_url)
    try:
        service.hear_until("READY=1")
        since = time.monotonic()
        service.hear_until("WATCHDOG=1")
        service.hear_until("WATCHDOG=1")
        assert time.monotonic() - since < int(INGEST["WatchdogSec"][0]) / 2, "systemd's advice is half of the limit"

        def well():
            try:
                for port in (service.port, service.port + 1):
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
            except OSError:
                return False
            return True

        assert wait_until(well, DEADLINE_S)
        gateway = Gateway(runtime.broker_url, name)
        gateway.send([Reading(f"{name}-M0", "1.0.1.8.0", START_MS, 7)])
        gateway.wait_for_receipts()
        gateway.close()
        assert service.end() == 0
        service.hear_until("STOPPING=1")
        service.log.seek(0)
        assert service.log.read().count(b"ingest.stopped") == 2  # nobody of the two is left
        with connect(database) as connection:
            assert connection.execute("select value from reading").fetchall() == [(7,)]
    finally:
        service.clear()


def test_systemd_can_read_the_unit(tmp_path):
    """Where this host has no systemd, that each line is a key and a value must do."""
    analyze = shutil.which("systemd-analyze")
    text = (UNITS / "congto-ingest.service").read_text(encoding="utf-8")
    if analyze is None:
        lines = [line for line in text.splitlines() if line and line[0] not in "#["]
        assert all(line.partition("=")[1] for line in lines)
        return
    copy = tmp_path / "congto-ingest.service"
    copy.write_text(text.replace("/usr/bin/congto ", f"{sys.executable} "), encoding="utf-8")
    done = subprocess.run([analyze, "verify", str(copy)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
