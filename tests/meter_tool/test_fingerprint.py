"""Which model a meter is: by its code, by its own words, or by what its registers say."""

import asyncio
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.config import parse_config
from edge_agent.meter_tool.fingerprint import Fingerprint, fingerprint
from edge_agent.meter_tool.proposal import Met, propose
from edge_agent.serial_line import LineSettings
from protocols.meters.catalogue import load_model, model_keys
from protocols.meters.model import Protocol
from protocols.meters.recognise import question_of
from tests.meter_tool.meters import SlaveLink

MODELS = [load_model(key) for key in model_keys()]
MODBUS = [each.key for each in MODELS if each.protocol is Protocol.MODBUS]
RECOGNISED = [key for key in MODBUS if question_of(load_model(key)) is not None]
SERIAL = LineSettings("/dev/ttyUSB0", 9600, "N", 1)


def who_is(key: str, words: dict[int, bytes] | None = None) -> Fingerprint:
    return asyncio.run(fingerprint(SlaveLink(key, words), 1, MODELS))


@pytest.mark.parametrize(
    "key", ["eastron_sdm120", "eastron_sdm630", "schneider_iem3155", "chint_dtsu666", "janitza_umg96"]
)
def test_a_meter_without_a_code_is_among_the_plausible_and_all_its_registers_answer(key: str) -> None:
    found = who_is(key)
    mine = next(each for each in found.candidates if each.model.key == key)
    assert mine.fits == 1.0
    assert not mine.certain
    assert found.candidates[0].fits == 1.0


@pytest.mark.parametrize("key", ["eastron_sdm120", "eastron_sdm220", "eastron_sdm630", "schneider_iem3155"])
def test_of_models_that_fit_alike_the_one_with_more_live_registers_is_proposed(key: str) -> None:
    assert who_is(key).candidates[0].model.key == key


@pytest.mark.parametrize("key", [key for key in RECOGNISED if question_of(load_model(key)).strong])  # type: ignore[union-attr]
def test_a_meter_with_a_code_is_recognised_for_certain(key: str) -> None:
    found = who_is(key)
    assert found.candidates[0].model.key == key
    assert found.candidates[0].certain
    assert found.candidates[0].fits == 1.0


def test_a_meters_own_words_decide_among_the_plausible() -> None:
    words = {0: b"Eastron", 1: b"SDM120", 2: b"V2.4"}
    found = who_is("eastron_sdm120", words)
    assert found.words == {"vendor name": "Eastron", "product code": "SDM120", "revision": "V2.4"}
    assert all(each.certain and "Eastron" in each.model.name for each in found.candidates)


def test_what_is_not_printable_is_no_word() -> None:
    assert who_is("eastron_sdm120", {0: b"\x01\x02", 1: b"  A1\x00"}).words == {"product code": "A1"}


def test_a_meter_that_refuses_everything_is_nobody() -> None:
    dlms_only = [each for each in MODELS if each.protocol is not Protocol.MODBUS]
    assert asyncio.run(fingerprint(SlaveLink("eastron_sdm120"), 1, dlms_only)).candidates == ()


def test_nothing_is_asked_that_writes_and_no_question_twice_to_tell_models_apart() -> None:
    link = SlaveLink("eastron_sdm630")
    asyncio.run(fingerprint(link, 1, MODELS))
    assert {int(each.function) for each in link.asked} <= {1, 2, 3, 4, 0x2B}
    probes = link.asked[1 : 1 + len({question_of(load_model(key)) for key in RECOGNISED})]
    assert len(set(probes)) == len(probes)


def test_the_proposal_is_a_configuration_that_the_agent_takes(tmp_path: Path) -> None:
    even, fast = replace(SERIAL, parity="E"), replace(SERIAL, baud=19_200, parity="E")
    who = who_is("eastron_sdm120", {0: b"Eastron", 1: b'a "b" \\ c'})
    met = [Met(3, even, who), Met(3, SERIAL, who), Met(11, SERIAL, who), Met(9, fast, who_is("schneider_iem3155"))]
    text = propose(met, None)
    head = '[gateway]\nid = "gw-01"\nspool = "spool.sqlite"\n[broker]\nurl = "mqtt://127.0.0.1"\n'
    (bus,) = parse_config(head + text, "agent.toml", tmp_path, {}).buses
    assert [(each.address, each.line) for each in bus.meters] == [(3, SERIAL), (9, fast), (11, SERIAL)]
    assert "answers at 9600 8E1 too" in text


def test_the_proposal_leaves_the_model_open_where_nobody_knows_it() -> None:
    met = [Met(11, SERIAL, Fingerprint({}, ()))]
    assert tomllib.loads(propose(met, None))["bus"][0]["meter"][0]["model"] == ""
    assert propose([], None) == ""
    tcp = tomllib.loads(propose([Met(1, None, who_is("eastron_sdm630"))], "192.0.2.7:502"))["bus"]
    assert tcp[0]["tcp"] == "192.0.2.7:502"
    assert "baud" not in tcp[0]
