"""An operator's look at the quarantine."""

import json

import pytest

from deploy.cli import main
from ingest_server.database import connect, migrate
from ingest_server.pipeline.message import Message
from ingest_server.registry import load_registry
from tests.ingest_server.stored_directly import registry, store_transactions

pytestmark = pytest.mark.integration

TOPIC = "congto/v1/g1/readings"
BAD = b"\x00\xff not a message"


@pytest.fixture
def dsn(database, monkeypatch):
    migrate(database)
    with connect(database) as connection:
        load_registry(connection, registry("g1", 1), "test.toml")
    monkeypatch.setenv("CONGTO_DSN", database)
    return database


def listed(capsys, *more):
    status = main(["ingest", "quarantine", "--json", *more])
    return status, json.loads(capsys.readouterr().out)


def test_an_empty_quarantine_is_status_0(dsn, capsys):
    assert listed(capsys) == (0, {"messages": 0, "octets": 0, "newest": [], "groups": []})


def test_messages_are_listed_with_reason_and_count_written_out_and_deleted(dsn, capsysbinary):
    strange = Message("congto/v1/g2\x1b[2J/readings", b"{}")
    store_transactions(dsn, [[Message(TOPIC, BAD)], [Message(TOPIC, BAD), strange]])

    assert main(["ingest", "quarantine"]) == 1
    shown = capsysbinary.readouterr().out.decode()
    assert f"1 {TOPIC}: " in shown
    assert f"{len(BAD)} octets, 2 times" in shown
    assert "2 messages in the quarantine" in shown
    assert "\x1b" not in shown

    assert main(["ingest", "quarantine", "--gateway", "g1", "--json"]) == 1
    (row,) = json.loads(capsysbinary.readouterr().out)["newest"]
    assert (row["times"], row["topic"], row["octets"]) == (2, TOPIC, len(BAD))

    assert main(["ingest", "quarantine", "--payload", str(row["number"])]) == 0
    assert capsysbinary.readouterr().out == BAD

    assert main(["ingest", "quarantine", "--forget", str(row["number"]), "999"]) == 2
    assert b"no message 999" in capsysbinary.readouterr().err
    assert main(["ingest", "quarantine", "--forget", str(row["number"])]) == 0
    assert b"1 messages deleted" in capsysbinary.readouterr().out
    assert main(["ingest", "quarantine", "--gateway", "g1"]) == 0


def test_only_as_many_are_listed_as_asked_for_and_all_are_counted(dsn, capsys):
    store_transactions(dsn, [[Message(TOPIC, b"%d" % number)] for number in range(5)])
    status, found = listed(capsys, "--newest", "2")
    assert (status, found["messages"], len(found["newest"])) == (1, 5, 2)


@pytest.mark.parametrize("words", [["--newest", "0"], ["--payload", "0"], ["--forget", "1", "-1"], ["--payload", "7"]])
def test_what_is_not_there_is_a_usage_error(dsn, words):
    assert main(["ingest", "quarantine", *words]) == 2
