"""The compose file and the Dockerfile name things of ours; these tests keep the names right.

No Docker engine is needed or used: the file's form was checked with `docker compose config`.
"""

import json
import re
from pathlib import Path

import pytest

from deploy import tasks
from deploy.bootstrap import ROOT
from deploy.cli import COMMANDS, build_parser
from ingest_server.api.security import TOKEN_ENV
from ingest_server.database.connection import DSN_VARIABLE
from ingest_server.pipeline.settings import BROKER_VARIABLE

COMPOSE = (ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8")


def service(name: str) -> str:
    """Return the lines of one service."""
    match = re.search(rf"(?m)^  {name}:\n((?:    .*\n|\n)+)", COMPOSE)
    assert match, f"no service {name!r}"
    return match.group(1)


@pytest.mark.parametrize("name", ["ingest", "api"])
def test_a_service_of_ours_runs_a_command_that_there_is(name: str) -> None:
    match = re.search(r"(?m)^    command: (\[.*\])$", service(name))
    assert match is not None
    words = json.loads(match.group(1))
    assert words[0] in COMMANDS
    assert build_parser([words[0]]).parse_args(words).action == "run"


def test_services_are_told_where_database_and_broker_are_in_the_variables_they_read() -> None:
    assert f"{BROKER_VARIABLE}: mqtt://broker:1883" in service("ingest")
    assert f"{DSN_VARIABLE}: postgresql://congto:" in service("ingest")
    assert f"{TOKEN_ENV}: ${{" in service("api")


def test_every_port_is_published_on_the_loopback_interface_alone() -> None:
    published = re.findall(r"(?m)^    ports: \[(.*)\]$", COMPOSE)
    assert len(published) == 3
    assert all(port.startswith('"127.0.0.1:') for port in published)


def test_every_file_that_is_mounted_or_built_from_is_there() -> None:
    for name in [*re.findall(r"- \./([^:]+):", COMPOSE), "Dockerfile", "Dockerfile.dockerignore"]:
        assert (ROOT / "deploy" / name).is_file()


def test_both_brokers_allow_as_much_to_be_under_way() -> None:
    def limits(name: str) -> set[str]:
        lines = (ROOT / "deploy" / "mosquitto" / name).read_text(encoding="utf-8").splitlines()
        return {line for line in lines if line.startswith("max_")}

    assert limits("embedded.conf") == limits("compose.conf") != set()


def test_make_has_a_target_for_every_task() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for name in tasks.TASKS:
        assert re.search(rf"deploy/bootstrap.py {name}( \$\(\w+\))?\n", makefile)


def test_the_lock_and_the_project_are_where_the_bootstrap_looks() -> None:
    from deploy import bootstrap

    assert bootstrap.LOCK.is_file()
    assert bootstrap.PROJECT.is_file()
    assert [line.split()[0] for line in bootstrap.stamp()] == ["packages", "project"]
    assert Path(bootstrap.__file__).is_relative_to(bootstrap.ROOT)
