"""What may still be answered: known over the line's reopening, a tidy stop and a kill, whatever the note says."""

import asyncio
import contextvars
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.bus import Bus
from edge_agent.clock import SystemClock
from edge_agent.config import BusConfig, parse_config
from edge_agent.failures import LineLostError
from edge_agent.lengths import Lengths
from edge_agent.log import EventLog
from edge_agent.modbus_rtu import LATE_ANSWER_S, RtuLink
from edge_agent.serial_line import LineSettings
from edge_agent.unheard import BOOT_VARIABLE, Boot, Unheard, this_boot
from protocols.modbus.messages import Function, ReadRegisters
from tests.edge_agent.keeping_store import KeepingStore
from tests.edge_agent.test_virtual_bus import HEAD, MIDNIGHT, VirtualLine, meter
from tests.simulation.line import SimulatedLine, Wires
from tests.simulation.loop import VirtualLoop
from tests.simulation.meters import TrueMeter

AGE_S = 5000.0
TIMEOUT_S = 0.5
PLACE = LineSettings("/dev/ttyUSB0", 9600, "E", 1)
FIRST, SECOND = ReadRegisters(1, Function.READ_INPUT, 0, 2), ReadRegisters(1, Function.READ_INPUT, 12, 2)


class Computer:
    """A computer that may be switched off and on."""

    def __init__(self, age_s: float = AGE_S) -> None:
        self.name, self.age_s = "one", age_s

    def boot(self) -> Boot:
        return Boot(self.name, lambda: self.age_s)


def begin(note: Path, computer: Computer, *, is_new: bool = False) -> Unheard:
    """Begin a process; it is killed if nobody closes it."""
    return Unheard(note, computer.boot(), is_new=is_new)


def in_loop(do: Callable[[], None]) -> None:
    """Do it in a loop whose time begins with 0."""

    async def go() -> None:
        do()

    with closing(VirtualLoop()) as loop:
        loop.run_until_complete(go())


def test_the_first_agent_of_a_gateway_listens_to_nobody(tmp_path: Path) -> None:
    assert begin(tmp_path / "note", Computer(), is_new=True).listen_s() <= 0


def test_a_spool_without_a_note_is_one_of_an_agent_that_could_not_write_it(tmp_path: Path) -> None:
    assert begin(tmp_path / "note", Computer()).listen_s() == LATE_ANSWER_S


def test_after_a_kill_the_next_listens_and_the_one_after_a_tidy_stop_does_not(tmp_path: Path) -> None:
    computer = Computer()
    begin(tmp_path / "note", computer, is_new=True)
    computer.age_s += 1
    second = begin(tmp_path / "note", computer)
    assert second.listen_s() == LATE_ANSWER_S
    computer.age_s += LATE_ANSWER_S
    in_loop(second.close)
    computer.age_s += 0.1
    assert begin(tmp_path / "note", computer).listen_s() <= 0


def test_who_stops_while_he_listens_leaves_the_rest_to_the_next(tmp_path: Path) -> None:
    computer = Computer()
    begin(tmp_path / "note", computer)
    second = begin(tmp_path / "note", computer)
    computer.age_s += 4
    in_loop(second.close)
    assert begin(tmp_path / "note", computer).listen_s() == LATE_ANSWER_S - 4


@pytest.mark.parametrize(("answered", "left_s"), [(True, TIMEOUT_S), (False, LATE_ANSWER_S)])
def test_a_tidy_stop_leaves_until_when_an_answer_or_its_double_may_come(
    tmp_path: Path, *, answered: bool, left_s: float
) -> None:
    computer = Computer()
    first = begin(tmp_path / "note", computer, is_new=True)
    first.lengths(PLACE, TIMEOUT_S).note(FIRST, 0.0, answered=answered)
    in_loop(first.close)
    computer.age_s += 0.25
    assert begin(tmp_path / "note", computer).listen_s() == pytest.approx(left_s - 0.25)


