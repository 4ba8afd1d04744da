"""Which meter, over what, as whom: the arguments that all actions share, and what they say."""

import argparse
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge_agent.dlms_cache import DlmsCache
from edge_agent.dlms_tool import keys, places
from edge_agent.dlms_tool.counters import CounterFile
from edge_agent.dlms_tool.places import Place
from edge_agent.dlms_tool.signing import signer_of
from edge_agent.serial_line import LineSettings
from protocols.dlms.acse import Context, Mechanism
from protocols.dlms.association import Association
from protocols.dlms.ciphering import Keys, SecurityControl
from protocols.dlms.conformance import LOGICAL_NAMES, SHORT_NAMES, Conformance
from protocols.dlms.hdlc.negotiation import LinkLimits
from protocols.dlms.hdlc.primary import HdlcParameters
from protocols.dlms.protection import Ciphering
from protocols.dlms.quirks import NUMBER_BOUNDS, STRICT, Quirks, RangeDeviation
from protocols.dlms.wrapper import WrapperParameters
from protocols.dlms.xdlms.general_block import WINDOW_MAX
from protocols.dlms.xdlms.initiate import PDU_OCTETS_MIN
from protocols.errors import LocalProtocolError, UsageError
from protocols.meters.dlms_rules import MECHANISMS, WITH_SECRET
from protocols.obis import Obis

PROTECTIONS = {"none": (False, False), "authenticate": (True, False), "encrypt": (False, True), "both": (True, True)}
PUBLIC_CLIENT = 16  # IEC 62056-5-3, annex B
OUR_TITLE = b"CTO\0\0\0\0\x01".hex()  # CTO is invented, not a registered FLAG identification
COUNTER_OBIS = Obis(0, 0, 43, 1, 0)
CHALLENGE_OCTETS = 16  # IEC 62056-5-3, 5.7.4: 8 to 64
ONE_OCTET_MAX, TWO_OCTETS_MAX = 0x7F, 0x3FFF  # IEC 62056-46, 6.4.2.3: seven bits of each octet are address
_MODEL = re.compile(r"[A-Za-z0-9._-]{1,64}")
PDU_OCTETS_DEFAULT, BLOCK_WINDOW_DEFAULT = 0xFFFF, 3
_PDU_HELP = "the longest APDU we take; longer answers come in blocks; default 65535"
_SWITCHES = sorted(name for name in Quirks.__slots__ if isinstance(getattr(STRICT, name), bool))


@dataclass(frozen=True, slots=True)
class Memory:
    """What is kept of meters, and as whom and where it was seen. With ``fresh`` it is written only."""

    cache: DlmsCache
    model: str
    fresh: bool
    association: tuple[tuple[str, str], ...]
    place: str

    def subject(self, kind: str, of: str, firmware: str = "") -> dict[str, str]:
        """Return what something is kept under."""
        return {"kind": kind, "of": of, "firmware": firmware, **dict(self.association)}


