"""The comparison with pydlms in each run of the suite; longer ones are in docs/campaigns/dlms.md."""

import pytest

from tests.peers.dlms_difference import EXPLANATIONS, compare, explain, ours

pytestmark = pytest.mark.integration
COMPARED, SECONDS_MAX = 100_000, 300.0  # seven seconds where nothing else runs


def test_what_pydlms_decodes_we_decode_alike_and_every_difference_is_explained() -> None:
    done, explained, strange = compare(COMPARED, seed=2, seconds=SECONDS_MAX)
    assert not strange, "\n".join(strange[:5])
    assert done >= COMPARED
    assert explained["the same octets"] > done // 10
    assert len(explained) > 5, "the inputs reach too little"


def test_a_difference_without_a_reason_is_not_explained_away() -> None:
    """A number that changed, an APDU that only one takes: neither matches any explanation."""
    octets = bytes.fromhex("c401c1000600000007")
    assert ours("apdu", octets) == f"= {octets.hex()}"
    assert explain(octets, f"= {octets.hex()}", "= c401c1000600000008") is None
    assert explain(octets, f"= {octets.hex()}", "! length field of 108 octets") is None
    assert explain(octets, "! 2 octets follow the get-response", f"= {octets.hex()}") is None
    assert len(EXPLANATIONS) == len({each.why for each in EXPLANATIONS})
