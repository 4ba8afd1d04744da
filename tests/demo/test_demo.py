"""The demo, as a stranger runs it: its figures hold, and whatever ends it, nothing of it is left."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.integration

REPLAY_TIMEOUT_S = 420
START_TIMEOUT_S = 120


@contextlib.contextmanager
def demo(*words: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "deploy.cli", "demo", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    killer = threading.Timer(REPLAY_TIMEOUT_S, process.kill)
    killer.start()
    try:
        yield process
    finally:
        killer.cancel()
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.communicate()


def wait_for_line(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if text in line:
            return line
    raise AssertionError(f"the demo ended before it said {text!r}:\n{''.join(said)}")


def processes_naming(directory: Path) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if str(directory) in command:
                    found.append(f"{entry.name}: {command}")
    return found


@pytest.fixture
def directory() -> Iterator[Path]:
    """Name a new directory that the servers' user can reach, short enough for sockets."""
    parent = Path(tempfile.mkdtemp(prefix="congto-"))
    parent.chmod(0o711)
    yield parent / "demo"
    shutil.rmtree(parent)


def test_a_month_of_a_village_is_read_stored_and_billed_every_figure_holds_and_it_goes_on_live(directory: Path):
    with demo("--json", "--keep", str(directory)) as process:
        line = wait_for_line(process, '{"holds"')  # the progress bar shares the terminal's line
        check_figures(json.loads(line[line.index("{") :]))
        page = wait_for_line(process, "Page:").split()[-1]
        check_page(*page.split("/#token="))
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=START_TIMEOUT_S)
    assert process.returncode == 0, said
    assert processes_naming(directory) == []


def check_figures(figures: dict[str, Any]) -> None:
    assert figures["holds"], figures["differences"]
    assert figures["readings_taken"] == figures["readings_stored"] > 100_000
    assert figures["energy_in_meters_wh"] == figures["energy_in_database_wh"]
    assert figures["bills"] >= 24
    assert figures["healed_from_profile"] > 0
    assert figures["slots_never_read"] > 0, "the silent Modbus meter leaves a gap that is seen, not filled"


def check_page(base: str, token: str) -> None:
    with urllib.request.urlopen(f"{base}/", timeout=START_TIMEOUT_S) as answer:
        assert b"<html" in answer.read()
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{base}/v1/meters", timeout=START_TIMEOUT_S)
    request = urllib.request.Request(f"{base}/v1/meters", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=START_TIMEOUT_S) as answer:
        assert len(json.load(answer)["items"]) >= 24


def test_ctrl_c_pressed_by_an_impatient_hand_in_the_middle_of_the_month_leaves_no_process(directory: Path):
    with demo("--once", "--keep", str(directory)) as process:
        wait_for_line(process, "the month")
        for _ in range(5):
            process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=START_TIMEOUT_S)
    assert process.returncode == 130, said
    assert processes_naming(directory) == []


def test_a_terminal_that_is_closed_leaves_no_process(directory: Path):
    with demo("--once", "--keep", str(directory)) as process:
        wait_for_line(process, "ingest, API and agents")
        assert process.stdout is not None
        process.stdout.close()
        process.send_signal(signal.SIGHUP)
        process.wait(START_TIMEOUT_S)
    assert processes_naming(directory) == []


def test_a_demo_that_is_killed_takes_its_programs_with_it(directory: Path):
    """The servers stay, as they would after a power cut; ``congto runtime`` can stop or recover them."""
    with demo("--once", "--keep", str(directory)) as process:
        wait_for_line(process, "the month")
        process.kill()
        process.communicate(timeout=START_TIMEOUT_S)
    command = [sys.executable, "-m", "deploy.cli", "runtime", "down", "--dir", str(directory / "runtime")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + START_TIMEOUT_S
    while processes_naming(directory) and time.monotonic() < deadline:
        os.sched_yield()
    assert processes_naming(directory) == []


def test_a_directory_that_is_not_empty_is_refused(tmp_path: Path):
    (tmp_path / "mine").write_text("precious", encoding="utf-8")
    with demo("--once", "--keep", str(tmp_path)) as process:
        said, _ = process.communicate(timeout=START_TIMEOUT_S)
    assert process.returncode == 2
    assert "not empty" in said
    assert (tmp_path / "mine").read_text(encoding="utf-8") == "precious"