@dataclass(frozen=True, slots=True)
class Target:
    """Everything that the arguments say about the meter and the way to it."""

    place: Place
    link: HdlcParameters | WrapperParameters
    association: Association
    quirks: Quirks
    timeout_s: float
    mode_e: str | None
    counters: CounterFile | None
    recover_counter: bool
    counter_obis: Obis
    lists: bool
    secrets: tuple[bytes, ...]
    memory: Memory | None

    def as_public_client(self) -> "Target":
        """Return the same meter asked by the public client."""
        return replace(
            self,
            link=replace(self.link, client_sap=PUBLIC_CLIENT),
            association=Association(),
            counters=None,
            memory=None,
        )

    def with_counters(self, counters: range) -> "Target":
        """Return the same with invocation counters to use."""
        ciphering = self.association.ciphering
        assert ciphering is not None
        return replace(self, association=replace(self.association, ciphering=replace(ciphering, counters=counters)))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says where the meter is, who asks, and how it is shown."""
    line = parser.add_argument_group("the line")
    places.add_arguments(line)
    line.add_argument("--framing", choices=("wrapper", "hdlc"), default="wrapper", help="over TCP; default wrapper")
    line.add_argument("--mode-e", action="store_true", help="sign on at 300 baud and switch to HDLC (IEC 62056-21)")
    line.add_argument("--sign-on", metavar="ADDRESS", default="", help="device address in the sign-on; default none")
    line.add_argument("--timeout", type=float, default=3.0, metavar="S", help="how long to wait; default 3")
    line.add_argument("--retries", type=int, default=2, help="repetitions of an unanswered HDLC frame; default 2")
    line.add_argument("--info-octets", type=int, default=128, help="octets of an HDLC information field; default 128")
    line.add_argument("--window", type=int, default=1, help="HDLC frames before an answer is needed; default 1")
    who = parser.add_argument_group("the association")
    who.add_argument(
        "--client", type=int, default=PUBLIC_CLIENT, metavar="SAP", help="client address; default 16, public"
    )
    who.add_argument("--server", default="1", metavar="LOGICAL[/PHYSICAL]", help="server address; over TCP the wPort")
    who.add_argument("--address-octets", type=int, choices=(1, 2, 4), help="of the server; default: as few as can be")
    who.add_argument("--auth", choices=tuple(MECHANISMS), default="none", help="authentication; default none")
    keys.add_key_arguments(who, "secret", "password or shared secret, text or 0x and hex", direct=False)
    who.add_argument("--short-names", action="store_true", help="short-name referencing (Landis+Gyr ZMD400)")
    who.add_argument("--pdu-size", type=int, default=PDU_OCTETS_DEFAULT, metavar="OCTETS", help=_PDU_HELP)
    who.add_argument("--general-blocks", action="store_true", help="long APDUs in general blocks, if granted")
    who.add_argument(
        "--block-window", type=int, default=BLOCK_WINDOW_DEFAULT, metavar="N", help="of general blocks; default 3"
    )
    who.add_argument("--no-lists", action="store_true", help="one attribute a request, whatever the meter grants")
    add_quirks(who)
    _add_security(parser.add_argument_group("ciphering"))
    _add_memory(parser.add_argument_group("what is kept of meters"))
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--trace", action="store_true", help="show each frame and what it means on stderr; no secrets")


def _add_memory(group: argparse._ActionsContainer) -> None:
    group.add_argument("--fresh", action="store_true", help="read object list and scalers anew, whatever is kept")
    group.add_argument("--model", metavar="NAME", help="share the kept object list among meters of this model")
    group.add_argument(
        "--cache", type=Path, metavar="DIR", help="where lists and scalers are kept; default ~/.cache/congto/dlms"
    )


def add_quirks(parser: argparse._ActionsContainer) -> None:
    """Add which rules to relax."""
    parser.add_argument(
        "--quirk", action="append", default=[], metavar="NAME", help=f"relax a rule: {', '.join(_quirk_names())}"
    )


def _add_security(group: argparse._ActionsContainer) -> None:
    group.add_argument("--protect", choices=tuple(PROTECTIONS), help="each APDU; default both with a key, else none")
    group.add_argument("--suite", type=int, choices=(0, 1, 2), default=0, help="security suite; default 0")
    keys.add_key_arguments(group, "key", "global unicast encryption key, as hex", direct=False)
    keys.add_key_arguments(group, "auth-key", "global authentication key, as hex", direct=False)
    keys.add_keys_file(group)
    group.add_argument("--system-title", metavar="HEX", default=OUR_TITLE, help=f"ours; default {OUR_TITLE}")
    group.add_argument("--meter-title", metavar="HEX", help="the meter's, if another one must not be taken")
    group.add_argument("--dedicated-key", action="store_true", help="a fresh key for this association alone")
    group.add_argument("--general", action="store_true", help="general-glo- or general-ded-ciphering")
    group.add_argument("--counters", type=Path, metavar="FILE", help="where invocation counters are kept; created")
    group.add_argument("--recover-counter", action="store_true", help="begin after the counter that the meter tells")
    group.add_argument("--counter-object", default=str(COUNTER_OBIS), metavar="OBIS", help=f"default {COUNTER_OBIS}")
    group.add_argument("--signing-key-file", type=Path, metavar="PEM", help="high-ecdsa: our private key; or --keys")
    group.add_argument("--meter-public-key-file", type=Path, metavar="PEM", help="high-ecdsa: the meter's; or --keys")


def parse(arguments: argparse.Namespace) -> Target:
    """Return what the arguments say; UsageError for what cannot be."""
    try:
        return _parse(arguments)
    except LocalProtocolError as error:
        raise UsageError(str(error)) from error


def _parse(arguments: argparse.Namespace) -> Target:
    if not 0 < arguments.timeout <= 600 or not 0 <= arguments.retries <= 20:
        raise UsageError("expected --timeout above 0 to 600 and --retries 0 to 20")
    place = places.place_of(arguments)
    wants_secret = MECHANISMS[arguments.auth] in WITH_SECRET
    has_secret = arguments.secret_env is not None or arguments.secret_file is not None
    arguments = keys.with_keys_file(arguments, secret=wants_secret and not has_secret)
    association, secrets = _association(arguments)
    counters = None
    if association.ciphering is not None and _uses_counters(association):
        if arguments.counters is None:
            raise UsageError(
                "--counters FILE is needed with keys: a counter must never be used twice; a new file will do"
            )
        ciphering = association.ciphering
        counters = CounterFile(arguments.counters, ciphering.keys.encryption, ciphering.title)
    return Target(
        place=place,
        link=_link(arguments, isinstance(place, LineSettings) or arguments.framing == "hdlc"),
        association=association,
        quirks=quirks_of(arguments.quirk),
        timeout_s=arguments.timeout,
        mode_e=arguments.sign_on if arguments.mode_e else None,
        counters=counters,
        recover_counter=arguments.recover_counter,
        counter_obis=Obis.parse(arguments.counter_object),
        lists=not arguments.no_lists,
        secrets=secrets,
        memory=_memory(arguments),
    )


def _memory(arguments: argparse.Namespace) -> Memory:
    """Return what is kept of meters: in ``--cache``, else in the user's own directory for such things."""
    hdlc = (
        arguments.serial or arguments.framing == "hdlc"
    )  # A wPort is often the meter's address behind a concentrator.
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    if arguments.model and not _MODEL.fullmatch(arguments.model):
        raise UsageError(f"--model {arguments.model}: expected up to 64 letters, digits, '.', '-' or '_'")
    seen_as = (
        ("client", str(arguments.client)),
        ("logical device", arguments.server.partition("/")[0] if hdlc else ""),
        ("referencing", "short names" if arguments.short_names else "logical names"),
    )
    return Memory(
        cache=DlmsCache(arguments.cache or Path(home) / "congto" / "dlms"),
        model=arguments.model or "",
        fresh=arguments.fresh,
        association=seen_as,
        place=f"{arguments.serial or arguments.tcp or arguments.udp} {arguments.server}",
    )


