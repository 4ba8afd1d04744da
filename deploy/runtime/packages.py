"""Debian's packages, fetched with apt and unpacked into the cache: nothing is installed, no right is needed.

``cache/debian/<recipe>/`` is an unpacked tree with a ``manifest.json``. It appears by one rename when it is complete,
so an interrupted download or unpacking leaves nothing that could be mistaken for it, and it is never changed
afterwards, so servers may run from it while others call. One caller at a time works on the cache, under a lock.

apt verifies every package against the archive's signature. The programs then need Debian 13's C library, which the
host may not have: a wrapper in each program's place calls the unpacked loader.

Standard library only: the bootstrap uses this before anything is installed.
"""

import fcntl
import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from deploy.runtime import sources
from deploy.runtime.places import make_directories
from protocols.errors import UnavailableError

# Part of the trees' names: raise one when what is unpacked, or how, changes.
SERVERS_RECIPE = 2
PIP_RECIPE = 1
KEYRINGS = (
    "/usr/share/keyrings/debian-archive-keyring.gpg",  # Debian 12
    "/usr/share/keyrings/debian-archive-keyring.pgp",  # Debian 13
)
APT_TIMEOUT_S = 600
LOADERS = ("usr/lib64/ld-linux*.so.*", "usr/lib/*/ld-linux*.so.*", "usr/lib/ld-linux*.so.*")  # amd64, arm64
MANIFEST = "manifest.json"

Say = Callable[[str], None]


@contextmanager
def locked(cache: Path, say: Say) -> Iterator[None]:
    """Hold the cache's lock; the kernel frees it if the holder dies."""
    make_directories(cache)
    with (cache / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another congto that is filling the cache")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def servers_tree(cache: Path, say: Say) -> Path:
    """Return the tree with PostgreSQL, TimescaleDB and Mosquitto, fetched if the cache does not have it."""
    wanted = [*sources.DATABASE_PACKAGES, *sources.BROKER_PACKAGES]
    return _tree(cache, f"servers-{sources.SUITE}-{platform.machine()}-{SERVERS_RECIPE}", wanted, closure=True, say=say)


def pip_tree(cache: Path, say: Say) -> Path:
    """Return the tree with Debian's pip wheel, for a Python without ensurepip."""
    return _tree(cache, f"pip-{sources.SUITE}-{PIP_RECIPE}", ["python3-pip-whl"], closure=False, say=say)


def _tree(cache: Path, name: str, wanted: Sequence[str], *, closure: bool, say: Say) -> Path:
    tree = cache / "debian" / name
    if (tree / MANIFEST).exists():
        return tree
    with locked(cache, say):
        if (tree / MANIFEST).exists():
            return tree
        make_directories(tree.parent)
        for abandoned in tree.parent.glob(f"{name}.*"):
            shutil.rmtree(abandoned)
        work = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=tree.parent))
        try:
            _fill(work, tree, wanted, closure=closure, say=say)
        finally:
            shutil.rmtree(work)
    return tree


