import asyncio
import re
import socket
import threading
import urllib.request
import uuid

import pytest

from deploy.cli import main
from ingest_server.database import connect, migrate
from ingest_server.pipeline.counts import Counts
from ingest_server.pipeline.metrics import STILL_S_MAX, Snapshot, complaints, parse_metrics, render_metrics
from ingest_server.pipeline.observer import observe, respond
from ingest_server.registry import load_registry
from protocols.errors import UnavailableError
from tests.ingest_server.processes import READY, Gateway, Ingest
from tests.ingest_server.stored_directly import registry
from tests.ingest_server.test_ingest import half_hours

WELL = Snapshot(Counts(messages=7, new=5), True, True, 3, 900, False, 0.0)


def test_metrics_are_prometheus_text_with_help_and_type():
    text = render_metrics(WELL)
    assert parse_metrics(text)["messages_total"] == 7
    assert parse_metrics(text)['readings_total{result="new"}'] == 5
    names = {re.split(r"[ {]", line)[0] for line in text.splitlines() if not line.startswith("#")}
    for name in names:
        assert re.fullmatch(r"[a-z_]+", name)
        assert f"# HELP {name} " in text
        assert f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}" in text
    assert text.endswith("\n")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"broker_connected": False}, "broker"),
        ({"database_connected": False}, "database"),
        ({"still_s": STILL_S_MAX + 1}, "pg_stat_activity"),
        ({"inbox_full": True}, "inbox"),
    ],
)
def test_health_names_what_is_wrong(change, word):
    assert complaints(WELL) == []
    (reason,) = complaints(WELL._replace(**change))
    assert word in reason
    assert respond(b"GET /health HTTP/1.1\r\n\r\n", WELL._replace(**change)).startswith(b"HTTP/1.1 503 ")
    assert respond(b"GET /health HTTP/1.1\r\n\r\n", WELL).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405"),
        (b"\xff\xfe\r\n\r\n", b"405"),
        (b"GET / HTTP/1.1\r\n\r\n", b"404"),
    ],
)
def test_other_requests_are_refused(request_head, status):
    assert respond(request_head, WELL).split(b" ")[1] == status


def test_a_port_that_is_taken_is_told():
    async def twice():
        server = await observe(0, lambda: WELL)
        async with server:
            with pytest.raises(UnavailableError, match="choose another port"):
                await observe(server.sockets[0].getsockname()[1], lambda: WELL)

    asyncio.run(twice())


@pytest.mark.integration
def test_a_running_ingest_tells_what_it_does(database, runtime, capsys):
    migrate(database)
    name = f"gw-{uuid.uuid4().hex[:8]}"
    with connect(database) as connection:
        load_registry(connection, registry(name, 2), "test.toml")
    program = Ingest(database, runtime.broker_url)
    program.start("--metrics-port", "0")
    try:
        url = re.search(r"url=(\S+)", program.wait_for(r"metrics\.ready"))[1]
        program.wait_for(READY)
        gateway = Gateway(runtime.broker_url, name)
        gateway.send(half_hours(name, 0, 5))
        gateway.wait_for_receipts()
        gateway.close()
        with urllib.request.urlopen(url, timeout=10) as answer:
            found = parse_metrics(answer.read().decode())
        assert found['readings_total{result="new"}'] == 10
        assert found["broker_connected"] == found["database_connected"] == 1
        port = url.split(":")[2].split("/")[0]
        assert main(["ingest", "top", "--metrics-port", port, "--seconds", "1"]) == 0
        assert "readings new" in capsys.readouterr().out
        assert program.end()[0] == 0
        assert main(["ingest", "top", "--metrics-port", port, "--seconds", "1"]) == 3
    finally:
        program.clear()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\n<html>",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xfe",
        b"220 mail.example.org ESMTP\r\n",
    ],
)
def test_top_at_another_programs_port_says_so(answer, capsys):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def respond_once():
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=respond_once)
        thread.start()
        assert main(["ingest", "top", "--metrics-port", str(server.getsockname()[1]), "--seconds", "1"]) == 2
        thread.join()
    assert "something else answers there" in capsys.readouterr().err


def test_top_looks_at_least_for_a_second(capsys):
    assert main(["ingest", "top", "--metrics-port", "9100", "--seconds", "0"]) == 2
    assert "expected 1 or more" in capsys.readouterr().err


def test_clocks_and_declared_losses_are_metrics():
    text = render_metrics(WELL._replace(counts=Counts(lost=4), clocks_s=[-90.0, 0.5]))
    found = parse_metrics(text)
    assert found["lost_batches_total"] == 4
    assert found['gateway_clock_ahead_seconds{bound="lowest"}'] == -90.0
    assert found['gateway_clock_ahead_seconds{bound="highest"}'] == 0.5
