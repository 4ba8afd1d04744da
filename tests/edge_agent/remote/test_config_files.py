"""The configuration's files, and what a change of the file itself (SIGHUP) leaves of them."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from edge_agent.bus import Bus
from edge_agent.config import AgentConfig, BusConfig
from edge_agent.keys import KeyFile, Kind, parse_key_place
from edge_agent.log import EventLog
from edge_agent.remote.config_file import ConfigFile
from edge_agent.remote.configuration import Configuration
from protocols.errors import UnavailableError, UsageError
from protocols.strict_toml import parse_toml
from protocols.telemetry.command import Configure
from protocols.telemetry.reply import Outcome

TEXT = """
[gateway]
id = "gw-01"
spool = "spool.sqlite"
[broker]
url = "mqtt://127.0.0.1:1883"
[[bus]]
id = "b1"
port = "line"
[[bus.meter]]
id = "M-1"
model = "eastron_sdm120"
address = 1
"""
OTHER = TEXT.replace("1883", "1884")


class FakeRunning:
    """Follows whatever it is told; its broker is connected or not, as a test says."""

    def __init__(self) -> None:
        self.followed: list[int] = []
        self.well: Callable[[int], bool] = lambda _port: True

    async def follow(self, config: AgentConfig) -> tuple[str, ...]:
        self.followed.append(config.broker.port)
        return ()

    def bus(self, name: str) -> tuple[BusConfig, Bus] | None:
        return None

    def connected(self) -> bool:
        return self.well(self.followed[-1] if self.followed else 1883)


class FailingRunning(FakeRunning):
    """Can't follow the first few times."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self._failures = failures

    async def follow(self, config: AgentConfig) -> tuple[str, ...]:
        await super().follow(config)
        if len(self.followed) <= self._failures:
            raise UnavailableError("no world answers")
        return ()


async def at_once(_seconds: float) -> None:
    return None


def site(directory: Path, running: FakeRunning) -> tuple[ConfigFile, Configuration]:
    path = directory / "agent.toml"
    path.write_text(TEXT)
    file = ConfigFile(path, {})
    return file, Configuration(file, file.load(), running, EventLog(), at_once)


def files(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.glob("agent.toml*")}


def test_the_file_that_was_changed_is_taken_and_becomes_the_last_good_one(tmp_path: Path) -> None:
    running = FakeRunning()
    _, configuration = site(tmp_path, running)
    asyncio.run(configuration.settle())
    assert files(tmp_path)["agent.toml.good"] == TEXT
    (tmp_path / "agent.toml").write_text(OTHER)
    asyncio.run(configuration.reload())
    assert files(tmp_path) == {"agent.toml": OTHER, "agent.toml.good": OTHER}
    assert running.followed == [1884]
    assert configuration.status()["standing"] == "good"


def test_one_that_fails_is_put_aside_and_the_file_is_the_old_one_again(tmp_path: Path) -> None:
    running = FakeRunning()
    running.well = lambda port: port == 1883
    _, configuration = site(tmp_path, running)
    (tmp_path / "agent.toml").write_text(OTHER)
    asyncio.run(configuration.reload())
    assert files(tmp_path) == {"agent.toml": TEXT, "agent.toml.failed": OTHER}
    assert running.followed == [1884, 1883]
    assert configuration.status()["reason"] == "the broker is not connected"


@pytest.mark.parametrize("failures", [1, 3])
def test_one_that_can_not_even_be_begun_is_taken_back_by_itself(tmp_path: Path, failures: int) -> None:
    """Opening a clock fails, and perhaps the old one's too for a moment."""
    running = FailingRunning(failures)
    _, configuration = site(tmp_path, running)
    (tmp_path / "agent.toml").write_text(OTHER)
    asyncio.run(configuration.reload())
    assert files(tmp_path) == {"agent.toml": TEXT, "agent.toml.failed": OTHER}
    assert running.followed == [1884] + failures * [1883]
    assert configuration.status()["standing"] == "taken_back"
    assert "no world answers" in configuration.status()["reason"]