def test_a_computer_that_was_switched_off_owes_only_what_its_age_does_not_cover(tmp_path: Path) -> None:
    computer = Computer()
    begin(tmp_path / "note", computer, is_new=True)
    computer.name, computer.age_s = "two", 3.0
    assert begin(tmp_path / "note", computer).listen_s() == LATE_ANSWER_S - 3.0
    computer.name, computer.age_s = "three", 30.0
    assert begin(tmp_path / "note", computer).listen_s() <= 0


def test_a_computer_without_a_name_may_be_the_same_one(tmp_path: Path) -> None:
    nameless = Boot(None, lambda: AGE_S)
    in_loop(Unheard(tmp_path / "note", nameless, is_new=True).close)
    assert Unheard(tmp_path / "note", nameless, is_new=False).listen_s() == LATE_ANSWER_S


def test_who_can_not_write_his_note_listens_for_the_one_before_could_not_either_and_says_why(tmp_path: Path) -> None:
    computer = Computer()
    unheard = begin(tmp_path / "no such directory" / "note", computer, is_new=True)
    assert unheard.listen_s() == LATE_ANSWER_S
    assert unheard.refused is not None
    assert "No such file or directory" in unheard.refused
    (tmp_path / "no such directory").mkdir()
    computer.age_s += LATE_ANSWER_S
    in_loop(unheard.close)
    assert unheard.refused is None
    assert begin(tmp_path / "no such directory" / "note", computer).listen_s() <= 0


def test_a_note_that_can_be_neither_read_nor_written_nor_removed_is_an_unclean_end(tmp_path: Path) -> None:
    computer, note = Computer(), tmp_path / "note"
    note.mkdir()
    for _ in range(2):
        unheard = begin(note, computer, is_new=True)
        assert unheard.listen_s() == LATE_ANSWER_S
        assert unheard.refused is not None
        computer.age_s += 3600
        in_loop(unheard.close)
        assert unheard.refused is not None


def test_a_note_that_can_not_be_changed_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a full disk: the next one must not read the note of the one before last."""
    computer, note = Computer(), tmp_path / "note"
    in_loop(begin(note, computer, is_new=True).close)

    def full(*_words: object, **_options: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        assert begin(note, computer).listen_s() == LATE_ANSWER_S
    assert not note.exists()
    assert begin(note, computer).listen_s() == LATE_ANSWER_S


nonsense = st.one_of(
    st.binary(max_size=60),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["boot", "quiet_at_s"]), inner),
    ).map(lambda value: json.dumps(value).encode()),
    st.floats().map(lambda at_s: json.dumps({"boot": "one", "quiet_at_s": at_s}).encode()),
)


@given(nonsense)
def test_no_note_makes_an_agent_wait_longer_than_a_late_answer_or_fail(content: bytes) -> None:
    class Note(type(Path())):  # type: ignore[misc]  # pathlib's class for this system
        def read_bytes(self) -> bytes:
            return content

        def write_text(self, *_words: object, **_options: object) -> int:
            return 0

    listened_s = begin(Note("note"), Computer()).listen_s()
    assert listened_s <= LATE_ANSWER_S
    try:
        known = float(json.loads(content)["quiet_at_s"]) <= AGE_S or json.loads(content)["boot"] != "one"
    except (ValueError, TypeError, KeyError, IndexError, OverflowError):
        known = False
    assert known or listened_s > 0


def test_the_computers_name_is_the_same_from_the_system_and_from_the_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(BOOT_VARIABLE, raising=False)
    told = this_boot()
    assert told.name is not None
    assert "-" not in told.name
    assert told.age_s() > 0
    monkeypatch.setenv(BOOT_VARIABLE, "0123456789abcdef0123456789abcdef")
    assert this_boot().name == "0123456789abcdef0123456789abcdef"


def test_a_line_that_is_opened_by_another_name_is_the_same_line(tmp_path: Path) -> None:
    (tmp_path / "ttyUSB0").touch()
    (tmp_path / "by-id").symlink_to(tmp_path / "ttyUSB0")
    unheard = begin(tmp_path / "note", Computer(), is_new=True)
    lengths = [
        unheard.lengths(LineSettings(str(tmp_path / name), 9600, parity, 1), TIMEOUT_S)
        for name, parity in (("ttyUSB0", "E"), ("by-id", "E"), ("ttyUSB0", "N"))
    ]
    assert lengths[0] is lengths[1]
    assert lengths[0] is not lengths[2], "an answer at other settings is noise"


def test_an_adapter_that_is_plugged_in_again_is_the_same_line_though_the_system_names_it_anew(tmp_path: Path) -> None:
    by_id = tmp_path / "by-id"
    by_id.symlink_to(tmp_path / "ttyUSB0")
    unheard = begin(tmp_path / "note", Computer(), is_new=True)
    asked = unheard.lengths(LineSettings(str(by_id), 9600, "E", 1), TIMEOUT_S)
    by_id.unlink()
    by_id.symlink_to(tmp_path / "ttyUSB1")
    assert unheard.lengths(LineSettings(str(by_id), 9600, "E", 1), TIMEOUT_S) is asked


def test_a_question_whose_line_was_lost_may_still_be_answered() -> None:
    """The next question of its length is a longer one, on the line that was opened again."""
    (bus,) = parse_config(HEAD + meter(1, ""), "agent.toml", Path(), {}).buses
    loop = VirtualLoop()

    async def go() -> None:
        assert isinstance(bus.place, LineSettings)
        wires = Wires(loop, contextvars.copy_context(), bus.place, [])
        lengths = Lengths(LATE_ANSWER_S)
        asking = asyncio.ensure_future(RtuLink(SimulatedLine(wires), TIMEOUT_S, lengths).exchange(FIRST))
        loop.call_later(0.1, wires.lose_contact)
        with pytest.raises(LineLostError):
            await asking
        assert lengths.late_until(FIRST) >= 0.1 + LATE_ANSWER_S
        assert lengths.distinct(SECOND, loop.time() + 1.0) != SECOND
        assert lengths.quiet_at(TIMEOUT_S) == lengths.late_until(FIRST)

    with closing(loop):
        loop.run_until_complete(go())


class Telling(EventLog):
    """Keeps the events."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def info(self, event: str, **_fields: object) -> None:
        self.events.append(event)


