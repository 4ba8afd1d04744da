"""``congto iec62056-21 read --trace`` names what passes by characters and shows no password."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.dlms_tool.character_trace import characters_of
from protocols.iec62056_21.characters import put_parity
from tests.dlms_tool.processes import LOW, SECRET, congto, sim
from tests.dlms_tool.test_with_meters import answering

PASSWORD = "a-pass-word"


@pytest.fixture(scope="module")
def port(tmp_path_factory) -> Iterator[Path]:
    link = tmp_path_factory.mktemp("iec") / "head"
    words = ("--units", "17", "--password", PASSWORD, "--mode-e", "--secret", SECRET, "--unpaced")
    with sim("iec62056-21", "--port-link", link, *words):
        yield link


@pytest.mark.integration
def test_a_readout_is_told_line_by_line_and_the_answer_is_left_alone(port):
    done = congto("iec62056-21", "read", "--serial", port, "--json", "--trace")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["manufacturer"] == "CTO"
    for line in ("-> /?!<CR><LF>   sign-on", "<- /CTO5", "-> <ACK>050<CR><LF>   selection of speed", "-- 9600 baud"):
        assert line in done.stderr, done.stderr
    assert "<- 1.8.0(" in done.stderr
    assert "<- !<CR><LF>" in done.stderr


@pytest.mark.integration
def test_the_password_is_not_shown(port):
    words = ("iec62056-21", "read", "C.1.0", "--serial", port, "--password-env", "METER_PASSWORD", "--trace")
    done = congto(*words, environment={"METER_PASSWORD": PASSWORD})
    assert done.returncode == 0, done.stderr
    assert "-> <SOH>P1<STX>((not shown))<ETX>" in done.stderr
    assert "<SOH>R5<STX>C.1.0()<ETX>" in done.stderr
    assert PASSWORD not in done.stderr


@pytest.mark.integration
def test_mode_e_is_told_by_characters_and_then_by_frames(port):
    done = congto("dlms", "read", "1.0.1.8.0", "--serial", port, "--mode-e", "--server", "1/17", "--trace", *LOW)
    assert done.returncode == 0, done.stderr
    told = done.stderr.splitlines()
    assert "-- -> /?!<CR><LF>   sign-on" in told
    after = told[[line.startswith("-- mode E") for line in told].index(True) :]
    assert after[1].startswith("-> SNRM")
    assert not [line for line in after if line.startswith("-- <- ")]


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b"\x01P1\x02(secret)\x03", "<SOH>P1<STX>((not shown))<ETX>"),
        (b"\x01P2\x02(sec", "<SOH>P2<STX>((not shown)"),
        (b"\x01P0\x02(0000)\x03", "<SOH>P0<STX>(0000)<ETX>"),
        (b"\x06050\r\n", "<ACK>050<CR><LF>"),
        (b"\x00\x7f", "<00><7f>"),
    ],
)
def test_octets_are_characters_without_parity_and_passwords(said, shown):
    assert characters_of(said) == characters_of(put_parity(said)) == shown


@pytest.mark.integration
def test_noise_is_told_before_the_message_says_what_it_was():
    with answering(b"\x81\x81U") as name:
        done = congto("iec62056-21", "read", "--serial", name, "--timeout", "0.2", "--trace")
    assert done.returncode == 4, done.stderr
    assert "<- <SOH><SOH>U" in done.stderr
