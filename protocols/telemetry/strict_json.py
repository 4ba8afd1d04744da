"""JSON without its traps: one reading of each text, or an error. In bounded time and memory.

Refused beyond what JSON itself refuses: duplicate keys, NaN and Infinity, floats (nothing in the contract is one),
numbers of more than 4,300 digits (Python's own limit), nesting beyond :data:`DEPTH_MAX`. The caller limits the length
of the text, the characters of its strings, and the range of the integers by the column that it puts them in.
"""

import json
from typing import Any, NoReturn

from protocols.errors import RemoteProtocolError

DEPTH_MAX = 8  # the contract needs 3: object, array, channel pair
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_TO_SQUARE = bytes.maketrans(b"{}", b"[]")


def parse_object(data: bytes) -> dict[str, Any]:
    """Return the JSON object in ``data`` (UTF-8); raise :class:`RemoteProtocolError` naming what is wrong."""
    _check_depth(data)
    try:
        parsed = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_float=_refuse_float,
            parse_constant=_refuse_float,
        )
    except UnicodeDecodeError as error:
        raise RemoteProtocolError("not UTF-8", offset=error.start) from error
    except json.JSONDecodeError as error:
        raise RemoteProtocolError(f"not JSON: {error.msg}", offset=error.pos) from error
    except ValueError as error:  # an integer of more digits than Python converts
        raise RemoteProtocolError("not JSON that we take: a number is too long") from error
    if not isinstance(parsed, dict):
        raise RemoteProtocolError(f"expected a JSON object, found {type(parsed).__name__}")
    return parsed


def _check_depth(data: bytes) -> None:
    """Refuse deep nesting before the parser goes down into it, at the speed of a search.

    Taking away innermost pairs ``DEPTH_MAX`` times leaves nothing of a text that is nested no deeper. The check ignores
    that brackets may stand in strings: the contract's strings hold none.
    """
    brackets = data.translate(_TO_SQUARE, _ALL_BUT_BRACKETS)
    for _ in range(DEPTH_MAX):
        brackets = brackets.replace(b"[]", b"")
    if brackets:
        raise RemoteProtocolError(
            f"not JSON that we take: nested deeper than {DEPTH_MAX}, or brackets that do not match"
        )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise RemoteProtocolError("an object has the same key twice")
    return found


def _refuse_float(text: str) -> NoReturn:
    raise RemoteProtocolError(f"the number {text[:40]} is not an integer; values are integers in base units")
