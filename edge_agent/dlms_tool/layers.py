"""Captured octets explained, for ``congto dlms decode`` and ``vectors``: DLMS, and the sign-on of mode E before it."""

from collections.abc import Mapping
from typing import Any

from protocols.dlms.translate import LAYERS as DLMS_LAYERS
from protocols.dlms.translate import Circumstances, guess_layer, translate
from protocols.iec62056_21.messages import decode_identification

MODE_E = "mode_e"
NAMES = (*DLMS_LAYERS, MODE_E)


def guess(octets: bytes) -> str:
    """Return the layer that ``octets`` look like."""
    return MODE_E if octets[:1] == b"/" and octets[-2:] == b"\r\n" else guess_layer(octets)


def explain(octets: bytes, layer: str, known: Circumstances) -> dict[str, Any]:
    """Return what ``octets`` mean; RemoteProtocolError when they break the rules of ``layer``."""
    return _identification(octets) if layer == MODE_E else translate(octets, layer, known)


def _identification(octets: bytes) -> dict[str, Any]:
    said = decode_identification(octets)
    return {
        "manufacturer": said.manufacturer,
        "baud_char": said.baud_character,
        "baud": said.baud,
        "identification": said.text,
    } | ({"enhanced": said.escapes} if said.escapes else {})


def tree(value: object, indent: int = 0) -> list[str]:
    """Return the lines of an indented tree; ``[type, value]`` of A-XDR stands on one line when it is short."""
    pad = "  " * indent
    if _is_flat(value):
        return [f"{pad}{_flat(value)}"]
    if isinstance(value, Mapping):
        lines = []
        for key, inner in value.items():
            if _is_flat(inner):
                lines.append(f"{pad}{key}: {_flat(inner)}")
            else:
                lines += [f"{pad}{key}:", *tree(inner, indent + 1)]
        return lines
    if isinstance(value, list):
        if len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], list):
            return [
                f"{pad}{value[0]} of {len(value[1])}:",
                *(line for one in value[1] for line in tree(one, indent + 1)),
            ]
        lines = []
        for place, inner in enumerate(value):
            if _is_flat(inner):
                lines.append(f"{pad}{_flat(inner)}")
            else:
                lines += [f"{pad}[{place}]", *tree(inner, indent + 1)]
        return lines
    return [f"{pad}{_flat(value)}"]


def _is_typed(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and not isinstance(value[1], list)


def _is_flat(value: object) -> bool:
    words = isinstance(value, list) and all(isinstance(one, str) for one in value)
    return not isinstance(value, list | Mapping) or _is_typed(value) or words or not value


def _flat(value: object) -> str:
    if _is_typed(value):
        assert isinstance(value, list)
        return f"{value[0]} {_flat(value[1])}"
    if isinstance(value, list | Mapping):
        return ", ".join(map(str, value)) or "empty"
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
