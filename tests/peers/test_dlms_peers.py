"""Our client reads pydlms' simulator; pydlms and gurux-dlms read ours: wrapper and HDLC, from no secret to ciphered."""

import json
import os
import re
import secrets
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from protocols.dlms import profile
from protocols.dlms.acse import Context, Mechanism
from protocols.dlms.association import Association
from protocols.dlms.ciphering import Keys
from protocols.dlms.client import DlmsClient
from protocols.dlms.hdlc.negotiation import LinkLimits
from protocols.dlms.hdlc.primary import HdlcParameters
from protocols.dlms.hdlc.secondary import HdlcServerParameters
from protocols.dlms.link import NEED_DATA
from protocols.dlms.objects import decode_object_list
from protocols.dlms.plan import ends, read_profile
from protocols.dlms.protection import Ciphering
from protocols.dlms.services import (
    Associated,
    AssociationRefused,
    BufferResult,
    Connect,
    Event,
    Get,
    GetBuffer,
    GetList,
    GetResult,
    ListResult,
    Release,
    Released,
    Request,
)
from protocols.dlms.wrapper import WrapperParameters, WrapperServerParameters
from protocols.dlms.xdlms.references import Attribute
from protocols.obis import Obis
from simulators.dlms.keys import derive_keys
from simulators.dlms.meter import CIPHERED_SAP, PLAIN_SAP, SHORT_LOW_SAP, DlmsMeter
from tests.peers.environment import driver, environment
from tests.simulators.meters import NOW, meter

pytestmark = pytest.mark.integration
REPLY_S_MAX = 10.0
HALF_HOUR_MS = 1_800_000
PROGRAM_S_MAX = 60
KEYS = Keys(bytes(range(16)), bytes(range(0xD0, 0xE0)))
OURS = b"CNG\0\0\0\0\1"
PASSWORD = b"12345678"
WIDE = LinkLimits(window_tx=3, window_rx=3)
ENERGY, LOAD = Obis.parse("1.0.1.8.0"), Obis.parse("1.0.99.1.0")


def pydlms(*arguments: str) -> list[str]:
    return [str(environment("pydlms") / "pydlms"), *arguments]


def gmac() -> Association:
    ciphering = Ciphering(KEYS, OURS, range(1, 1000))
    token = secrets.token_bytes(16)
    return Association(Mechanism.HIGH_GMAC, context=Context.LN_CIPHERED, challenge=token, ciphering=ciphering)


# -- our client, their meter ------------------------------------------------------------------------------------------


@contextmanager
def simulator(*arguments: str) -> Iterator[int]:
    """Run pydlms' simulator; yield the port that it says it listens on."""
    command = pydlms("simulate", "--port", "0", *arguments)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            listening = re.search(r"listening on 127\.0\.0\.1:(\d+)", said)
            assert listening, said
            yield int(listening[1])
        finally:
            process.terminate()
            process.wait(REPLY_S_MAX)


class Talk:
    """A client on a socket."""

    def __init__(self, client: DlmsClient, port: int) -> None:
        self.client = client
        self.socket = socket.create_connection(("127.0.0.1", port), REPLY_S_MAX)

    def close(self) -> None:
        self.socket.close()

    def ask(self, request: Request) -> list[Event]:
        events: list[Event] = []
        self.socket.sendall(self.client.send(request))
        while not events or not ends(request, events[-1]):
            event = self.client.next_event()
            self.socket.sendall(self.client.data_to_send())
            if event is NEED_DATA:
                self.client.receive_data(self.socket.recv(4096))
            else:
                events.append(event)
        return events


THEIR_METERS: dict[str, tuple[list[str], HdlcParameters | WrapperParameters, Association]] = {
    "wrapper, no secret": (["--client", "16:0"], WrapperParameters(16), Association()),
    "wrapper, password": (["--client", "1:1:12345678"], WrapperParameters(1), Association(Mechanism.LOW, PASSWORD)),
    "wrapper, GMAC ciphered": (["--client", "1:5"], WrapperParameters(1), gmac()),
    "HDLC, no secret": (["--hdlc", "--client", "16:0"], HdlcParameters(16), Association()),
    "HDLC window 3, password": (
        ["--hdlc", "--hdlc-window", "3", "--client", "1:1:12345678"],
        HdlcParameters(1, limits=WIDE),
        Association(Mechanism.LOW, PASSWORD),
    ),
    "HDLC window 3, GMAC ciphered": (
        ["--hdlc", "--hdlc-window", "3", "--client", "1:5"],
        HdlcParameters(1, limits=WIDE),
        gmac(),
    ),
}


