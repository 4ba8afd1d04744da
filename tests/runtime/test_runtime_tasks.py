"""What stands between `make` and a program that starts servers."""

import os
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.integration

CHILD = """
import os, signal
def stop(number, frame):
    os.write(1, b"stopping\\n")  # print() may be at work on "ready" yet
    os._exit(7)
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop)
print("ready", flush=True)
signal.pause()
"""
PARENT = """
import sys
from deploy import tasks
print("status", tasks.run_patiently([sys.executable, "-c", sys.argv[1]]), flush=True)
"""


@pytest.mark.parametrize(("number", "to_all"), [(signal.SIGTERM, False), (signal.SIGINT, True)])
def test_a_program_is_given_its_time_to_stop(number: signal.Signals, to_all: bool) -> None:
    """Ctrl-C goes to everybody on the terminal, a supervisor's SIGTERM to the first alone."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "ready\n"
    (os.killpg if to_all else os.kill)(parent.pid, number)
    said, _ = parent.communicate(timeout=30)
    assert said == "stopping\nstatus 7\n"
    assert parent.returncode == 0
