"""What the words of a DLMS model mean on the wire: mechanisms, security, quirks."""

import difflib
from collections.abc import Mapping
from typing import Any

from protocols.dlms.acse import Mechanism
from protocols.dlms.quirks import NUMBER_BOUNDS, STRICT, Quirks, RangeDeviation
from protocols.errors import UsageError

MECHANISMS: Mapping[str, Mechanism] = {
    "none": Mechanism.NONE,
    "low": Mechanism.LOW,
    "high": Mechanism.HIGH,
    "high-md5": Mechanism.HIGH_MD5,
    "high-sha1": Mechanism.HIGH_SHA1,
    "high-gmac": Mechanism.HIGH_GMAC,
    "high-sha256": Mechanism.HIGH_SHA256,
    "high-ecdsa": Mechanism.HIGH_ECDSA,
}
WITH_SECRET = frozenset({Mechanism.LOW, Mechanism.HIGH, Mechanism.HIGH_MD5, Mechanism.HIGH_SHA1, Mechanism.HIGH_SHA256})
WITH_TITLES = frozenset({Mechanism.HIGH_GMAC, Mechanism.HIGH_SHA256, Mechanism.HIGH_ECDSA})
AUTHENTICATED_ENCRYPTED: Mapping[str, tuple[bool, bool]] = {
    "none": (False, False),
    "authenticated": (True, False),
    "encrypted": (False, True),
    "authenticated and encrypted": (True, True),
}


def quirks_of(written: Mapping[str, bool | int | str], where: str) -> Quirks:
    """Return the quirks of a model's table ``[dlms.quirks]``; raise :class:`UsageError` naming key and cure."""
    fields: dict[str, Any] = {}
    for name, value in written.items():
        if name not in Quirks.__slots__:
            near = difflib.get_close_matches(name, Quirks.__slots__, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(Quirks.__slots__))}"
            raise UsageError(f"{where}.{name}: unknown quirk; {hint}")
        fields[name] = _quirk(name, value, f"{where}.{name}")
    return Quirks(**fields)


def _quirk(name: str, value: bool | int | str, where: str) -> Any:
    default = getattr(STRICT, name)
    if isinstance(default, RangeDeviation):
        words = [each.value for each in RangeDeviation]
        if value not in words:
            raise UsageError(f"{where}: found {value!r}; expected one of {', '.join(words)}")
        return RangeDeviation(value)
    if name in NUMBER_BOUNDS:
        least, most = NUMBER_BOUNDS[name]
        if type(value) is not int or not least <= value <= most:
            raise UsageError(f"{where}: found {value!r}; expected {least} to {most}")
        return value
    if type(value) is not bool:
        raise UsageError(f"{where}: found {value!r}; expected true or false")
    return value
