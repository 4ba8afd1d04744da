"""Ciphered meters on real lines: read with every mechanism, refused when wrong, and no counter ever used twice."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from deploy.cli import main
from edge_agent.config import AgentConfig, parse_config
from edge_agent.counters import RECOVERY_MARGIN, Lease
from edge_agent.lines import open_line
from edge_agent.meter import Answer
from protocols.dlms.acse import Context, Mechanism
from protocols.dlms.association import Policy
from protocols.dlms.ciphering import Keys, SecurityControl
from protocols.dlms.hls import Signer
from protocols.dlms.protection import Ciphering
from protocols.dlms.server import DlmsServer
from protocols.errors import UsageError
from protocols.meters.dlms_rules import MECHANISMS
from protocols.meters.model import Group
from tests.edge_agent.processes import DEADLINE_S, Program
from tests.edge_agent.secure_meter import (
    AUTHENTICATION,
    ENCRYPTION,
    ENERGY,
    METER_TITLE,
    OUR_TITLE,
    SECRET,
    Meter,
    PtyMeter,
    hdlc_server,
    policy,
)

KEK = bytes(range(200, 232))
CONFIG = """
[gateway]
id = "gw-01"
spool = "spool.sqlite"
system_title = "{title}"
[keys]
file = "keys.json"
kek_file = "kek"
[broker]
url = "mqtt://127.0.0.1:1"
[[bus]]
id = "bus-1"
{place}
reply_timeout = "2s"
[[bus.meter]]
id = "M-0001"
model = "dlms_secured"
mechanism = "{mechanism}"
security = "{security}"
address = {address}
every = "1s"
heal = false
"""
CIPHERED = "authenticated and encrypted"


def shown(secret: bytes) -> set[str]:
    """Return the ways in which a secret could be shown."""
    return {secret.hex(), secret.hex().upper(), str(list(secret)), repr(secret)[2:-1]}


HIDDEN = {word for secret in (ENCRYPTION, AUTHENTICATION, SECRET, KEK) for word in shown(secret)}


def write_keys(directory: Path, capsys: pytest.CaptureFixture[str], place: str = 'tcp = "127.0.0.1:1"') -> Path:
    """Make a key-encryption key, and a key file by the command."""
    (directory / "kek").write_text(KEK.hex())
    (directory / "kek").chmod(0o600)
    config = directory / "agent.toml"
    write_config(config, place=place)
    for kind, octets in (("encryption", ENCRYPTION), ("authentication", AUTHENTICATION), ("secret", SECRET)):
        source = directory / "one"
        source.touch(mode=0o600)
        source.write_text(octets.decode() if kind == "secret" else octets.hex())
        assert main(["agent", "keys", "add", "--config", str(config), "M-0001", kind, "--from", str(source)]) == 0
        source.unlink()
    told = capsys.readouterr()
    assert not any(word in told.out + told.err for word in HIDDEN)
    return config


def write_config(
    config: Path,
    *,
    place: str,
    mechanism: str = "high-gmac",
    security: str = CIPHERED,
    address: int = 1,
) -> None:
    title = OUR_TITLE.hex()
    config.write_text(CONFIG.format(title=title, place=place, mechanism=mechanism, security=security, address=address))


def parsed(config: Path) -> AgentConfig:
    return parse_config(config.read_text(), config.name, config.parent, {})


def test_the_key_file_holds_no_key_in_the_clear_and_only_its_owner_reads_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_keys(tmp_path, capsys)
    file = tmp_path / "keys.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert not any(word in file.read_text() for word in HIDDEN)
    assert main(["agent", "keys", "list", "--config", str(config)]) == 0
    assert capsys.readouterr().out.split() == ["M-0001", "authentication,", "encryption,", "secret"]
    file.chmod(0o640)
    assert main(["agent", "keys", "list", "--config", str(config)]) == 2
    assert "chmod 600" in capsys.readouterr().err


def test_no_repr_of_the_configuration_shows_a_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = parsed(write_keys(tmp_path, capsys))
    access = config.buses[0].meters[0].access
    assert access is not None
    said = repr(config) + repr(access.association(range(10)))
    assert not any(word in said for word in HIDDEN)


def test_a_key_is_added_once_rotated_when_there_and_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = str(write_keys(tmp_path, capsys))
    new = tmp_path / "new"
    new.touch(mode=0o600)
    new.write_text("00" * 16)
    assert main(["agent", "keys", "add", "--config", config, "M-0001", "encryption", "--from", str(new)]) == 2
    assert "is there already; rotate it" in capsys.readouterr().err
    assert main(["agent", "keys", "rotate", "--config", config, "M-0001", "encryption", "--from", str(new)]) == 0
    access = parsed(Path(config)).buses[0].meters[0].access
    assert access is not None
    assert access.keys is not None
    assert access.keys.encryption == bytes(16)
    assert main(["agent", "keys", "remove", "--config", config, "M-0001", "encryption"]) == 0
    assert main(["agent", "keys", "rotate", "--config", config, "M-0001", "encryption", "--from", str(new)]) == 2
    new.write_text("00" * 15)
    assert main(["agent", "keys", "add", "--config", config, "M-0001", "encryption", "--from", str(new)]) == 2
    assert "15 octets, expected 16 or 32" in capsys.readouterr().err
    with pytest.raises(UsageError, match="congto agent keys add M-0001 encryption"):
        parsed(Path(config))


def test_another_key_encryption_key_opens_nothing_until_all_is_wrapped_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_keys(tmp_path, capsys)
    new = tmp_path / "new"
    new.touch(mode=0o600)
    new.write_text("11" * 32)
    assert main(["agent", "keys", "rewrap", "--config", str(config), "--from", str(new)]) == 0
    with pytest.raises(UsageError, match="wrapped under another key-encryption key"):
        parsed(config)
    new.replace(tmp_path / "kek")
    access = parsed(config).buses[0].meters[0].access
    assert access is not None
    assert access.keys is not None
    assert access.keys.encryption == ENCRYPTION


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('system_title = "', 'system_titel = "', "needs gateway.system_title"),
        ('system_title = "', 'system_title = "00', "expected 16 hex digits"),
        ('kek_file = "kek"', 'kek_env = "ABSENT"', "the environment variable ABSENT is not set"),
        ('kek_file = "kek"', "", "expected either kek_env or kek_file"),
        ('mechanism = "high-gmac"', 'mechanism = "high-gcm"', "expected one of none, low"),
        ('id = "M-0001"', 'id = "M-0002"', "congto agent keys add M-0002 encryption"),
        ('security = "', 'suite = 2\nsecurity = "', "has 16 octets, expected 32"),
        ('mechanism = "high-gmac"', 'mechanism = "high-ecdsa"', "needs suite 1"),
    ],
)
def test_a_security_that_can_not_be_is_refused_before_anything_opens(
    old: str, new: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_keys(tmp_path, capsys)
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new, 1))
    with pytest.raises(UsageError) as refused:
        parsed(config)
    assert message in str(refused.value)


def read_on_pty(
    config: Path,
    meter: Meter,
    mechanism: Mechanism,
    context: Context,
    *,
    times: int = 1,
    server: DlmsServer | None = None,
    same_line: bool = False,
) -> list[Answer]:
    """Read the meter on a pseudo-terminal as the agent does, ``times``, on a new line each unless on the same."""
    written = config.read_text()

    async def go() -> list[Answer]:
        pty = PtyMeter(server or hdlc_server(meter, policy(mechanism, context)), meter)
        text = written.replace('tcp = "127.0.0.1:1"', f'port = "{pty.port}"\npaced = false')
        found = parse_config(text, config.name, config.parent, {})
        answers = []
        line = await open_line(found.buses[0], found.counters)
        for number in range(times):
            if number and not same_line:
                line.close()
                line = await open_line(found.buses[0], found.counters)
            answers.append(await line.meters["M-0001"].read(frozenset({Group.BILLING}), probe=False))
        line.close()
        pty.close()
        return answers

    return asyncio.run(go())


@pytest.mark.parametrize("security", ["none", CIPHERED])
@pytest.mark.parametrize("mechanism", ["none", "low", "high", "high-md5", "high-sha1", "high-gmac", "high-sha256"])
def test_a_meter_is_read_with_each_mechanism(
    mechanism: str, security: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_keys(tmp_path, capsys)
    write_config(config, place='tcp = "127.0.0.1:1"', mechanism=mechanism, security=security, address=17)
    context = Context.LN if security == "none" else Context.LN_CIPHERED
    answers = read_on_pty(config, Meter(), MECHANISMS[mechanism], context, times=2)
    assert [answer.failure for answer in answers] == [None, None]
    assert {value for answer in answers for _, value in answer.values} == {ENERGY}


def test_a_wrong_key_is_refused_and_told_without_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_keys(tmp_path, capsys)
    write_config(config, place='tcp = "127.0.0.1:1"', address=17)
    wrong = tmp_path / "wrong"
    wrong.touch(mode=0o600)
    wrong.write_text("77" * 16)
    assert main(["agent", "keys", "rotate", "--config", str(config), "M-0001", "encryption", "--from", str(wrong)]) == 0
    (answer,) = read_on_pty(config, Meter(), Mechanism.HIGH_GMAC, Context.LN_CIPHERED)
    assert answer.values == ()
    assert answer.failure is not None
    assert not any(word in answer.failure for word in HIDDEN | shown(b"\x77" * 16))


def test_counters_go_on_from_session_to_session_and_a_lost_file_is_made_good(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_keys(tmp_path, capsys)
    write_config(config, place='tcp = "127.0.0.1:1"', address=17)
    meter = Meter()
    read_on_pty(config, meter, Mechanism.HIGH_GMAC, Context.LN_CIPHERED, times=3)
    highest = max(meter.accepted)
    assert meter.accepted == sorted(set(meter.accepted))
    counters = tmp_path / "spool.sqlite.counters"
    (file,) = counters.glob("*.json")
    (kept,) = json.loads(file.read_text())["counters"].values()
    assert kept["next"] > highest  # reserved ahead of what was used
    assert max(kept["received"].values()) >= 0  # what the meter counted, so that no old answer is taken again
    for harm in (lambda: shutil.rmtree(counters), lambda: file.write_text("{")):
        harm()
        (answer,) = read_on_pty(config, meter, Mechanism.HIGH_GMAC, Context.LN_CIPHERED)
        assert answer.failure is None
        assert meter.accepted == sorted(set(meter.accepted))
        assert max(meter.accepted) > highest + RECOVERY_MARGIN
        highest = max(meter.accepted)
    assert list(counters.glob("*.json.damaged-*"))


def test_meters_that_share_a_key_share_no_counter(tmp_path: Path) -> None:
    async def go() -> list[range]:
        one, other = (Lease(tmp_path, meter, ENCRYPTION, OUR_TITLE) for meter in ("M-0001", "M-0002"))
        return [await lease.take() for lease in (one, other, one, other)]

    first, second, again, second_again = asyncio.run(go())
    assert (first, second) == (again, second_again)  # each goes on with its own
    assert set(first).isdisjoint(second)


def test_a_counter_file_from_a_backup_is_found_out_and_made_good(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_keys(tmp_path, capsys)
    write_config(config, place='tcp = "127.0.0.1:1"', address=17)
    meter = Meter()
    server = hdlc_server(meter, policy(Mechanism.HIGH_GMAC, Context.LN_CIPHERED))
    read_on_pty(config, meter, Mechanism.HIGH_GMAC, Context.LN_CIPHERED, server=server)
    (file,) = (tmp_path / "spool.sqlite.counters").glob("*.json")
    old = file.read_bytes()
    read_on_pty(config, meter, Mechanism.HIGH_GMAC, Context.LN_CIPHERED, times=2, server=server)
    file.write_bytes(old)
    refused, answer = read_on_pty(
        config, meter, Mechanism.HIGH_GMAC, Context.LN_CIPHERED, times=2, server=server, same_line=True
    )
    assert refused.failure is not None
    assert "no association" in refused.failure  # and the next time the meter is asked where to go on
    assert answer.failure is None
    assert meter.accepted == sorted(set(meter.accepted))


def test_a_meter_that_counts_from_the_beginning_again_is_not_believed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its answers may be old ones that somebody plays, also after the agent was started again."""
    config = write_keys(tmp_path, capsys)
    write_config(config, place='tcp = "127.0.0.1:1"', address=17)
    (answer,) = read_on_pty(config, Meter(), Mechanism.HIGH_GMAC, Context.LN_CIPHERED)
    assert answer.failure is None
    (answer,) = read_on_pty(config, Meter(), Mechanism.HIGH_GMAC, Context.LN_CIPHERED)
    assert answer.values == ()
    assert answer.failure is not None
    assert "was used before" in answer.failure