def _link(arguments: argparse.Namespace, hdlc: bool) -> HdlcParameters | WrapperParameters:
    logical, slash, physical = arguments.server.partition("/")
    if not logical.isdecimal() or (slash and not physical.isdecimal()):
        raise UsageError(f"--server {arguments.server}: expected LOGICAL or LOGICAL/PHYSICAL, such as 1/17")
    upper, lower = int(logical), int(physical) if slash else None
    if not hdlc:
        if lower is not None or max(upper, arguments.client) > 0xFFFF:
            raise UsageError(f"--server {arguments.server}: the wrapper knows one wPort up to 65535")
        return WrapperParameters(arguments.client, upper)
    needed = 4 if max(upper, lower or 0) > ONE_OCTET_MAX else 1 if lower is None else 2
    size = arguments.address_octets or needed
    if size > 1 and lower is None:
        raise UsageError(f"--server {arguments.server}: {size} octets need a physical address, such as {upper}/17")
    limits = LinkLimits(arguments.info_octets, arguments.info_octets, arguments.window, arguments.window)
    link = HdlcParameters(arguments.client, upper, lower, size, limits, arguments.retries)
    assert link.client.size == 1 and link.server.size == size  # noqa: PT018  both raise when they do not fit
    return link


def _association(arguments: argparse.Namespace) -> tuple[Association, tuple[bytes, ...]]:
    mechanism = MECHANISMS[arguments.auth]
    secret = keys.secret_of(arguments)
    if (secret is not None) != (mechanism in WITH_SECRET):
        need = "needs --secret-env or --secret-file" if secret is None else "takes no secret"
        raise UsageError(f"--auth {arguments.auth} {need}")
    ciphering, protected = _ciphering(arguments, mechanism)
    context = {
        (False, False): Context.LN,
        (False, True): Context.LN_CIPHERED,
        (True, False): Context.SN,
        (True, True): Context.SN_CIPHERED,
    }[arguments.short_names, protected]
    services = SHORT_NAMES if arguments.short_names else LOGICAL_NAMES
    if not PDU_OCTETS_MIN <= arguments.pdu_size <= PDU_OCTETS_DEFAULT:
        raise UsageError(f"--pdu-size {arguments.pdu_size}: expected {PDU_OCTETS_MIN} to {PDU_OCTETS_DEFAULT}")
    if not 1 <= arguments.block_window <= WINDOW_MAX:
        raise UsageError(f"--block-window {arguments.block_window}: expected 1 to {WINDOW_MAX}")
    if arguments.general_blocks and arguments.short_names:
        raise UsageError("--general-blocks goes with logical names: READ and WRITE have blocks of their own")
    services |= Conformance.GENERAL_PROTECTION if arguments.general else Conformance(0)
    services |= Conformance.GENERAL_BLOCK_TRANSFER if arguments.general_blocks else Conformance(0)
    association = Association(
        mechanism,
        secret or b"",
        services,
        arguments.pdu_size,
        context=context,
        challenge=os.urandom(CHALLENGE_OCTETS) if mechanism >= Mechanism.HIGH else b"",
        ciphering=ciphering,
        signer=signer_of(arguments) if mechanism is Mechanism.HIGH_ECDSA else None,
        general_block_window=arguments.block_window,
    )
    held = ciphering and (ciphering.keys.encryption, ciphering.keys.authentication, ciphering.dedicated_key)
    return association, tuple(one for one in (secret, *(held or ())) if one and one.strip(b"\0"))


