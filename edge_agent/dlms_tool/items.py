"""Attributes and values as engineers write them: ``1.0.1.8.0``, ``3:1.0.1.8.0:2``, ``long-unsigned 900``."""

import re
import struct
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

from protocols.dlms import axdr
from protocols.dlms.cosem_time import date_time_data, encode_date_time
from protocols.dlms.data import INTEGER_STRUCTS, NULL, Data, Tag
from protocols.dlms.objects import ClassId
from protocols.dlms.xdlms.references import Attribute
from protocols.errors import LocalProtocolError, RemoteProtocolError, UsageError
from protocols.obis import Obis

_ITEM = re.compile(r"(?:(\d{1,5}):)?([\d.]+)(?::(-?\d{1,3}))?")
_WORDS: Mapping[str, Tag] = {tag.word: tag for tag in Tag}
_SECONDS = re.compile(r"\d{4}-\d\d-\d\d.*")
VALUE_TYPES = (
    *(tag.word for tag in INTEGER_STRUCTS), "boolean", "octet-string", "visible-string", "utf8-string", "null-data",
    "date-time", "axdr",
)  # fmt: skip


def class_of(obis: Obis) -> int | None:
    """Return the interface class that an object with this logical name nearly always is (Blue Book 6.2)."""
    a, _, c, d, _, _ = obis.groups
    if a == 0:
        fixed = {
            (1, 0): ClassId.CLOCK,
            (40, 0): ClassId.ASSOCIATION_LN,
            (41, 0): ClassId.SAP_ASSIGNMENT,
            (43, 0): ClassId.SECURITY_SETUP,
            (44, 0): ClassId.IMAGE_TRANSFER,
            (17, 0): ClassId.LIMITER,
            (10, 0): ClassId.SCRIPT_TABLE,
            (25, 9): ClassId.PUSH_SETUP,
            (98, 1): ClassId.PROFILE_GENERIC,
            (99, 98): ClassId.PROFILE_GENERIC,
            (96, 3): ClassId.DISCONNECT_CONTROL if obis.e == 10 else ClassId.DATA,
        }
        found = fixed.get((c, d))
        return int(found) if found is not None else int(ClassId.DATA) if c in (42, 43, 96, 97) else None
    if a != 1 or c in (98, 99):
        return int(ClassId.PROFILE_GENERIC) if a == 1 else None
    if c == 0:
        return int(ClassId.DATA)
    return int({4: ClassId.DEMAND_REGISTER, 6: ClassId.EXTENDED_REGISTER}.get(d, ClassId.REGISTER))


def parse_attribute(text: str, default_index: int | None = 2) -> Attribute:
    """Return the attribute written ``[CLASS:]OBIS[:INDEX]``; the class is guessed from the code where it can be."""
    match = _ITEM.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r}: expected [CLASS:]OBIS[:INDEX], such as 1.0.1.8.0 or 3:1.0.1.8.0:2")
    obis = Obis.parse(match.group(2))
    class_id = int(match.group(1)) if match.group(1) else class_of(obis)
    index = int(match.group(3)) if match.group(3) else default_index
    if class_id is None or class_id > 0xFFFF:
        raise UsageError(f"{text}: the class of {obis} can't be guessed; write CLASS:OBIS:INDEX")
    if index is None or not -128 <= index <= 127:
        raise UsageError(f"{text}: expected an index from -128 to 127, such as {class_id}:{obis}:2")
    return Attribute(class_id, obis, index)


def parse_value(kind: str, text: str, deviation_minutes: int) -> Data:
    """Return the value of type ``kind`` written ``text``; UsageError when it is none."""
    if kind == "axdr":
        try:
            return axdr.decode(_octets(text))
        except RemoteProtocolError as error:
            raise UsageError(f"axdr {text}: {error}") from error
    if kind == "date-time":
        return date_time_data(encode_date_time(parse_instant(text, deviation_minutes), deviation_minutes))
    if kind == "null-data":
        return NULL
    tag = _WORDS.get(kind)
    if tag is None or kind not in VALUE_TYPES:
        raise UsageError(f"type {kind!r}: expected one of {', '.join(VALUE_TYPES)}")
    if tag is Tag.BOOLEAN:
        if text not in ("true", "false"):
            raise UsageError(f"boolean {text!r}: expected true or false")
        return Data(tag, text == "true")
    if tag is Tag.OCTET_STRING:
        return Data(tag, _octets(text))
    if tag in (Tag.VISIBLE_STRING, Tag.UTF8_STRING):
        if tag is Tag.VISIBLE_STRING and not text.isascii():
            raise UsageError(f"visible-string {text!r}: expected ASCII; utf8-string takes all")
        return Data(tag, text.encode("utf-8"))
    value = Data(tag, _number(kind, text))
    try:
        axdr.encode(value)
    except (LocalProtocolError, struct.error, OverflowError) as error:
        raise UsageError(f"{kind} {text}: does not fit into that type") from error
    return value


def parse_instant(text: str, deviation_minutes: int) -> datetime:
    """Return the instant written as ISO 8601; without a zone it is the meter's local time."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{text!r}: expected a time such as 2026-10-31 or 2026-10-31T17:30+07:00") from error
    if at.tzinfo is None:
        at = datetime.fromtimestamp(at.replace(tzinfo=UTC).timestamp() + deviation_minutes * 60, UTC)
    return at.astimezone(UTC)


def _number(kind: str, text: str) -> int:
    if not re.fullmatch(r"[+-]?\d{1,20}", text):
        raise UsageError(f"{kind} {text!r}: expected a whole number")
    return int(text)


def _octets(text: str) -> bytes:
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError as error:
        raise UsageError(f"{text[:40]!r}: expected pairs of hex digits") from error


def plain(number: Decimal) -> str:
    """Return a number without exponent and without needless zeros."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