def test_a_command_whose_configuration_can_not_be_begun_is_answered_with_why(tmp_path: Path) -> None:
    running = FailingRunning(1)
    _, configuration = site(tmp_path, running)
    other = TEXT.replace('id = "M-1"', 'id = "M-2"')

    async def begin() -> None:
        return None

    done = asyncio.run(configuration.change(Configure(other, 1), begin))
    assert done.outcome is Outcome.FAILED
    assert "no world answers" in str(done.reason)
    assert running.followed == [1883, 1883]
    assert files(tmp_path) == {"agent.toml": TEXT}


def test_one_that_does_not_hold_is_left_as_it_is(tmp_path: Path) -> None:
    running = FakeRunning()
    _, configuration = site(tmp_path, running)
    for broken in ("[gateway", TEXT.replace("gw-01", "gw-02"), "\x00"):
        (tmp_path / "agent.toml").write_text(broken)
        asyncio.run(configuration.reload())
        assert files(tmp_path) == {"agent.toml": broken}
        assert configuration.status()["standing"] == "refused"
    assert running.followed == []


def test_the_start_takes_the_last_good_one_if_the_file_does_not_hold(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    file = ConfigFile(path, {})
    with pytest.raises(UsageError, match="can't be read"):
        file.load()
    path.write_bytes(b"\xff")
    file.write(TEXT, ".good")
    loaded = file.load()
    assert (loaded.text, loaded.config.gateway) == (TEXT, "gw-01")
    assert loaded.refused is not None
    path.write_text(OTHER)
    assert (file.load().text, file.load().refused) == (OTHER, None)


def test_a_directory_that_is_not_ours_is_told(tmp_path: Path) -> None:
    file = ConfigFile(tmp_path / "nowhere" / "agent.toml", {})
    with pytest.raises(UnavailableError, match="directory to itself"):
        file.write(TEXT)
    with pytest.raises(UnavailableError, match="can't be replaced"):
        file.adopt()


def test_a_configuration_that_is_read_again_is_the_same_with_all_its_keys(tmp_path: Path) -> None:
    ours, peer = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    place = parse_key_place(parse_toml('file = "keys"\nkek_env = "KEK"', "keys"), tmp_path, {"KEK": "00" * 32})
    keys = KeyFile(place)
    keys.change("D-1", Kind.SIGNING, ours.private_numbers().private_value.to_bytes(32, "big"), replace=False)
    point = peer.public_key().public_numbers()
    keys.change("D-1", Kind.METER_PUBLIC, point.x.to_bytes(32, "big") + point.y.to_bytes(32, "big"), replace=False)
    keys.change("D-1", Kind.ENCRYPTION, bytes(16), replace=False)
    keys.change("D-1", Kind.AUTHENTICATION, bytes(16), replace=False)
    meter = 'id = "D-1"\nmodel = "dlms_secured"\nmechanism = "high-ecdsa"\nsuite = 1\n'
    text = TEXT.replace('id = "M-1"\nmodel = "eastron_sdm120"\n', meter)
    text = text.replace(
        "[broker]", 'system_title = "434f4e47544f0001"\n[keys]\nfile = "keys"\nkek_env = "KEK"\n[broker]'
    )
    file = ConfigFile(tmp_path / "agent.toml", {"KEK": "00" * 32})
    once, again = file.parse(text), file.parse(text)
    assert once == again
    assert once.buses == again.buses
    keys.change("D-1", Kind.SIGNING, b"\x00" * 31 + b"\x07", replace=True)
    assert file.parse(text).buses != once.buses


def test_what_is_taken_at_the_start_is_good_only_when_somebody_was_reached(tmp_path: Path) -> None:
    running = FakeRunning()
    tries: list[int] = []

    def reached_at_the_third(_port: int) -> bool:
        tries.append(len(tries))
        return len(tries) > 2

    running.well = reached_at_the_third
    _, configuration = site(tmp_path, running)
    asyncio.run(configuration.settle())
    assert len(tries) == 3
    assert configuration.status()["standing"] == "good"
