"""The commands against ``congto sim dlms``: over HDLC on a pseudo-terminal and over the TCP wrapper."""

import hashlib
import json
import os
import pty
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from protocols.dlms.hdlc.frames import POLL_FINAL, Address, Frame, FrameType
from tests.dlms_tool.processes import LOW, SECRET, answer, congto, sim

pytestmark = pytest.mark.integration
AT = "2026-10-07T12:00:00+07:00"
SIM = ("--seed", "5", "--at", AT, "--speed", "0", "--secret", SECRET)


@pytest.fixture(scope="module")
def serial(tmp_path_factory) -> Iterator[tuple[str, ...]]:
    link = tmp_path_factory.mktemp("line") / "dlms"
    with sim("dlms", "--port-link", link, "--units", "17-18", "--unpaced", *SIM):
        yield ("--serial", str(link), "--server", "1/17", "--timeout", "1", "--retries", "1", *LOW)


@pytest.fixture(scope="module")
def tcp() -> Iterator[tuple[str, ...]]:
    with sim("dlms", "--tcp", "--units", "17", *SIM) as said:
        yield ("--tcp", said["tcp"], "--server", "17", "--timeout", "1", *LOW)


def test_registers_are_read_the_same_over_hdlc_and_tcp_and_in_their_base_units(serial, tcp):
    over_hdlc = answer("dlms", "read", "1.0.1.8.0", "1.0.32.7.0", "0.0.42.0.0", *serial)["readings"]
    over_tcp = answer("dlms", "read", "1.0.1.8.0", "1.0.32.7.0", "0.0.42.0.0", *tcp)["readings"]
    assert over_hdlc == over_tcp
    energy, voltage, name = over_hdlc
    assert energy["base"] == {"value": energy["raw"] * 10 ** energy["scaler"], "unit": "Wh"}
    assert (voltage["unit"], voltage["base"]["unit"]) == ("V", "mV")
    assert voltage["value"] == f"{voltage['base']['value'] / 1000:g}"
    assert name["text"].startswith("CTO")
    table = congto("dlms", "read", *serial)
    assert table.returncode == 0
    assert energy["text"] in table.stdout
    assert congto("dlms", "read", "1.0.1.8.0", "--no-lists", *tcp).returncode == 0


def test_the_list_shows_objects_with_rights(tcp):
    objects = {entry["obis"]: entry for entry in answer("dlms", "list", *tcp)["objects"]}
    assert objects["1.0.1.8.0"]["attributes"] == {"1": "r", "2": "r", "3": "r"}
    assert objects["0.0.1.0.0"]["attributes"]["2"] == "rw"
    assert objects["0.0.96.3.10"]["methods"] == {"1": "x", "2": "x"}
    shown = congto("dlms", "list", *tcp).stdout
    assert "disconnect control" in shown
    assert "active import, energy" in shown


def test_a_profile_is_read_by_range_and_by_entry_and_drawn(serial, tcp):
    day = ("--from", "2026-10-06", "--to", "2026-10-07")
    found = answer("dlms", "profile", *day, *serial)
    assert found["at"][0] == "2026-10-05T17:00:00Z"
    assert found["at"][-1] == "2026-10-06T17:00:00Z"
    assert len(found["rows"]) == 49
    assert found == answer("dlms", "profile", *day, "--quirk", "days_per_range_max=1", *tcp)
    column = [one["obis"] for one in found["columns"]].index("1.0.1.8.0")
    counted = [row[column] for row in found["rows"]]
    assert counted == sorted(counted)
    drawn = congto("dlms", "profile", *day, *tcp).stdout
    assert "49 rows every 1800 s, the last 48" in drawn
    assert "█" in drawn
    mean_w = (counted[-1] - counted[0]) / 24
    assert f"mean {round(mean_w, 1):g}," in drawn
    one = answer("dlms", "profile", *day, "--columns", "1.0.1.8.0", *tcp)
    assert [column["obis"] for column in one["columns"]] == ["0.0.1.0.0", "1.0.1.8.0"]
    assert [row[1] for row in one["rows"]] == counted
    absent = congto("dlms", "profile", *day, "--columns", "1.0.9.8.0", *tcp)
    assert (absent.returncode, "not captured" in absent.stderr) == (2, True)
    entries = answer("dlms", "profile", "--entries", "1-3", *tcp)
    assert len(entries["at"]) == 3
    assert congto("dlms", "profile", "--from", "1999-01-01", "--to", "1999-01-02", *tcp).returncode == 1


