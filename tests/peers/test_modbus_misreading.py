"""The agent's line master takes no other question's answer, however bad the line; the common libraries do."""

import pytest

from edge_agent.modbus_rtu import RtuLink
from edge_agent.serial_line import SerialLine
from tests.peers.misreading import tally_of, tally_of_ours
from tests.peers.virtual_line import ask_virtually


def test_twenty_thousand_questions_on_a_bad_line_bring_no_wrong_value() -> None:
    """``make bench`` asks a million."""
    tally = ask_virtually(20_000, seed=7)
    assert tally.wrong == 0
    assert tally.right > 16_000, "three in four are answered all the same: one in five has a fault"


class ForgetfulLink(RtuLink):
    """A master without the rule that this test is about: any length may be asked again at once."""

    def __init__(self, line: SerialLine, reply_timeout_s: float) -> None:
        super().__init__(line, reply_timeout_s, late_answer_s=0.0)


def test_the_bad_line_deceives_a_master_that_forgets_what_it_asked() -> None:
    assert ask_virtually(20_000, seed=7, link_of=ForgetfulLink).wrong > 0


@pytest.mark.integration
def test_on_the_same_bad_line_the_common_libraries_take_wrong_values_and_ours_none() -> None:
    assert tally_of_ours(200).wrong == 0
    assert tally_of("pymodbus", 200).wrong > 0
    assert tally_of("minimalmodbus", 200).wrong > 0
