"""How one DLMS meter is entered: what its model says, what the configuration says otherwise, and its keys.

Checked whole when the configuration is read: a mechanism without its secret, a security without its keys, keys of
another length than the suite's are refused before anything opens.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from edge_agent.keys import SECRET_OCTETS_MAX, KeyFile, Kind
from edge_agent.secret import Secret, read_private
from protocols.dlms.acse import Context, Mechanism
from protocols.dlms.association import Association
from protocols.dlms.ciphering import KEY_OCTETS, TITLE_OCTETS, Keys, SecurityControl
from protocols.dlms.conformance import LOGICAL_NAMES, SHORT_NAMES, Conformance
from protocols.dlms.hls import Signer
from protocols.dlms.protection import Ciphering
from protocols.dlms.quirks import Quirks
from protocols.errors import UsageError
from protocols.meters.dlms_rules import AUTHENTICATED_ENCRYPTED, MECHANISMS, WITH_SECRET, WITH_TITLES, quirks_of
from protocols.meters.dlms_settings import SECURITIES, DlmsSettings
from protocols.meters.model import MeterModel
from protocols.strict_toml import Table

CHALLENGE_OCTETS = 16  # IEC 62056-5-3, 5.7.4: 8 to 64
CONTEXTS = {
    (False, False): Context.LN,
    (False, True): Context.LN_CIPHERED,
    (True, False): Context.SN,
    (True, True): Context.SN_CIPHERED,
}


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where the configuration finds keys: the directory of its paths, the environment, the key file if there is one.

    ``title`` is the gateway's system title, which meters know it by.
    """

    directory: Path
    environment: Mapping[str, str]
    keys: KeyFile | None = None
    title: bytes | None = None


@dataclass(frozen=True, slots=True)
class Access:
    """How a meter is entered. ``settings`` are the model's with what the configuration says otherwise."""

    settings: DlmsSettings
    quirks: Quirks
    secret: Secret | None = None
    keys: Keys | None = None
    title: bytes | None = None
    meter_title: bytes | None = None
    signer: Signer | None = field(default=None, repr=False)

    @property
    def mechanism(self) -> Mechanism:
        """How the meter and we prove ourselves."""
        return MECHANISMS[self.settings.mechanism]

    @property
    def is_ciphered(self) -> bool:
        """Whether every APDU is protected."""
        return self.settings.security != "none"

    @property
    def uses_counters(self) -> bool:
        """Whether invocation counters are used up."""
        return self.is_ciphered or self.mechanism is Mechanism.HIGH_GMAC

    def association(self, counters: range = range(0), received: int = -1) -> Association:
        """Return what we propose, with a challenge of its own."""
        conformance = SHORT_NAMES if self.settings.short_names else LOGICAL_NAMES
        if not self.settings.with_list:
            conformance &= ~Conformance.MULTIPLE_REFERENCES
        if self.settings.general:
            conformance |= Conformance.GENERAL_PROTECTION
        if self.settings.general_blocks:
            conformance |= Conformance.GENERAL_BLOCK_TRANSFER
        return Association(
            self.mechanism,
            self.secret.octets if self.secret is not None else b"",
            conformance,
            context=CONTEXTS[self.settings.short_names, self.is_ciphered],
            challenge=os.urandom(CHALLENGE_OCTETS) if self.mechanism >= Mechanism.HIGH else b"",
            ciphering=self._ciphering(counters, received),
            signer=self.signer,
        )

    def control(self) -> SecurityControl:
        """Return the protection that is agreed; for a proof alone the authenticated one."""
        authenticated, encrypted = AUTHENTICATED_ENCRYPTED[self.settings.security]
        return SecurityControl(self.settings.suite, authenticated or not encrypted, encrypted)

    def _ciphering(self, counters: range, received: int) -> Ciphering | None:
        if self.title is None:
            return None
        size = KEY_OCTETS[self.settings.suite]
        return Ciphering(
            keys=self.keys or Keys(bytes(size), bytes(size)),  # HIGH_SHA256 and HIGH_ECDSA want titles, no keys
            title=self.title,
            counters=counters,
            received_counter=received,
            control=self.control(),
            peer_title=self.meter_title,
            dedicated_key=os.urandom(size) if self.settings.dedicated_key else None,
            general=self.settings.general,
        )


