"""Tariff files from a path: a whole folder, or one file beside those of the package."""

from pathlib import Path

from billing_core.tariff import Tariffs
from billing_core.tariff_files import load_tariffs, package_files, parse_tariffs
from protocols.errors import UsageError
from protocols.utf8 import decode_text


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
            files = {item.name: decode_text(item.read_bytes(), str(item)) for item in sorted(path.glob("*.toml"))}
        else:
            files = package_files() | {path.name: decode_text(path.read_bytes(), str(path))}
    except OSError as error:
        raise UsageError(f"{path}: {error}; expected a folder of tariff files, or one in UTF-8") from error
    return parse_tariffs(files)
