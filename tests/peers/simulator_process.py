"""``congto sim dlms`` as a process of its own, for clients that others wrote: on a TCP port, whatever the link.

HDLC meters are on a pseudo-terminal; a bridge carries octets between it and a port, as a serial server does.
"""

import argparse
import json
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

from simulators.dlms.keys import MeterKeys, derive_keys, write_keys
from simulators.meter import SimulatedMeter
from simulators.meter_arguments import make_meters
from tests.simulators.meters import NOW, Master

AT_MS = NOW // 1000 * 1000
PASSWORD = b"12345678"
OPTIONS = {
    "model": "dlms_residential",
    "units": "1",
    "kind": "household",
    "size": 220,
    "place": "hanoi",
    "panels": 3000,
}
START_S_MAX = 20
CHUNK = 4096


@dataclass(frozen=True, slots=True)
class Serving:
    """Where the meter listens, its keys, and its twin in this process, which knows what it must say."""

    port: int
    keys: MeterKeys
    twin: SimulatedMeter


@contextmanager
def serving(directory: Path, *, hdlc: bool, suite: int = 0) -> Iterator[Serving]:
    """Run the simulator; its shared secret is text, because pydlms takes secrets so."""
    (twin,) = make_meters(argparse.Namespace(**OPTIONS, seed=1, starts_on=date(2026, 8, 1)))
    keys = replace(derive_keys(1, twin.name, twin.serial, suite), secret=PASSWORD)
    write_keys(directory / "keys.json", {1: keys})
    link = directory / "line"
    words = ["--port-link", str(link), "--unpaced"] if hdlc else ["--tcp"]
    words += [word for name, value in OPTIONS.items() for word in (f"--{name}", str(value))]
    words += ["--from", "2026-08-01", "--secret", PASSWORD.decode(), "--keys", str(directory / "keys.json")]
    words += ["--at", datetime.fromtimestamp(AT_MS // 1000, UTC).isoformat(), "--speed", "0"]
    command = [sys.executable, "-m", "deploy.cli", "sim", "dlms", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = json.loads(process.stdout.readline())
            if hdlc:
                with bridged(link) as port:
                    yield Serving(port, keys, twin)
            else:
                yield Serving(int(said["tcp"].rpartition(":")[2]), keys, twin)
        finally:
            process.terminate()
            process.wait(START_S_MAX)


@contextmanager
def bridged(link: Path) -> Iterator[int]:
    """Carry octets between a terminal and whoever connects to the port that is yielded, one after another."""
    reader, writer = os.pipe()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_serve, args=(listener, link, reader))
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            os.close(writer)
            thread.join()
            os.close(reader)


def _serve(listener: socket.socket, link: Path, end: int) -> None:
    while end not in select.select([listener.fileno(), end], [], [])[0]:
        connection, _ = listener.accept()
        with connection, closing(Master(link)) as line:
            if not _carry(connection, line, end):
                return


def _carry(connection: socket.socket, line: Master, end: int) -> bool:
    """Carry until the client has gone; False when the end was told."""
    while True:
        ready = select.select([connection.fileno(), line.fileno(), end], [], [])[0]
        if end in ready:
            return False
        if line.fileno() in ready:
            connection.sendall(os.read(line.fileno(), CHUNK))
        if connection.fileno() in ready:
            octets = connection.recv(CHUNK)
            if not octets:
                return True
            line.write(octets)