def test_the_clock_is_read_set_and_adjusted_within_a_limit_only(tcp):
    off_s = answer("dlms", "clock", *tcp)["ahead_s"]
    assert abs(off_s) > 1000  # the simulated clock stands still in the past
    refused = congto("dlms", "clock", "--set", "now", *tcp)
    assert (refused.returncode, "beyond --limit 60" in refused.stdout) == (1, True)
    there = ("--set", "2026-10-07T12:00:30", "--limit", "60")
    assert answer("dlms", "clock", *there, *tcp)["at"] == "2026-10-07T05:00:30Z"
    assert answer("dlms", "clock", *tcp)["at"] == "2026-10-07T05:00:30Z"
    back = ("--set", "2026-10-07T12:00:00")
    assert answer("dlms", "clock", *back, *tcp)["changed"]
    assert congto("dlms", "clock", "--adjust", "--limit", "1000", *tcp).returncode == 2


def test_the_clock_is_read_and_set_with_the_meters_quirk(tcp):
    quirk = ("--quirk", "inverted_deviation")
    plain = answer("dlms", "clock", *tcp)
    odd = answer("dlms", "clock", *tcp, *quirk)
    assert (plain["deviation_minutes"], odd["deviation_minutes"]) == (-420, 420)
    assert datetime.fromisoformat(odd["at"]) - datetime.fromisoformat(plain["at"]) == timedelta(hours=14)
    there = ("--set", "2026-10-08T02:00:30+07:00", "--limit", "60")
    assert answer("dlms", "clock", *there, *tcp, *quirk)["at"] == "2026-10-07T19:00:30Z"
    assert answer("dlms", "clock", *tcp)["at"] == "2026-10-07T05:00:30Z"  # the sign is still the meter's own
    assert answer("dlms", "clock", "--set", "2026-10-07T12:00:00", *tcp)["changed"]


def test_the_relay_opens_only_with_yes_and_is_believed_only_when_read_back(serial):
    asked = congto("dlms", "disconnect", *serial)
    assert (asked.returncode, "nothing was done" in asked.stdout) == (1, True)
    opened = answer("dlms", "disconnect", "--yes", *serial)
    assert (opened["before"]["conducts"], opened["after"]["conducts"]) == (True, False)
    assert opened["after"]["word"] == "disconnected"
    closed = answer("dlms", "reconnect", "--yes", *serial)
    assert (closed["before"]["conducts"], closed["after"]["conducts"]) == (False, True)


def test_an_attribute_is_written_and_a_method_invoked(tcp):
    assert answer("dlms", "set", "70:0.0.96.3.10:4", "enum", "4", *tcp)["value"] == ["enum", 4]
    assert answer("dlms", "action", "70:0.0.96.3.10:1", *tcp)["done"]
    assert answer("dlms", "action", "70:0.0.96.3.10:2", "integer", "0", *tcp)["done"]


def test_a_new_secret_comes_from_the_environment_or_a_file_and_is_never_shown(tmp_path, tcp):
    new = b"another secret".hex()
    (tmp_path / "new").touch(mode=0o600)
    (tmp_path / "new").write_text(f"0x{new}\n")
    words = ("dlms", "set", "15:0.0.40.0.0:7", "octet-string")
    for value in ("@env:NEW", f"@file:{tmp_path / 'new'}", f"0x{new}"):
        done = congto(*words, value, "--trace", *tcp, environment={"NEW": new})
        assert (done.returncode, "read-write-denied" in done.stderr) == (5, True), done.stderr  # sent, and refused
        assert "apdu: set-request" in done.stderr
        assert not any(text in done.stdout + done.stderr for text in (new, "another secret"))
    for value in ("@env:NEW", "no-hex-but-secret"):
        wrong = congto(*words, value, *tcp, environment={"NEW": "no-hex-but-secret"})
        assert (wrong.returncode, "no-hex" in wrong.stderr) == (2, False), wrong.stderr
    absent = congto(*words, "@env:NO_SUCH_VARIABLE", *tcp)
    assert (absent.returncode, "no such environment variable" in absent.stderr) == (2, True)


def test_the_billing_period_ends_with_yes_only_and_what_it_did_is_read_back(serial):
    asked = congto("dlms", "reset", *serial)
    assert (asked.returncode, "nothing was done" in asked.stdout) == (1, True)
    done = answer("dlms", "reset", "--yes", *serial)
    before, after = ({(one["obis"], one["index"]): one for one in done[when]} for when in ("before", "after"))
    assert after["0.0.98.1.0", 7]["raw"] == before["0.0.98.1.0", 7]["raw"] + 1
    assert before["1.0.1.6.0", 2]["base"]["value"] > after["1.0.1.6.0", 2]["raw"] == 0
    again = congto("dlms", "reset", "--yes", *serial)
    assert (again.returncode, "temporary-failure" in again.stderr) == (5, True)
    assert congto("dlms", "reset", "--script", "0", *serial).returncode == 2
    shown = congto("dlms", "reset", *serial).stdout
    assert "highest demand" in shown
    assert "2026-10-07 12:00:00" in shown


