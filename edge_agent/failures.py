"""Why a meter could not be read, as far as no standard of the wire names it."""

from protocols.errors import UnavailableError


class NoReplyError(UnavailableError):
    """The meter did not answer in time."""


class LineLostError(UnavailableError):
    """The line itself is gone: an unplugged adapter, a closed connection. It is opened again at the next cycle."""


class SpoolFullError(UnavailableError):
    """The spool holds as much as it may: nothing more is taken until the server gives receipts."""


class NoCountersError(UnavailableError):
    """The meter can't be spoken to for want of invocation counters: none is used that is not on the disk."""


class DiskFailedError(UnavailableError):
    """The disk reported an error. What it holds may differ from what was written: nothing more is asked of it."""
