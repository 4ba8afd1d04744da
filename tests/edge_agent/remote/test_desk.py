"""A key is carried out once and answered always, wherever the power goes; the rest is refused with its reason."""

from pathlib import Path

import pytest

from edge_agent.remote.journal import ENTRIES_MAX, Journal, State, open_journal
from protocols.telemetry.command import Confirm, Kind, Read, SetClock
from protocols.telemetry.reply import ClockState, Outcome
from tests.edge_agent.remote.desks import KEY, NOW_MS, FakePerformer, command, converse

SWITCH = Confirm("M-0001", False, "5d0c77a1e29b4f63")


def test_a_command_is_carried_out_and_answered(tmp_path: Path) -> None:
    performer = FakePerformer()
    (reply,) = converse(tmp_path, performer, [command(SWITCH)])
    assert (reply.key, reply.kind, reply.outcome, reply.clock) == (KEY, Kind.CONFIRM, Outcome.DONE, ClockState.SET)
    assert performer.effects == [SWITCH]


def test_a_repeated_key_gets_the_recorded_answer_and_no_second_effect_also_after_a_restart(tmp_path: Path) -> None:
    first, second = FakePerformer(), FakePerformer()
    answered = converse(tmp_path, first, [command(SWITCH)] * 3, replies=1)
    again = converse(tmp_path, second, [command(SWITCH)], now_ms=lambda: NOW_MS + 3_600_000)
    assert again == answered[:1]
    assert first.effects == [SWITCH]
    assert second.effects == []


@pytest.mark.parametrize("cut", ["received", "begun", "done"])
def test_wherever_the_power_goes_there_is_one_effect_at_most_and_an_answer(tmp_path: Path, cut: str) -> None:
    before, after = FakePerformer(cut=cut), FakePerformer()
    assert converse(tmp_path, before, [command(SWITCH)]) == []
    (reply,) = converse(tmp_path, after, [])
    assert len(before.effects) + len(after.effects) <= 1
    if cut == "received":
        assert (reply.outcome, after.effects, after.resumed) == (Outcome.DONE, [SWITCH], [])
    else:
        assert (reply.outcome, after.effects, after.resumed) == (Outcome.UNKNOWN, [], [SWITCH])
    assert converse(tmp_path, FakePerformer(), [command(SWITCH)]) == [reply]


def test_what_waited_over_a_restart_until_it_expired_is_not_begun(tmp_path: Path) -> None:
    converse(tmp_path, FakePerformer(cut="received"), [command(SWITCH)])
    after = FakePerformer()
    (reply,) = converse(tmp_path, after, [], now_ms=lambda: NOW_MS + 60_000)
    assert (reply.outcome, after.effects) == (Outcome.EXPIRED, [])


def test_the_same_key_with_other_content_is_refused(tmp_path: Path) -> None:
    performer = FakePerformer()
    replies = converse(tmp_path, performer, [command(SWITCH), command(SetClock("M-0001", 30))], replies=2)
    assert {each.outcome for each in replies} == {Outcome.DONE, Outcome.REFUSED}
    assert performer.effects == [SWITCH]


def test_what_is_not_allowed_is_refused_and_stays_refused(tmp_path: Path) -> None:
    performer = FakePerformer(rights=frozenset({Kind.READ}))
    (reply,) = converse(tmp_path, performer, [command(SWITCH)])
    assert reply.outcome is Outcome.REFUSED
    assert reply.reason is not None
    assert "(commands)" in reply.reason
    allowed = FakePerformer()
    assert converse(tmp_path, allowed, [command(SWITCH)]) == [reply]
    assert allowed.effects == []


def test_an_expired_command_is_not_begun(tmp_path: Path) -> None:
    performer = FakePerformer()
    (reply,) = converse(tmp_path, performer, [command(SWITCH)], now_ms=lambda: NOW_MS + 63_000)
    assert (reply.outcome, reply.reason) == (Outcome.EXPIRED, "expired 3 s ago by the gateway's clock")
    assert performer.effects == []


def test_a_command_that_expires_while_the_line_is_busy_is_not_begun(tmp_path: Path) -> None:
    times = [NOW_MS]
    performer = FakePerformer(busy=lambda: times.append(NOW_MS + 60_000))
    (reply,) = converse(tmp_path, performer, [command(SWITCH)], now_ms=lambda: times[-1])
    assert (reply.outcome, performer.effects) == (Outcome.EXPIRED, [])


def test_a_gateway_whose_clock_is_not_set_refuses(tmp_path: Path) -> None:
    performer = FakePerformer()
    (reply,) = converse(tmp_path, performer, [command(Read("M-0001"))], now_ms=lambda: 61_000)
    assert (reply.outcome, reply.clock, reply.at_ms) == (Outcome.REFUSED, ClockState.UNSET, 61_000)


def test_what_is_meant_for_another_gateway_or_is_no_command_is_not_done(tmp_path: Path) -> None:
    performer = FakePerformer()
    payloads = [b"\x28\xb5\x2f\xfd", b"{}", command(SWITCH, gateway="gw-02"), command(Read("M-0001"), key="ab" * 8)]
    replies = converse(tmp_path, performer, payloads, replies=2)
    assert [(each.outcome, each.gateway) for each in replies] == [(Outcome.REFUSED, "gw-01"), (Outcome.DONE, "gw-01")]
    assert performer.effects == [Read("M-0001")]


def test_commands_from_before_a_lost_journal_are_refused_if_they_have_an_effect(tmp_path: Path) -> None:
    converse(tmp_path, FakePerformer(), [command(SWITCH)])
    path = tmp_path / "spool.commands"
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.write_bytes(b"\x00" * 100 + path.read_bytes()[100:])
    performer = FakePerformer()
    payloads = [command(SWITCH), command(Read("M-0001"), key="ab" * 8)]
    replies = converse(tmp_path, performer, payloads, replies=2)
    assert {each.kind: each.outcome for each in replies} == {Kind.CONFIRM: Outcome.REFUSED, Kind.READ: Outcome.DONE}
    assert performer.effects == [Read("M-0001")]
    assert len(list(tmp_path.glob("*.damaged-*"))) == 1


def test_a_full_journal_refuses_and_old_entries_make_room(tmp_path: Path) -> None:
    journal, _ = open_journal(tmp_path / "journal", NOW_MS)
    journal._connection.execute("begin")
    for number in range(ENTRIES_MAX):
        journal._connection.execute(
            "insert into command values (?, x'', x'', ?, 'done', x'', 1)", (f"{number:016x}", 0)
        )
    journal._connection.execute("commit")
    assert not journal.receive(KEY, b"1", NOW_MS + 1, 1)
    assert journal.receive(KEY, b"1", NOW_MS + 1, NOW_MS)
    assert journal.find("0" * 16) is None
    found = journal.find(KEY)
    assert found is not None
    assert found.state is State.RECEIVED
    journal.close()


def test_a_journal_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(path)
    journal._connection.execute("pragma user_version = 9")
    journal.close()
    with pytest.raises(Exception, match="newer version"):
        open_journal(path, NOW_MS)
