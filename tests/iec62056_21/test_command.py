"""``congto iec62056-21 read`` and mode E against simulated meters on a pseudo-terminal."""

import os
import pty
import termios
import threading
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dlms_tool.processes import LOW, SECRET, answer, congto, sim

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def port(tmp_path_factory) -> Iterator[Path]:
    link = tmp_path_factory.mktemp("iec") / "head"
    words = ("iec62056-21", "--port-link", link, "--units", "17", "--password", "4711", "--mode-e", "--secret", SECRET)
    with sim(*words, "--unpaced"):
        yield link


def speed_of(port: Path) -> int:
    descriptor = os.open(port, os.O_RDWR | os.O_NOCTTY)
    try:
        return termios.tcgetattr(descriptor)[4]
    finally:
        os.close(descriptor)


def test_a_readout_is_read_at_the_meters_speed_and_agrees_with_dlms(port):
    found = answer("iec62056-21", "read", "--serial", port)
    assert (found["manufacturer"], found["baud"]) == ("CTO", 9600)
    assert speed_of(port) == termios.B9600
    values = {each["address"]: each for each in found["data_sets"]}
    energy = values["1.8.0"]
    assert energy["base"]["unit"] == "Wh"
    over_hdlc = answer("dlms", "read", "1.0.1.8.0", "--serial", port, "--mode-e", "--server", "1/17", *LOW)
    later = over_hdlc["readings"][0]["base"]["value"]
    assert 0 <= later - energy["base"]["value"] < 1000  # the meter counts on between the two
    table = congto("iec62056-21", "read", "--serial", port, "--address", "17", "--baud", "2400")
    assert "0.9.1" in table.stdout
    assert speed_of(port) == termios.B2400


def test_registers_are_read_in_programming_mode_with_the_password_only(port):
    words = ("iec62056-21", "read", "C.1.0", "1.8.0", "--serial", port, "--password-env", "METER_PASSWORD")
    found = answer(*words, environment={"METER_PASSWORD": "4711"})
    assert [each["address"] for each in found["data_sets"]] == ["C.1.0", "1.8.0"]
    refused = congto(*words, environment={"METER_PASSWORD": "4712"})
    assert (refused.returncode, "(B0)" in refused.stderr) == (5, True), refused.stderr
    assert "4712" not in refused.stderr
    missing = congto(*words[:2], "9.9.9", *words[2:], environment={"METER_PASSWORD": "4711"})
    assert (missing.returncode, "ER01" in missing.stderr) == (5, True), missing.stderr


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("--address", "99", "--timeout", "0.1"), 3, "nobody answers the sign-on"),
        (("--baud", "9601"), 2, "expected one of 300"),
        (("(1)",), 2, "without brackets"),
    ],
)
def test_what_cannot_be_read_says_why(port, words, status, said):
    done = congto("iec62056-21", "read", "--serial", port, *words)
    assert (done.returncode, said in done.stderr) == (status, True), done.stderr


@pytest.mark.parametrize("noise", [b"\xff\x00\x7f" * 5, b"\x33\x41\x42" * 5], ids=["odd parity", "no message"])
def test_noise_is_told_from_silence_and_names_what_to_try(noise):
    master, slave = pty.openpty()
    tty.setraw(slave)

    def answer_with_noise() -> None:
        os.read(master, 100)
        os.write(master, noise)

    meter = threading.Thread(target=answer_with_noise)
    meter.start()
    done = congto("iec62056-21", "read", "--serial", os.ttyname(slave), "--timeout", "0.1")
    meter.join()
    os.close(slave)
    os.close(master)
    assert (done.returncode, "noise" in done.stderr) == (4, True), done.stderr
    assert "another --baud or --no-parity" in done.stderr


def test_a_port_that_is_not_there_is_a_fault_of_the_line(tmp_path):
    done = congto("iec62056-21", "read", "--serial", tmp_path / "none")
    assert (done.returncode, "can't be opened" in done.stderr) == (3, True)


def test_a_slow_line_takes_its_time_and_the_readout_is_the_same(tmp_path):
    link = tmp_path / "head"
    with sim("iec62056-21", "--port-link", link, "--model", "dlms_three_phase", "--baud", "4800"):
        found = answer("iec62056-21", "read", "--serial", link)
    assert found["baud"] == 4800
    assert {each["address"] for each in found["data_sets"]} >= {"1.8.0", "1.8.1", "C.1.0"}
