"""``congto dlms decode`` and ``congto dlms vectors``, called as the command line calls them."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from deploy.cli import main
from edge_agent.dlms_tool.vectors import check, differences

GOLDEN = Path(__file__).parent.parent / "golden"
FILES = [*sorted((GOLDEN / "dlms").glob("*.json")), GOLDEN / "iec62056_21" / "mode_e.json"]
VECTORS = [vector for path in FILES for vector in json.loads(path.read_text(encoding="utf-8"))]
CIPHERED = next(vector for vector in VECTORS if vector["name"] == "aarq-ciphered-glo-initiate-greenbook")
GET_CLOCK = "c001c100080000010000ff0200"


def written(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_every_golden_vector_holds_to_the_last_field(vector: dict[str, Any]) -> None:
    assert check(vector).differences == ()


def test_a_file_of_vectors_is_reported_vector_by_vector(tmp_path: Path, capsys) -> None:
    path = written(tmp_path / "all.json", {"note": "all", "vectors": VECTORS})
    assert main(["dlms", "vectors", str(path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["passed"] == report["vectors"] == len(VECTORS)
    by_name = {result["name"]: result["result"] for result in report["results"]}
    for vector in VECTORS:
        wanted = {key: value for key, value in vector["expected"].items() if key != "note"}
        assert differences(wanted, by_name[vector["name"]]) == []
    assert main(["dlms", "vectors", str(path)]) == 0
    assert f"{len(VECTORS)} of {len(VECTORS)} vectors hold" in capsys.readouterr().out


@pytest.mark.parametrize("vector", [v for v in VECTORS if len(v["hex"]) < 1000], ids=lambda vector: vector["name"])
def test_a_vector_whose_octets_were_altered_no_longer_holds(vector: dict[str, Any]) -> None:
    if vector["layer"] in ("hdlc", "hdlc_stream", "wrapper", "acse", "mode_e") and "error" not in vector["expected"]:
        octets = bytearray.fromhex(vector["hex"])
        octets[len(octets) // 2] ^= 0x04
        assert check({**vector, "hex": octets.hex()}).differences


def test_a_vector_that_expects_something_else_fails_and_says_where(tmp_path: Path, capsys) -> None:
    wrong = {"name": "w", "layer": "xdlms", "hex": GET_CLOCK, "expected": {"attribute": {"class_id": 7}, "n": 1}}
    refused = {"name": "r", "layer": "xdlms", "hex": GET_CLOCK, "expected": {"error": "fcs"}}
    noise = {"name": "n", "layer": "xdlms", "hex": "c0ff", "expected": {"apdu": "get-request"}}
    path = written(tmp_path / "wrong.json", [wrong, refused, noise])
    assert main(["dlms", "vectors", str(path)]) == 1
    said = capsys.readouterr().out
    assert "attribute.class_id: found 8, expected 7" in said
    assert "n is missing" in said
    assert "error is missing" in said
    assert "refused: " in said
    assert "0 of 3 vectors hold" in said


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is no JSON"),
        ("{}", "expected"),
        ('[{"name": "x"}]', "vector x: layer, hex, expected missing"),
        ('[{"name": "x", "layer": "ethernet", "hex": "", "expected": {}}]', "layer 'ethernet'"),
        ('[{"name": "x", "layer": "hdlc", "hex": "7", "expected": {}}]', "pairs of hex digits"),
        ("[" * 100_000, "is no JSON"),
    ],
)
def test_a_file_that_is_no_vectors_is_a_usage_error(tmp_path: Path, capsys, content: str, words: str) -> None:
    assert main(["dlms", "vectors", str(written(tmp_path / "bad.json", content))]) == 2
    assert words in capsys.readouterr().err


def test_octets_are_decoded_from_the_argument_or_a_file_to_a_tree_or_json(tmp_path: Path, capsys) -> None:
    spaced = " ".join(GET_CLOCK[at : at + 2] for at in range(0, len(GET_CLOCK), 2))
    raw = tmp_path / "raw"
    raw.write_bytes(bytes.fromhex(GET_CLOCK))
    commented = written(tmp_path / "capture.txt", f"# what the client sent\n0x{spaced.replace(' ', ', 0x')}\n")
    shown = []
    for octets in (GET_CLOCK, spaced, str(raw), str(commented)):
        assert main(["dlms", "decode", octets, "--json"]) == 0
        shown.append(json.loads(capsys.readouterr().out))
    assert shown[0]["layer"] == "xdlms"
    assert shown[0]["attribute"] == {"class_id": 8, "obis": "0.0.1.0.0.255", "index": 2}
    assert shown.count(shown[0]) == 4
    assert main(["dlms", "decode", GET_CLOCK]) == 0
    assert "attribute:\n  class_id: 8\n  obis: 0.0.1.0.0.255\n" in capsys.readouterr().out


def test_what_is_ciphered_opens_with_keys_from_the_environment_or_a_file(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("METER_KEY", CIPHERED["key_hex"])
    auth_key = written(tmp_path / "auth", CIPHERED["auth_key_hex"])
    auth_key.chmod(stat.S_IRUSR | stat.S_IWUSR)
    words = ["dlms", "decode", CIPHERED["hex"], "--json", "--system-title", CIPHERED["system_title_hex"]]
    assert main([*words, "--key-env", "METER_KEY", "--auth-key-file", str(auth_key)]) == 0
    said = capsys.readouterr().out
    expected = CIPHERED["expected"]["user_information_plain_decoded"]
    assert differences(expected, json.loads(said)["user_information_plain_decoded"]) == []
    assert CIPHERED["auth_key_hex"] not in said
    auth_key.chmod(0o644)
    assert main([*words, "--key-env", "METER_KEY", "--auth-key-file", str(auth_key)]) == 2
    assert "others can read it" in capsys.readouterr().err
    assert main([*words, "--key-env", "METER_KEY", "--auth-key", "00" * 16]) == 4
    assert "tag is wrong" in capsys.readouterr().out


def test_refused_vectors_say_why_and_quirks_let_the_field_in(capsys) -> None:
    by_name = {vector["name"]: vector for vector in VECTORS}
    assert main(["dlms", "decode", by_name["hdlc-bad-hcs"]["hex"], "--layer", "hdlc", "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["error"] == "hcs"
    landis = by_name["quirk-aare-sn-e650-userinfo-length-off-by-one"]["hex"]
    assert main(["dlms", "decode", landis]) == 4
    assert main(["dlms", "decode", landis, "--quirk", "user-information-length-off-by-one"]) == 0
    assert "max_pdu: 2400" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["zz"], 2, "neither pairs of hex digits nor a file"),
        (["c0ff", "--layer", "xdlms"], 4, "as xdlms"),
        ([GET_CLOCK, "--key", "0011"], 2, "a key of 2 octets"),
        ([GET_CLOCK, "--key", "not hex"], 2, "pairs of hex digits"),
        ([GET_CLOCK, "--key-env", "NO_SUCH_VARIABLE"], 2, "no such environment variable"),
        ([GET_CLOCK, "--system-title", "00"], 2, "expected 8"),
        ([GET_CLOCK, "--auth-key", "00" * 16], 2, "without --key"),
    ],
)
def test_what_cannot_be_decoded_says_why(capsys, words: list[str], status: int, said: str) -> None:
    assert main(["dlms", "decode", *words]) == status
    assert said in capsys.readouterr().err
    assert "not hex" not in capsys.readouterr().err
