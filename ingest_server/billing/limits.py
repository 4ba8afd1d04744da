"""How much energy and money a role may move by itself: in changes of readings, differences, and bills cancelled."""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from billing_core.estimation.versions import Limit
from ingest_server.billing.arguments import ROLES
from ingest_server.billing.refused import RefusedError
from protocols.errors import UsageError
from protocols.strict_toml import parse_toml
from protocols.utf8 import decode_text

LIMITS_FILE = "limits.toml"
KWH_MAX, VND_MAX = 10**9, 10**13


def limits_from(path: str | None) -> dict[str, Limit]:
    """Return what each role may do as a file says, none for the limits that come with the package."""
    if path is None:
        octets = (resources.files("ingest_server.billing") / LIMITS_FILE).read_bytes()
        return parse_limits(decode_text(octets, LIMITS_FILE), LIMITS_FILE)
    try:
        octets = Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"--limits {path}: {error}; expected a file like congto's limits.toml") from error
    return parse_limits(decode_text(octets, path), Path(path).name)


def parse_limits(text: str, name: str) -> dict[str, Limit]:
    """Read what each role may approve; a role without ``kwh`` and ``vnd`` has no limit."""
    table = parse_toml(text, name)
    found = {}
    for role in ROLES:
        own = table.table(role)
        unlimited = not own.names()
        kwh = None if unlimited else own.integer("kwh", 0, KWH_MAX)
        vnd = None if unlimited else own.integer("vnd", 0, VND_MAX)
        own.finish()
        found[role] = Limit(kwh, vnd)
    table.finish()
    return found


def refuse_beyond(
    reason: str, role: str, *, energy_wh: int, vnd: int, limits: Mapping[str, Limit] | None = None, **operands: Any
) -> None:
    """Refuse, as ``reason`` says, what moves more energy or money than a role may. [Wh, đ; both ways alike]"""
    limit = (limits_from(None) if limits is None else limits)[role]
    kwh, vnd = -(-abs(energy_wh) // 1000), abs(vnd)
    if (limit.kwh is None or kwh <= limit.kwh) and (limit.vnd is None or vnd <= limit.vnd):
        return
    raise RefusedError(reason, role=role, kwh=kwh, vnd=vnd, kwh_max=limit.kwh, vnd_max=limit.vnd, **operands)
