"""TLS to the broker: version 1.3, the broker's certificate checked, and our own shown where there is one.

The common name of our certificate is who we are to the broker (Mosquitto's ``use_identity_as_username``).
"""

import ssl
from dataclasses import dataclass
from pathlib import Path

from protocols.errors import UsageError


@dataclass(frozen=True, slots=True)
class Credentials:
    """The authority that signed the broker's certificate (``None``: the system's), our certificate and its key."""

    authority: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise UsageError("--tls-certificate and --tls-key: give both or neither")


def tls_context(credentials: Credentials) -> ssl.SSLContext:
    """Return the context for a client; raise :class:`UsageError` naming the file that can't be used."""
    context = _trusting(credentials.authority)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if credentials.certificate is not None and credentials.key is not None:
        _check_owner_only(credentials.key)
        try:
            context.load_cert_chain(credentials.certificate, credentials.key)
        except (OSError, ssl.SSLError) as error:
            raise UsageError(
                f"--tls-certificate {credentials.certificate}, --tls-key {credentials.key}: {error}; expected PEM "
                "files that belong together"
            ) from error
    return context


def _trusting(authority: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=authority)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"--tls-ca {authority}: {error}; expected the authority's certificate as PEM") from error


def _check_owner_only(key: Path) -> None:
    try:
        mode = key.stat().st_mode
    except OSError as error:
        raise UsageError(f"--tls-key {key}: {error.strerror}; expected the certificate's private key as PEM") from error
    if mode & 0o077:
        raise UsageError(f"--tls-key {key}: others than its owner may read it; run `chmod 600 {key}`")
