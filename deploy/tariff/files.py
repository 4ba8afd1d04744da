"""Tariff files from a path: a whole folder, or one file beside those of the package."""

from importlib import resources
from pathlib import Path

from billing_core.tariff import Tariffs
from billing_core.tariff_files import load_tariffs, parse_tariffs
from protocols.errors import UsageError


def tariffs_of(path: Path | None) -> Tariffs:
    """Return the tariffs of ``path``: those of the package without one, those of a folder, or with one file more.

    Raises
    ------
    UsageError
        If a file cannot be read, or is wrong.
    """
    if path is None:
        return load_tariffs()
    try:
        if path.is_dir():
            files = {item.name: item.read_text(encoding="utf-8") for item in sorted(path.glob("*.toml"))}
        else:
            own = resources.files("billing_core") / "tariffs"
            files = {i.name: i.read_text(encoding="utf-8") for i in own.iterdir() if i.name.endswith(".toml")}
            files[path.name] = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}; expected a folder of tariff files, or one in UTF-8") from error
    return parse_tariffs(files)