@pytest.mark.parametrize(("arguments", "link", "association"), THEIR_METERS.values(), ids=THEIR_METERS.keys())
def test_our_client_reads_their_meter(
    arguments: list[str], link: HdlcParameters | WrapperParameters, association: Association
) -> None:
    keys = ["--key", KEYS.encryption.hex(), "--auth-key", KEYS.authentication.hex()]
    with (
        simulator(*arguments, *(keys if association.is_ciphered else [])) as port,
        closing(Talk(DlmsClient(link, association), port)) as talk,
    ):
        assert isinstance(talk.ask(Connect())[-1], Associated)
        (listed,) = talk.ask(Get(Attribute(15, Obis.parse("0.0.40.0.0"), 2)))
        assert isinstance(listed, GetResult)
        objects = decode_object_list(listed.value)
        wanted = tuple(Get(entry.attribute(index)) for entry in objects if entry.class_id == 3 for index in (2, 3))
        (values,) = talk.ask(GetList(wanted))
        assert isinstance(values, ListResult)
        assert len(values.results) == len(wanted) > 4
        (load,) = [entry for entry in objects if entry.class_id == 7]
        (shape,) = talk.ask(Get(load.attribute(3)))
        assert isinstance(shape, GetResult)
        columns = profile.decode_capture_objects(shape.value)
        (whole,) = talk.ask(GetBuffer(load.attribute(2)))
        assert isinstance(whole, BufferResult)
        decoded = profile.decode_buffer(whole.octets)
        table = profile.interpret(decoded, columns, period_s=900, assumed_deviation_minutes=0)
        assert len(table.at) == 96
        from_at, to_at = (datetime.fromtimestamp(table.at[row], UTC) for row in (10, 20))
        (request,) = read_profile(load.obis, from_at, to_at, deviation_minutes=0)
        (part,) = talk.ask(request)
        assert isinstance(part, BufferResult)
        rows = profile.interpret(profile.decode_buffer(part.octets), columns, period_s=900, assumed_deviation_minutes=0)
        assert rows.at == table.at[10:21]
        assert isinstance(talk.ask(Release())[0], Released)


def test_their_meter_refuses_our_wrong_password_in_the_standards_words() -> None:
    client = DlmsClient(WrapperParameters(1), Association(Mechanism.LOW, b"wrong"))
    with simulator("--client", "1:1:12345678") as port, closing(Talk(client, port)) as talk:
        refused = [event for event in talk.ask(Connect()) if isinstance(event, AssociationRefused)]
        assert refused[0].words == "rejected-permanent: authentication-failure"


# -- their clients, our simulator -------------------------------------------------------------------------------------


@contextmanager
def serving(link: HdlcServerParameters | WrapperServerParameters) -> Iterator[tuple[int, DlmsMeter]]:
    """Serve a simulated meter on loopback, each connection with the meter's state; yield the port and the meter."""
    device = meter("dlms_residential", 1, panels_w=3000)  # type: ignore[no-untyped-call]  # tests/simulators is untyped
    dlms_meter = DlmsMeter(device, PASSWORD, derive_keys(1, device.name, device.serial, 0))

    class Connection(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            server = dlms_meter.serve_on(link, NOW)
            while data := self.request.recv(4096):
                self.request.sendall(dlms_meter.answer(server, data, NOW))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Connection) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield int(server.server_address[1]), dlms_meter
        finally:
            server.shutdown()
            thread.join()


LINKS: dict[str, tuple[HdlcServerParameters | WrapperServerParameters, str, list[str]]] = {
    "wrapper": (WrapperServerParameters(), "tcp", []),
    "HDLC window 3": (HdlcServerParameters(1, None, WIDE), "tcp+hdlc", ["--hdlc-window", "3"]),
}


