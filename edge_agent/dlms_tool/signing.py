"""The key pairs of high-ecdsa: from PEM files, else from the file of ``--keys``."""

import argparse
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from edge_agent.dlms_tool import keys
from protocols.dlms.hls import Signer
from protocols.errors import UsageError


def signer_of(arguments: argparse.Namespace) -> Signer:
    """Return our private and the meter's public key; UsageError when one is missing or none of its kind."""
    if arguments.keys is not None and arguments.signing_key_file is arguments.meter_public_key_file is None:
        return _of_keys_file(arguments)
    found: list[Any] = []
    for option, path in (
        ("--signing-key-file", arguments.signing_key_file),
        ("--meter-public-key-file", arguments.meter_public_key_file),
    ):
        if path is None:
            raise UsageError(f"--auth high-ecdsa needs {option} PEM, or both keys in --keys FILE")
        content = keys.content_of(option, path, private=option.startswith("--signing")).encode("utf-8")
        try:
            found.append(load_pem_public_key(content) if found else load_pem_private_key(content, None))
        except (ValueError, TypeError) as error:
            raise UsageError(f"{option} {path}: holds no key in PEM without a password") from error
    ours, peer = found
    if not isinstance(ours, ec.EllipticCurvePrivateKey) or not isinstance(peer, ec.EllipticCurvePublicKey):
        raise UsageError("--auth high-ecdsa needs keys on an elliptic curve: P-256 in suite 1, P-384 in suite 2")
    return Signer(ours, peer)


def _of_keys_file(arguments: argparse.Namespace) -> Signer:
    curve = ec.SECP384R1() if arguments.suite == 2 else ec.SECP256R1()
    private, public = arguments.signing_pair
    try:
        return Signer(
            ec.derive_private_key(int(private, 16), curve),
            ec.EllipticCurvePublicKey.from_encoded_point(curve, bytes.fromhex(public)),
        )
    except (ValueError, TypeError):
        raise UsageError(
            f"--keys {arguments.keys}: the unit has no client_private_key and server_public_key of its suite, "
            "as hex; expected them for --auth high-ecdsa"
        ) from None
