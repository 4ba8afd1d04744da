"""``congto meters``: what validation knows of meters beside their readings."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

WORDS: Mapping[str, Mapping[str, str]] = {
    "vi": {
        "plate": "Nhãn công tơ",
        "log_code": "Mã sự kiện",
        "check_meter": "Công tơ đối chứng",
        "transformer": "Công tơ tổng trạm biến áp",
        "given": "trong tệp",
        "new": "mới hoặc khác",
        "none": "chưa có gì (congto meters load)",
    },
    "en": {
        "plate": "plates",
        "log_code": "log codes",
        "check_meter": "check meters",
        "transformer": "transformers",
        "given": "given",
        "new": "new or other",
        "none": "nothing yet (congto meters load)",
    },
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``congto meters``."""
    from ingest_server.billing.arguments import add_actor_argument
    from ingest_server.database.connection import add_dsn_arguments

    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    load = actions.add_parser("load", help="store plates, log codes, check meters and transformers of a TOML file")
    load.add_argument("file", type=Path, metavar="FILE.toml", help="format: docs/contracts/meters.md")
    add_actor_argument(load)
    show = actions.add_parser("show", help="show what is stored, of one meter or of all")
    show.add_argument("meter", metavar="METER", nargs="?", help="only this meter")
    for action in (load, show):
        add_dsn_arguments(action)
        action.add_argument("--json", action="store_true", help="print JSON")
        action.add_argument("--language", choices=("vi", "en"), default="vi", help="language of tables (default: vi)")


def run(arguments: argparse.Namespace) -> int:
    """Carry out one action; return the exit status."""
    from ingest_server.database.connection import translated

    with translated():
        return {"load": _load, "show": _show}[arguments.action](arguments)


def _load(arguments: argparse.Namespace) -> int:
    from ingest_server.billing.asked import actor_from, print_json
    from ingest_server.database.connection import connect, dsn_from
    from ingest_server.database.migrations import migrate
    from ingest_server.meters.file import parse_meter_file
    from ingest_server.meters.store import store_meters
    from protocols.errors import UsageError

    arguments.role = "biller"
    actor = actor_from(arguments)
    try:
        text = arguments.file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{arguments.file}: {error}; expected a TOML file in UTF-8") from error
    file, dsn = parse_meter_file(text, arguments.file.name), dsn_from(arguments)
    migrate(dsn)
    with connect(dsn) as connection:
        stored = store_meters(connection, file, actor.name)
        connection.commit()
    if arguments.json:
        print_json({kind: {"given": given, "new": new} for kind, (given, new) in stored.items()})
        return 0
    words = WORDS[arguments.language]
    for kind, (given, new) in stored.items():
        print(f"{words[kind]:26} {given:7} {words['given']} {new:7} {words['new']}")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from ingest_server.billing.asked import print_json
    from ingest_server.database.connection import connect, dsn_from
    from ingest_server.meters.store import check_meter_known, load_meters, plain

    with connect(dsn_from(arguments)) as connection:
        check_meter_known(connection, arguments.meter)
        rows = load_meters(connection, arguments.meter)
    if arguments.json:
        print_json({kind: [{k: plain(v) for k, v in each.items()} for each in some] for kind, some in rows.items()})
        return 0
    words = WORDS[arguments.language]
    if not any(rows.values()):
        print(words["none"])
    for kind, some in rows.items():
        for each in some:
            print(f"{words[kind]}: {_line(each)}")
    return 0


def _line(row: Mapping[str, Any]) -> str:
    from ingest_server.meters.store import plain

    return "  ".join(f"{name}={plain(value)}" for name, value in row.items() if value is not None)
