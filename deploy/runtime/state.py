"""What a runtime remembers: ``runtime.json`` in its directory.

::

    {"format": 1,
     "database": {"port": 40001, "password": "…"},
     "broker": {"port": 40002, "url": "mqtt://…"}}

``url`` is there while a server that others run is used; port and password of our own stay, to come back to.

The file holds a password, so only its owner may read it. It is replaced, never rewritten in place.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deploy.runtime.places import STATE_FILE
from protocols.errors import UsageError

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Half:
    """The database or the broker: the port of our own (and its password), and the URL of one of others if that is used.

    A port of 0 says that our own has never been up.
    """

    port: int = 0
    password: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """Both halves; ``None`` is one that has never been up."""

    database: Half | None = None
    broker: Half | None = None


def _decode_half(value: Any) -> Half | None:
    if value is None:
        return None
    half = Half(**value)
    if not (isinstance(half.port, int) and isinstance(half.password, str) and isinstance(half.url, str)):
        raise TypeError(f"port, password or url of the wrong type in {value!r}")
    return half


def load_state(directory: Path) -> State:
    """Return what ``directory`` remembers, nothing if it is new; raise UsageError if the file cannot be understood."""
    path = directory / STATE_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.get("format") != FORMAT:
            raise ValueError(f"format {content.get('format')!r}")
        return State(_decode_half(content.get("database")), _decode_half(content.get("broker")))
    except FileNotFoundError:
        return State()
    except PermissionError:
        raise UsageError(f"{path} belongs to another user; call this as the user who started it") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}; choose another directory with --dir") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path} is not a state file of format {FORMAT} ({error}); "
            "restore it, or remove the whole directory to begin anew"
        ) from None


def store_state(directory: Path, state: State) -> None:
    """Replace the state file in one step."""
    halves = {
        name: None if half is None else {k: v for k, v in half.items() if v} for name, half in asdict(state).items()
    }
    temporary = directory / f"{STATE_FILE}.new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({"format": FORMAT, **halves}, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(directory / STATE_FILE)