def _fill(work: Path, tree: Path, wanted: Sequence[str], *, closure: bool, say: Say) -> None:
    apt = Apt(work)
    apt.update(say)
    chosen = apt.closure(wanted) if closure else list(wanted)
    say(f"downloading {len(chosen)} of Debian 13's packages for {', '.join(wanted)}")
    packages = apt.download(chosen)
    say(f"unpacking {sum(package.stat().st_size for package in packages) / 1e6:.0f} MB")
    root = work / "root"
    make_directories(root)
    for package in packages:
        _run(["dpkg", "-x", str(package), str(root)])
    if closure:
        wrap_programs(root)
    manifest = {"packages": [package.name for package in packages]}
    (root / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    root.rename(tree)


def wrap_programs(root: Path) -> None:
    """Put a wrapper in the place of each program below ``root``.

    The program itself moves to a sibling directory ``<its directory>.unpacked``.
    """
    loaders = [path for pattern in LOADERS for path in sorted(root.glob(pattern))]
    libraries = sorted(path for path in root.glob("usr/lib/*-linux-gnu*") if path.is_dir())
    if not loaders or not libraries:
        raise UnavailableError(f"Debian's libc6 holds no loader or no library directory under {root}")
    loader = str(loaders[0].relative_to(root))
    library_paths = [str(library.relative_to(root)) for library in libraries]
    for directory in (root / "usr/lib/postgresql/17/bin", root / "usr/sbin", root / "usr/bin"):
        if not directory.is_dir():
            continue
        unpacked = directory.with_name(f"{directory.name}.unpacked")
        directory.rename(unpacked)
        make_directories(directory)
        for program in unpacked.iterdir():
            if program.is_symlink() or not program.is_file() or program.read_bytes()[:4] != b"\x7fELF":
                continue
            wrapper = directory / program.name
            original = str((unpacked / program.name).relative_to(root))
            wrapper.write_text(sources.render_wrapper(loader, library_paths, original), encoding="utf-8")
            wrapper.chmod(0o755)


class Apt:
    """apt with sources, lists and cache of its own below a work directory."""

    def __init__(self, work: Path) -> None:
        if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
            raise UnavailableError("this system has no apt-get and dpkg")
        directories = {name: work / name for name in ("lists", "cache", "pool")}
        for directory in directories.values():
            (directory / "partial").mkdir(parents=True)
        (directories["cache"] / "archives" / "partial").mkdir(parents=True)
        self._pool = directories["pool"]
        self._sources = work / "sources.list"
        (work / "status").touch()
        configuration = work / "apt.conf"
        places = {name: str(work / name) for name in ("lists", "cache", "status")} | {"sources": str(self._sources)}
        configuration.write_text(sources.render_apt_configuration(places), encoding="utf-8")
        self._command = ["apt-get", "-q", "-c", str(configuration)]

    def update(self, say: Say) -> None:
        """Fetch the package lists from the first mirror of the host's that serves Debian 13."""
        refusals = []
        for mirror in sources.mirrors(read_host_sources()):
            keyrings = [key for key in dict.fromkeys((*KEYRINGS, *mirror.signed_by)) if Path(key).exists()]
            if not keyrings:
                raise UnavailableError("no Debian archive keys; install the package debian-archive-keyring")
            self._sources.write_text(sources.render_source_list(mirror, keyrings), encoding="utf-8")
            say("reading Debian 13's package lists")
            try:
                _run([*self._command, "update", "--error-on=any"])
            except UnavailableError as refused:
                refusals.append(f"{mirror.archive}: {refused}")
            else:
                return
        if any("NO_PUBKEY" in refusal for refusal in refusals):
            raise UnavailableError(
                "this system does not know Debian 13's keys; upgrade the package debian-archive-keyring"
            )
        if refusals:
            raise UnavailableError(f"no mirror in apt's sources gave {sources.SUITE}: {'; '.join(refusals)}")
        raise UnavailableError("apt's sources on this system name no mirror of Debian 12 or 13")

    def closure(self, names: Sequence[str]) -> list[str]:
        """Return ``name=version`` of the packages that ``names`` need on a system that has none of its own."""
        printed = _run([*self._command, "install", "--yes", "--print-uris", "-qq", *names])
        chosen = sources.choose_packages(printed)
        missing = set(names) - {package.partition("=")[0] for package in chosen}
        if missing:
            raise UnavailableError(f"Debian 13's package lists do not offer {', '.join(sorted(missing))}")
        return chosen

    def download(self, chosen: Sequence[str]) -> list[Path]:
        """Fetch and verify packages; return their files."""
        _run([*self._command, "download", *chosen], directory=self._pool)
        packages = sorted(self._pool.glob("*.deb"))
        if len(packages) != len(chosen):
            raise UnavailableError(f"apt-get download left {len(packages)} packages instead of {len(chosen)}")
        return packages


def read_host_sources() -> list[sources.Source]:
    """Return the apt sources of the host, in the order apt reads them."""
    found: list[sources.Source] = []
    etc = Path("/etc/apt")
    for path in [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]:
        if path.suffix not in {".list", ".sources"}:
            continue
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue  # One that this user may not read may hold a password; it is no public mirror.
        parse = sources.parse_deb822 if path.suffix == ".sources" else sources.parse_source_list
        found += parse(text)
    return found


def _run(command: Sequence[str], *, directory: Path | None = None) -> str:
    """Run ``command``; return its output, or raise UnavailableError with its last words."""
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            list(command),
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=APT_TIMEOUT_S,
            umask=0o022,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"{command[0]} took more than {APT_TIMEOUT_S} s; is the network slow or down?") from None
    if done.returncode != 0:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.startswith(("E:", "W:"))]
        raise UnavailableError(f"{command[0]} failed: {' '.join(said[:3]) or done.stderr[-300:]}")
    return done.stdout
