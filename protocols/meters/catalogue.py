"""The models that come with congto, read from the package's own files, and those of a directory of one's own.

A model in the own directory needs no release; one with the key of a built-in model takes its place.
"""

import re
from functools import cache
from importlib.resources import files
from pathlib import Path

from protocols.errors import UsageError
from protocols.meters.model import MeterModel, parse_model
from protocols.utf8 import decode_text

KEY = re.compile(r"[a-z0-9][a-z0-9_]{0,63}")
MODELS_MAX = 1000  # files in an own directory


def model_keys(directory: Path | None = None) -> tuple[str, ...]:
    """Return the keys of all models, in alphabetical order, with those of the files ``KEY.toml`` in ``directory``."""
    return _built_in_keys() if directory is None else tuple(sorted({*_built_in_keys(), *_own(directory)}))


def load_model(key: str, directory: Path | None = None) -> MeterModel:
    """Return the model ``key``; raise :class:`UsageError` naming the models there are."""
    if directory is not None and key in (own := _own(directory)):
        return parse_model(read_model_file(own[key]), key)
    if key not in _built_in_keys():
        raise UsageError(f"meter model {key!r}: unknown; known models: {', '.join(model_keys(directory))}")
    return _built_in(key)


def read_model_file(path: Path) -> str:
    """Return the text of a model's file."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: can't be read: {error}") from error


def _own(directory: Path) -> dict[str, Path]:
    try:
        found = sorted(path for path in directory.iterdir() if path.suffix == ".toml")
    except OSError as error:
        raise UsageError(f"{directory}: can't be read as a directory of meter models: {error.strerror}") from error
    if len(found) > MODELS_MAX:
        raise UsageError(f"{directory}: {len(found)} models; expected at most {MODELS_MAX}")
    for path in found:
        if KEY.fullmatch(path.stem) is None:
            raise UsageError(
                f"{path}: the name is the model's key; expected small letters, digits and _, such as a1.toml"
            )
    return {path.stem: path for path in found}


@cache
def _built_in_keys() -> tuple[str, ...]:
    directory = files("protocols.meters") / "models"
    return tuple(
        sorted(entry.name.removesuffix(".toml") for entry in directory.iterdir() if entry.name.endswith(".toml"))
    )


@cache
def _built_in(key: str) -> MeterModel:
    octets = (files("protocols.meters") / "models" / f"{key}.toml").read_bytes()
    return parse_model(decode_text(octets, f"{key}.toml"), key)
