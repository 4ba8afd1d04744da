"""A DLMS meter as its server halves see it: whom it admits, what it holds, and the counters that outlive connections.

Which way a client takes follows from its SAP: the public client (16) and the model's own always; with keys also one SAP
for each mechanism, plain (32 + mechanism) and ciphered (48 + mechanism), and two that refer by short names (64, 65).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random
from weakref import WeakKeyDictionary

from protocols.dlms.acse import Context, Mechanism
from protocols.dlms.association import Policy
from protocols.dlms.ciphering import COUNTER_MAX, Keys, SecurityControl
from protocols.dlms.codes import ActionResult
from protocols.dlms.conformance import LOGICAL_NAMES, SHORT_NAMES, Conformance
from protocols.dlms.data import Data, array, octets, structure, unsigned
from protocols.dlms.hdlc.secondary import HdlcServerParameters
from protocols.dlms.link import NEED_DATA
from protocols.dlms.protection import Ciphering, Protection
from protocols.dlms.server import DlmsServer
from protocols.dlms.wrapper import WrapperServerParameters
from protocols.dlms.xdlms.notifications import DataNotification, EventNotification
from protocols.errors import RemoteProtocolError, UsageError
from protocols.meters.model import MeterModel
from protocols.obis import Obis
from simulators.chance import key_of
from simulators.dlms.counter_file import CounterFile
from simulators.dlms.keys import MeterKeys
from simulators.dlms.objects import CosemObjects
from simulators.dlms.profile_buffer import clock_octets
from simulators.dlms.profiles import COVER_REMOVED, FRAUD, event_code
from simulators.dlms.security_setup import AUTHENTICATED, ENCRYPTED, Security, unwrapped
from simulators.meter import SimulatedMeter

PLAIN_SAP, CIPHERED_SAP, SHORT_SAP, SHORT_LOW_SAP = 32, 48, 64, 65
EVERYTHING = LOGICAL_NAMES | Conformance.GENERAL_BLOCK_TRANSFER | Conformance.ACCESS | Conformance.GENERAL_PROTECTION
COUNTER_EPOCH_MS = 1_577_836_800_000  # 2020-01-01: a meter's counter starts at the seconds since, so it never falls


@dataclass(frozen=True, slots=True)
class MeterFaults:
    """How often something befalls a meter while it answers, in thousandths: ``event``, its cover is opened."""

    event: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.event <= 1000:
            raise UsageError(f"fault event={self.event}: expected 0 to 1000 thousandths")


@dataclass(frozen=True, slots=True)
class Manners:
    """How a meter behaves beyond its model.

    ``mechanism`` None is the model's; ``pdu_octets_max`` what it takes; each ``loses_blocks``-th block of a firmware
    image is lost, none when it is 0. With ``relay_stops`` an open relay stops the consumer, with ``tells_events``
    associated clients are told of what enters the event logs.
    """

    mechanism: Mechanism | None = None
    ciphered: bool = False
    pdu_octets_max: int = 0xFFFF
    ignores_selection: bool = False
    loses_blocks: int = 0
    relay_stops: bool = False
    tells_events: bool = False
    faults: MeterFaults = MeterFaults()


class _OneCounter(Protection):
    """Protection for one client whose counters come from the meter's one sequence: a nonce is never used twice."""

    def __init__(self, ciphering: Ciphering, sequence: Iterator[int]) -> None:
        super().__init__(ciphering)
        self._sequence = sequence

    def take_counter(self) -> int:
        self.next_counter = next(self._sequence)
        return super().take_counter()


