"""What a report tells of several runs, of which one was interrupted."""

from pathlib import Path

from tests.chaos.judge import Verdict
from tests.chaos.report import Writer, markdown, runs_of
from tests.chaos.schedule import Outcome

CLEAN = Outcome(1, ["broker killed", "cut at commit"])


def test_a_report_adds_up_what_all_runs_have_told_also_the_one_that_was_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "report"
    writer = Writer(path)
    writer.begin(1)
    writer.schedule(CLEAN)
    writer.schedule(Outcome(2, ["broker killed"], Verdict(lost=3, notes=["lost: M-1"])))
    writer.end(Verdict(), 17, 1234, {"queues overflown": 2})
    writer.control(1, [CLEAN, Outcome(2, ["agent killed"], Verdict(lost=40))])
    Writer(path).begin(7)
    writer.schedule(Outcome(7, ["clock unset"]))
    runs = list(runs_of(path.read_text("utf-8").splitlines()))
    assert [(run.begin["seed"], len(run.schedules), run.end is None) for run in runs] == [(1, 2, False), (7, 1, True)]
    text = markdown(runs)
    assert "3 schedules with 4 faults, 1,234 readings compared" in text
    assert "Verdicts: lost 3, doubled 0, altered 0, invented 0" in text
    assert "Control: 1 of 1 have lost readings" in text
    assert "| broker killed | 2 |" in text
    assert "| queues overflown | 2 |" in text
    assert "Seed 2 of the run from 1: lost 3" in text
    assert "lost: M-1" in text
    assert "40 in 2" in text
    assert "interrupted" in text


def test_what_only_the_last_comparison_has_found_is_told(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "report")
    writer.begin(1)
    writer.schedule(CLEAN)
    writer.end(Verdict(invented=78, notes=["invented: M-2"]), 1, 2, {})
    text = markdown(list(runs_of((tmp_path / "report").read_text("utf-8").splitlines())))
    assert "Seed all together of the run from 1: invented 78" in text


def test_without_a_path_nothing_is_written(tmp_path: Path) -> None:
    Writer(None).schedule(CLEAN)
    assert list(tmp_path.iterdir()) == []
