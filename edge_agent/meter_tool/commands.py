"""``congto meter``: find Modbus meters on a line, read one by its model, watch it."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of ``congto meter``."""
    from edge_agent.meter_tool import scanning, show

    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    purpose = "find the meters on a line or behind a gateway, and propose a configuration"
    scanning.add_arguments(actions.add_parser("scan", help=purpose, description=purpose.capitalize() + "."))
    purpose = "read one meter by its model"
    read = actions.add_parser("read", help=purpose, description=purpose.capitalize() + ".")
    show.add_meter_arguments(read)
    read.add_argument("--raw", action="store_true", help="explain every octet of questions and answers")
    purpose = "read one meter again and again, and draw its values"
    show.add_watch_arguments(actions.add_parser("watch", help=purpose, description=purpose.capitalize() + "."))


def run(arguments: argparse.Namespace) -> int:
    """Carry out the action."""
    from edge_agent.meter_tool import scanning, show

    return {"scan": scanning.run, "read": show.run_read, "watch": show.run_watch}[arguments.action](arguments)
