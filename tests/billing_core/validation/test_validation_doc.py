"""The examples in docs/domain/validation.md and estimation.md are run, and none of the rules is without one."""

import doctest
import re
from pathlib import Path

import pytest

from billing_core.estimation.provenance import METHOD_VERSIONS, Method
from billing_core.validation.catalogue import RULES

PAGE = Path(__file__).parents[3] / "docs/domain/validation.md"
ESTIMATION = PAGE.with_name("estimation.md")


@pytest.mark.parametrize(("page", "least"), [(PAGE, 100), (ESTIMATION, 25)])
def test_the_pages_examples_are_right(page, least):
    found = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert found.attempted > least
    assert found.failed == 0


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_is_explained_and_shown(rule):
    page = PAGE.read_text("utf-8")
    examples = "\n".join(re.findall(r"```pycon\n(.*?)```", page, flags=re.DOTALL))
    assert re.search(rf"\*\*{rule}\*\*|\*\*{rule}, |, {rule}\*\*|\*\*V08\*\* to \*\*V13\*\*", page)
    assert re.search(rf"\b{rule.lower()}_|_{rule.lower()}_|'{rule}'", examples)


@pytest.mark.parametrize("method", [method for method in Method if method.name[1].isdigit()])
def test_every_method_of_estimation_is_explained(method):
    assert f"| {method.name[:2]} |" in ESTIMATION.read_text("utf-8")


def test_the_versions_of_methods_are_those_on_the_page():
    page = ESTIMATION.read_text("utf-8").split("### Versions of the methods", 1)[1]
    for method, version in METHOD_VERSIONS.items():
        found = re.search(rf"^\| {method.name[:2]} \| (\d+) \|", page, flags=re.MULTILINE)
        assert int(found[1] if found else 1) == version, method
    assert set(METHOD_VERSIONS) == {method for method in Method if re.match(r"E\d_", method.name)}
