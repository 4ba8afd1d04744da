"""The translator says of every golden vector what the vector expects, refusals included."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.dlms.ciphering import Keys
from protocols.dlms.hdlc.frames import DamagedFrameError
from protocols.dlms.quirks import Quirks
from protocols.dlms.translate import LAYERS, Circumstances, guess_layer, translate
from protocols.errors import RemoteProtocolError, UsageError
from tests.dlms.vectors import GOLDEN, differences, load, name_of

VECTORS = [vector for path in sorted(GOLDEN.glob("*.json")) for vector in load(path.stem)]
REMARKS = (
    "note",
    "lenient",
    "values_reported_by_source",
    "n_blocks",
    "sha256_of_hex_bytes",
    "n_items",
    "first",
    "last",
)
GUESSED = {"hdlc_stream": "hdlc", "profile": "axdr", "object_list": "axdr", "cosem_datetime": "axdr", "hls": "axdr"}


def known_of(vector: dict[str, Any]) -> Circumstances:
    keys = None
    if "key_hex" in vector:
        keys = Keys(bytes.fromhex(vector["key_hex"]), bytes.fromhex(vector.get("auth_key_hex", "")))
    title = bytes.fromhex(vector["system_title_hex"]) if "system_title_hex" in vector else None
    lenient = bool(vector["expected"].get("lenient"))
    quirks = Quirks(user_information_length_off_by_one=lenient)
    return Circumstances(keys, title, int(vector.get("invocation_counter", 0)), quirks)


@pytest.mark.parametrize("vector", VECTORS, ids=name_of)
def test_every_vector_is_translated_as_it_expects(vector: dict[str, Any]) -> None:
    octets, expected = bytes.fromhex(vector["hex"]), vector["expected"]
    if "error" in expected:
        with pytest.raises(DamagedFrameError) as refused:
            translate(octets, vector["layer"])
        assert refused.value.what == expected["error"]
        return
    shown = translate(octets, vector["layer"], known_of(vector))
    wanted = {key: value for key, value in expected.items() if key not in REMARKS}
    assert not differences(wanted, shown)


@pytest.mark.parametrize("vector", [v for v in VECTORS if "error" not in v["expected"]], ids=name_of)
def test_the_layer_of_a_vector_is_seen_from_its_octets(vector: dict[str, Any]) -> None:
    octets, layer = bytes.fromhex(vector["hex"]), vector["layer"]
    if layer == "push" and vector["link"] == "raw":
        layer = "xdlms"
    if layer in ("cosem_datetime", "hls"):
        return  # Bare octets look like nothing in particular.
    assert guess_layer(octets) == GUESSED.get(layer, layer)


def test_an_unknown_layer_is_a_usage_error_that_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="expected one of hdlc, hdlc_stream"):
        translate(b"", "ethernet")
    with pytest.raises(UsageError, match="needs the keys"):
        translate(b"", "hls")


@pytest.mark.parametrize("layer", ["wrapper", "push"])
def test_every_wrapped_apdu_of_a_capture_is_explained_and_a_cut_one_is_told(layer: str) -> None:
    first = bytes.fromhex("0001000100100009c401c10006006ad3bf")
    second = bytes.fromhex("0001000100100005c401c20000")
    shown = translate(first + second, layer)
    assert shown["apdu"]["data"] == ["double-long-unsigned", 7001023]
    assert [each["apdu"]["data"] for each in shown["then"]] == [["null-data", None]]
    assert "then" not in translate(first, layer)
    with pytest.raises(RemoteProtocolError, match="end inside a wrapped APDU"):
        translate(first + second[:-1], layer)


@given(st.binary(max_size=120), st.sampled_from(sorted(set(LAYERS) - {"hls"})))
def test_any_octets_are_translated_or_refused(octets: bytes, layer: str) -> None:
    try:
        translate(octets, layer)
        translate(octets, guess_layer(octets))
    except RemoteProtocolError:
        return