def test_an_image_is_written_with_yes_only_resumed_and_activated(tmp_path, serial, tcp):
    content = bytes(range(256)) * 3
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(content + hashlib.sha256(content).digest())
    bad.write_bytes(content)
    words = ("dlms", "image", good, "--identification", "CTO-2.0")
    for place in (serial, tcp):
        asked = congto(*words, *place)
        assert (asked.returncode, "nothing was done" in asked.stdout) == (1, True)
        assert (answer(*words, "--yes", *place)["sent"], answer(*words, "--yes", "--resume", *place)["sent"]) == (4, 0)
        done = answer(*words, "--yes", "--resume", "--activate", *place)
        assert (done["sent"], done["word"], done["to_activate"][0]["size"]) == (0, "activation successful", 800)
        assert answer("dlms", "read", "1:1.0.0.2.0:2", *place)["readings"][0]["text"] == "CTO-2.0"
    refused = congto("dlms", "image", bad, "--identification", "CTO-3.0", "--yes", "--activate", *tcp)
    assert (refused.returncode, "verification failed" in refused.stderr) == (5, True)
    assert congto("dlms", "image", tmp_path / "none", "--identification", "a", *tcp).returncode == 2
    assert congto("dlms", "image", good, "--identification", "0xa", *tcp).returncode == 2


# -- what goes wrong --------------------------------------------------------------------------------------------------


def test_a_wrong_secret_is_told_in_the_standards_words_and_never_shown(tcp, serial):
    for place in (tcp, serial):
        done = congto("dlms", "read", "1.0.1.8.0", "--trace", *place, environment={"METER_SECRET": "not-the-secret"})
        assert done.returncode == 5
        assert "authentication-failure" in done.stderr
        assert "secret or key is not this meter's" in done.stderr
        assert "not-the-secret" not in done.stderr + done.stdout
        assert b"not-the-secret".hex() not in done.stderr


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("read", "0.0.7.0.0"), 2, "class of 0.0.7.0.0"),
        (("read", "3:1.0.77.8.0"), 5, "object-undefined; the meter has no such object"),
        (("read", "1:1.0.1.8.0"), 5, "object-"),
        (("set", "3:1.0.1.8.0:2", "double-long-unsigned", "0"), 5, "read-write-denied"),
        (("action", "3:1.0.1.8.0:9"), 5, "the meter says"),
        (("set", "8:0.0.1.0.0:3", "long", "99999"), 2, "does not fit"),
        (("set", "8:0.0.1.0.0:3", "kilo", "1"), 2, "expected one of"),
        (("read", "1.2"), 2, "expected"),
        (("profile", "--entries", "5-1"), 2, "--entries 5-1: the first is after the last"),
        (("push", "--quirk", "fixed_invoke_id=99", "--tcp-listen", "127.0.0.1:0"), 2, "from 0 to 15"),
    ],
)
def test_what_the_meter_refuses_and_what_cannot_be_asked_differ_in_status(tcp, words, status, said):
    done = congto("dlms", *words, *(() if words[0] == "push" else tcp))
    assert (done.returncode, said in done.stderr) == (status, True), done.stderr


def test_the_public_client_has_no_right_to_registers(tcp):
    public = tcp[: -len(LOW)]
    done = congto("dlms", "read", "1.0.1.8.0", *public, "--client", "16")
    assert done.returncode == 5
    assert "the meter says " in done.stderr
    needs_password = congto("dlms", "read", "1.0.1.8.0", *public, "--client", "1")
    assert needs_password.returncode == 5
    assert "no association" in needs_password.stderr


def test_over_a_disturbed_line_a_reading_is_right_or_absent(tmp_path, serial):
    day = ("--from", "2026-10-06", "--to", "2026-10-07")
    right = answer("dlms", "profile", *day, *serial)
    faults = [
        word for name in ("drop", "corrupt", "truncate", "split", "duplicate") for word in ("--fault", f"{name}=60")
    ]
    link = tmp_path / "line"
    with sim("dlms", "--port-link", link, "--units", "17-18", "--unpaced", *faults, *SIM):
        place = ("--serial", str(link), "--server", "1/17", "--timeout", "0.3", "--retries", "5", *LOW)
        outcomes = [congto("dlms", "profile", *day, "--json", *place) for _ in range(4)]
    assert {done.returncode for done in outcomes} <= {0, 3, 4}
    read = [json.loads(done.stdout) for done in outcomes if done.returncode == 0]
    assert read, outcomes[0].stderr
    assert all(found == right for found in read)


def test_a_silent_meter_is_a_fault_of_the_line(serial):
    done = congto("dlms", "read", "1.0.1.8.0", *serial, "--server", "1/99", "--timeout", "0.2", "--retries", "0")
    assert done.returncode == 3
    assert "the meter is silent" in done.stderr
    assert "--server" in done.stderr


