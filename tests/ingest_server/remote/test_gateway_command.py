"""`congto gateway` against a gateway that a test plays: recorded, asked, answered, and the exit status says how."""

import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import psycopg
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from psycopg import conninfo, sql

from deploy.runtime.lifecycle import Running
from ingest_server.database.migrations import migrate
from protocols.telemetry.command import Arm, Command, Configure, Confirm, Profile, Read, decode_command
from protocols.telemetry.reply import ClockState, Outcome, Reply
from protocols.telemetry.topics import Kind, Topic
from tests.ingest_server.processes import address

pytestmark = pytest.mark.integration
DEADLINE_S = 60.0
TOKEN = "5d0c77a1e29b4f63"
AT_MS = 1_759_251_600_000

Answer = Callable[[Command], tuple[Outcome, dict[str, object]] | None]


class PlayedGateway:
    """Answers each command as the test says; remembers what came."""

    def __init__(self, broker_url: str, name: str) -> None:
        self.name = name
        self.asked: list[Command] = []
        self.answer: Answer = lambda _command: (Outcome.DONE, {})
        self._ready = threading.Event()
        self._client = client = mqtt.Client(CallbackAPIVersion.VERSION2, f"{name}-agent", protocol=mqtt.MQTTv5)
        client.on_connect = lambda client, *_: client.subscribe(str(Topic(name, Kind.COMMANDS)), 1)
        client.on_subscribe = lambda *_: self._ready.set()
        client.on_message = self._take
        client.connect(*address(broker_url))
        client.loop_start()
        assert self._ready.wait(DEADLINE_S)

    def _take(self, client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        command = decode_command(message.payload)
        self.asked.append(command)
        said = self.answer(command)
        if said is not None:
            reply = Reply(self.name, command.key, command.kind, AT_MS, ClockState.SET, said[0], None, said[1])
            client.publish(str(Topic(self.name, Kind.REPLIES)), b"not a reply", qos=1)
            client.publish(str(Topic(self.name, Kind.REPLIES)), reply.encode(), qos=1)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def gateway(runtime: Running, module_database: str) -> Iterator[PlayedGateway]:
    migrate(module_database)
    name = f"gw-{uuid.uuid4().hex[:8]}"
    with psycopg.connect(module_database) as connection:
        connection.execute("insert into gateway (gateway_id) values (%s)", (name,))
    found = PlayedGateway(runtime.broker_url, name)
    yield found
    found.close()


@pytest.fixture
def ask(runtime: Running, module_database: str) -> Callable[..., tuple[int, str, str]]:
    def run(*words: str, dsn: str = module_database, wait: str = "30") -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "deploy.cli", "gateway", *words, "--wait", wait],
            check=False,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            env={**os.environ, "CONGTO_DSN": dsn, "CONGTO_BROKER": runtime.broker_url},
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def second_person(module_database: str) -> Iterator[str]:
    """Give the DSN of another person's role."""
    role = f"clerk_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(module_database, autocommit=True) as connection:
        connection.execute(sql.SQL("create role {} superuser login password {}").format(sql.Identifier(role), role))
    yield conninfo.make_conninfo(module_database, user=role, password=role)
    with psycopg.connect(module_database, autocommit=True) as connection:
        connection.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))


def rows(dsn: str, query: str, *arguments: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query, arguments).fetchall()  # type: ignore[arg-type]  # a constant of the test


def test_a_reading_is_asked_for_printed_and_recorded(
    gateway: PlayedGateway, ask: Callable[..., tuple[int, str, str]], module_database: str
) -> None:
    result = {"meter": "M-1", "at": AT_MS, "values": [["1.0.1.8.0", 1_204_331]], "refusals": []}
    gateway.answer = lambda _command: (Outcome.DONE, result)
    status, said, told = ask("read", gateway.name, "M-1", "--object", "1.0.1.8.0", "--json")
    assert (status, told) == (0, "")
    assert json.loads(said)["result"] == result
    assert [each.asked for each in gateway.asked] == [Read("M-1", ("1.0.1.8.0",))]
    key = gateway.asked[0].key
    (row,) = rows(module_database, "select kind, meter_id, outcome, asked_by from command where key = %s", key)
    assert row[:3] == ("read", "M-1", "done")
    steps = rows(module_database, "select step, what, done_by from command_step where key = %s order by step", key)
    assert [each[:2] for each in steps] == [(1, "asked"), (2, "replied")]
    assert {each[2] for each in steps} == {row[3]}
    status, said, _ = ask("read", gateway.name, "M-1", "--key", key)
    assert status == 0
    assert "1,204,331" in said
    assert "Wh" in said
    assert len(gateway.asked) == 1  # the recorded answer was shown


