"""A part of each campaign in each run of the suite; the whole ones are in docs/campaigns/dlms.md."""

from random import Random

from tests.dlms import forge, fuzz
from tests.dlms.mutation import corpus, mutate

INPUTS, FORGERIES, SECONDS_MAX = 6_000, 2_000, 3.0


def test_octets_near_and_far_from_valid_break_nothing_that_takes_octets() -> None:
    fed, found = fuzz.run(SECONDS_MAX, seed=20, inputs_max=INPUTS, show=lambda _text: None)
    assert found is None
    assert fed >= fuzz.LOT


def test_the_fuzzer_reports_what_is_neither_a_value_nor_a_remote_error() -> None:
    """One target that fails on a certain octet: it is found and told with its input."""

    def brittle(octets: bytes) -> None:
        assert b"\xff" not in octets

    original = fuzz.targets
    fuzz.targets = lambda: [("brittle", brittle)]
    try:
        _, found = fuzz.run(SECONDS_MAX, seed=1, inputs_max=INPUTS, show=lambda _text: None)
    finally:
        fuzz.targets = original
    assert found is not None
    assert "brittle: AssertionError" in found
    assert "ff" in found


def test_the_same_seed_makes_the_same_inputs() -> None:
    seeds = corpus()
    first, again = ([mutate(rng, seeds) for _ in range(500)] for rng in (Random("1/0"), Random("1/0")))
    assert first == again
    assert len(set(first)) > 400


def test_no_forged_or_altered_ciphered_apdu_is_accepted_and_the_association_survives() -> None:
    siege = forge.run(FORGERIES, seed=30, seconds=SECONDS_MAX)
    assert siege.accepted == []
    assert siege.refused >= 500
