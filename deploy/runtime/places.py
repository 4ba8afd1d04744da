"""Where things lie and whom they belong to: cache, state directories and the user the servers run as.

PostgreSQL refuses to run as root, and no server should. As root the servers run as the owner of an existing data
directory, else as ``postgres``, else as ``nobody``; otherwise as whoever called. Everything above their files must be
searchable for that user, which a home directory often is not, so root's defaults lie under /var.
"""

import errno
import os
import pwd
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from protocols.errors import UnavailableError, UsageError

SERVER_USERS = ("postgres", "nobody")
STATE_FILE = "runtime.json"
OWN_NAMES = frozenset({STATE_FILE, f"{STATE_FILE}.new", "lock", "database", "broker"})


@dataclass(frozen=True, slots=True)
class Identity:
    """The user and group a server runs as."""

    uid: int
    gid: int


def cache_directory(environment: Mapping[str, str]) -> Path:
    """Return where downloads are kept: $CONGTO_CACHE, $XDG_CACHE_HOME/congto, else ~/.cache (root: /var/cache)."""
    if chosen := environment.get("CONGTO_CACHE"):
        return Path(chosen).absolute()
    if chosen := environment.get("XDG_CACHE_HOME"):
        return Path(chosen).absolute() / "congto"
    return Path("/var/cache/congto") if os.geteuid() == 0 else Path.home() / ".cache" / "congto"


def runtime_directory(environment: Mapping[str, str]) -> Path:
    """Return where a runtime lives unless told: $XDG_STATE_HOME/congto, else ~/.local/state (root: /var/lib)."""
    if chosen := environment.get("XDG_STATE_HOME"):
        return Path(chosen).absolute() / "congto" / "runtime"
    if os.geteuid() == 0:
        return Path("/var/lib/congto/runtime")
    return Path.home() / ".local" / "state" / "congto" / "runtime"


def server_identity(data_directory: Path) -> Identity:
    """Return whom the servers of ``data_directory`` run as; raise if that cannot be anybody but root."""
    if os.geteuid() != 0:
        return Identity(os.geteuid(), os.getegid())
    if data_directory.exists():
        owner = data_directory.stat()
        if owner.st_uid != 0:
            return Identity(owner.st_uid, owner.st_gid)
    for name in SERVER_USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Identity(entry.pw_uid, entry.pw_gid)
    raise UnavailableError(
        f"called as root, and none of the users {', '.join(SERVER_USERS)} exists to run the servers as; "
        "call it as an ordinary user, or create the user postgres"
    )


def check_searchable(path: Path, identity: Identity, cure: str) -> None:
    """Raise UsageError when ``identity`` cannot get to ``path`` because a directory above is closed to it."""
    for directory in reversed([path, *path.parents]):
        entry = directory.stat()
        if entry.st_uid == identity.uid:
            allowed = entry.st_mode & stat.S_IXUSR
        elif entry.st_gid == identity.gid:
            allowed = entry.st_mode & stat.S_IXGRP
        else:
            allowed = entry.st_mode & stat.S_IXOTH
        if not allowed:
            raise UsageError(
                f"{directory} is closed to the user {_name(identity.uid)}, whom the servers run as, "
                f"so they cannot reach {path}; {cure}"
            )


def make_directories(directory: Path) -> None:
    """Create ``directory`` and what is missing above it; what root creates is open to others whatever the umask."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        if os.geteuid() == 0:
            path.chmod(0o755)
    if not directory.is_dir():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(directory))


def check_ours(directory: Path) -> None:
    """Raise UsageError when ``directory`` is somebody's who is no runtime: it must be new, empty or one of ours."""
    found = {path.name for path in directory.iterdir()}
    if STATE_FILE in found:
        return
    if foreign := sorted(found - OWN_NAMES):
        raise UsageError(
            f"{directory} is no runtime's directory: it holds {foreign[0]!r} and no {STATE_FILE}; "
            "choose an empty or a new one with --dir"
        )


def write_for(path: Path, text: str, identity: Identity) -> None:
    """Replace ``path`` with a file that ``identity`` alone can read.

    Root writes into a directory that is not root's here: a new file is renamed into place, so that a link planted
    there is replaced and never followed.
    """
    descriptor, temporary = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        if identity.uid != os.geteuid():
            os.fchown(file.fileno(), identity.uid, identity.gid)
    Path(temporary).replace(path)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
