"""Every word of the page is there in both languages."""

import re
from pathlib import Path

import pytest

from protocols.telemetry.event import EventKind

STATIC = Path(__file__).parents[2] / "ingest_server" / "api" / "static"
BLOCKS = re.split(r"(?m)^  (?:vi|en): \{$", (STATIC / "words.js").read_text(encoding="utf-8"))[1:]
KEY = re.compile(r'(?:^|[{,])\s*(\w+|"[\d.]+"): (?="|\{)', re.MULTILINE)


def words(block: str) -> list[str]:
    """The names in one language's block, without what stands in the texts."""
    return KEY.findall(re.sub(r': "(?:[^"\\]|\\.)*"', ': ""', block.partition("\n  },")[0]))


def test_both_languages_have_the_same_words_each_once():
    vietnamese, english = map(words, BLOCKS)
    assert len(vietnamese) > 100
    assert vietnamese == english
    assert len(set(vietnamese)) == len(vietnamese)


@pytest.mark.parametrize("script", sorted(path.name for path in STATIC.glob("*.js")))
def test_the_page_uses_no_word_that_is_not_there(script: str):
    used = set(re.findall(r'\bword\("(\w+)"', (STATIC / script).read_text(encoding="utf-8")))
    assert used <= set(words(BLOCKS[0]))


def test_every_kind_of_event_has_a_name():
    split = {"relay": ["relay_on", "relay_off"]}
    wanted = {name for kind in EventKind for name in split.get(kind.value, [kind.value])}
    names = BLOCKS[0].partition("eventNames: {")[2].partition("}")[0]
    assert wanted <= set(re.findall(r"(\w+): \"", names))
