"""Commands to a running agent, with a real broker and simulated meters; killed in the middle, asked twice, too late."""

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.runtime.lifecycle import Running
from protocols.telemetry.command import Arm, Confirm, Profile, Read, Resend, SetClock, Tell
from protocols.telemetry.reply import Outcome, decode_reply
from tests.edge_agent.processes import Program, Server
from tests.edge_agent.remote.asker import Asker, HeldWire

pytestmark = pytest.mark.integration

MODELS = Path(__file__).parents[3] / "protocols/meters/models"
CONFIG = """
[gateway]
id = "{gateway}"
spool = "spool.sqlite"
[broker]
url = "{broker}"
reconnect_max = "1s"
[models]
directory = "models"
{commands}
[[bus]]
id = "modbus"
port = "line"
paced = false
[[bus.meter]]
id = "M-0001"
model = "eastron_sdm120"
address = 1
every = "1s"
[[bus]]
id = "dlms"
tcp = "{dlms}"
reply_timeout = "5s"
[[bus.meter]]
id = "D-0001"
model = "residential_with_relay"
address = 1
every = "1d"
secret_env = "METER_SECRET"
"""
ALLOWED = '[commands]\nallow = ["read", "profile", "status", "clock", "relay", "resend"]'
DISCONNECT = bytes.fromhex("0046 0000 60 03 0a ff 01")  # class 70, 0-0:96.3.10.255, method 1 (Blue Book 4.5.8)


class Site:
    """A gateway's directory, its meters, its agent, and who asks it."""

    def __init__(self, directory: Path, broker: str) -> None:
        self.directory = directory
        self.broker = broker
        self.gateway = f"gw-{uuid.uuid4().hex[:8]}"
        self.config = directory / "agent.toml"
        models = directory / "models"
        models.mkdir()
        text = (MODELS / "dlms_residential.toml").read_text()
        model = text.replace("with_list = true", 'with_list = true\nrelay = "0.0.96.3.10.255"')
        model = re.sub(r"(?s)\[measurements\.export_active\].*?\n\n", "", model)
        (models / "residential_with_relay.toml").write_text(model)
        self.meters = Program("sim", "modbus", "--port-link", str(directory / "line"), "--unpaced")
        self.meters.wait_for("line")
        self.dlms = Program("sim", "dlms", "--tcp", "--unpaced")
        host, _, port = json.loads(self.dlms.wait_for("tcp"))["tcp"].rpartition(":")
        self.wire = HeldWire((host, int(port)), DISCONNECT)
        self.asker = Asker(broker, self.gateway)
        self.agents: list[Program] = []

    def start(self, commands: str = ALLOWED) -> Program:
        self.config.write_text(
            CONFIG.format(gateway=self.gateway, broker=self.broker, dlms=self.wire.place, commands=commands)
        )
        words = ("agent", "run", "--config", str(self.config))
        agent = Program(*words, environment={"METER_SECRET": "00000000"})
        self.agents.append(agent)
        agent.wait_for("broker.connected")
        return agent

    def close(self) -> None:
        for program in (*self.agents, self.meters, self.dlms):
            program.clear()
        self.wire.close()
        self.asker.close()


@pytest.fixture
def site(tmp_path: Path, runtime: Running) -> Iterator[Site]:
    found = Site(tmp_path, runtime.broker_url)
    yield found
    found.close()


def test_a_meter_is_read_now_and_told_twice_the_same(site: Site) -> None:
    site.start()
    asker = site.asker
    command = asker.command(Read("M-0001", ("1.0.1.8.0",)))
    asker.send(command.encode())
    asker.send(command.encode())
    first, *others = asker.replies_to(command)
    reply = decode_reply(first)
    assert reply.outcome is Outcome.DONE
    assert [code for code, _ in reply.result["values"]] == ["1.0.1.8.0"]
    assert all(each == first for each in others)
    whole = asker.ask(Read("D-0001"))
    assert whole.outcome is Outcome.DONE
    assert {code for code, _ in whole.result["values"]} >= {"1.0.1.8.0", "1.0.32.7.0"}
    beyond = asker.ask(Read("D-0001", ("1.0.2.8.0", "1.0.72.7.0")))  # not in the model; the meter has the first
    assert beyond.outcome is Outcome.DONE
    assert [code for code, _ in beyond.result["values"]] == ["1.0.2.8.0"]
    assert len(beyond.result["refusals"]) == 1


def test_what_can_not_be_done_is_answered_with_its_reason(site: Site) -> None:
    agent = site.start()
    asker = site.asker
    for asked, outcome, words in (
        (Read("M-0009"), Outcome.REFUSED, "no meter M-0009"),
        (Read("M-0001", ("1.0.99.8.0",)), Outcome.REFUSED, "does not measure 1.0.99.8.0"),
        (Profile("M-0001", 1_759_251_600_000, 1_759_251_600_000), Outcome.REFUSED, "no load profile"),
        (SetClock("M-0001", 30), Outcome.REFUSED, "no clock"),
        (Arm("M-0001", False), Outcome.REFUSED, "no relay"),
        (Confirm("D-0001", False, "ab" * 8), Outcome.REFUSED, "nothing is armed"),
        (Resend("0" * 16, 1, 2), Outcome.REFUSED, "generation"),
    ):
        reply = asker.ask(asked)
        assert (reply.outcome, words in str(reply.reason)) == (outcome, True), reply
    late = asker.command(Read("M-0001"), life_s=0.001)
    asker.send(late.encode())
    assert decode_reply(asker.replies_to(late)[0]).outcome is Outcome.EXPIRED
    foreign = asker.command(Read("M-0001"), gateway="gw-another")
    asker.send(foreign.encode())
    assert decode_reply(asker.replies_to(foreign)[0]).outcome is Outcome.REFUSED
    for rubbish in (b"", b"{}", b"\x28\xb5\x2f\xfd\x00", foreign.encode()[:-1], b"[" * 100_000):
        asker.send(rubbish)
    agent.wait_for("command.not_understood")
    assert asker.ask(Read("M-0001")).outcome is Outcome.DONE


