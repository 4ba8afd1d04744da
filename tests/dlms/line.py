"""A client and a meter joined in memory, over lines that deliver well or badly."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from protocols.dlms.association import Association, Policy
from protocols.dlms.client import DlmsClient
from protocols.dlms.codes import ActionResult, DataAccessResult
from protocols.dlms.data import Data
from protocols.dlms.hdlc.negotiation import LinkLimits
from protocols.dlms.hdlc.primary import HdlcParameters
from protocols.dlms.hdlc.secondary import HdlcServerParameters
from protocols.dlms.link import NEED_DATA
from protocols.dlms.plan import ends
from protocols.dlms.quirks import STRICT, Quirks
from protocols.dlms.responder import Found, Objects
from protocols.dlms.server import DlmsServer
from protocols.dlms.services import Connect, Event, Request
from protocols.dlms.wrapper import WrapperParameters, WrapperServerParameters
from protocols.dlms.xdlms.references import Attribute, Selection
from protocols.errors import RemoteProtocolError

TURNS_MAX = 5000
Deliver = Callable[[bytes], Sequence[bytes]]


def whole(data: bytes) -> Sequence[bytes]:
    return [data]


def byte_by_byte(data: bytes) -> Sequence[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def after_noise(data: bytes) -> Sequence[bytes]:
    """Noise as a receiver gives it when the line driver switches on, an opening flag in it."""
    return [b"\x00\xff\x7e\x55" + data]


class Shelf:
    """Objects that hold what they are given."""

    def __init__(self, values: Mapping[Attribute, Data | Callable[[Selection | None], Found]]) -> None:
        self.values = dict(values)
        self.methods: list[tuple[Attribute, Data | None]] = []
        self.returns: Data | None = None

    def get(self, client_sap: int, attribute: Attribute, selection: Selection | None) -> Found:
        found = self.values.get(attribute, DataAccessResult.OBJECT_UNDEFINED)
        if isinstance(found, Data | DataAccessResult):
            return found
        return found(selection)

    def set(self, client_sap: int, attribute: Attribute, value: Data, selection: Selection | None) -> DataAccessResult:
        if attribute not in self.values:
            return DataAccessResult.OBJECT_UNDEFINED
        self.values[attribute] = value
        return DataAccessResult.SUCCESS

    def act(self, client_sap: int, method: Attribute, parameter: Data | None) -> tuple[ActionResult, Data | None]:
        if method.class_id == 70 and method.index not in (1, 2):
            return ActionResult.OBJECT_UNDEFINED, None
        self.methods.append((method, parameter))
        return ActionResult.SUCCESS, self.returns


class Line:
    """Two ends and what is between them; ``octets`` counts what was carried."""

    def __init__(self, client: DlmsClient, server: DlmsServer, deliver: Deliver = whole) -> None:
        self.client = client
        self.server = server
        self.deliver = deliver
        self.carried: list[bytes] = []
        self.broken: list[RemoteProtocolError] = []

    def ask(self, request: Request) -> list[Event]:
        """Carry out ``request``; return its events. A turn in which nothing moves is told as silence."""
        events: list[Event] = []
        outgoing = self.client.send(request)
        for _ in range(TURNS_MAX):
            self._to_server(outgoing)
            moved = bool(outgoing)
            answer = self.server.data_to_send()
            if answer:
                moved = True
                self.carried.append(answer)
                for chunk in self.deliver(answer):
                    self.client.receive_data(chunk)
                    events += self._events()
            events += self._events()
            outgoing = self.client.data_to_send()
            if events and ends(request, events[-1]) and not outgoing:
                return events
            if not moved and not outgoing:
                outgoing = self.client.receive_silence()
                self.server.receive_silence()
        raise AssertionError(f"no end after {TURNS_MAX} turns: {events}")

    def _to_server(self, data: bytes) -> None:
        if data:
            self.carried.append(data)
        for chunk in self.deliver(data) if data else ():
            self.server.receive_data(chunk)
            for _ in self._server_events():
                pass

    def _server_events(self) -> Iterator[object]:
        while True:
            try:
                event = self.server.next_event()
            except RemoteProtocolError as error:
                self.broken.append(error)
                continue
            if event is NEED_DATA:
                return
            yield event

    def _events(self) -> list[Event]:
        events: list[Event] = []
        while True:
            try:
                event = self.client.next_event()
            except RemoteProtocolError as error:
                self.broken.append(error)
                continue
            if event is NEED_DATA:
                return events
            events.append(event)


def hdlc_line(
    objects: Objects,
    association: Association | None = None,
    policy: Policy | None = None,
    *,
    deliver: Deliver = whole,
    client_limits: LinkLimits | None = None,
    server_limits: LinkLimits | None = None,
    quirks: Quirks = STRICT,
) -> Line:
    client = DlmsClient(
        HdlcParameters(
            client_sap=1, server_logical=1, server_physical=17, server_size=2, limits=client_limits or LinkLimits()
        ),
        association or Association(),
        quirks,
    )
    server = DlmsServer(
        HdlcServerParameters(server_logical=1, server_physical=17, limits=server_limits or LinkLimits()),
        {1: policy or Policy()},
        objects,
    )
    return Line(client, server, deliver)


def tcp_line(
    objects: Objects,
    association: Association | None = None,
    policy: Policy | None = None,
    *,
    deliver: Deliver = whole,
    quirks: Quirks = STRICT,
) -> Line:
    client = DlmsClient(WrapperParameters(client_sap=1), association or Association(), quirks)
    server = DlmsServer(WrapperServerParameters(), {1: policy or Policy()}, objects)
    return Line(client, server, deliver)


def connected(line: Line) -> Line:
    line.ask(Connect())
    return line
