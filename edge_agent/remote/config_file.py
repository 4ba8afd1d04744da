"""The configuration's files: ``agent.toml``, the last good one beside it (``agent.toml.good``), one that is being tried
(``agent.toml.new``), and one that was taken back (``agent.toml.failed``).

The configuration that is tried becomes ``agent.toml`` by a rename when it has held; so after a kill at any moment the
file is the old one or the new one, whole.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_agent.config import AgentConfig, parse_config
from protocols.errors import UnavailableError, UsageError

OCTETS_MAX = 1 << 20
FILE_MODE = 0o640


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration, the text it was read from, and why it is not the file's, if it is the last good one."""

    config: AgentConfig
    text: str
    refused: str | None = None


class ConfigFile:
    """The files of one gateway's configuration."""

    def __init__(self, path: Path, environment: Mapping[str, str] = os.environ) -> None:
        self.path = path
        self._environment = environment

    def load(self) -> Loaded:
        """Return the file's configuration, or the last good one if the file does not hold.

        Raises
        ------
        UsageError
            If neither holds; it says what is wrong with the file.
        """
        try:
            text = self.read()
            return Loaded(self.parse(text), text)
        except UsageError as error:
            try:
                good = self.read(".good")
                return Loaded(self.parse(good), good, str(error))
            except UsageError:
                raise error from None

    def parse(self, text: str) -> AgentConfig:
        """Return the configuration in ``text``; raise :class:`UsageError`."""
        return parse_config(text, self.path.name, self.path.resolve().parent, self._environment)

    def read(self, suffix: str = "") -> str:
        """Return the text of a file; raise :class:`UsageError`."""
        path = self._beside(suffix)
        try:
            with path.open("rb") as file:
                content = file.read(OCTETS_MAX + 1)
            if len(content) > OCTETS_MAX:
                raise UsageError(f"{path}: more than {OCTETS_MAX} octets; is this a configuration?")
            return content.decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path}: can't be read: {error}") from error

    def write(self, text: str, suffix: str = "") -> None:
        """Replace a file, whole and durably; raise :class:`UnavailableError`."""
        path = self._beside(suffix)
        draft = path.with_name(f"{path.name}~")
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            draft.rename(path)
            self._sync_directory()
        except OSError as error:
            raise UnavailableError(
                f"{path}: can't be written: {error.strerror}; the agent needs its configuration's directory to itself"
            ) from error

    def adopt(self) -> None:
        """Make the one that was tried the configuration."""
        try:
            self._beside(".new").rename(self.path)
            self._sync_directory()
        except OSError as error:
            raise UnavailableError(f"{self.path}: can't be replaced: {error.strerror}") from error

    def discard(self) -> None:
        """Remove the one that was tried."""
        self._beside(".new").unlink(missing_ok=True)

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def _sync_directory(self) -> None:
        descriptor = os.open(self.path.resolve().parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def digest_of(text: str) -> str:
    """Return the SHA-256 of a configuration, by which people and replies name it."""
    return hashlib.sha256(text.encode()).hexdigest()