def parse_access(table: Table, meter: str, model: MeterModel, source: KeySource) -> Access | None:
    """Return how the meter is entered, None if it speaks no DLMS; raise :class:`UsageError` naming key and cure."""
    if model.dlms is None:
        for key in ("secret_env", "secret_file"):
            if table.take(key, str, default=None) is not None:
                raise table.error(key, f"the model {model.key} needs no secret")
        return None
    settings = replace(
        model.dlms,
        client_sap=table.integer("client_sap", 1, 127, default=model.dlms.client_sap),
        mechanism=table.take("mechanism", str, default=model.dlms.mechanism, choices=MECHANISMS),
        security=table.take("security", str, default=model.dlms.security, choices=SECURITIES),
        suite=table.integer("suite", 0, 2, default=model.dlms.suite),
    )
    meter_title = parse_title(table, "meter_title")
    access = Access(settings, quirks_of(settings.quirks, f"{model.key}.toml: dlms.quirks"), meter_title=meter_title)
    access = replace(access, secret=_secret(table, access.mechanism in WITH_SECRET, meter, model, source))
    if access.is_ciphered or access.mechanism in WITH_TITLES:
        if source.title is None:
            raise table.error("security" if access.is_ciphered else "mechanism", "needs gateway.system_title")
        access = replace(access, title=source.title)
    if access.uses_counters:
        access = replace(access, keys=_keys(table, meter, access, source))
    if access.mechanism is Mechanism.HIGH_ECDSA:
        access = replace(access, signer=_signer(table, meter, access, source))
    return access


def parse_title(table: Table, key: str) -> bytes | None:
    """Return a system title, eight octets in hex digits; None if it is absent."""
    text = table.take(key, str, default=None)
    if text is None:
        return None
    try:
        title = bytes.fromhex(text)
    except ValueError:
        title = b""
    if len(title) != TITLE_OCTETS:
        raise table.error(key, f"found {text!r}; expected {2 * TITLE_OCTETS} hex digits")
    return title


def _secret(table: Table, wanted: bool, meter: str, model: MeterModel, source: KeySource) -> Secret | None:
    variable = table.take("secret_env", str, default=None)
    file = table.take("secret_file", str, default=None)
    given = "secret_env" if variable is not None else "secret_file"
    if not wanted:
        if variable is not None or file is not None:
            raise table.error(given, f"the model {model.key} needs no secret")
        return None
    if variable is not None and file is not None:
        raise table.error("secret_file", "secret_env is given too; keep one of them")
    if variable is not None:
        return from_environment(table, "secret_env", variable, source.environment)
    if file is not None:
        return _from_file(table, source.directory / file)
    found = source.keys.get(meter, Kind.SECRET) if source.keys is not None else None
    if found is None:
        cure = f"secret_env, secret_file, or `congto agent keys add {meter} secret`"
        raise table.error("secret_env", f"missing; the model {model.key} needs a secret: {cure}")
    return found


def _keys(table: Table, meter: str, access: Access, source: KeySource) -> Keys:
    wanted = [Kind.ENCRYPTION, Kind.AUTHENTICATION]
    if access.settings.security == "encrypted" and access.mechanism is not Mechanism.HIGH_GMAC:
        wanted = wanted[:1]
    found = [_key(table, meter, kind, source, KEY_OCTETS[access.settings.suite]).octets for kind in wanted]
    return Keys(*found)


def _key(table: Table, meter: str, kind: Kind, source: KeySource, size: int) -> Secret:
    if source.keys is None:
        raise table.error("security", "needs keys; say with [keys] where the key file is")
    found = source.keys.get(meter, kind)
    if found is None:
        raise table.error("id", f"the key file has no such key; run: congto agent keys add {meter} {kind.word}")
    if len(found.octets) != size:
        raise table.error("suite", f"the {kind.word} key has {len(found.octets)} octets, expected {size}")
    return found


def _signer(table: Table, meter: str, access: Access, source: KeySource) -> Signer:
    if access.settings.suite == 0:
        raise table.error("suite", "high-ecdsa needs suite 1 (P-256) or 2 (P-384)")
    curve, size = (ec.SECP256R1(), 32) if access.settings.suite == 1 else (ec.SECP384R1(), 48)
    ours = _key(table, meter, Kind.SIGNING, source, size).octets
    peer = _key(table, meter, Kind.METER_PUBLIC, source, 2 * size).octets
    try:
        return Signer(
            ec.derive_private_key(int.from_bytes(ours, "big"), curve),
            ec.EllipticCurvePublicKey.from_encoded_point(curve, b"\x04" + peer),
        )
    except ValueError:
        raise table.error("id", f"the signing keys of {meter} do not lie on the suite's curve") from None


def from_environment(table: Table, key: str, variable: str, environment: Mapping[str, str]) -> Secret:
    """Return the secret in an environment variable."""
    value = environment.get(variable, "")
    if not 0 < len(value.encode()) <= SECRET_OCTETS_MAX:
        raise table.error(key, f"the environment variable {variable} is not set (1 to {SECRET_OCTETS_MAX} octets)")
    return Secret(value.encode())


def _from_file(table: Table, path: Path) -> Secret:
    try:
        octets = read_private(path).rstrip(b"\r\n")
    except UsageError as error:
        raise table.error("secret_file", str(error)) from error
    if not 0 < len(octets) <= SECRET_OCTETS_MAX:
        raise table.error("secret_file", f"{path} holds {len(octets)} octets; expected 1 to {SECRET_OCTETS_MAX}")
    return Secret(octets)
