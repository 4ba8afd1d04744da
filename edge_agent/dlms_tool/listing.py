"""``congto dlms list``: the objects that this client sees, with its rights to each attribute and method."""

import argparse
import asyncio
from collections.abc import Sequence
from typing import Any

from edge_agent.dlms_tool import screen, target
from edge_agent.dlms_tool.obis_names import CLASSES, name_of
from edge_agent.dlms_tool.session import MeterSession, associated
from protocols.dlms.data import Data, integer_of, items_of, octets_of
from protocols.dlms.objects import ClassId, ObjectEntry, decode_object_list
from protocols.errors import RemoteProtocolError
from protocols.obis import Obis

# Blue Book 4.4.4, access_mode of versions 0 to 2; version 3 has bits: 1 read, 2 write, then what a request needs.
_MODES = {0: "", 1: "r", 2: "w", 3: "rw", 4: "r!", 5: "w!", 6: "rw!"}
_METHOD_MODES = {0: "", 1: "x", 2: "x!"}
FLAGS_SINCE_VERSION = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``congto dlms list``."""
    target.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the objects."""
    where = target.parse(arguments)
    entries, bases = asyncio.run(_list(where, trace=arguments.trace))
    with_flags = any(e.class_id == ClassId.ASSOCIATION_LN and e.version >= FLAGS_SINCE_VERSION for e in entries)
    if arguments.json:
        screen.print_json({"objects": [_to_json(entry, bases, with_flags) for entry in entries]})
        return 0
    rows = [
        (
            str(entry.obis),
            f"{entry.class_id} v{entry.version}",
            CLASSES.get(entry.class_id, ""),
            name_of(entry.obis),
            _rights(entry, bases, with_flags),
        )
        for entry in entries
    ]
    head = "base name" if bases else "rights: attribute r w, method x, ! only protected"
    screen.print_table(f"{len(entries)} objects", ("OBIS", "class", "kind", "name", head), rows)
    return 0


async def _list(where: target.Target, *, trace: bool) -> tuple[tuple[ObjectEntry, ...], dict[tuple[int, Obis], int]]:
    async with associated(where, trace=trace) as session:
        entries = await read_object_list(session)
        return entries, session.client.short_names.bases if where.association.uses_short_names else {}


async def read_object_list(session: MeterSession) -> tuple[ObjectEntry, ...]:
    """Return what the association lists."""
    if session.target.association.uses_short_names:
        return tuple(_short_entry(element) for element in items_of(await session.remembered.object_list()))
    return decode_object_list(await session.remembered.object_list())


def _short_entry(element: Data) -> ObjectEntry:
    _base, class_id, version, name = items_of(element, 4)
    octets = octets_of(name)
    if len(octets) != 6:
        raise RemoteProtocolError(f"a logical name of {len(octets)} octets, expected 6")
    return ObjectEntry(integer_of(class_id), integer_of(version), Obis.from_octets(octets), (), ())


def mode_word(mode: int, *, flags: bool, method: bool = False) -> str:
    """Return an access mode: r, w, rw or x, with ! where the request must be protected."""
    if flags:
        word = ("x" if mode & 1 else "") if method else ("r" if mode & 1 else "") + ("w" if mode & 2 else "")
        return word + ("!" if word and mode & 0x1C else "")
    return (_METHOD_MODES if method else _MODES).get(mode, f"?{mode}")


def _rights(entry: ObjectEntry, bases: dict[tuple[int, Obis], int], flags: bool) -> str:
    if bases:
        return f"{bases.get((entry.class_id, entry.obis), 0):04x}"
    words = [(index, mode_word(mode, flags=flags)) for index, mode in entry.attributes]
    methods = [(index, mode_word(mode, flags=flags, method=True)) for index, mode in entry.methods]
    parts = [_grouped(words), "; ".join(f"{index}{word}" for index, word in methods if word)]
    return " · ".join(part for part in parts if part)


def _grouped(words: Sequence[tuple[int, str]]) -> str:
    """Return ``1-3 r, 4 rw``: attributes with the same right together."""
    groups: list[tuple[int, int, str]] = []
    for index, word in words:
        if groups and groups[-1][2] == word and groups[-1][1] == index - 1:
            groups[-1] = (groups[-1][0], index, word)
        elif word:
            groups.append((index, index, word))
    return ", ".join(f"{first}{f'-{last}' if last > first else ''} {word}" for first, last, word in groups)


def _to_json(entry: ObjectEntry, bases: dict[tuple[int, Obis], int], flags: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "class": entry.class_id,
        "version": entry.version,
        "obis": str(entry.obis),
        "kind": CLASSES.get(entry.class_id, ""),
        "name": name_of(entry.obis),
    }
    if bases:
        return shown | {"base_name": bases.get((entry.class_id, entry.obis))}
    return shown | {
        "attributes": {str(index): mode_word(mode, flags=flags) for index, mode in entry.attributes},
        "methods": {str(index): mode_word(mode, flags=flags, method=True) for index, mode in entry.methods},
    }
