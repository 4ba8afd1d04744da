"""Order, duplication and delay of readings leave the bills the same, and killing a run anywhere leaves them whole."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from ingest_server.billing.run import Plan, run_billing
from tests.billing_runs.district import OCTOBER, District, household
from tests.billing_runs.test_runs import village

pytestmark = pytest.mark.integration
CUSTOMERS = 24
KILLS = 6
DEADLINE_S = 120
RUN = """
import sys
from ingest_server.billing.period import Period
from ingest_server.billing.run import Plan, run_billing
if __name__ == "__main__":
    print("begun", flush=True)
    plan = Plan(chunk_points=20, workers=2, issue_as="An")
    run_billing(sys.argv[1], Period.of_month("2026-10"), plan, progress=lambda done, of: print(done, flush=True))
"""
READINGS = "select channel_id, measured_at, value, quality from reading order by 1, 2"
INSERT = "insert into reading values (%s, %s, %s, %s) on conflict do nothing"
DOCUMENTS = "select metering_point_id, total, encode(document_hash, 'hex') from bill order by 1, 2"
WRONG = """
    select count(*) from bill b where
        (select sum(amount) from bill_line l where l.bill_id = b.bill_id) <> b.total
        or (select count(*) from ledger_entry e where e.bill_id = b.bill_id) <> 1
        or (select receivable from ledger_entry e where e.bill_id = b.bill_id) <> b.total
"""


def kill_with_workers(process: "subprocess.Popen[str]", chance: Random) -> None:
    """End a run and its workers at once, in any order."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="utf-8").split()
    doomed = [process.pid, *map(int, children)]
    chance.shuffle(doomed)
    for pid in doomed:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=DEADLINE_S)


@pytest.mark.parametrize("seed", range(4))
def test_order_duplication_and_delay_of_readings_leave_the_bills_the_same(district: District, seed: int) -> None:
    chance = Random(seed)
    district.add(village(seed, CUSTOMERS))
    wanted = run_billing(district.dsn, OCTOBER, Plan(dry_run=True)).digest
    readings = district.rows(READINGS)
    district.connection.execute("delete from reading")
    arriving = readings + chance.choices(readings, k=len(readings) // 2)
    chance.shuffle(arriving)
    late = chance.randrange(len(arriving))
    for part in (arriving[:late], arriving[late:]):  # a run in between bills what is there
        district.connection.cursor().executemany(INSERT, part)
        summary = run_billing(district.dsn, OCTOBER, Plan(chunk_points=chance.randrange(1, 30)))
    assert (summary.held, summary.replaced, summary.digest) == (0, 0, wanted)
    assert district.value("select count(*) from bill") == CUSTOMERS


def test_a_run_of_several_processes_killed_again_and_again_leaves_whole_bills(district: District) -> None:
    district.add([household(number, 100_000 + number) for number in range(1, 301)])
    wanted = run_billing(district.dsn, OCTOBER, Plan(dry_run=True)).digest
    chance, made = Random(5), 0
    for _ in range(KILLS):
        process = subprocess.Popen([sys.executable, "-c", RUN, district.dsn], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(1 + chance.randrange(6)):  # as far as it says, and a bit of what it does not say
            process.stdout.readline()
        kill_with_workers(process, chance)
        assert district.value(WRONG) == 0
        bills = district.value("select count(*) from bill")
        assert bills >= made
        made = bills
    summary = run_billing(district.dsn, OCTOBER, Plan(issue_as="An", chunk_points=20))
    assert (summary.digest, summary.held, summary.billed + summary.unchanged) == (wanted, 0, 300)
    assert (district.value(WRONG), district.value("select count(*) from bill")) == (0, 300)