def ciphered(dlms_meter: DlmsMeter) -> list[str]:
    assert dlms_meter.keys is not None
    keys = dlms_meter.keys.keys
    secret = ["--key", keys.encryption.hex(), "--auth-key", keys.authentication.hex()]
    return [*secret, "--system-title", OURS.hex(), "--invocation-counter", "100"]


def shared(dlms_meter: DlmsMeter) -> list[str]:
    """The shared secret is octets; pydlms takes text, so the meter is given one of text."""
    return ["--password", PASSWORD.decode(), "--system-title", OURS.hex()]


WAYS: dict[str, tuple[int, list[str], bool]] = {
    "no secret": (PLAIN_SAP, [], False),
    "password": (1, ["--auth", "lls", "--password", PASSWORD.decode()], False),
    "GMAC ciphered": (CIPHERED_SAP + Mechanism.HIGH_GMAC, ["--auth", "gmac"], True),
    "GMAC, dedicated key": (CIPHERED_SAP + Mechanism.HIGH_GMAC, ["--auth", "gmac", "--dedicated-key"], True),
    "GMAC, general-glo": (
        CIPHERED_SAP + Mechanism.HIGH_GMAC,
        ["--auth", "gmac", "--protection", "general-glo"],
        True,
    ),
    "GMAC, general-ciphering": (
        CIPHERED_SAP + Mechanism.HIGH_GMAC,
        ["--auth", "gmac", "--protection", "general-ciphering"],
        True,
    ),
    "short names": (SHORT_LOW_SAP, ["--auth", "lls", "--password", PASSWORD.decode(), "--short-names"], False),
}