def test_a_meter_is_read_with_signatures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_keys(tmp_path, capsys)
    write_config(config, place='tcp = "127.0.0.1:1"', mechanism="high-ecdsa", address=17)
    config.write_text(config.read_text().replace("address = 17", "address = 17\nsuite = 1"))
    ours, meters = (ec.derive_private_key(number, ec.SECP256R1()) for number in (7_654_321, 1_234_567))
    point = meters.public_key().public_numbers()
    source = tmp_path / "one"
    source.touch(mode=0o600)
    for kind, text in (("signing", f"{7_654_321:064x}"), ("meter-public", f"{point.x:064x}{point.y:064x}")):
        source.write_text(text)
        assert main(["agent", "keys", "add", "--config", str(config), "M-0001", kind, "--from", str(source)]) == 0
    control = SecurityControl(1, authenticated=True, encrypted=True)
    ciphering = Ciphering(Keys(ENCRYPTION, AUTHENTICATION), METER_TITLE, range(1 << 32), control=control)
    signer = Signer(meters, ours.public_key())
    own = Policy(Mechanism.HIGH_ECDSA, context=Context.LN_CIPHERED, ciphering=ciphering, signer=signer)
    meter = Meter()
    (answer,) = read_on_pty(config, meter, Mechanism.HIGH_ECDSA, Context.LN_CIPHERED, server=hdlc_server(meter, own))
    assert answer.failure is None
    assert [value for _, value in answer.values] == [ENERGY]


