"""Our client reads pydlms' simulator, pydlms reads our server: wrapper and HDLC, from no secret to ciphered GMAC."""

import re
import secrets
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from protocols.dlms import profile
from protocols.dlms.acse import Context, Mechanism
from protocols.dlms.association import Association, Policy
from protocols.dlms.ciphering import Keys
from protocols.dlms.client import DlmsClient
from protocols.dlms.conformance import LOGICAL_NAMES, SHORT_NAMES, Conformance
from protocols.dlms.cosem_time import date_time_of, encode_date_time
from protocols.dlms.data import Data, Tag, array, double_long_unsigned, enum, long_unsigned, octets, structure, unsigned
from protocols.dlms.hdlc.negotiation import LinkLimits
from protocols.dlms.hdlc.primary import HdlcParameters
from protocols.dlms.hdlc.secondary import HdlcServerParameters
from protocols.dlms.link import NEED_DATA
from protocols.dlms.objects import ScalerUnit, decode_object_list
from protocols.dlms.plan import ends, read_profile
from protocols.dlms.protection import Ciphering
from protocols.dlms.selective import CLOCK, CaptureObject, Entries, Range, decode_selection
from protocols.dlms.server import DlmsServer
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
from protocols.dlms.short_names import OBJECT_LIST
from protocols.dlms.wrapper import WrapperParameters, WrapperServerParameters
from protocols.dlms.xdlms.references import Attribute, Selection
from protocols.errors import RemoteProtocolError
from protocols.obis import Obis
from tests.dlms.line import Shelf
from tests.dlms.others.environment import pydlms

pytestmark = pytest.mark.integration
REPLY_S_MAX = 5.0
PROGRAM_S_MAX = 60
KEYS = Keys(bytes(range(16)), bytes(range(0xD0, 0xE0)))
OURS, THEIRS = b"CNG\0\0\0\0\1", b"MTR\0\0\0\0\2"
PASSWORD = b"12345678"
WIDE = LinkLimits(window_tx=3, window_rx=3)
ENERGY, LOAD = Obis.parse("1.0.1.8.0"), Obis.parse("1.0.99.1.0")
START = datetime(2026, 1, 1, tzinfo=UTC)
ROWS = [(START + number * timedelta(minutes=15), 1000 + number) for number in range(300)]


def gmac() -> Association:
    ciphering = Ciphering(KEYS, OURS, range(1, 1000))
    token = secrets.token_bytes(16)
    return Association(Mechanism.HIGH_GMAC, context=Context.LN_CIPHERED, challenge=token, ciphering=ciphering)


# -- our client, their meter ------------------------------------------------------------------------------------------


@contextmanager
def simulator(*arguments: str) -> Iterator[int]:
    """Run pydlms' simulator; yield the port that it says it listens on."""
    command = [str(pydlms()), "simulate", "--port", "0", *arguments]
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
        registers = [entry for entry in objects if entry.class_id == 3]
        wanted = tuple(Get(entry.attribute(index)) for entry in registers for index in (2, 3))
        (values,) = talk.ask(GetList(wanted))
        assert isinstance(values, ListResult)
        assert len(values.results) == len(wanted) > 4
        (load,) = [entry for entry in objects if entry.class_id == 7]
        (shape,) = talk.ask(Get(load.attribute(3)))
        assert isinstance(shape, GetResult)
        columns = profile.decode_capture_objects(shape.value)
        (whole,) = talk.ask(GetBuffer(load.attribute(2)))
        assert isinstance(whole, BufferResult)
        table = profile.interpret(
            profile.decode_buffer(whole.octets), columns, period_s=900, assumed_deviation_minutes=0
        )
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


# -- their client, our meter ------------------------------------------------------------------------------------------


def load_profile(selection: Selection | None) -> Data:
    rows = ROWS
    chosen = decode_selection(selection) if selection is not None else None
    if isinstance(chosen, Range):
        first, last = date_time_of(chosen.first).at(-420), date_time_of(chosen.last).at(-420)
        rows = [row for row in rows if first <= row[0] <= last]
    elif isinstance(chosen, Entries):
        rows = rows[chosen.first - 1 : chosen.last or None]
    return array(*(structure(octets(encode_date_time(at)), double_long_unsigned(value)) for at, value in rows))


NAMES = {(3, ENERGY): 0x2000, (7, LOAD): 0x3000}
SHORT_LIST = array(
    *(
        structure(Data(Tag.LONG, base), long_unsigned(class_id), unsigned(0), octets(obis.to_octets()))
        for (class_id, obis), base in NAMES.items()
    )
)


def our_meter() -> Shelf:
    return Shelf(
        {
            Attribute(3, ENERGY, 2): double_long_unsigned(1234567),
            Attribute(3, ENERGY, 3): ScalerUnit(0, 30).to_data(),
            Attribute(7, LOAD, 2): load_profile,
            Attribute(7, LOAD, 3): array(CLOCK.to_data(), CaptureObject(3, ENERGY, 2).to_data()),
            Attribute(7, LOAD, 4): double_long_unsigned(900),
            Attribute(7, LOAD, 5): enum(1),
            OBJECT_LIST: SHORT_LIST,
        }
    )


