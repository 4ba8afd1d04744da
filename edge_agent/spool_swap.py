"""A damaged spool's file and the one that takes its place: whenever the power fails, one of them is whole and found.

The damaged file stays where it is until what can be rescued of it is whole in another; for whoever wants to look into
it later it gets a second name. Then the new file gets the name :data:`WHOLE`, in one step, and from there the swap goes
on at the next start if it is interrupted: the old log goes, the mark of suspicion goes, the new file takes the old
one's name. (A log without its file, or a file without its log, would pass for an older spool.)
"""

import secrets
import shutil
from pathlib import Path

from edge_agent.spool_file import SUSPECT, TORN

ASIDE_MAX = 2  # damaged files that are kept for whoever wants to look into them
FRESH, WHOLE = ".fresh", ".whole"
BESIDE = ("-wal", "-shm")


def keep_beside(path: Path) -> Path:
    """Give a damaged spool and its log a second name, and return it. Of older ones the latest are kept."""
    older = sorted(
        (each for each in path.parent.glob(f"{path.name}.damaged-????????") if each.is_file()),
        key=lambda each: each.stat().st_mtime,
    )
    for each in older[: max(0, len(older) - ASIDE_MAX + 1)]:
        _remove(each)
    aside = path.with_name(f"{path.name}.damaged-{secrets.token_hex(4)}")
    for suffix in ("-wal", ""):
        source = path.with_name(path.name + suffix)
        if source.exists():
            _link(source, aside.with_name(aside.name + suffix))
    return aside


def begin_fresh(path: Path) -> Path:
    """Return where the new file is to be made; what an interrupted rescue left there goes."""
    fresh = path.with_name(path.name + FRESH)
    _remove(fresh)
    return fresh


def swap(path: Path) -> None:
    """Put the new file, which is closed, in the place of the damaged one."""
    path.with_name(path.name + FRESH).replace(path.with_name(path.name + WHOLE))
    finish_swap(path)


def finish_swap(path: Path) -> bool:
    """Go on with a swap that was interrupted; return whether there was one."""
    whole = path.with_name(path.name + WHOLE)
    if not whole.exists():
        return False
    for suffix in (*BESIDE, SUSPECT, TORN):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    whole.replace(path)
    return True


def _remove(path: Path) -> None:
    for suffix in (*BESIDE, ""):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)