def _ciphering(arguments: argparse.Namespace, mechanism: Mechanism) -> tuple[Ciphering | None, bool]:
    key, auth_key = keys.key_of(arguments, "key"), keys.key_of(arguments, "auth-key")
    protect = arguments.protect or ("none" if key is None else "both")
    title = keys.title_of(arguments.system_title, "--system-title")
    assert title is not None
    if key is None:
        if protect != "none" or mechanism is Mechanism.HIGH_GMAC:
            raise UsageError("ciphering and high-gmac need --key-env or --key-file, and mostly --auth-key-…; or --keys")
        if mechanism not in (Mechanism.HIGH_SHA256, Mechanism.HIGH_ECDSA):
            return None, False
        size = 32 if arguments.suite == 2 else 16  # These need titles, and no key of ours.
        key = auth_key = bytes(size)
    authenticated, encrypted = PROTECTIONS["authenticate" if protect == "none" else protect]
    if auth_key is None and (authenticated or mechanism is Mechanism.HIGH_GMAC):
        raise UsageError("authentication of APDUs needs --auth-key-env or --auth-key-file")
    ciphering = Ciphering(
        keys=Keys(key, auth_key or b""),
        title=title,
        counters=range(0),
        control=SecurityControl(arguments.suite, authenticated, encrypted),
        peer_title=keys.title_of(arguments.meter_title, "--meter-title"),
        dedicated_key=os.urandom(len(key)) if arguments.dedicated_key else None,
        general=arguments.general,
    )
    return ciphering, protect != "none"


def _uses_counters(association: Association) -> bool:
    return association.is_ciphered or association.mechanism is Mechanism.HIGH_GMAC


def _quirk_names() -> list[str]:
    return [*_SWITCHES, *(f"{name}=N" for name in NUMBER_BOUNDS), "range_deviation=unspecified"]


def quirks_of(texts: list[str]) -> Quirks:
    """Return the quirks named; UsageError for one that there is not."""
    fields: dict[str, Any] = {}
    for text in texts:
        name, _, value = text.replace("-", "_").partition("=")
        if name in _SWITCHES and not value:
            fields[name] = True
        elif name in NUMBER_BOUNDS:
            least, most = NUMBER_BOUNDS[name]
            if not value.isdecimal() or not least <= int(value) <= most:
                raise UsageError(f"--quirk {text}: expected a number from {least} to {most}, such as {name}={least}")
            fields[name] = int(value)
        elif name == "range_deviation" and value in [one.value for one in RangeDeviation]:
            fields[name] = RangeDeviation(value)
        else:
            raise UsageError(f"--quirk {text}: expected one of {', '.join(_quirk_names())}")
    return Quirks(**fields)
