"""``congto dlms`` on ``congto sim dlms``, two processes: what the newer objects tell, take and do."""

import json
import os
import subprocess
import sys

import pytest

from protocols.dlms import axdr
from simulators.dlms.keys import read_keys
from tests.simulators.test_dlms_command import AT, sim
from tests.simulators.test_dlms_key_transfer import transfer
from tests.simulators.test_dlms_tariffs import WRITTEN

pytestmark = pytest.mark.integration
DEADLINE_S = 30
NEW_KEY = bytes(range(16))


def tool(said, *words, way=("--auth", "low", "--secret-env", "SECRET")):
    """Run the tool; return its status, what it printed as JSON where it did, and what it said on stderr."""
    place = ["--tcp", said["tcp"], "--server", "5", "--json"]
    client = [] if "--client" in way else ["--client", "1"]
    command = [sys.executable, "-m", "deploy.cli", "dlms", *map(str, words), *place, *client, *map(str, way)]
    environment = {**os.environ, "SECRET": "00000000"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False, env=environment)
    return done.returncode, done.stdout, done.stderr


def test_the_tool_lists_reads_writes_and_acts_on_calendar_demand_and_limiter():
    with sim("--tcp", "--units", "5", "--at", AT, "--speed", "0") as said:
        status, listed, error = tool(said, "list")
        assert status == 0, error
        for obis in ("0.0.13.0.0", "0.0.11.0.0", "1.0.1.4.0", "0.0.17.0.0", "0.0.43.0.0"):
            assert obis in listed
        for index, value in WRITTEN.items():
            status, _, error = tool(said, "set", f"20:0.0.13.0.0:{index}", "axdr", axdr.encode(value).hex())
            assert status == 0, error
        status, _, error = tool(said, "action", "20:0.0.13.0.0:1")
        assert status == 0, error
        status, found, error = tool(said, "read", "20:0.0.13.0.0:2", "1:0.0.96.14.0:2", "5:1.0.1.4.0:3")
        assert status == 0, error
        assert "two" in found or b"two".hex() in found
        status, _, error = tool(said, "action", "5:1.0.1.4.0:1")
        assert status == 0, error
        status, _, error = tool(said, "set", "71:0.0.17.0.0:5", "double-long-unsigned", "1500")
        assert status == 0, error
        status, found, error = tool(said, "read", "5:1.0.1.4.0:3", "71:0.0.17.0.0:5")
        assert status == 0, error
        assert "1500" in found
        status, _, error = tool(said, "action", "20:0.0.13.0.0:2")
        assert status != 0
        assert "read-write-denied" in error


def test_the_tool_transfers_a_key_and_then_only_the_new_one_opens_the_meter(tmp_path):
    path = tmp_path / "keys.json"
    words = ["--tcp", "--units", "5", "--at", AT, "--speed", "0", "--auth", "high-gmac", "--ciphered"]
    with sim(*words, "--keys-out", path) as said:
        keys = read_keys(path, [5])[5]
        way = ["--auth", "high-gmac", "--keys", path, "--unit", "5", "--counters", tmp_path / "counters"]
        wrapped = tmp_path / "wrapped"
        wrapped.write_text(axdr.encode(transfer(keys.master, encryption=NEW_KEY).parameter).hex())
        wrapped.chmod(0o600)
        read = ("read", "1.0.1.8.0:2")
        status, before, error = tool(said, *read, way=way)
        assert status == 0, error
        acted = ("action", "64:0.0.43.0.0:2", "axdr", f"@file:{wrapped}")
        status, shown, error = tool(said, *acted, way=way)
        assert status == 0, error
        assert NEW_KEY.hex() not in shown + error
        status, _, _ = tool(said, *read, way=way)
        assert status != 0
        entries = json.loads(path.read_text())
        entries["5"]["encryption_key"] = NEW_KEY.hex()
        path.write_text(json.dumps(entries))
        status, after, error = tool(said, *read, way=way)
        assert status == 0, error
        assert after == before