@pytest.mark.parametrize(
    ("listen_s", "stop_s"), [(LATE_ANSWER_S, 20.0), (LATE_ANSWER_S, 3.0), (0.4, 20.0), (0.0, 20.0)]
)
def test_a_bus_asks_nothing_while_it_listens_and_stops_at_once(tmp_path: Path, listen_s: float, stop_s: float) -> None:
    """What passes while a program starts is waited for and not told."""
    (bus,) = parse_config(HEAD + meter(1, 'every = "1m"'), "agent.toml", tmp_path, {}).buses
    loop = VirtualLoop()
    asked: list[float] = []
    log = Telling()

    class Counting(Wires):
        def hear_master(self, data: bytes) -> None:
            asked.append(loop.time())
            super().hear_master(data)

    def gateway_ms() -> int:
        return MIDNIGHT + round(1000 * loop.time())

    async def go() -> KeepingStore:
        assert isinstance(bus.place, LineSettings)
        true = TrueMeter(bus.meters[0], 1, now_s=loop.time, epoch_ms=MIDNIGHT, gateway_ms=gateway_ms)
        wires = Counting(loop, contextvars.copy_context(), bus.place, [true])
        store, stop = KeepingStore(), asyncio.Event()

        async def open_line(_bus: BusConfig) -> VirtualLine:
            return VirtualLine(wires, bus)

        clock = SystemClock(lambda: 1_000_000 * gateway_ms())
        running = Bus(bus, clock, store, log, open_line, listen_s=lambda: listen_s)  # type: ignore[arg-type]
        loop.call_at(stop_s, stop.set)
        await running.run(stop)
        return store

    with closing(loop):
        store = loop.run_until_complete(go())
    assert ("bus.listening" in log.events) == (listen_s == LATE_ANSWER_S)
    if stop_s < listen_s:
        assert asked == []
        assert loop.time() == stop_s
    else:
        assert listen_s <= min(asked) < listen_s + 1.0
        assert [each.measured_at_ms for cycle in store.cycles for each in cycle.readings] == [MIDNIGHT] * 2