def test_a_port_that_is_not_there_is_a_fault_of_the_line(tmp_path):
    done = congto("dlms", "read", "--serial", tmp_path / "none", *LOW)
    assert (done.returncode, "can't be opened" in done.stderr) == (3, True)
    done = congto("dlms", "read", "--tcp", "127.0.0.1:1", *LOW)
    assert (done.returncode, "no connection" in done.stderr) == (3, True)


@contextmanager
def answering(reply: bytes) -> Iterator[str]:
    """Give a terminal on which something answers ``reply`` to whatever comes."""
    master, slave = pty.openpty()

    def serve() -> None:
        while os.read(master, 4096) != b"end":
            os.write(master, reply)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield os.ttyname(slave)
    finally:
        tty.setraw(slave)
        os.write(slave, b"end")
        thread.join()
        os.close(slave)
        os.close(master)


def ua_of(physical: int) -> bytes:
    return Frame(Address(1), Address(1, physical, 2), FrameType.UA | POLL_FINAL).encode()


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (b"\xff\x00\x13" * 9, "27 octets came, none of them an answer"),
        (bytes.fromhex("7ea00802250321736b4c7e"), "the line is disturbed"),
        (ua_of(18), "server 1/18 answered, expected 1/17; another meter answers"),
        (
            Frame(Address(1), Address(1, 17, 2), FrameType.FRMR | POLL_FINAL, b"\x10\x10\x01").encode(),
            "rejects a frame (FRMR 101001); meter and client disagree on the link",
        ),
    ],
)
def test_noise_and_another_meters_answer_break_the_protocol(reply, said):
    with answering(reply) as name:
        place = ("--serial", name, "--server", "1/17", "--timeout", "0.3", "--retries", "0")
        done = congto("dlms", "read", "1.0.1.8.0", *place, *LOW)
    assert (done.returncode, said in done.stderr) == (4, True), done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--auth", "low"), "needs --secret-env"),
        (("--secret-env", "METER_SECRET"), "takes no secret"),
        (("--auth", "high-gmac"), "need --key-env"),
        (("--server", "1/x"), "expected LOGICAL"),
        (("--server", "1/17"), "the wrapper knows one wPort"),
        (("--timeout", "0"), "--timeout"),
        (("--quirk", "sloppy"), "expected one of"),
        (("--quirk", "fixed_invoke_id=16"), "fixed_invoke_id=16: expected a number from 0 to 15"),
        (("--quirk", "days_per_range_max=0"), "days_per_range_max=0: expected a number from 1 to 1000"),
        (("--mode-e",), "for serial ports"),
        (("--key-env", "METER_KEY", "--auth-key-env", "METER_KEY"), "--counters FILE is needed"),
    ],
)
def test_arguments_that_do_not_fit_say_what_would(words, said):
    done = congto("dlms", "read", "1.0.1.8.0", "--tcp", "127.0.0.1:1", *words, environment={"METER_KEY": "00" * 16})
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_a_trace_explains_frames_on_stderr_and_leaves_the_answer_alone(serial):
    done = congto("dlms", "read", "1.0.1.8.0", "--json", "--trace", *serial)
    assert done.returncode == 0
    assert json.loads(done.stdout)["readings"][0]["obis"] == "1.0.1.8.0"
    for words in ("-> SNRM", "<- UA", "N(S)=0 N(R)=0", "apdu: AARQ", "apdu: get-request", "obis: 1.0.1.8.0.255"):
        assert words in done.stderr
    assert "authentication_value: (not shown)" in done.stderr
    assert SECRET not in done.stderr
    assert SECRET.encode().hex() not in done.stderr


def test_a_secret_file_must_be_its_owners_alone(tmp_path: Path, tcp):
    path = tmp_path / "secret"
    path.write_text(SECRET + "\n")
    words = [*[word for word in tcp if word not in ("--secret-env", "METER_SECRET")], "--secret-file", str(path)]
    path.chmod(0o644)
    assert congto("dlms", "read", "1.0.1.8.0", *words).returncode == 2
    path.chmod(0o600)
    assert congto("dlms", "read", "1.0.1.8.0", *words).returncode == 0


@pytest.mark.integration
def test_rows_that_were_not_asked_for_are_told(tmp_path):
    with sim("dlms", "--tcp", "--units", "17", "--ignore-selection", "--secret", "12345678") as said:
        words = ("--tcp", said["tcp"], "--server", "17", "--client", "1", "--auth", "low", "--secret-env", "SECRET")
        for asked in (("--days", "1"), ("--entries", "1-3")):
            done = congto("dlms", "profile", *asked, *words, environment={"SECRET": "12345678"})
            assert done.returncode == 0, done.stderr
            assert "rows were not asked for: the meter ignores the selection" in done.stderr