class DlmsMeter:
    """A meter, the secret of its low-level security (empty where the model needs none), perhaps keys.

    With ``counters`` its invocation counters outlive the program.
    """

    def __init__(
        self,
        meter: SimulatedMeter,
        secret: bytes,
        keys: MeterKeys | None = None,
        manners: Manners | None = None,
        counters: CounterFile | None = None,
    ) -> None:
        self.meter = meter
        self.secret = secret
        self._given = keys
        self.keys = keys
        if counters is not None and keys is not None:
            self.keys = replace(keys, keys=counters.keys(meter.address, keys.keys))
        self._new_keys: Keys | None = None
        self.manners = manners or Manners()
        self._counters = counters
        self.protections: dict[int, Protection] = {}
        self._policies: dict[int, Policy] | None = None
        self._sequence: Iterator[int] = iter(())
        self._chance = Random(key_of(meter.name, meter.serial, "challenges"))
        self._misfortune = Random(key_of(meter.name, meter.serial, "faults"))
        self._told: WeakKeyDictionary[DlmsServer, dict[int, int]] = WeakKeyDictionary()

    @cached_property
    def objects(self) -> CosemObjects:
        """The meter's objects; UsageError when its model is no DLMS meter."""
        return CosemObjects(
            self.meter,
            ignores_selection=self.manners.ignores_selection,
            counter=self._highest_counter,
            security=self._security_now,
            transfer=self._take_keys,
            loses_blocks=self.manners.loses_blocks,
            relay_stops=self.manners.relay_stops,
        )

    def serve_on(self, link: HdlcServerParameters | WrapperServerParameters, at_ms: int) -> DlmsServer:
        """Return a server half of this meter on ``link``."""
        server = DlmsServer(link, self._policies_at(at_ms), self.objects, self._chance.randbytes, self.protections)
        if self.manners.tells_events:
            self.tell(server, at_ms)
        return server

    def _policies_at(self, at_ms: int) -> dict[int, Policy]:
        """Return the policies, made when the meter is first spoken to; from then on it counts."""
        if self._policies is None:
            first = max(0, at_ms - COUNTER_EPOCH_MS) // 1000
            kept, address = self._counters, self.meter.address
            self._sequence = iter(range(first, COUNTER_MAX + 1)) if kept is None else kept.sequence(address, first)
            self._policies = self._make_policies(first)
            for sap, policy in self._policies.items():
                if policy.ciphering is not None:
                    self.protections[sap] = one = _OneCounter(policy.ciphering, self._sequence)
                    one.received_counter = -1 if kept is None else kept.received(address, sap)
        return self._policies

    def notification(self, at_ms: int, *, ciphered: bool = False) -> bytes:
        """Return a push: the meter's clock and its billing registers, with their names."""
        objects = self.objects
        items = [
            structure(octets(each.obis.to_octets()), objects.push_value(each, at_ms)) for each in objects.push_columns()
        ]
        long_invoke = at_ms // 1000 & 0xFF_FFFF
        time = clock_octets(objects.state.local(at_ms))
        apdu = DataNotification(long_invoke, time, array(*items)).encode()
        if not ciphered:
            return apdu
        if self.keys is None:
            raise UsageError(f"meter {self.meter.name}: a ciphered push needs keys")
        self._policies_at(at_ms)
        control = SecurityControl(self.keys.suite)
        ciphering = Ciphering(self.keys.keys, self.keys.title, range(COUNTER_MAX), control=control)
        return _OneCounter(ciphering, self._sequence).seal(apdu)

    def answer(self, server: DlmsServer, data: bytes, at_ms: int) -> bytes:
        """Return what the meter says to octets, all of it as of one moment; what breaks the rules stays unanswered."""
        self.objects.advance(at_ms)
        reply = serve(server, data)
        if self._new_keys is not None:
            self._use_keys(self._new_keys)
        if reply and server.associated and self._misfortune.randrange(1000) < self.manners.faults.event:
            self.objects.state.logs[FRAUD].add(at_ms, COVER_REMOVED)
        if self._counters is not None:
            received = {sap: each.received_counter for sap, each in self.protections.items()}
            self._counters.note(self.meter.address, received)  # Before the answer shows that they were accepted.
        return reply

    def tell(self, server: DlmsServer, at_ms: int) -> list[bytes]:
        """Return the event-notifications to the clients associated on ``server``: what entered the logs since the last.

        Events of which nobody could be told are in the logs only. Nothing, unless the meter tells events.
        """
        if not self.manners.tells_events:
            return []
        self.objects.advance(at_ms)
        told, state = self._told.setdefault(server, {}), self.objects.state
        notifications: list[bytes] = []
        for group_e, log in state.logs.items():
            happened = [each for each in log.events(at_ms) if each[0] <= at_ms]
            for when_ms, code in happened[told.get(group_e, len(happened)) :]:
                event = EventNotification(clock_octets(state.local(when_ms)), event_code(group_e), unsigned(code))
                notifications += [server.send_event(sap, event) for sap in server.associated]
            told[group_e] = len(happened)
        return notifications

    def _take_keys(self, parameter: Data) -> ActionResult:
        if self.keys is None or not self.keys.master:
            return ActionResult.READ_WRITE_DENIED
        found = unwrapped(parameter, self.keys.keys, self.keys.master)
        if isinstance(found, ActionResult):
            return found
        self._new_keys = found
        return ActionResult.SUCCESS

    def _use_keys(self, new: Keys) -> None:
        """Let keys that were transferred be in force: for what is open, for what is opened, for pushes."""
        assert self.keys is not None
        assert self._given is not None
        self._new_keys = None
        self.keys = replace(self.keys, keys=new)
        policies = self._policies or {}
        for sap, policy in policies.items():
            if policy.ciphering is not None:
                policies[sap] = replace(policy, ciphering=replace(policy.ciphering, keys=new))
        for protection in self.protections.values():
            protection.use_keys(new)
        if self._counters is not None:
            received = {sap: each.received_counter for sap, each in self.protections.items()}
            self._counters.note_keys(self.meter.address, self._given.keys, new, received)

    def _highest_counter(self) -> int:
        return max((each.received_counter for each in self.protections.values()), default=0)

    def _security_now(self) -> Security:
        settings, keys = self.meter.model.dlms, self.keys
        if settings is None or keys is None:
            return Security()
        own = self.protections.get(settings.client_sap)
        title = own.peer_title if own is not None else None
        if self.manners.ciphered and settings.security == "none":
            policy = AUTHENTICATED + ENCRYPTED
        else:
            policy = AUTHENTICATED * ("authenticated" in settings.security)
            policy += ENCRYPTED * ("encrypted" in settings.security)
        return Security(policy, keys.suite, title or b"", keys.title)

    def _make_policies(self, first_counter: int) -> dict[int, Policy]:
        model, keys, manners = self.meter.model, self.keys, self.manners
        settings = model.dlms
        assert settings is not None
        if keys is None:
            return policies(model, self.secret, self.objects.short_names, manners)
        octets_max = manners.pdu_octets_max
        found = {settings.public_client_sap: Policy(conformance=_conformance(model), pdu_octets_max=octets_max)}
        if settings.short_names:
            found = policies(model, self.secret, self.objects.short_names, manners)
        own = mechanism_of(model) if manners.mechanism is None else manners.mechanism
        more = EVERYTHING if settings.with_list else EVERYTHING & ~Conformance.MULTIPLE_REFERENCES
        names = self.objects.short_names
        if not settings.short_names:
            ciphered = manners.ciphered or settings.security != "none"
            found[settings.client_sap] = self._policy(own, ciphered, more, first_counter, settings.security)
        for each in Mechanism:
            found[PLAIN_SAP + each] = self._policy(each, False, EVERYTHING, first_counter)
            found[CIPHERED_SAP + each] = self._policy(each, True, EVERYTHING, first_counter)
        short = Policy(Mechanism.LOW, self.secret, SHORT_NAMES, octets_max, Context.SN, short_names=names)
        found[SHORT_SAP], found[SHORT_LOW_SAP] = replace(short, mechanism=Mechanism.NONE, secret=b""), short
        return found

    def _policy(
        self, mechanism: Mechanism, ciphered: bool, conformance: Conformance, first: int, security: str = "none"
    ) -> Policy:
        keys = self.keys
        signer = ciphering = None
        if keys is not None:
            both = security == "none"
            control = SecurityControl(keys.suite, both or "authenticated" in security, both or "encrypted" in security)
            ciphering = Ciphering(keys.keys, keys.title, range(first, 1 << 32), control=control)
            signer = keys.signer() if mechanism is Mechanism.HIGH_ECDSA else None
        high = keys is not None and mechanism >= Mechanism.HIGH
        return Policy(
            mechanism,
            keys.secret if keys is not None and high else self.secret,
            conformance,
            self.manners.pdu_octets_max,
            Context.LN_CIPHERED if ciphered else Context.LN,
            ciphering if ciphered or mechanism >= Mechanism.HIGH_GMAC else None,
            signer,
            plain_release=True,
        )


