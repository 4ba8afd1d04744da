"""`congto gateway`, `congto agent run` and `congto ingest run` together, over TLS with everybody's own certificate."""

import json
import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import conninfo, sql

from deploy.runtime.lifecycle import Running
from ingest_server.database.migrations import migrate
from tests.edge_agent.processes import Program
from tests.ingest_server.secure_broker import SecureBroker, secure_broker

pytestmark = pytest.mark.integration
DEADLINE_S = 120.0
MODELS = Path(__file__).parents[3] / "protocols/meters/models"
CONFIG = """
[gateway]
id = "{gateway}"
spool = "spool.sqlite"
[broker]
url = "{broker}"
ca_file = "{authority}"
certificate_file = "{certificate}"
key_file = "{key}"
reconnect_max = "1s"
[models]
directory = "models"
[commands]
allow = ["read", "profile", "status", "clock", "relay", "resend", "configure"]
[[bus]]
id = "modbus"
port = "line"
paced = false
[[bus.meter]]
id = "{gateway}-M"
model = "eastron_sdm120"
address = {address}
every = "{every}"
[[bus]]
id = "dlms"
tcp = "{dlms}"
reply_timeout = "5s"
[[bus.meter]]
id = "{gateway}-D"
model = "residential_with_relay"
address = 1
every = "1d"
secret_env = "METER_SECRET"
"""
REGISTRY = """
[[gateway]]
id = "{gateway}"
[[meter]]
id = "{gateway}-M"
gateway = "{gateway}"
model = "eastron_sdm120"
[[meter]]
id = "{gateway}-D"
gateway = "{gateway}"
model = "dlms_residential"
"""


class Site:
    """A gateway with two meters, an ingest, and the office; processes all."""

    def __init__(self, directory: Path, broker: SecureBroker, dsn: str) -> None:
        self.directory, self.dsn, self.broker = directory, dsn, broker
        self.gateway = f"gw-{uuid.uuid4().hex[:8]}"
        self.config = directory / "agent.toml"
        self.meter, self.dlms_meter = f"{self.gateway}-M", f"{self.gateway}-D"
        (directory / "models").mkdir()
        text = (MODELS / "dlms_residential.toml").read_text(encoding="utf-8")
        model = text.replace("with_list = true", 'with_list = true\nrelay = "0.0.96.3.10.255"')
        (directory / "models/residential_with_relay.toml").write_text(model, encoding="utf-8")
        self.meters = Program("sim", "modbus", "--port-link", str(directory / "line"), "--unpaced")
        self.meters.wait_for("line")
        self.dlms = Program("sim", "dlms", "--tcp", "--unpaced")
        self.place = json.loads(self.dlms.wait_for("tcp"))["tcp"]
        self.config.write_text(self.text(), encoding="utf-8")
        self.programs = [self.meters, self.dlms]

    def text(self, address: int = 1, every: str = "1s") -> str:
        certificate, key = self.broker.authority.issue(self.gateway)
        return CONFIG.format(
            gateway=self.gateway,
            broker=self.broker.url,
            authority=self.broker.authority.path,
            certificate=certificate,
            key=key,
            address=address,
            every=every,
            dlms=self.place,
        )

    def certificates(self, name: str) -> list[str]:
        certificate, key = self.broker.authority.issue(name)
        return [
            *("--tls-ca", str(self.broker.authority.path)),
            *("--tls-certificate", str(certificate), "--tls-key", str(key)),
        ]

    def start(self, *words: str) -> Program:
        environment = {"METER_SECRET": "00000000", "CONGTO_DSN": self.dsn, "CONGTO_BROKER": self.broker.url}
        program = Program(*words, environment=environment)
        self.programs.append(program)
        return program

    def start_agent(self) -> Program:
        agent = self.start("agent", "run", "--config", str(self.config))
        agent.wait_for(r"broker\.connected")
        return agent

    def ask(self, *words: str, dsn: str | None = None) -> tuple[int, str]:
        """Run `congto gateway`; return its exit status and what it said."""
        done = subprocess.run(
            [sys.executable, "-m", "deploy.cli", "gateway", *words, *self.certificates("congto-commands")],
            check=False,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            env={**os.environ, "CONGTO_DSN": dsn or self.dsn, "CONGTO_BROKER": self.broker.url, "COLUMNS": "200"},
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout + done.stderr

    def told(self, *words: str) -> dict[str, Any]:
        """Return what a command prints as JSON."""
        status, said = self.start(*words, "--json").wait()
        assert status == 0, said
        found: dict[str, Any] = json.loads(said)
        return found

    def close(self) -> None:
        for program in self.programs:
            program.clear()


@pytest.fixture(scope="module")
def broker() -> Iterator[SecureBroker]:
    with secure_broker() as found:
        yield found


@pytest.fixture
def site(runtime: Running, broker: SecureBroker, module_database: str, tmp_path: Path) -> Iterator[Site]:
    migrate(module_database)
    found = Site(tmp_path, broker, module_database)
    (tmp_path / "registry.toml").write_text(REGISTRY.format(gateway=found.gateway), encoding="utf-8")
    assert found.start("registry", "load", str(tmp_path / "registry.toml")).wait()[0] == 0
    yield found
    found.close()


@pytest.fixture
def second_person(module_database: str) -> Iterator[str]:
    """Give the DSN of another person's role."""
    role = f"clerk_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(module_database, autocommit=True) as connection:
        connection.execute(sql.SQL("create role {} superuser login password {}").format(sql.Identifier(role), role))
    yield conninfo.make_conninfo(module_database, user=role, password=role)
    with psycopg.connect(module_database, autocommit=True) as connection:
        connection.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))


