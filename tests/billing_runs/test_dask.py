"""A billing run on a Dask cluster: a scheduler and a worker as processes, and the same bills as without."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.cli import main
from ingest_server.billing.run import Plan, run_billing
from ingest_server.billing.standing import ledger_of
from tests.billing_runs.district import OCTOBER, District
from tests.billing_runs.test_runs import village

pytestmark = pytest.mark.integration
DEADLINE_S, GRACE_S = 60, 10
DASK = (sys.executable, "-m", "dask.__main__")


def end(process: subprocess.Popen[str]) -> None:
    """End a process of Dask's; a worker whose scheduler is busy at the end may wait for it longer than we do."""
    process.terminate()
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(DEADLINE_S)


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    """Give the address of a scheduler with one worker."""
    common = ("--host", "127.0.0.1", "--no-dashboard")
    scheduler = [*DASK, "scheduler", *common, "--port", "0"]
    processes = [subprocess.Popen(scheduler, stderr=subprocess.PIPE, text=True, cwd=tmp_path)]
    try:
        assert processes[0].stderr is not None
        address = next(
            line.split("Scheduler at:")[1].strip() for line in processes[0].stderr if "Scheduler at:" in line
        )
        worker = [
            *DASK,
            "worker",
            address,
            *common,
            "--no-nanny",
            "--nthreads",
            "1",
            "--local-directory",
            str(tmp_path),
        ]
        processes.append(subprocess.Popen(worker, stderr=subprocess.DEVNULL, text=True, cwd=tmp_path))
        yield address
    finally:
        for process in reversed(processes):
            end(process)


def test_a_run_on_a_dask_cluster_makes_the_same_bills(district: District, scheduler: str) -> None:
    district.add(village(13, 40))
    dry = run_billing(district.dsn, OCTOBER, Plan(dry_run=True))
    summary = run_billing(district.dsn, OCTOBER, Plan(dask=scheduler, chunk_points=9, issue_as="Lan"))
    assert (summary.billed, summary.digest, summary.total) == (40, dry.digest, dry.total)
    assert ledger_of(district.connection)["broken_at_block"] is None


def test_a_scheduler_that_does_not_answer_is_said_with_status_3(
    district: District, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CONGTO_DSN", district.dsn)
    district.add(village(14, 2))
    assert main(["bill", "run", "--period", "2026-10", "--dask", "tcp://127.0.0.1:9"]) == 3
    assert "no scheduler answers there" in capsys.readouterr().err