def serve(server: DlmsServer, data: bytes) -> bytes:
    """Feed octets to a server and return its answer; what breaks the rules stays unanswered."""
    server.receive_data(data)
    while True:
        try:
            if server.next_event() is NEED_DATA:
                return server.data_to_send()
        except RemoteProtocolError:
            continue


def policies(
    model: MeterModel,
    secret: bytes,
    short_names: Mapping[tuple[int, Obis], int] | None = None,
    manners: Manners | None = None,
) -> dict[int, Policy]:
    """Return which clients a meter without keys admits, by SAP: everybody as public client, its own by its model.

    UsageError when the model's own client needs keys.
    """
    settings, manners = model.dlms, manners or Manners()
    assert settings is not None
    mechanism = mechanism_of(model) if manners.mechanism is None else manners.mechanism
    if settings.security != "none" or manners.ciphered or mechanism >= Mechanism.HIGH_GMAC:
        word, what = mechanism.name.lower().replace("_", "-"), " and logical names" if settings.short_names else ""
        raise UsageError(f"model {model.key} is entered by {word}, security {settings.security}: give keys{what}")
    conformance, octets_max = _conformance(model), manners.pdu_octets_max
    secret = b"" if mechanism is Mechanism.NONE else secret
    if settings.short_names:
        names = dict(short_names or {})
        own = Policy(mechanism, secret, SHORT_NAMES, octets_max, context=Context.SN, short_names=names)
    else:
        own = Policy(mechanism, secret, conformance, octets_max)
    public = Policy(conformance=conformance, pdu_octets_max=octets_max)
    return {settings.public_client_sap: public, settings.client_sap: own}


def mechanism_of(model: MeterModel) -> Mechanism:
    """Return how the model's own client proves itself."""
    assert model.dlms is not None
    return Mechanism[model.dlms.mechanism.upper().replace("-", "_")]


def needs_keys(model: MeterModel) -> bool:
    """Tell whether the model's own client needs more than a secret."""
    return model.dlms is not None and (model.dlms.security != "none" or mechanism_of(model) >= Mechanism.HIGH_GMAC)


def _conformance(model: MeterModel) -> Conformance:
    assert model.dlms is not None
    return LOGICAL_NAMES if model.dlms.with_list else LOGICAL_NAMES & ~Conformance.MULTIPLE_REFERENCES
