"""The demo, as a stranger runs it: its figures hold, and whatever ends it, nothing of it is left."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

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


def short_directory() -> Path:
    """A new directory that any user may enter, short enough for sockets."""
    directory = Path(tempfile.mkdtemp(prefix="congto-"))
    directory.chmod(0o755)
    return directory / "demo"


def test_a_month_of_a_village_is_read_stored_and_billed_and_every_figure_holds():
    directory = short_directory()
    finished = subprocess.run(
        [sys.executable, "-m", "deploy.cli", "demo", "--once", "--json", "--keep", str(directory)],
        capture_output=True,
        text=True,
        timeout=REPLAY_TIMEOUT_S,
        check=False,
    )
    assert finished.stdout, finished.stderr
    figures = json.loads(finished.stdout)
    assert (finished.returncode, figures["holds"]) == (0, True), figures["differences"]
    assert figures["readings_taken"] == figures["readings_stored"] > 100_000
    assert figures["energy_in_meters_wh"] == figures["energy_in_database_wh"]
    assert figures["bills"] >= 24
    assert figures["healed_from_profile"] > 0
    assert figures["slots_never_read"] > 0, "the silent Modbus meter leaves a gap that is seen, not filled"
    assert processes_naming(directory) == []


def test_ctrl_c_in_the_middle_of_the_month_leaves_no_process():
    directory = short_directory()
    with demo("--once", "--keep", str(directory)) as process:
        wait_for_line(process, "the month")
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=START_TIMEOUT_S)
    assert process.returncode == 130, said
    assert processes_naming(directory) == []


def test_a_directory_that_is_not_empty_is_refused(tmp_path: Path):
    (tmp_path / "mine").write_text("precious", encoding="utf-8")
    with demo("--once", "--keep", str(tmp_path)) as process:
        said, _ = process.communicate(timeout=START_TIMEOUT_S)
    assert process.returncode == 2
    assert "not empty" in said
    assert (tmp_path / "mine").read_text(encoding="utf-8") == "precious"


def test_the_demo_goes_on_live_and_shows_its_page_and_fresh_readings():
    directory = short_directory()
    with demo("--keep", str(directory)) as process:
        page = wait_for_line(process, "Page:").split()[-1]
        base, _, token = page.partition("/#token=")
        with urllib.request.urlopen(f"{base}/", timeout=START_TIMEOUT_S) as answer:
            assert answer.status == 200
            assert b"<html" in answer.read()
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{base}/v1/meters", timeout=START_TIMEOUT_S)
        request = urllib.request.Request(f"{base}/v1/meters", headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=START_TIMEOUT_S) as answer:
            assert len(json.load(answer)["items"]) >= 24
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=START_TIMEOUT_S)
    assert process.returncode == 0, said
    assert processes_naming(directory) == []