@pytest.mark.parametrize(
    ("outcome", "wanted"),
    [(Outcome.FAILED, 1), (Outcome.REFUSED, 2), (Outcome.UNKNOWN, 5), (Outcome.EXPIRED, 6)],
)
def test_the_exit_status_says_what_became_of_it(
    gateway: PlayedGateway, ask: Callable[..., tuple[int, str, str]], outcome: Outcome, wanted: int
) -> None:
    gateway.answer = lambda _command: (outcome, {})
    status, said, _ = ask("clock", gateway.name, "M-1", "--limit", "30")
    assert status == wanted
    assert said.startswith(outcome.value)


def test_without_an_answer_the_same_command_can_be_asked_for_again_until_it_expires(
    gateway: PlayedGateway, ask: Callable[..., tuple[int, str, str]], module_database: str
) -> None:
    gateway.answer = lambda _command: None
    words = ("profile", gateway.name, "M-1", "--from", "2026-09-30T00:00+07:00", "--to", "2026-09-30T01:00+07:00")
    status, _, told = ask(*words, "--expires", "600", wait="1")
    assert status == 4
    key = told.strip().rpartition(" ")[2]
    gateway.answer = lambda _command: (Outcome.DONE, {})
    assert ask("profile", *words[1:], "--key", key)[0] == 0
    first, *others = gateway.asked
    assert isinstance(first.asked, Profile)
    assert others
    assert all(each == first for each in others)
    whats = rows(module_database, "select what from command_step where key = %s order by step", key)
    assert whats == [("asked",), ("given_up",), ("asked_again",), ("replied",)]
    status, _, told = ask("status", gateway.name, "--expires", "1", wait="1")
    assert status == 0
    gateway.answer = lambda _command: None
    status, _, told = ask("status", gateway.name, "--expires", "1", wait="2")
    assert status == 4
    status, _, told = ask("status", gateway.name, "--key", told.strip().rpartition(" ")[2])
    assert (status, "expired" in told) == (6, True)


def test_a_supply_is_switched_by_two_people_only(
    gateway: PlayedGateway, ask: Callable[..., tuple[int, str, str]], second_person: str
) -> None:
    stand = {"meter": "M-1", "conducts": True, "control": 1}

    def answer(command: Command) -> tuple[Outcome, dict[str, object]]:
        if isinstance(command.asked, Arm):
            return Outcome.DONE, {**stand, "token": TOKEN, "until": AT_MS}
        return Outcome.DONE, {"meter": "M-1", "conducts": False, "control": 0, "acted": True, "obeyed": True}

    gateway.answer = answer
    status, said, _ = ask("disconnect", gateway.name, "M-1")
    assert status == 0
    assert f"--confirm {TOKEN}" in " ".join(said.split())
    confirm = ("disconnect", gateway.name, "M-1", "--confirm", TOKEN)
    status, _, told = ask(*confirm)
    assert (status, "second person" in told) == (2, True)
    for wrong in (
        ("reconnect", gateway.name, "M-1", "--confirm", TOKEN),
        ("disconnect", gateway.name, "M-2", "--confirm", TOKEN),
        ("disconnect", gateway.name, "M-1", "--confirm", "ab" * 8),
    ):
        assert ask(*wrong, dsn=second_person)[0] == 2
    assert [each.asked for each in gateway.asked] == [Arm("M-1", False)]
    status, said, _ = ask(*confirm, dsn=second_person)
    assert (status, "is open, disconnected" in said) == (0, True)
    assert gateway.asked[-1].asked == Confirm("M-1", False, TOKEN)


