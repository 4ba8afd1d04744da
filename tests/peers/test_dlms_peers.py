"""Our client reads pydlms' simulator; pydlms and gurux-dlms read ours: wrapper and HDLC, from no secret to ciphered."""

import json
import os
import re
import secrets
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
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
from protocols.dlms.wrapper import WrapperParameters
from protocols.dlms.xdlms.references import Attribute
from protocols.obis import Obis
from simulators.dlms.meter import CIPHERED_SAP, PLAIN_SAP, SHORT_LOW_SAP
from tests.peers.environment import driver, environment
from tests.peers.simulator_process import AT_MS, PASSWORD, Serving, serving

pytestmark = pytest.mark.integration
REPLY_S_MAX = 10.0
HALF_HOUR_MS = 1_800_000
PROGRAM_S_MAX = 60
KEYS = Keys(bytes(range(16)), bytes(range(0xD0, 0xE0)))
OURS = b"CNG\0\0\0\0\1"
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


# -- their clients, our simulator: a process, too ----------------------------------------------------------------------

HDLC_MORE = ["--physical", "1", "--hdlc-window", "3"]
LINKS: dict[str, tuple[bool, str, list[str]]] = {
    "wrapper": (False, "tcp", []),
    "HDLC window 3": (True, "tcp+hdlc", HDLC_MORE),
}


