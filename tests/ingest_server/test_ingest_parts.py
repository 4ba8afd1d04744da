"""The small parts of ingest that need no server: the inbox, the watchdog's judgement, arguments, log lines."""

import argparse
import asyncio

import pytest

from ingest_server.database.connection import add_dsn_arguments, dsn_from
from ingest_server.journal import fact
from ingest_server.pipeline.inbox import Inbox
from ingest_server.pipeline.message import Message
from ingest_server.pipeline.settings import INBOX_MESSAGES_MAX, INBOX_OCTETS_MAX, BrokerAddress, parse_broker
from ingest_server.pipeline.watchdog import Stillness
from protocols.errors import UsageError


def test_messages_leave_the_inbox_in_the_order_of_their_coming():
    async def pass_through():
        inbox = Inbox()
        taking = asyncio.create_task(inbox.take())
        for number in range(3):
            inbox.put(Message("t", b"%d" % number))
        return [(await each).payload for each in (taking, inbox.take(), inbox.take())]

    assert asyncio.run(pass_through()) == [b"0", b"1", b"2"]


@pytest.mark.parametrize(("octets", "capacity"), [(1, INBOX_MESSAGES_MAX), (1 << 20, INBOX_OCTETS_MAX >> 20)])
def test_the_inbox_is_full_by_number_or_by_size_and_tells_when_it_no_longer_is(octets, capacity):
    async def fill_and_drain():
        drained = []
        inbox = Inbox(lambda: drained.append(len(inbox)))
        payload = bytes(octets)
        while not inbox.full:
            inbox.put(Message("t", payload))
        filled = len(inbox)
        inbox.put(Message("t", payload))  # what was read can't be unread
        while len(inbox):
            await inbox.take()
        return filled, drained

    assert asyncio.run(fill_and_drain()) == (capacity, [capacity - 1])


def test_only_waiting_without_progress_is_stillness():
    stillness = Stillness(0.0)
    assert stillness.after(10.0, 1, waiting=True) == 0.0
    assert stillness.after(70.0, 1, waiting=True) == 60.0
    assert stillness.after(80.0, 2, waiting=True) == 0.0
    assert stillness.after(90.0, 2, waiting=False) == 0.0
    assert stillness.after(95.0, 2, waiting=True) == 5.0


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mqtt://127.0.0.1:1884", BrokerAddress("127.0.0.1", 1884, tls=False)),
        ("mqtt://broker", BrokerAddress("broker", 1883, tls=False)),
        ("mqtts://ingest@[::1]", BrokerAddress("::1", 8883, tls=True, username="ingest")),
    ],
)
def test_a_brokers_url_is_read(url, address):
    assert parse_broker(url, {}) == address


def test_a_brokers_password_comes_from_the_environment_only():
    environment = {"CONGTO_BROKER": "mqtt://u@b", "CONGTO_BROKER_PASSWORD": "secret"}
    assert parse_broker(None, environment) == BrokerAddress("b", 1883, tls=False, username="u", password="secret")
    with pytest.raises(UsageError, match="--broker: holds a password") as refused:
        parse_broker("mqtt://u:secret@b", {})
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1", "mqtt://", "mqtt://h:99999", "http://h:1883", "mqtt://h/path", "mqtt://h?x"]
)
def test_what_is_no_brokers_url_is_refused(url):
    with pytest.raises(UsageError, match="mqtt://"):
        parse_broker(url, {})


def parse(*words):
    parser = argparse.ArgumentParser()
    add_dsn_arguments(parser)
    return parser.parse_args(words)


def test_the_dsn_comes_from_an_argument_a_file_or_the_environment(tmp_path):
    (tmp_path / "dsn").write_text("postgresql://u:secret@h/d\n", encoding="utf-8")
    environment = {"CONGTO_DSN": "postgresql://u:secret@h/e"}
    assert dsn_from(parse("--dsn", "postgresql://u@h/d"), environment) == "postgresql://u@h/d"
    assert dsn_from(parse("--dsn-file", str(tmp_path / "dsn")), environment) == "postgresql://u:secret@h/d"
    assert dsn_from(parse(), environment) == "postgresql://u:secret@h/e"


@pytest.mark.parametrize(
    "words", [(), ("--dsn", "postgresql://u:secret@h/d"), ("--dsn", "what"), ("--dsn-file", "/no")]
)
def test_no_dsn_or_one_that_shows_a_password_is_refused(words):
    with pytest.raises(UsageError) as refused:
        dsn_from(parse(*words), {})
    assert "secret" not in str(refused.value)


def test_a_log_line_is_one_line_of_facts():
    assert fact("bundle.stored", rows=3, took_ms=8) == "bundle.stored rows=3 took_ms=8"
    assert fact("a.b", reason='x "y"\nz', name="Hoa") == 'a.b reason="x \\"y\\"\\nz" name=Hoa'
    assert fact("a.b", empty="", none=None) == 'a.b empty="" none=""'
