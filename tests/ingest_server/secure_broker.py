"""A real Mosquitto with the configuration that deploy/mosquitto has for a network, and certificates for who is who."""

import datetime
import os
import shutil
import signal
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deploy.runtime import broker as runtime_broker
from deploy.runtime import places, ports, processes, software

CONFIGURATION = Path("deploy/mosquitto")
THERE = "/etc/congto/broker"
START_S_MAX = 30.0
HOST = "127.0.0.1"


class Authority:
    """Signs certificates into ``directory``, valid for a day."""

    def __init__(self, directory: Path, name: str = "ca") -> None:
        self.directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"congto test {name}")])
        self.path = directory / f"{name}.pem"
        certificate = self._build(self._name, self._key, authority=True)
        self.path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, common_name: str) -> tuple[Path, Path]:
        """Return certificate and key of ``common_name``."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        certificate = self._build(subject, key, authority=False)
        certificate_path, key_path = (self.directory / f"{common_name}.{ending}" for ending in ("pem", "key"))
        certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        key_path.chmod(0o600)
        return certificate_path, key_path

    def context(self, common_name: str) -> ssl.SSLContext:
        """Return what a client with the name ``common_name`` connects with."""
        context = ssl.create_default_context(cafile=self.path)
        context.load_cert_chain(*self.issue(common_name))
        return context

    def _build(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, authority: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if not authority:
            names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address(HOST))])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256())


@dataclass(frozen=True, slots=True)
class SecureBroker:
    """Where it listens, and who signs."""

    port: int
    authority: Authority
    log: Path

    @property
    def url(self) -> str:
        return f"mqtts://{HOST}:{self.port}"

    @property
    def address(self) -> tuple[str, int]:
        return HOST, self.port


@contextmanager
def secure_broker(*, more_access: str = "") -> Iterator[SecureBroker]:
    """Run it in a directory of its own, which its user can reach."""
    directory = Path(tempfile.mkdtemp(prefix="congto-tls-"))
    identity = places.server_identity(directory)
    authority = Authority(directory)
    port = ports.free_port()
    certificate, key = authority.issue("broker")
    access = (CONFIGURATION / "access.acl").read_text(encoding="utf-8") + more_access
    (directory / "access.acl").write_text(access, encoding="utf-8")
    text = (CONFIGURATION / "production.conf").read_text(encoding="utf-8")
    for there, here in (
        ("listener 8883", f"listener {port} {HOST}"),
        (THERE, str(directory)),
        ("/var/lib/mosquitto", str(directory)),
    ):
        assert there in text
        text = text.replace(there, here)
    configuration = directory / "mosquitto.conf"
    configuration.write_text(text, encoding="utf-8")
    if identity.uid != os.geteuid():
        for path in (directory, configuration, directory / "access.acl", authority.path, certificate, key):
            os.chown(path, identity.uid, identity.gid)
    (directory / "access.acl").chmod(0o600)
    program = software.choose_mosquitto(os.environ, places.cache_directory(os.environ), lambda _line: None).programs
    log = directory / "log"
    pid = processes.launch([str(program), "-c", str(configuration)], directory=directory, log=log, identity=identity)
    try:
        processes.wait_until(lambda: processes.has_ended(pid) or runtime_broker.accepts(HOST, port, 1), START_S_MAX)
        assert not processes.has_ended(pid), processes.last_words(log)
        yield SecureBroker(port, authority, log)
    finally:
        os.kill(pid, signal.SIGKILL)
        shutil.rmtree(directory)