def test_what_a_gateway_takes_is_stored_and_the_office_is_answered_over_tls(site: Site, second_person: str) -> None:
    ingest = site.start("ingest", "run", "--client-id", "congto-ingest", *site.certificates("congto-ingest"))
    ingest.wait_for(r"ingest\.ready")
    agent = site.start_agent()
    agent.wait_for(r"bus\.cycle_finished bus=modbus .*read=1")

    status, said = site.ask("read", site.gateway, site.meter, "--object", "1.0.1.8.0", "--json")
    assert status == 0, said
    ((obis, value),) = json.loads(said)["result"]["values"]
    assert (obis, value > 0) == ("1.0.1.8.0", True)
    status, said = site.ask("status", site.gateway)
    assert (status, site.meter in said) == (0, True), said
    status, said = site.ask("clock", site.gateway, site.dlms_meter, "--limit", "60")
    off = re.search(r"([+-]\d+) s now", said)
    assert status == 0, said
    assert off is not None, said
    assert abs(int(off[1])) <= 1, "the meter counts whole seconds, and its answer takes some time"
    times = ("--from", "2026-09-01T00:00+07:00", "--to", "2026-09-01T01:00+07:00")
    assert site.ask("profile", site.gateway, site.dlms_meter, *times)[0] == 0
    assert site.ask("read", site.gateway, f"{site.gateway}-X")[0] == 2

    status, said = site.ask("disconnect", site.gateway, site.dlms_meter)
    assert status == 0, said
    token = re.search(r"--confirm ([0-9a-f]{16})", " ".join(said.split()))
    assert token is not None, said
    confirm = ("disconnect", site.gateway, site.dlms_meter, "--confirm", token[1])
    assert site.ask(*confirm)[0] == 2  # the same person
    status, said = site.ask(*confirm, dsn=second_person)
    assert (status, "the supply is open, disconnected" in said) == (0, True), said
    assert site.ask(*confirm, dsn=second_person)[0] == 2  # used up

    agent.kill()
    site.config.write_text(site.text(every="1d"), encoding="utf-8")
    site.start_agent()  # sends what had no receipt yet
    deadline = time.monotonic() + DEADLINE_S
    while (taken := site.told("agent", "digest", "--config", str(site.config)))["unreceipted"]:
        assert time.monotonic() < deadline, taken
    assert taken["taken"] > 0
    stored = site.told("ingest", "digest", "--gateway", site.gateway)[site.gateway]
    assert stored == taken["days"]


def test_a_configuration_from_the_office_is_kept_refused_or_taken_back(site: Site) -> None:
    agent = site.start_agent()
    agent.wait_for(r"bus\.cycle_finished bus=modbus .*read=1")
    new = site.directory / "new.toml"

    def configure(text: str) -> tuple[int, str]:
        new.write_text(text, encoding="utf-8")
        return site.ask("configure", site.gateway, str(new), "--watch", "1")

    better = site.text(every="2s")
    status, said = configure(better)
    assert (status, "modbus changed" in said) == (0, True), said
    assert site.config.read_text(encoding="utf-8") == better
    for broken, words in (
        (better + "[unknown]\n", "unknown"),
        (better.replace("eastron_sdm120", "eastron_sdm121"), "eastron_sdm121"),
        (better.replace('"resend", ', ""), "commands.allow"),
        (better.replace(f'id = "{site.gateway}"', 'id = "gw-other"'), "gateway"),
    ):
        status, said = configure(broken)
        assert (status, words in said) == (2, True), said
    status, said = configure(site.text(address=9))
    assert (status, f"meter {site.meter} does not answer any more" in said) == (1, True), said
    status, said = configure(better.replace(site.broker.url, "mqtts://127.0.0.1:1"))
    assert (status, "the broker is not connected" in said) == (1, True), said
    assert site.config.read_text(encoding="utf-8") == better
    assert site.ask("read", site.gateway, site.meter)[0] == 0
    agent.kill()
    agent = site.start_agent()
    assert "configuration.refused" not in "".join(agent.said)


def test_a_gateways_key_that_others_can_read_or_that_is_not_its_certificates_is_refused(site: Site) -> None:
    def checked() -> tuple[int, str]:
        return site.start("agent", "check", "--config", str(site.config)).wait()

    assert checked()[0] == 0
    _, key = site.broker.authority.issue("another")
    good = site.config.read_text(encoding="utf-8")
    for wrong, words in (
        (re.sub("key_file = .*", f'key_file = "{key}"', good), "belong together"),
        (re.sub("key_file = .*", "", good), "together with key_file"),
        (good.replace("mqtts://", "mqtt://"), "mqtts:// only"),
    ):
        site.config.write_text(wrong, encoding="utf-8")
        status, said = checked()
        assert (status, words in said) == (2, True), said
    site.config.write_text(good, encoding="utf-8")
    (site.broker.authority.directory / f"{site.gateway}.key").chmod(0o644)
    status, said = checked()
    assert (status, "chmod 600" in said) == (2, True), said
