"""``congto dlms``: read, decode and control DLMS/COSEM meters.

Exit status: 0 done · 1 done, and the answer is no · 2 the call · 3 the line · 4 the protocol · 5 refused by the meter.
"""

import argparse
import importlib

ACTIONS = {
    "decode": ("decode", "explain a frame, an APDU, a push or a value"),
    "vectors": ("vectors", "run test vectors and say which of them hold"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of ``congto dlms``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, (module, purpose) in ACTIONS.items():
        action = actions.add_parser(name, help=purpose, description=purpose.capitalize() + ".")
        importlib.import_module(f"edge_agent.dlms_tool.{module}").add_arguments(action)


def run(arguments: argparse.Namespace) -> int:
    """Carry out the action; return the exit status."""
    module, _ = ACTIONS[arguments.action]
    return int(importlib.import_module(f"edge_agent.dlms_tool.{module}").run(arguments))
