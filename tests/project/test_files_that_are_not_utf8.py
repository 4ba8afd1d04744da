"""Whatever file of the project's own is saved in another encoding, it is refused with its name, line and cure."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from protocols.errors import UsageError
from protocols.utf8 import decode_text

ROOT = Path(__file__).parents[2]
FOLDERS = ("billing_core", "deploy", "edge_agent", "ingest_server", "protocols", "simulators")
QUOTE = ("quote", "--category", "residential", "--kwh", "100", "--from", "2025-12-01", "--to", "2025-12-31")
READERS = (
    ("billing_core/tariffs/act_2025_1279.toml", "from deploy.cli import main; sys.exit(main(sys.argv[1:]))"),
    (
        "billing_core/control/thresholds.toml",
        "from billing_core.control.thresholds import load_thresholds; load_thresholds()",
    ),
    (
        "billing_core/validation/parameters.toml",
        "from billing_core.validation.parameters import load_parameters; load_parameters()",
    ),
    ("ingest_server/billing/limits.toml", "from ingest_server.billing.limits import limits_from; limits_from(None)"),
    (
        "protocols/meters/models/eastron_sdm630.toml",
        "from protocols.meters.catalogue import load_model; load_model('eastron_sdm630')",
    ),
)
SHOWN = """
import sys
from protocols.errors import UsageError
try:
    {reading}
except UsageError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
"""


@pytest.mark.parametrize(("file", "reading"), READERS, ids=[file for file, _ in READERS])
def test_a_file_of_the_package_saved_in_another_encoding_is_refused_by_name(file: str, reading: str, tmp_path: Path):
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    spoilt = tmp_path / file
    spoilt.write_bytes(b"# \xd0\xf4ng\n" + spoilt.read_bytes())
    ended = subprocess.run(
        [sys.executable, "-c", SHOWN.format(reading=reading), *QUOTE],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert f"{spoilt.name}: line 1: found octet 0xd0, which is not UTF-8 here" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_first_line_that_is_wrong_is_named():
    assert decode_text("công tơ\n".encode(), "names.toml") == "công tơ\n"
    with pytest.raises(UsageError, match=r"^names\.toml: line 3: found octet 0xf4, .* save the file in that encoding$"):
        decode_text(b"one\ntwo\nc\xf4ng t\xc6\xa1\n", "names.toml")
    with pytest.raises(UsageError, match=r"^names\.toml: line 10: "):
        decode_text(b"\xff", "names.toml", 10)
