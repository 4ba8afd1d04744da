"""``congto dlms``: read, decode and control DLMS/COSEM meters.

Exit status: 0 done · 1 done, and the answer is no · 2 the call · 3 the line · 4 the protocol · 5 refused by the meter.
"""

import argparse
import importlib
import sys
from collections.abc import Callable

from edge_agent.dlms_tool.refusals import PROTOCOL_STATUS, REFUSED_STATUS, RefusedError
from protocols.errors import LocalProtocolError, RemoteProtocolError, UsageError

ACTIONS = {
    "read": ("read", "read attributes with their scalers and units"),
    "list": ("listing", "list the objects that this client sees, with its rights"),
    "profile": ("load_profile", "read a profile's rows of a range of time and draw the curve"),
    "set": ("acting", "write an attribute and read it back"),
    "action": ("acting", "invoke a method"),
    "clock": ("clock", "read the clock, set or adjust it within a limit"),
    "disconnect": ("acting", "open the relay and read its state back"),
    "reconnect": ("acting", "close the relay and read its state back"),
    "reset": ("billing_reset", "end the billing period: maximum demand from zero, a row in the billing profile"),
    "image": ("image", "transfer a firmware image, verify it, activate it when told to"),
    "push": ("push", "listen to what meters send unasked"),
    "decode": ("decode", "explain a frame, an APDU, a push or a value"),
    "vectors": ("vectors", "run test vectors and say which of them hold"),
}
STATUS_HELP = (
    "Exit status: 0 done, 1 not done, or there is nothing (no rows, a change beyond --limit, --yes missing), "
    "2 the call, 3 the line, 4 the protocol, 5 refused by the meter."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of ``congto dlms``."""
    parser.description = f"{parser.description} {STATUS_HELP}"
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, (module, purpose) in ACTIONS.items():
        action = actions.add_parser(name, help=purpose, description=purpose.capitalize() + ".")
        importlib.import_module(f"edge_agent.dlms_tool.{module}").add_arguments(action)


def run(arguments: argparse.Namespace) -> int:
    """Carry out the action; return the exit status."""
    module, _ = ACTIONS[arguments.action]
    return explained(lambda: importlib.import_module(f"edge_agent.dlms_tool.{module}").run(arguments))


def explained(action: Callable[[], int]) -> int:
    """Return the status of ``action``; what a meter or a line did wrong becomes a message and a status of its own."""
    try:
        return int(action())
    except RefusedError as refused:
        print(f"congto: {refused}", file=sys.stderr)
        return REFUSED_STATUS
    except RemoteProtocolError as broken:
        print(f"congto: {broken}", file=sys.stderr)
        return PROTOCOL_STATUS
    except LocalProtocolError as wrong:
        raise UsageError(str(wrong)) from wrong