@pytest.fixture
def meter_process() -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, "-m", "tests.edge_agent.secure_meter", "HIGH_GMAC", "LN_CIPHERED"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        yield process
        process.kill()


def counters_of(process: subprocess.Popen[str], count: int) -> list[int]:
    """Return the next ``count`` counters that the meter accepted; it must refuse none."""
    assert process.stdout is not None
    found: list[int] = []
    deadline = time.monotonic() + DEADLINE_S
    while len(found) < count:
        assert time.monotonic() < deadline, found
        line = process.stdout.readline()
        assert "used before" not in line
        if match := re.match(r"counter (\d+)", line):
            found.append(int(match[1]))
    return found


@pytest.mark.integration
def test_however_often_the_agent_is_killed_no_counter_is_used_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], meter_process: subprocess.Popen[str]
) -> None:
    config = write_keys(tmp_path, capsys)
    assert meter_process.stdout is not None
    port = meter_process.stdout.readline().split()[1]
    write_config(config, place=f'tcp = "127.0.0.1:{port}"')
    rng = Random(20261124)
    seen: list[int] = []
    said = ""
    for round_ in range(8):
        agent = Program("agent", "run", "--config", str(config))
        seen += counters_of(meter_process, rng.randint(1, 12))
        agent.kill()
        said += agent.wait()[1]
        if round_ == 5:
            shutil.rmtree(tmp_path / "spool.sqlite.counters")
    assert len(seen) >= 8
    assert seen == sorted(set(seen)), "a counter was used twice, or went back"
    meter_process.kill()
    assert "used before" not in meter_process.stdout.read()
    assert "agent.started" in said
    assert not any(word in said for word in HIDDEN)
    assert not any(
        word in path.read_text("latin-1") for path in tmp_path.glob("spool*") if path.is_file() for word in HIDDEN
    )