@dataclass(slots=True)
class Served:
    """A simulator and how pydlms comes to it."""

    simulated: Serving
    hdlc: bool
    endpoint: str
    way: list[str]
    counter: int = 0

    def next_counter(self) -> int:
        """Return an invocation counter that nobody used."""
        self.counter += 1000
        return self.counter

    def truth(self, obis: str, at_ms: int = AT_MS) -> int:
        return self.simulated.twin.true_wh(obis, at_ms)

    def ciphered(self) -> list[str]:
        keys = self.simulated.keys.keys
        secret = ["--key", keys.encryption.hex(), "--auth-key", keys.authentication.hex()]
        return [*secret, "--system-title", OURS.hex(), "--invocation-counter", str(self.next_counter())]

    def they(self, what: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = pydlms(what, *self.way, *arguments, self.endpoint)
        return subprocess.run(command, capture_output=True, text=True, timeout=PROGRAM_S_MAX, check=False)


@pytest.fixture(scope="module", params=list(LINKS.values()), ids=list(LINKS))
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One simulator for all that is read over one link; clients count on from where the last one was."""
    hdlc, scheme, more = request.param
    with serving(tmp_path_factory.mktemp("simulator"), hdlc=hdlc) as simulated:
        yield Served(simulated, hdlc, f"{scheme}://127.0.0.1:{simulated.port}", ["--server", "1", *more])


GMAC = CIPHERED_SAP + Mechanism.HIGH_GMAC
LLS = ["--auth", "lls", "--password", PASSWORD.decode()]
WAYS: dict[str, tuple[int, list[str], bool]] = {
    "no secret": (PLAIN_SAP, [], False),
    "password": (1, LLS, False),
    "GMAC ciphered": (GMAC, ["--auth", "gmac"], True),
    "GMAC, dedicated key": (GMAC, ["--auth", "gmac", "--dedicated-key"], True),
    "GMAC, general-glo": (GMAC, ["--auth", "gmac", "--protection", "general-glo"], True),
    "GMAC, general-ciphering": (GMAC, ["--auth", "gmac", "--protection", "general-ciphering"], True),
    "short names": (SHORT_LOW_SAP, [*LLS, "--short-names"], False),
    **{
        f"shared secret, {name}": (
            PLAIN_SAP + number,
            ["--auth", name, "--password", PASSWORD.decode(), "--system-title", OURS.hex()],
            False,
        )
        for name, number in {"hls": 2, "md5": 3, "sha1": 4, "sha256": 6}.items()
    },
}


@pytest.mark.parametrize(("sap", "way", "keyed"), WAYS.values(), ids=WAYS.keys())
def test_pydlms_reads_our_register(served: Served, sap: int, way: list[str], keyed: bool) -> None:
    entering = ["--client", str(sap), *way, *(served.ciphered() if keyed else [])]
    done = served.they("read", *entering, "--obis", f"{ENERGY}.255", "--class", "3", "--register")
    assert done.returncode == 0, done.stderr
    assert f"{served.truth('1.0.1.8.0')}  Wh" in done.stdout


def test_pydlms_lists_our_objects(served: Served) -> None:
    done = served.they("list", "--client", str(GMAC), "--auth", "gmac", *served.ciphered())
    assert done.returncode == 0, done.stderr
    for obis in ("1.0.1.8.0.255", "0.0.13.0.0.255", "0.0.11.0.0.255", "1.0.1.4.0.255", "0.0.17.0.0.255"):
        assert obis in done.stdout


GENERAL = "get,selective_access,general_block_transfer,multiple_references"


@pytest.mark.parametrize("keyed", [False, True], ids=["plain", "ciphered"])
@pytest.mark.parametrize("blocks", [[], ["--gbt-window", "4", "--conformance", GENERAL]], ids=["GET blocks", "GBT"])
def test_pydlms_reads_our_load_profile_in_blocks_and_by_entry(served: Served, blocks: list[str], keyed: bool) -> None:
    way = ["--client", str(PLAIN_SAP)]
    if keyed:
        way = ["--client", str(GMAC), "--auth", "gmac", *served.ciphered()]
    done = served.they("profile", *way, "--max-pdu", "200", *blocks, "--obis", f"{LOAD}.255", "--last", "100")
    assert done.returncode == 0, done.stderr
    rows = [row for row in done.stdout.split("\n") if row]
    last_at = AT_MS // HALF_HOUR_MS * HALF_HOUR_MS
    assert len(rows) == 100
    assert str(served.truth("1.0.1.8.0", last_at)) in rows[-1]


def test_our_meter_refuses_pydlms_wrong_password(served: Served) -> None:
    way = ["--client", "1", "--auth", "lls", "--password", "wrong"]
    done = served.they("read", *way, "--obis", f"{ENERGY}.255", "--class", "3")
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
    "GMAC ciphered": (GMAC, "HIGH_GMAC", True),
    "password, ciphered": (CIPHERED_SAP + Mechanism.LOW, "LOW", True),
}


@pytest.mark.parametrize(("sap", "auth", "protected"), GURUX_WAYS.values(), ids=GURUX_WAYS.keys())
def test_gurux_reads_registers_a_list_and_the_profile_of_our_meter(
    served: Served, sap: int, auth: str, protected: bool
) -> None:
    until = datetime.fromtimestamp(AT_MS // 1000, UTC).replace(tzinfo=None)  # gurux takes it as the process's own time
    keys = served.simulated.keys
    wanted: dict[str, Any] = {
        "link": "hdlc" if served.hdlc else "wrapper",
        "port": served.simulated.port,
        "client": sap,
        "server": 1 << 7 | 1 if served.hdlc else 1,  # logical and physical address
        "auth": auth,
        "password": (b"" if auth == "NONE" else PASSWORD).hex(),
        "keys": {"encryption": keys.keys.encryption.hex(), "authentication": keys.keys.authentication.hex()},
        "title": OURS.hex(),
        "counter": served.next_counter(),
        "ciphered": protected,
        "register": f"{ENERGY}.255",
        "list": [f"{ENERGY}.255", "1.0.2.8.0.255"],
        "profile": f"{LOAD}.255",
        "range": [str(until - timedelta(hours=4)), str(until)],
    }
    command = [str(environment("gurux") / "python"), "-c", driver("gurux_read"), json.dumps(wanted)]
    zone = {**os.environ, "TZ": "UTC"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=PROGRAM_S_MAX, check=False, env=zone)
    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["value"] == found["list"][0] == served.truth("1.0.1.8.0")
    assert found["objects"] > 20
    newest = AT_MS // HALF_HOUR_MS
    oldest = newest - 60 * 48 + 1

    def exported(first: int, count: int) -> list[int]:
        return [served.truth("1.0.2.8.0", number * HALF_HOUR_MS) for number in range(first, first + count)]

    assert found["by_range"] == exported(newest - 7, 8)
    assert found["by_entry"] == exported(oldest, 5)