def test_without_a_word_in_its_configuration_a_gateway_only_reads(site: Site) -> None:
    site.start(commands="")
    assert site.asker.ask(Read("M-0001")).outcome is Outcome.DONE
    assert site.asker.ask(Tell()).result["buses"]
    for asked in (SetClock("D-0001", 30), Arm("D-0001", False), Resend("0" * 16, 1, 1)):
        reply = site.asker.ask(asked)
        assert (reply.outcome, "not allowed here" in str(reply.reason)) == (Outcome.REFUSED, True)


def test_a_supply_is_armed_confirmed_and_read_back(site: Site) -> None:
    agent = site.start()
    asker = site.asker
    armed = asker.ask(Arm("D-0001", False)).result
    assert (armed["conducts"], armed["control"]) == (True, 1)
    wrong = asker.ask(Confirm("D-0001", True, armed["token"]))
    assert wrong.outcome is Outcome.REFUSED
    command = asker.command(Confirm("D-0001", False, armed["token"]))
    asker.send(command.encode())
    reply = decode_reply(asker.replies_to(command)[0])
    assert reply.outcome is Outcome.DONE
    assert reply.result == {"meter": "D-0001", "conducts": False, "control": 0, "acted": True, "obeyed": True}
    assert asker.ask(Confirm("D-0001", False, armed["token"])).outcome is Outcome.REFUSED  # used up
    back = asker.ask(Arm("D-0001", True)).result
    assert asker.ask(Confirm("D-0001", True, back["token"])).result["conducts"] is True
    asker.send(command.encode())  # the old one once more: told, not done
    assert asker.replies_to(command, 2)[1] == asker.replies_to(command)[0]
    assert asker.ask(Arm("D-0001", False)).result["conducts"] is True
    again = asker.ask(Arm("D-0001", False)).result
    agent.kill()
    site.start()
    assert asker.ask(Confirm("D-0001", False, again["token"])).outcome is Outcome.REFUSED  # not beyond a restart


def test_a_kill_in_the_middle_of_a_switching_is_read_back_and_not_repeated(site: Site) -> None:
    agent = site.start()
    asker = site.asker
    token = asker.ask(Arm("D-0001", False)).result["token"]
    command = asker.command(Confirm("D-0001", False, token))
    site.wire.holding = True
    asker.send(command.encode())
    assert site.wire.held.wait(60)  # the meter has switched, the agent does not know
    agent.kill()
    site.wire.release()
    site.start()
    (first,) = asker.replies_to(command)
    reply = decode_reply(first)
    assert reply.outcome is Outcome.DONE
    assert reply.reason == "cut off by a restart; read back: open, disconnected"
    assert reply.result["conducts"] is False
    back = asker.ask(Arm("D-0001", True)).result["token"]
    assert asker.ask(Confirm("D-0001", True, back)).outcome is Outcome.DONE
    asker.send(command.encode())
    assert asker.replies_to(command, 2) == [first, first]
    assert asker.ask(Arm("D-0001", False)).result["conducts"] is True


def test_a_profile_is_read_for_a_range_and_a_clock_is_set_within_a_limit(site: Site) -> None:
    site.start()
    asker = site.asker
    now_ms = asker.command(Tell()).at_ms
    reply = asker.ask(Profile("D-0001", now_ms - 172_800_000, now_ms))
    assert reply.outcome is Outcome.DONE
    columns = [reply.result[key] for key in ("channel", "at", "value")]
    assert {len(each) for each in columns} == {len(reply.result["at"])}
    assert len(reply.result["at"]) >= 95 * len(reply.result["channels"])
    clock = asker.ask(SetClock("D-0001", 60))
    assert (clock.outcome, clock.result["shifted_s"]) == (Outcome.DONE, 0)


def test_batches_that_were_receipted_are_sent_again_and_what_is_not_kept_is_told(site: Site) -> None:
    server = Server(site.broker, site.gateway)
    agent = site.start()
    server.wait_until(lambda: {1, 2} <= server.sequences())
    generation = server.messages[0].generation
    before = server.resent
    reply = site.asker.ask(Resend(generation, 1, 2))
    assert (reply.outcome, reply.result) == (Outcome.DONE, {"batches": 2, "first": 1, "last": 2})
    server.wait_until(lambda: server.resent >= before + 2)
    assert all(len(each) == 1 for each in server.stored().values())
    gone = site.asker.ask(Resend(generation, 1_000_000, 1_000_001))
    assert (gone.outcome, gone.result["batches"]) == (Outcome.FAILED, 0)
    agent.end()
    server.close()


def test_commands_wait_for_a_gateway_that_is_away_and_are_too_late_then(site: Site) -> None:
    agent = site.start()
    agent.end()
    asker = site.asker
    fresh, late = asker.command(Read("M-0001")), asker.command(Read("M-0001"), life_s=0.001)
    for command in (fresh, replace(late, key="cd" * 8)):
        asker.send(command.encode())
    site.start()
    assert decode_reply(asker.replies_to(fresh)[0]).outcome is Outcome.DONE
    assert decode_reply(asker.replies_to(replace(late, key="cd" * 8))[0]).outcome is Outcome.EXPIRED
