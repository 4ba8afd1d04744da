"""One agent to a spool: two would take one another's batches and throw each other off the broker."""

import fcntl
from pathlib import Path
from typing import IO

from protocols.errors import UnavailableError


def claim_spool(spool: Path) -> IO[bytes]:
    """Return a file that holds the claim on ``spool`` until it is closed, or its process ends in whatever way.

    Raises
    ------
    UnavailableError
        If another agent has claimed it, or the lock's file can't be written.
    """
    place = spool.with_name(f"{spool.name}.lock")
    try:
        claim = place.open("ab")
    except OSError as error:
        raise UnavailableError(
            f"{place}: can't be opened: {error.strerror}; see to the directory and its rights"
        ) from error
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        claim.close()
        raise UnavailableError(
            f"{spool}: another agent is using it; stop that one, or give each gateway a spool of its own"
        ) from error
    return claim
