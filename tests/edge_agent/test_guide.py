"""The guide knows every error that the agent logs, and the contract every key that it takes."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
AGENT = ROOT / "edge_agent"


def sources() -> str:
    return "".join(path.read_text(encoding="utf-8") for path in sorted(AGENT.rglob("*.py")))


def test_every_error_has_a_section_with_its_cure() -> None:
    told = set(re.findall(r'(?:\.error|\.crash)\(\s*"([a-z_.]+)"', sources()))
    told |= set(re.findall(r'\.failed\(\s*[^,"]*(?:"[a-z]+")?,\s*"([a-z_.]+)"', sources()))
    told |= set(re.findall(r'\._tell\("([a-z_.]+)"', sources()))
    guide = (ROOT / "docs" / "guides" / "gateway.md").read_text(encoding="utf-8")
    assert len(told) >= 14
    assert {event for event in told if "." in event} == set(re.findall(r"^#### ([a-z_.]+)$", guide, re.MULTILINE))


def test_every_key_stands_in_the_contract() -> None:
    modules = ("config", "dlms_access", "keys", "remote/settings")
    text = "".join((AGENT / f"{module}.py").read_text(encoding="utf-8") for module in modules)
    calls = r'(?:take|integer|_duration|_identifier|_interval|_parse\w*|table|tables)\((?:\w+, )?"([a-z_]+)"'
    keys = set(re.findall(calls, text)) - {"gateway", "broker", "clock", "bus", "meter", "keys", "commands", "metrics"}
    contract = (ROOT / "docs" / "contracts" / "agent-configuration.md").read_text(encoding="utf-8")
    assert len(keys) >= 24
    assert {key for key in keys if not re.search(rf"`[^`]*\b{key}`", contract)} == set()