def test_a_configuration_goes_to_the_gateway_as_it_is(
    gateway: PlayedGateway, ask: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    text = '[gateway]\nid = "gw-01" # Trạm [1]\n'
    (tmp_path / "agent.toml").write_text(text, encoding="utf-8")
    result = {"sha256": "ab" * 32, "changed": ["b1"], "problems": ["bus b1: unplugged"], "rolled_back": True}
    gateway.answer = lambda _command: (Outcome.FAILED, result)
    status, said, _ = ask("configure", gateway.name, str(tmp_path / "agent.toml"), "--watch", "5")
    assert (status, "bus b1: unplugged" in said) == (1, True)
    assert gateway.asked[0].asked == Configure(text, 5)


def test_what_can_not_be_asked_is_refused_before_anything_is_sent(
    gateway: PlayedGateway, ask: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    for words in (
        ("read", "gw-nobody", "M-1"),
        ("read", gateway.name, "M 1"),
        ("read", gateway.name, "M-1", "--object", "1.0"),
        ("clock", gateway.name, "M-1", "--limit", "3600"),
        ("profile", gateway.name, "M-1", "--from", "2026-09-30T00:00", "--to", "2026-09-30T01:00"),
        ("resend", gateway.name, "--generation", "0", "--first", "1", "--last", "2"),
        ("configure", gateway.name, str(tmp_path / "nothing.toml")),
        ("status", gateway.name, "--key", "ab" * 8),
        ("status", gateway.name, "--expires", "100000"),
    ):
        status, _, told = ask(*words)
        assert status == 2, words
        assert "Traceback" not in told
    assert gateway.asked == []


def test_a_range_that_can_not_be_is_refused_in_dates(
    gateway: PlayedGateway, ask: Callable[..., tuple[int, str, str]]
) -> None:
    late, early = "2026-09-30T07:00+07:00", "2026-06-29T07:00+07:00"
    for first, last, said in ((late, early, "--from 2026-09-30T00:00:00+00:00 is after"), (early, late, "62 days")):
        status, _, told = ask("profile", gateway.name, "M-1", "--from", first, "--to", last)
        assert (status, said in told) == (2, True), told
    assert gateway.asked == []


def test_a_profile_is_printed_with_all_its_digits(
    gateway: PlayedGateway, ask: Callable[..., tuple[int, str, str]]
) -> None:
    channels = [f"1.0.{number}.8.0" for number in range(1, 9)]
    result = {"meter": "M-1", "channels": channels, "channel": list(range(8)), "at": 8 * [AT_MS]}
    values = [8_860_612_345 + number for number in range(8)]
    gateway.answer = lambda _command: (Outcome.DONE, {**result, "value": values})
    times = ("--from", "2025-09-30T00:00+00:00", "--to", "2025-10-01T00:00+00:00")
    status, said, _ = ask("profile", gateway.name, "M-1", *times)
    assert (status, [each for each in values if f"{each:,}" not in said]) == (0, [])


def test_a_broker_that_is_not_there_is_told(gateway: PlayedGateway, ask: Callable[..., tuple[int, str, str]]) -> None:
    status, _, told = ask("status", gateway.name, "--broker", "mqtt://127.0.0.1:1")
    assert (status, "broker mqtt://127.0.0.1:1" in told) == (3, True)


def test_the_audit_of_commands_can_not_be_changed(module_database: str, gateway: PlayedGateway) -> None:
    with psycopg.connect(module_database) as connection:
        connection.execute(
            "insert into command values (%s, %s, 'status', null, null, 'somebody', now(), now(), '')",
            (key := uuid.uuid4().hex, gateway.name),
        )
        connection.execute("insert into command_step values (%s, 1, now(), 'somebody', 'asked')", (key,))
        with pytest.raises(psycopg.errors.RaiseException, match="never changed"):
            connection.execute("update command_step set done_by = 'nobody'")
