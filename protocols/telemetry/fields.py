"""The fields that more than one message has, taken strictly: a value of the right kind and range, or an error."""

from typing import Any

from protocols.errors import RemoteProtocolError, UsageError
from protocols.telemetry.topics import check_identifier

GENERATION_DIGITS = 16
TEXT_CHARACTERS_MAX = 100
INTEGER_MAX = (1 << 63) - 1


def check_schema(message: dict[str, Any], schema: str) -> None:
    """Refuse a message of another schema or version."""
    if message.get("schema") != schema:
        raise RemoteProtocolError(f"schema {str(message.get('schema'))[:60]!r}: expected {schema!r}")


def take_identifier(message: dict[str, Any], key: str) -> str:
    """Return the name of a gateway, bus or meter."""
    found = take_text(message, key)
    try:
        return check_identifier(found, key)
    except UsageError as error:
        raise RemoteProtocolError(str(error)) from error


def take_generation(message: dict[str, Any]) -> str:
    """Return the spool's generation: hexadecimal digits, as many as :data:`GENERATION_DIGITS`."""
    found = take_text(message, "generation")
    if len(found) != GENERATION_DIGITS or set(found) - set("0123456789abcdef"):
        raise RemoteProtocolError(f"generation {found[:40]!r}: expected {GENERATION_DIGITS} hexadecimal digits")
    return found


def take_text(message: dict[str, Any], key: str) -> str:
    """Return a text that can be stored and shown: printable, so without NUL and lone surrogates."""
    found = message.get(key)
    if type(found) is not str:
        raise RemoteProtocolError(f"{key}: expected a text, found {type(found).__name__}")
    if len(found) > TEXT_CHARACTERS_MAX or not found.isprintable():
        raise RemoteProtocolError(
            f"{key} {found[:40]!a}: expected at most {TEXT_CHARACTERS_MAX} characters, all of them printable"
        )
    return found


def take_integer(message: dict[str, Any], key: str, lowest: int = 0, highest: int = INTEGER_MAX) -> int:
    """Return an integer within its closed bounds."""
    found = message.get(key)
    if type(found) is not int:
        raise RemoteProtocolError(f"{key}: expected an integer, found {type(found).__name__}")
    if not lowest <= found <= highest:
        raise RemoteProtocolError(f"{key}: {str(found)[:40]} does not lie within {lowest} to {highest}")
    return found
