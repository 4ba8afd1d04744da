"""Who has asked on a port is known by the times that the system keeps of it."""

import os
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_agent.modbus_rtu import LATE_ANSWER_S
from edge_agent.port_use import GRAIN_S, leave_quiet, owed_s
from edge_agent.serial_line import LineSettings
from edge_agent.unheard import Boot, Unheard
from protocols.modbus.messages import Function, ReadRegisters
from tests.edge_agent.test_unheard import in_loop

AGE_S = 5000.0


@contextmanager
def terminal() -> Iterator[tuple[str, int]]:
    """Open a pseudo-terminal; yield its name and its descriptor."""
    master, slave = os.openpty()
    tty.setraw(slave)
    try:
        yield os.ttyname(slave), slave
    finally:
        os.close(slave)
        os.close(master)


def write_after_a_while(slave: int) -> float:
    """Write as if the terminal had been there for a while, for the system notes it to eight seconds; return when."""
    there_s = os.fstat(slave).st_mtime - 2 * GRAIN_S
    os.utime(slave, (there_s, there_s))
    before = os.fstat(slave)
    os.write(slave, b"\x01")
    assert os.fstat(slave).st_mtime > before.st_mtime
    return os.fstat(slave).st_mtime


def test_a_port_on_which_nobody_has_written_owes_nothing() -> None:
    with terminal() as (port, slave):
        assert owed_s(port, os.fstat(slave).st_mtime) == 0


def test_a_port_owes_an_answer_until_it_would_be_too_late_and_nothing_when_it_is_left_quiet(tmp_path: Path) -> None:
    port = tmp_path / "port"
    port.touch()
    asked_s = port.stat().st_ctime + 100.0
    # A file's time of change can't be set; that it was changed before is what matters.
    os.utime(port, (asked_s, asked_s))
    assert owed_s(str(port), asked_s) == LATE_ANSWER_S
    assert 0 < owed_s(str(port), asked_s + LATE_ANSWER_S) <= GRAIN_S
    assert owed_s(str(port), asked_s + LATE_ANSWER_S + GRAIN_S) == 0
    assert owed_s(str(port), asked_s - 3600) == LATE_ANSWER_S, "the clock was set back"
    leave_quiet(str(port))
    assert owed_s(str(port), asked_s) == 0


def test_the_system_notes_what_is_written_to_a_terminal() -> None:
    with terminal() as (_, slave):
        write_after_a_while(slave)


def test_a_port_that_is_gone_owes_nothing_and_can_be_left(tmp_path: Path) -> None:
    assert owed_s(str(tmp_path / "gone"), 0.0) == 0
    leave_quiet(str(tmp_path / "gone"))


def asked_on(port: Path) -> float:
    """Let somebody have asked on a port; return when."""
    port.touch()
    asked_s = port.stat().st_ctime + 100.0
    os.utime(port, (asked_s, asked_s))
    return asked_s


def test_an_agent_listens_where_another_has_asked_and_leaves_its_ports_quiet(tmp_path: Path) -> None:
    port, other = tmp_path / "port", tmp_path / "other"
    asked_s = asked_on(port)
    other.touch()
    age = [AGE_S]
    boot = Boot("one", lambda: age[0])
    unheard = Unheard(tmp_path / "note", boot, is_new=True, clock_s=lambda: asked_s)
    assert unheard.listen_s(str(port)) == LATE_ANSWER_S
    assert unheard.listen_s(str(other)) <= 0, "nobody has asked there"
    in_loop(unheard.close)
    assert owed_s(str(port), asked_s) == LATE_ANSWER_S, "it has not heard it out"
    age[0] += LATE_ANSWER_S
    assert unheard.listen_s(str(port)) <= 0
    in_loop(unheard.close)
    assert owed_s(str(port), asked_s) == 0


def test_a_port_that_comes_with_a_new_configuration_is_looked_at_before_anything_is_asked_there(tmp_path: Path) -> None:
    """Someone may have asked there while this agent was running and knew nothing of it."""
    age = [AGE_S]
    asked_s = asked_on(tmp_path / "port")
    (tmp_path / "by-id").symlink_to(tmp_path / "port")
    unheard = Unheard(tmp_path / "note", Boot("one", lambda: age[0]), is_new=True, clock_s=lambda: asked_s)
    age[0] += 3600
    assert unheard.listen_s() <= 0
    assert unheard.listen_s(str(tmp_path / "by-id")) == LATE_ANSWER_S
    age[0] += 4
    assert unheard.listen_s(str(tmp_path / "port")) == LATE_ANSWER_S - 4, "a bus that begins anew listens to the rest"
    age[0] += LATE_ANSWER_S
    in_loop(unheard.close)
    assert owed_s(str(tmp_path / "port"), asked_s) == 0


def test_a_port_on_which_the_agent_itself_waits_for_an_answer_is_not_left_quiet(tmp_path: Path) -> None:
    port = tmp_path / "port"
    asked_s = asked_on(port)
    unheard = Unheard(tmp_path / "note", Boot("one", lambda: AGE_S), is_new=True, clock_s=lambda: asked_s + 3600)
    assert unheard.listen_s(str(port)) <= 0
    lengths = unheard.lengths(LineSettings(str(port), 9600, "E", 1), 0.5)
    lengths.note(ReadRegisters(1, Function.READ_INPUT, 0, 2), 0.0, answered=False)
    in_loop(unheard.close)
    assert owed_s(str(port), asked_s) == LATE_ANSWER_S
