"""A configuration holds whole, or is refused naming file, key and cure, before anything opens."""

from pathlib import Path

import pytest

from edge_agent.check import describe, readings_a_day, unusable_ports
from edge_agent.config import AgentConfig, load_config, parse_config
from edge_agent.serial_line import LineSettings
from protocols.errors import UsageError
from protocols.meters.counters import counter_of
from protocols.meters.glitch import Sample, Verdict, judge
from protocols.meters.model import Group

GOOD = """
[gateway]
id = "gw-01"
spool = "spool.sqlite"
[broker]
url = "mqtt://127.0.0.1:1883"
[[bus]]
id = "rs485-1"
port = "/dev/ttyUSB0"
[[bus.meter]]
id = "M-0001"
model = "eastron_sdm120"
address = 1
every = "30m"
[[bus.meter]]
id = "M-0002"
model = "eastron_sdm120"
address = 2
instantaneous_every = "10s"
[[bus]]
id = "hdlc-1"
port = "/dev/ttyUSB1"
[[bus.meter]]
id = "M-0003"
model = "dlms_residential"
address = 17
secret_env = "SECRET"
"""


def parse(text: str, directory: Path) -> AgentConfig:
    return parse_config(text, "agent.toml", directory, {"SECRET": "00000000", "EMPTY": ""})


def test_the_example_of_the_contract_holds(tmp_path: Path) -> None:
    config = parse(GOOD, tmp_path)
    first, second = config.buses
    assert config.spool == tmp_path / "spool.sqlite"
    assert first.place == LineSettings("/dev/ttyUSB0", 2400, "N", 1)
    assert [meter.heal for meter in (*first.meters, *second.meters)] == [False, False, True]
    assert first.meters[1].every_ms == {Group.BILLING: 1_800_000, Group.INSTANTANEOUS: 10_000}
    assert readings_a_day(first.meters[1]) == 2 * 48 + 3 * 8640
    assert "3 meters" in describe(config)


def test_counters_and_what_is_learned_lie_beside_the_spool_wherever_the_file_is(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "var").mkdir()
    apart = GOOD.replace('"spool.sqlite"', f'"{tmp_path / "var/spool.sqlite"}"')
    config = parse(apart, tmp_path / "etc")
    assert config.counters == tmp_path / "var/spool.sqlite.counters"
    assert config.learned == tmp_path / "var/spool.sqlite.learned"
    named = parse(apart.replace("[broker]", 'counters = "own"\n[broker]'), tmp_path / "etc")
    assert named.counters == tmp_path / "etc/own"


def test_counters_that_lie_beside_the_file_are_not_left_behind(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "spool.sqlite.counters").mkdir()
    config = parse(GOOD.replace('"spool.sqlite"', '"var/spool.sqlite"'), tmp_path)
    assert config.counters == tmp_path / "spool.sqlite.counters"
    assert config.learned == tmp_path / "var/spool.sqlite.learned"


def test_the_greatest_power_behind_transformers_is_said_at_the_meter(tmp_path: Path) -> None:
    """Without it a rise of any size is taken, as no model knows the transformers."""
    text = GOOD.replace('model = "eastron_sdm120"', 'model = "schneider_pm5110"')
    text = text.replace("address = 2", "address = 2\npower_max_w = 400_000")
    unknown, known = parse(text, tmp_path).buses[0].meters
    energy = unknown.model.measurements[0]
    sample = Sample(0, 10**9, bytes(8)), Sample(1_800_000, 10**9 + 300_000, bytes(8))
    for meter, verdict in ((unknown, Verdict.FINE), (known, Verdict.IMPOSSIBLE_SLOPE)):
        counter = counter_of(meter.model, energy)
        assert counter is not None
        assert judge(counter, energy, *sample).verdict is verdict
    assert "power_max_w: found 0; expected 1 to 1000000000" in str(refusal(text.replace("400_000", "0"), tmp_path))


def refusal(text: str, directory: Path) -> UsageError:
    with pytest.raises(UsageError) as refused:
        parse(text, directory)
    return refused.value


