"""TLS to the broker: version 1.3, the broker's certificate checked, and our own shown where there is one.

The common name of our certificate is who we are to the broker (Mosquitto's ``use_identity_as_username``): the gateway's
id. The files are read anew for each connection, so a renewed certificate needs no restart.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path

from edge_agent.secret import read_private
from protocols.errors import UsageError
from protocols.strict_toml import Table

KEY_OCTETS_MAX = 65_536


@dataclass(frozen=True, slots=True)
class BrokerTls:
    """The authority that signed the broker's certificate (None: the system's), our certificate and its private key."""

    authority: Path | None
    certificate: Path | None
    key: Path | None

    def context(self) -> ssl.SSLContext:
        """Return the context of a connection; raise :class:`UsageError` naming the file that can't be used."""
        try:
            context = ssl.create_default_context(cafile=self.authority)
        except (OSError, ssl.SSLError) as error:
            raise UsageError(f"{self.authority}: {error}; expected the authority's certificate as PEM") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        if self.certificate is not None and self.key is not None:
            read_private(self.key, KEY_OCTETS_MAX)  # or others may read it
            try:
                context.load_cert_chain(self.certificate, self.key, password=_no_password)
            except (OSError, ssl.SSLError) as error:
                raise UsageError(
                    f"{self.certificate}, {self.key}: {error}; expected PEM files that belong together"
                ) from error
        return context


def _no_password() -> bytes:
    raise UsageError("the broker's key_file has a password; expected one without, readable by the agent's user alone")


def parse_broker_tls(table: Table, directory: Path, *, tls: bool) -> BrokerTls | None:
    """Take the broker's ``ca_file``, ``certificate_file`` and ``key_file``, and try them; None without TLS."""
    authority = _file(table, directory, "ca_file", table.take("ca_file", str, default=None))
    certificate = _file(table, directory, "certificate_file", table.take("certificate_file", str, default=None))
    key = _file(table, directory, "key_file", table.take("key_file", str, default=None))
    if (certificate is None) != (key is None):
        raise table.error("certificate_file", "give it together with key_file, or neither")
    if not tls:
        if certificate is not None:
            raise table.error("certificate_file", "is shown to a broker at mqtts:// only; the url has none")
        return None
    found = BrokerTls(authority, certificate, key)
    try:
        found.context()
    except UsageError as error:
        raise table.error("ca_file" if certificate is None else "certificate_file", str(error)) from error
    return found


def _file(table: Table, directory: Path, key: str, name: str | None) -> Path | None:
    if name is None:
        return None
    path = directory / name
    if not path.is_file():
        raise table.error(key, f"{path} does not exist; put the certificate or key there, as PEM")
    return path
