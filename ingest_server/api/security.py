"""The local bearer token, and cursors that cannot be made up.

One token opens everything; it comes from the environment or from a file that only its owner can read, and is compared
in constant time. A cursor is the key of the last row shown, with a code over it (HMAC-SHA-256 under a key derived
from the token) that also covers the path and the filters: a cursor of one list is no cursor of another.
"""

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protocols.errors import UsageError

TOKEN_ENV = "CONGTO_API_TOKEN"  # noqa: S105 - the name of a variable, not a token
TOKEN_OCTETS = 32  # of chance in a token we make: 256 bits
TOKEN_CHARACTERS_MIN, TOKEN_CHARACTERS_MAX = 16, 256
CODE_OCTETS = 16  # half of SHA-256, as RFC 2104, section 5 allows
CURSOR_CHARACTERS_MAX = 1024


def load_token(path: Path | None, environment: Mapping[str, str]) -> str:
    """Return the token: from ``path`` (made there if the file is missing), or from the environment.

    Raises
    ------
    UsageError
        If there is none, the file may be read by others, or the token is too short to be one.
    """
    if path is None:
        if TOKEN_ENV not in environment:
            raise UsageError(f"no token: set {TOKEN_ENV}, or name a file with --token-file (it is made if missing)")
        return _checked(environment[TOKEN_ENV], f"the environment's {TOKEN_ENV}")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IRUSR | stat.S_IWUSR)
    except FileExistsError:
        return _read_token(path)
    except OSError as refused:
        raise UsageError(
            f"token file {path}: {refused.strerror}; name a file in a directory you may write"
        ) from refused
    token = secrets.token_urlsafe(TOKEN_OCTETS)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(token + "\n")
    return token


def _read_token(path: Path) -> str:
    try:
        with path.open(encoding="ascii") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise UsageError(
                    f"token file {path} has mode {mode & 0o777:o}: others may use it; run chmod 600 {path}"
                )
            return _checked(file.read(TOKEN_CHARACTERS_MAX + 2).strip(), f"token file {path}")
    except (OSError, UnicodeDecodeError) as refused:
        raise UsageError(f"token file {path} cannot be read: {refused}") from refused


def _checked(token: str, where: str) -> str:
    if not TOKEN_CHARACTERS_MIN <= len(token) <= TOKEN_CHARACTERS_MAX or not token.isascii() or not token.isprintable():
        raise UsageError(
            f"{where}: expected {TOKEN_CHARACTERS_MIN} to {TOKEN_CHARACTERS_MAX} printable ASCII characters, "
            f"found {len(token)}; `openssl rand -hex 32` makes a good one"
        )
    return token


@dataclass(frozen=True, slots=True)
class Guard:
    """What knows the token: it checks requests and signs cursors."""

    token: str

    def admits(self, authorization: str | None) -> bool:
        """Say whether an ``Authorization`` header carries the token; takes as long for any wrong one."""
        scheme, _, credentials = (authorization or "").partition(" ")
        given = hashlib.sha256(credentials.strip().encode("utf-8", "surrogateescape")).digest()
        expected = hashlib.sha256(self.token.encode()).digest()
        return hmac.compare_digest(given, expected) and scheme.lower() == "bearer"

    def sign_cursor(self, scope: str, key: list[Any]) -> str:
        """Return an opaque cursor for ``key``, the last row's place in the list ``scope``."""
        body = json.dumps(key, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._code(scope, body) + body).decode().rstrip("=")

    def open_cursor(self, scope: str, cursor: str) -> list[Any] | None:
        """Return the key in ``cursor``, or none if it was not made here for ``scope``."""
        try:
            octets = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        code, body = octets[:CODE_OCTETS], octets[CODE_OCTETS:]
        if not hmac.compare_digest(code, self._code(scope, body)):
            return None
        key = json.loads(body)
        assert isinstance(key, list), "only lists are signed"
        return key

    def _code(self, scope: str, body: bytes) -> bytes:
        key = hmac.digest(self.token.encode(), b"congto cursor v1", "sha256")
        return hmac.digest(key, scope.encode() + b"\0" + body, "sha256")[:CODE_OCTETS]