def test_a_secret_is_in_no_repr(tmp_path: Path) -> None:
    assert "00000000" not in repr(parse(GOOD, tmp_path))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('every = "30m"', 'evry = "30m"', "agent.toml: bus[1].meter[1].evry: unknown key; did you mean 'every'?"),
        ('every = "30m"', 'every = "7m"', "does not divide a day"),
        ('every = "30m"', 'every = "0s"', "expected a duration"),
        ('every = "30m"', 'every = "2d"', "expected 1000 ms to 86400000 ms"),
        ('every = "30m"', "every = 30", "expected a text, found 30"),
        ("address = 2", "address = 1", "two have the same address 1"),
        ("address = 2", "address = 0", "found 0; expected 1 to 247"),
        ("address = 2", "address = 248", "found 248; expected 1 to 247"),
        ('id = "M-0002"', 'id = "M-0001"', "two have the same id 'M-0001'"),
        ('id = "hdlc-1"', 'id = "rs485-1"', "two have the same id 'rs485-1'"),
        ("/dev/ttyUSB1", "/dev/ttyUSB0", "two have the same port"),
        ('id = "gw-01"', 'id = "gw/01"', "agent.toml: gateway.id: id 'gw/01'"),
        ("eastron_sdm120", "eastron_sdm12", "bus[1].meter[1].model: meter model 'eastron_sdm12': unknown"),
        ('spool = "spool.sqlite"', 'spool = "no/spool.sqlite"', "does not exist; create it"),
        ("mqtt://127.0.0.1:1883", "http://127.0.0.1", "expected mqtt://HOST:PORT"),
        ("mqtt://127.0.0.1:1883", "mqtt://user:pw@127.0.0.1", "expected mqtt://HOST:PORT"),
        ("mqtt://127.0.0.1:1883", "mqtt://127.0.0.1:99999", "broker.url"),
        ('port = "/dev/ttyUSB0"', 'port = "/dev/ttyUSB0"\nbaud = 1', "found 1; expected 300 to 921600"),
        ('port = "/dev/ttyUSB0"', 'port = "/dev/ttyUSB0"\nparity = "M"', "expected one of N, E, O"),
        ('port = "/dev/ttyUSB0"', 'tcp = "localhost"', "expected HOST:PORT"),
        ('port = "/dev/ttyUSB0"', 'tcp = "localhost:1"\nbaud = 9600', "bus[1].baud: unknown key"),
        ('port = "/dev/ttyUSB0"', 'port = "/dev/ttyUSB0"\nreply_timeout = "2m"', "expected 5 ms to 60000 ms"),
        ('port = "/dev/ttyUSB0"', "", "bus[1].port: missing"),
        ('secret_env = "SECRET"', "", "needs a secret"),
        ('secret_env = "SECRET"', 'secret_env = "EMPTY"', "the environment variable EMPTY is not set"),
        ('secret_env = "SECRET"', 'secret_file = "absent"', "can't be read"),
        ("address = 2", 'address = 2\nsecret_env = "SECRET"', "needs no secret"),
        ("address = 2", "address = 2\nheal = true", "has no load profile"),
        ('id = "M-0002"\nmodel = "eastron_sdm120"', 'id = "M-0002"\nmodel = "schneider_iem3155"', "say which holds"),
        (
            'port = "/dev/ttyUSB1"',
            'tcp = "localhost:1"\n[[bus.meter]]\nid = "M-9"\naddress = 9\nmodel = "eastron_sdm120"',
            "give each a bus of its own",
        ),
        ("address = 2", 'address = 2\nintervals = { energy = "1m" }', "measures no such thing"),
        ("address = 2", 'address = 2\nintervals = { import_active = "7m" }', "does not divide a day"),
        ("[gateway]", "gateway", "agent.toml: not TOML"),
        ("[broker]", "[clock]\nwrld = 1\n[broker]", "did you mean 'world'"),
        ("[broker]", "[brokers]", "agent.toml: broker: missing"),
    ],
)
def test_a_wrong_file_is_refused_naming_the_key(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in GOOD
    with pytest.raises(UsageError) as refused:
        parse(GOOD.replace(old, new, 1), tmp_path)
    assert message in str(refused.value)
    assert str(refused.value).startswith("agent.toml: ")


def test_a_secret_that_others_may_read_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("00000000\n")
    secret.chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        parse(GOOD.replace('secret_env = "SECRET"', 'secret_file = "secret"'), tmp_path)
    secret.chmod(0o600)
    meter = parse(GOOD.replace('secret_env = "SECRET"', 'secret_file = "secret"'), tmp_path).buses[1].meters[0]
    assert meter.access is not None
    assert meter.access.secret is not None
    assert meter.access.secret.octets == b"00000000"


def test_a_port_that_is_not_there_is_told_though_the_file_holds(tmp_path: Path) -> None:
    (tmp_path / "tty").touch()
    text = GOOD.replace("/dev/ttyUSB0", str(tmp_path / "tty")).replace("/dev/ttyUSB1", str(tmp_path / "none"))
    (told,) = unusable_ports(parse(text, tmp_path))
    assert told.startswith(f"bus hdlc-1: {tmp_path / 'none'} is not there; is the adapter plugged in")
    simulated = text.replace("[broker]", '[clock]\nworld = "world.sock"\n[broker]')
    assert list(unusable_ports(parse(simulated, tmp_path))) == []


def test_no_bus_and_no_meter_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least one line"):
        parse(GOOD[: GOOD.index("[[bus]]")], tmp_path)
    with pytest.raises(UsageError, match="at least one"):
        parse(GOOD[: GOOD.index("[[bus.meter]]")], tmp_path)


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't be read"):
        load_config(tmp_path / "agent.toml")
