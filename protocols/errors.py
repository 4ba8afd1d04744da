"""Errors, by who must act.

::

    CongtoError
    ├── UsageError              the caller: a wrong argument, configuration or file; says what, where and the cure
    ├── ProtocolError           somebody broke the rules of the wire
    │   ├── LocalProtocolError  we did: a bug or a wrong configuration; never retry
    │   └── RemoteProtocolError the peer, or noise on the line, did; retrying may help
    └── UnavailableError        something outside is missing or down: a line, a server, a package; try later

A correct answer that says no (a Modbus exception, a DLMS data-access-result) is a value, never an exception.
"""


class CongtoError(Exception):
    """The root of what this project raises on purpose."""


class UsageError(CongtoError):
    """The caller must change something: the message says what was found, expected, where, and what to do."""


class ProtocolError(CongtoError):
    """A rule of the wire was broken."""


class LocalProtocolError(ProtocolError):
    """We broke it: a bug or a wrong configuration. Retrying does not help."""


class RemoteProtocolError(ProtocolError):
    """The peer or the line broke it. Retrying may help.

    Parameters
    ----------
    message
        What was found and what was expected.
    offset
        Where in the data, in octets from its start, if known.
    """

    def __init__(self, message: str, *, offset: int | None = None) -> None:
        super().__init__(message if offset is None else f"{message} (at octet {offset})")
        self.offset = offset


class UnavailableError(CongtoError):
    """Something outside this program is missing or down: the message says what, and what to do."""
