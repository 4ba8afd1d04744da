"""The guide's commands do what it says, and the page of supported features is what the code holds."""

import re
import shlex
from contextlib import ExitStack
from pathlib import Path

import pytest

from deploy.dlms_rows import AREAS
from deploy.dlms_support import render_page
from protocols.dlms.quirks import Quirks
from tests.dlms_tool.processes import congto, sim

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/guides/dlms.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)


def test_the_page_of_supported_features_is_what_the_code_holds():
    page = (ROOT / "docs/dlms-support.md").read_text(encoding="utf-8")
    assert page == render_page(), "run: python -m deploy.dlms_support"
    assert all(f"`{name}`" in page for name in Quirks.__slots__)
    assert not re.search(r"\| \|$", page.partition("## Quirks")[2], re.MULTILINE), "a quirk says nothing"


def test_each_area_says_where_it_is_tried_and_claims_options_that_there_are():
    commands = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    for area in AREAS:
        assert (ROOT / area.tests).exists(), area.tests
        for option in re.findall(r"`(--[a-z-]+)`", area.client + area.simulator):
            assert option in commands, option


@pytest.mark.integration
def test_the_guide_takes_a_bare_meter_to_its_load_curve(tmp_path):
    names = ("meter", "head", "secured", "keys.json", "counters.json")
    places = {f"/tmp/{name}": str(tmp_path / name) for name in names}
    commands = [shlex.split(line) for block in BLOCKS for line in block.splitlines()]
    simulator = [places.get(word, word) for word in commands.pop(0)[1:]]
    others = [
        [places.get(word, word) for word in shlex.split(found)[1:]]
        for found in re.findall(r"`congto (sim [^`]*--units[^`]*)`", GUIDE)
    ]
    assert [words[0] for words in others] == ["dlms", "iec62056-21"]
    environment, said = {}, []
    with ExitStack() as running:
        for words in (simulator[1:], *others):
            running.enter_context(sim(*words, "--unpaced"))
        for words in commands:
            if words[0] == "export":
                name, _, value = words[1].partition("=")
                environment[name] = value
                continue
            assert words[0] == "congto"
            done = congto(*(places.get(word, word) for word in words[1:]), environment=environment)
            assert done.returncode == 0, (words, done.stderr)
            said.append(done.stdout)
    assert len(said) == 9
    assert "CTO" in said[0]
    assert "█" in said[3]
    assert "1.8.0" in said[-1]


def test_every_exit_status_is_in_the_help_and_in_the_guide():
    said = " ".join(congto("dlms", "--help").stdout.split())
    for status in range(1, 6):
        assert re.search(rf"[,:] {status} \w", said), said
        assert f"\n| {status} | " in GUIDE
    assert "no rows, a change beyond --limit, --yes missing" in said
