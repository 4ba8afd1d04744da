"""``congto model``: list, show, test and begin meter models.

Exit status: 0 done · 1 a model does not hold · 2 the call, or a file that is no model.
"""

import argparse
import importlib

ACTIONS = {
    "list": ("listing", "list the meter models with how sure each register table is"),
    "show": ("show", "print one model: registers or objects, counters, questions, sources, doubts"),
    "test": ("check", "run a model's frames in both directions and look for what is wrong or missing"),
    "new": ("skeleton", "write a commented model to begin with"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of ``congto model``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, (module, purpose) in ACTIONS.items():
        action = actions.add_parser(name, help=purpose, description=purpose.capitalize() + ".")
        importlib.import_module(f"edge_agent.model_tool.{module}").add_arguments(action)


def run(arguments: argparse.Namespace) -> int:
    """Carry out the action; return the exit status."""
    module, _ = ACTIONS[arguments.action]
    return int(importlib.import_module(f"edge_agent.model_tool.{module}").run(arguments))