def policies() -> dict[int, Policy]:
    def ciphering() -> Ciphering:
        return Ciphering(KEYS, THEIRS, range(1, 100_000))

    secret = b"secretsecret1234"
    general = LOGICAL_NAMES | Conformance.GENERAL_BLOCK_TRANSFER
    return {
        16: Policy(conformance=general),
        1: Policy(Mechanism.LOW, PASSWORD),
        2: Policy(Mechanism.HIGH_GMAC, context=Context.LN_CIPHERED, ciphering=ciphering()),
        3: Policy(Mechanism.HIGH_SHA256, secret, ciphering=ciphering()),
        4: Policy(Mechanism.HIGH_MD5, secret),
        5: Policy(Mechanism.HIGH, secret),
        17: Policy(conformance=SHORT_NAMES, context=Context.SN, short_names=NAMES),
    }


@contextmanager
def serving(link: HdlcServerParameters | WrapperServerParameters) -> Iterator[int]:
    """Serve our meter on loopback, a fresh one for each connection; yield the port."""

    class Connection(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            server = DlmsServer(link, policies(), our_meter(), secrets.token_bytes)
            while data := self.request.recv(4096):
                server.receive_data(data)
                while True:
                    try:
                        if server.next_event() is NEED_DATA:
                            break
                    except RemoteProtocolError:
                        continue
                self.request.sendall(server.data_to_send())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Connection) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


LINKS: dict[str, tuple[HdlcServerParameters | WrapperServerParameters, str, list[str]]] = {
    "wrapper": (WrapperServerParameters(), "tcp", []),
    "HDLC window 3": (HdlcServerParameters(1, None, WIDE), "tcp+hdlc", ["--hdlc-window", "3"]),
    "HDLC physical 17": (HdlcServerParameters(1, 17), "tcp+hdlc", ["--physical", "17"]),
}
TITLE = ["--system-title", OURS.hex()]
CIPHERED = [
    *["--client", "2", "--auth", "gmac", "--key", KEYS.encryption.hex(), "--auth-key", KEYS.authentication.hex()],
    *[*TITLE, "--invocation-counter", "100"],
]
SHARED = ["--password", "secretsecret1234"]
WAYS: dict[str, list[str]] = {
    "no secret": ["--client", "16"],
    "password": ["--client", "1", "--auth", "lls", "--password", PASSWORD.decode()],
    "GMAC ciphered": CIPHERED,
    "GMAC, dedicated key": [*CIPHERED, "--dedicated-key"],
    "GMAC, general-glo": [*CIPHERED, "--protection", "general-glo"],
    "SHA-256": ["--client", "3", "--auth", "sha256", *SHARED, *TITLE],
    "MD5": ["--client", "4", "--auth", "md5", *SHARED],
    "AES": ["--client", "5", "--auth", "hls", *SHARED],
    "short names": ["--client", "17", "--short-names"],
}


def they(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(pydlms()), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=PROGRAM_S_MAX, check=False)


@pytest.mark.parametrize(("link", "scheme", "more"), LINKS.values(), ids=LINKS.keys())
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_their_client_reads_our_register(
    link: HdlcServerParameters | WrapperServerParameters, scheme: str, more: list[str], way: list[str]
) -> None:
    with serving(link) as port:
        what = ["--obis", f"{ENERGY}.255", "--class", "3", "--register"]
        done = they("read", "--server", "1", *way, *more, *what, f"{scheme}://127.0.0.1:{port}")
    assert done.returncode == 0, done.stderr
    assert "1234567  Wh" in done.stdout


GENERAL = "get,selective_access,general_block_transfer,multiple_references"


@pytest.mark.parametrize("blocks", [[], ["--gbt-window", "4", "--conformance", GENERAL]], ids=["GET blocks", "GBT"])
@pytest.mark.parametrize(("link", "scheme", "more"), LINKS.values(), ids=LINKS.keys())
def test_their_client_reads_our_load_profile_in_blocks(
    link: HdlcServerParameters | WrapperServerParameters, scheme: str, more: list[str], blocks: list[str]
) -> None:
    with serving(link) as port:
        way = ["--server", "1", "--client", "16", "--max-pdu", "200", *more, *blocks]
        done = they("profile", *way, "--obis", f"{LOAD}.255", f"{scheme}://127.0.0.1:{port}")
    assert done.returncode == 0, done.stderr
    rows = done.stdout.split("\n")
    assert rows[0].split() == ["2026-01-01", "07:00:00.00", "+07:00", "1000"]
    assert len([row for row in rows if row]) == len(ROWS)


def test_our_meter_refuses_their_wrong_password() -> None:
    with serving(WrapperServerParameters()) as port:
        way = ["--server", "1", "--client", "1", "--auth", "lls", "--password", "wrong"]
        done = they("read", *way, "--obis", f"{ENERGY}.255", "--class", "3", f"tcp://127.0.0.1:{port}")
    assert done.returncode != 0
    assert "AUTHENTICATION_FAILURE" in done.stderr
