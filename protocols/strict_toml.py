"""TOML files read strictly: every key is asked for, typed and named when wrong; a key nobody asked for is refused.

::

    table = parse_toml(text, "agent.toml")
    gateway = table.table("gateway")
    name = gateway.take("id", str)
    every = gateway.take("every", str, default="30m")
    gateway.finish()

An error reads ``agent.toml: gateway.evry: unknown key; did you mean 'every'?``
"""

import difflib
import tomllib
from collections.abc import Collection, Iterator
from datetime import date, datetime
from typing import Any, TypeVar, overload

from protocols.errors import UsageError

T = TypeVar("T", str, int, bool, float, list[Any], date, datetime)

_WORDS = {
    str: "a text",
    int: "an integer",
    bool: "true or false",
    float: "a number",
    list: "a list",
    dict: "a table",
    date: "a date such as 2025-10-01",
    datetime: "a time with its offset such as 2025-10-01T00:00:00+07:00",
}
_MISSING: Any = object()


class Table:
    """One table of a TOML file; remembers which of its keys were asked for."""

    def __init__(self, content: dict[str, Any], where: str) -> None:
        self._content = content
        self._asked: set[str] = set()
        self.where = where

    def __contains__(self, key: str) -> bool:
        self._asked.add(key)  # a key that may be absent is known all the same
        return key in self._content

    def names(self) -> list[str]:
        """Return the keys in the order of the file."""
        return list(self._content)

    def kind(self, key: str) -> type:
        """Return the type of the value of ``key``, which is there."""
        return type(self._content[key])

    def place(self, key: str) -> str:
        """Return where ``key`` stands, for an error: ``agent.toml: gateway.id``."""
        return f"{self.where}{key}" if self.where.endswith(": ") else f"{self.where}.{key}"

    def error(self, key: str, message: str) -> UsageError:
        """Return the error that says what is wrong with ``key`` and where it stands."""
        return UsageError(f"{self.place(key)}: {message}")

    @overload
    def take(self, key: str, kind: type[T], *, choices: Collection[T] | None = None) -> T: ...

    @overload
    def take(self, key: str, kind: type[T], *, default: T, choices: Collection[T] | None = None) -> T: ...

    @overload
    def take(self, key: str, kind: type[T], *, default: None, choices: Collection[T] | None = None) -> T | None: ...

    def take(self, key: str, kind: Any, *, default: Any = _MISSING, choices: Any = None) -> Any:
        """Return the value of ``key``; raise :class:`UsageError` if it is missing, of another type or no choice."""
        self._asked.add(key)
        if key not in self._content:
            if default is _MISSING:
                raise self.error(key, f"missing; expected {_WORDS[kind]}{self.near(key)}")
            return default
        value = self._content[key]
        if type(value) is not kind:
            raise self.error(key, f"expected {_WORDS[kind]}, found {value!r}")
        if choices is not None and value not in choices:
            raise self.error(key, f"found {value!r}; expected one of {', '.join(map(str, choices))}")
        return value

    def near(self, key: str) -> str:
        """Return, for an error, which key may be meant for ``key``, which is missing; nothing if none is like it."""
        near = difflib.get_close_matches(key, [each for each in self._content if each not in self._asked], n=1)
        return f"; found {near[0]!r}, did you mean that?" if near else ""

    def integer(self, key: str, lowest: int, highest: int, *, default: int | None = None) -> int:
        """Return the integer ``key`` within its closed bounds."""
        value: int = self.take(key, int) if default is None else self.take(key, int, default=default)
        if not lowest <= value <= highest:
            raise self.error(key, f"found {value}; expected {lowest} to {highest}")
        return value

    def table(self, key: str, *, required: bool = True) -> "Table":
        """Return the table ``key``; an empty one if it is absent and not required."""
        self._asked.add(key)
        value = self._content.get(key, _MISSING if required else {})
        if value is _MISSING:
            raise self.error(key, f"missing; expected a table{self.near(key)}")
        if type(value) is not dict:
            raise self.error(key, f"expected a table, found {value!r}")
        return Table(value, self.place(key))

    def tables(self, key: str) -> Iterator["Table"]:
        """Yield the tables of the array ``[[key]]``; none if it is absent."""
        self._asked.add(key)
        value = self._content.get(key, [])
        if type(value) is not list or any(type(each) is not dict for each in value):
            raise self.error(key, f"expected an array of tables, written [[{key}]]")
        for number, each in enumerate(value, start=1):
            yield Table(each, self.place(f"{key}[{number}]"))

    def finish(self) -> None:
        """Raise :class:`UsageError` if the table holds a key that nobody asked for."""
        for key in self._content:
            if key not in self._asked:
                near = difflib.get_close_matches(key, self._asked, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(sorted(self._asked))}"
                raise self.error(key, f"unknown key; {hint}")


def parse_toml(text: str, name: str) -> Table:
    """Return the top table of ``text``; ``name`` is the file's name, for errors."""
    try:
        return Table(tomllib.loads(text), f"{name}: ")
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{name}: not TOML: {error}") from error


def parse_duration(text: str, place: str) -> int:
    """Return the milliseconds of a duration such as ``500ms``, ``10s``, ``30m``, ``1h``, ``1d``."""
    for suffix, factor in (("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)):
        digits = text.removesuffix(suffix)
        if digits != text and digits.isascii() and digits.isdigit() and 0 < int(digits) < 1_000_000:
            return int(digits) * factor
    raise UsageError(f"{place}: found {text!r}; expected a duration such as 500ms, 10s, 30m, 1h or 1d")