def they(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(pydlms(*arguments), capture_output=True, text=True, timeout=PROGRAM_S_MAX, check=False)


@pytest.mark.parametrize(("link", "scheme", "more"), LINKS.values(), ids=LINKS.keys())
@pytest.mark.parametrize("entry", WAYS.values(), ids=WAYS.keys())
def test_pydlms_reads_our_register(
    link: HdlcServerParameters | WrapperServerParameters,
    scheme: str,
    more: list[str],
    entry: tuple[int, list[str], bool],
) -> None:
    sap, way, keyed = entry
    with serving(link) as (port, dlms_meter):
        entering = [*way, *(ciphered(dlms_meter) if keyed else []), *more]
        what = ["--obis", f"{ENERGY}.255", "--class", "3", "--register"]
        done = they("read", "--server", "1", "--client", str(sap), *entering, *what, f"{scheme}://127.0.0.1:{port}")
        truth = dlms_meter.meter.true_wh("1.0.1.8.0", NOW)
    assert done.returncode == 0, done.stderr
    assert f"{truth}  Wh" in done.stdout


@pytest.mark.parametrize("mechanism", ["md5", "sha1", "sha256", "hls"])
def test_pydlms_proves_the_shared_secret_to_our_meter(mechanism: str) -> None:
    number = {"hls": 2, "md5": 3, "sha1": 4, "sha256": 6}[mechanism]
    with serving(WrapperServerParameters()) as (port, dlms_meter):
        policy = dlms_meter._policies_at(NOW)
        sap = PLAIN_SAP + number
        object.__setattr__(policy[sap], "secret", PASSWORD)  # pydlms takes secrets as text
        way = ["--server", "1", "--client", str(sap), "--auth", mechanism, *shared(dlms_meter)]
        done = they("read", *way, "--obis", f"{ENERGY}.255", "--class", "3", f"tcp://127.0.0.1:{port}")
    assert done.returncode == 0, done.stderr
    assert str(dlms_meter.meter.true_wh("1.0.1.8.0", NOW)) in done.stdout


GENERAL = "get,selective_access,general_block_transfer,multiple_references"


@pytest.mark.parametrize("blocks", [[], ["--gbt-window", "4", "--conformance", GENERAL]], ids=["GET blocks", "GBT"])
@pytest.mark.parametrize(("link", "scheme", "more"), LINKS.values(), ids=LINKS.keys())
def test_pydlms_reads_our_load_profile_in_blocks_and_by_entry(
    link: HdlcServerParameters | WrapperServerParameters, scheme: str, more: list[str], blocks: list[str]
) -> None:
    with serving(link) as (port, dlms_meter):
        way = ["--server", "1", "--client", str(PLAIN_SAP), "--max-pdu", "200", *more, *blocks]
        done = they("profile", *way, "--obis", f"{LOAD}.255", "--last", "100", f"{scheme}://127.0.0.1:{port}")
    assert done.returncode == 0, done.stderr
    rows = [row for row in done.stdout.split("\n") if row]
    last_at = NOW // HALF_HOUR_MS * HALF_HOUR_MS
    assert len(rows) == 100
    assert str(dlms_meter.meter.true_wh("1.0.1.8.0", last_at)) in rows[-1]


def test_our_meter_refuses_pydlms_wrong_password() -> None:
    with serving(WrapperServerParameters()) as (port, _):
        way = ["--server", "1", "--client", "1", "--auth", "lls", "--password", "wrong"]
        done = they("read", *way, "--obis", f"{ENERGY}.255", "--class", "3", f"tcp://127.0.0.1:{port}")
    assert done.returncode != 0
    assert "authentication" in (done.stdout + done.stderr).lower()


GURUX_WAYS: dict[str, tuple[int, str, bool]] = {
    "no secret": (PLAIN_SAP, "NONE", False),
    "password": (1, "LOW", False),
    "AES": (PLAIN_SAP + Mechanism.HIGH, "HIGH", False),
    "MD5": (PLAIN_SAP + Mechanism.HIGH_MD5, "HIGH_MD5", False),
    "SHA-1": (PLAIN_SAP + Mechanism.HIGH_SHA1, "HIGH_SHA1", False),
    "GMAC": (PLAIN_SAP + Mechanism.HIGH_GMAC, "HIGH_GMAC", False),
    "SHA-256": (PLAIN_SAP + Mechanism.HIGH_SHA256, "HIGH_SHA256", False),
    "GMAC ciphered": (CIPHERED_SAP + Mechanism.HIGH_GMAC, "HIGH_GMAC", True),
    "password, ciphered": (CIPHERED_SAP + Mechanism.LOW, "LOW", True),
}


@pytest.mark.parametrize("link", [WrapperServerParameters(), HdlcServerParameters(1, None)], ids=["wrapper", "HDLC"])
@pytest.mark.parametrize(("sap", "auth", "protected"), GURUX_WAYS.values(), ids=GURUX_WAYS.keys())
def test_gurux_reads_registers_a_list_and_the_profile_of_our_meter(
    link: HdlcServerParameters | WrapperServerParameters, sap: int, auth: str, protected: bool
) -> None:
    with serving(link) as (port, dlms_meter):
        keys = dlms_meter.keys
        assert keys is not None
        until = datetime.fromtimestamp(NOW // 1000, UTC).replace(
            tzinfo=None
        )  # gurux takes it as the process's local time
        password = {"NONE": b"", "LOW": PASSWORD}.get(auth, keys.secret)
        wanted: dict[str, Any] = {
            "link": "hdlc" if isinstance(link, HdlcServerParameters) else "wrapper",
            "port": port,
            "client": sap,
            "server": 1,
            "auth": auth,
            "password": password.hex(),
            "keys": {"encryption": keys.keys.encryption.hex(), "authentication": keys.keys.authentication.hex()},
            "title": OURS.hex(),
            "counter": 1,
            "ciphered": protected,
            "register": f"{ENERGY}.255",
            "list": [f"{ENERGY}.255", "1.0.2.8.0.255"],
            "profile": f"{LOAD}.255",
            "range": [str(until - timedelta(hours=4)), str(until)],
        }
        command = [str(environment("gurux") / "python"), "-c", driver("gurux_read"), json.dumps(wanted)]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=PROGRAM_S_MAX,
            check=False,
            env={**os.environ, "TZ": "UTC"},
        )
    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(done.stdout.splitlines()[-1])
    device = dlms_meter.meter
    assert found["value"] == found["list"][0] == device.true_wh("1.0.1.8.0", NOW)
    assert found["objects"] > 20
    newest = NOW // HALF_HOUR_MS
    oldest = newest - 60 * 48 + 1

    def exported(first: int, count: int) -> list[int]:
        return [device.true_wh("1.0.2.8.0", number * HALF_HOUR_MS) for number in range(first, first + count)]

    assert found["by_range"] == exported(newest - 7, 8)
    assert found["by_entry"] == exported(oldest, 5)
