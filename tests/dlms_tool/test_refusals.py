"""What goes wrong says what the meter said and what to try, once, with a status of its own."""

from collections.abc import Iterator

import pytest

from tests.dlms_tool.processes import LOW, SECRET, congto, sim

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def meter() -> Iterator[tuple[str, ...]]:
    with sim("dlms", "--tcp", "--units", "17", "--secret", SECRET) as said:
        yield ("--tcp", said["tcp"], "--server", "17", "--timeout", "0.5")


@pytest.mark.parametrize(
    "action",
    [
        ("read", "1.0.1.8.0"), ("profile",), ("set", "71:0.0.17.0.0:6", "double-long-unsigned", "60"),
        ("action", "70:0.0.96.3.10:1"), ("clock", "--set", "now"), ("disconnect", "--yes"), ("reconnect", "--yes"),
        ("reset", "--yes"),
    ],
)  # fmt: skip
def test_an_action_without_rights_is_refused_in_the_standards_words(meter, action):
    done = congto("dlms", *action, *meter)
    assert (done.returncode, "read-write-denied; this client has no right to it" in done.stderr) == (5, True), (
        done.stderr
    )


@pytest.mark.parametrize("action", [("read", "1.0.1.8.0"), ("list",), ("profile",), ("clock",), ("reset",)])
def test_a_wrong_secret_is_refused_before_anything_else(meter, action):
    done = congto("dlms", *action, *meter, *LOW, environment={"METER_SECRET": "nonsense"})
    assert (done.returncode, "authentication-failure; the secret or key" in done.stderr) == (5, True), done.stderr
    assert "nonsense" not in done.stderr


def test_what_is_refused_stands_in_its_row_and_the_advice_comes_once(meter):
    done = congto("dlms", "read", *meter)
    assert done.returncode == 0
    assert done.stdout.count("refused: read-write-denied") > 3
    assert done.stderr.count("this client has no right to it") == 1


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (("--tcp", "127.0.0.1:1"), "is the modem on"),
        (("--serial", "/nowhere/at-all"), "are you in the group dialout"),
        (("--udp", "127.0.0.1:1", "--timeout", "0.3"), "nobody takes datagrams there"),
    ],
)
def test_a_line_that_is_not_there_says_what_to_look_at(place, said):
    done = congto("dlms", "read", "1.0.1.8.0", *place)
    assert (done.returncode, said in done.stderr) == (3, True), done.stderr


def test_a_wport_that_nobody_has_is_silence_and_not_a_matter_of_wires(meter):
    done = congto("dlms", "read", "1.0.1.8.0", *meter, "--server", "5")
    assert (done.returncode, "is --server the meter's wPort" in done.stderr) == (3, True), done.stderr
    assert "wires" not in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [(("--limit", "-1"), "expected 0 or more seconds"), (("--adjust", "--limit", "901"), "expected 0 to 900 with")],
)
def test_a_limit_that_cannot_be_is_a_fault_of_the_call(meter, words, said):
    done = congto("dlms", "clock", *words, *meter)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
