"""The models that come with congto, read from the package's own files."""

from functools import cache
from importlib.resources import files

from protocols.errors import UsageError
from protocols.meters.model import MeterModel, parse_model


@cache
def model_keys() -> tuple[str, ...]:
    """Return the keys of all models, in alphabetical order."""
    directory = files("protocols.meters") / "models"
    return tuple(
        sorted(entry.name.removesuffix(".toml") for entry in directory.iterdir() if entry.name.endswith(".toml"))
    )


@cache
def load_model(key: str) -> MeterModel:
    """Return the model ``key``; raise :class:`UsageError` naming the models there are."""
    if key not in model_keys():
        raise UsageError(f"meter model {key!r}: unknown; known models: {', '.join(model_keys())}")
    return parse_model((files("protocols.meters") / "models" / f"{key}.toml").read_text(encoding="utf-8"), key)
