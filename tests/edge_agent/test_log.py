"""A log line is one line, whatever a meter or a broker has said."""

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.log import format_event


@given(st.text(max_size=40))
def test_an_event_is_one_printable_line(said: str) -> None:
    line = format_event("meter.not_read", {"reason": said})
    assert line.isprintable()
    assert line.startswith("meter.not_read reason=")


def test_what_a_meter_said_does_not_command_the_terminal_nor_write_a_line_of_its_own() -> None:
    line = format_event("meter.refused", {"reason": "x\r\n\x1b[31mERROR agent.failed", "meter": "Đồng hồ"})
    assert line == 'meter.refused reason="x\\r\\n\\x1b[31mERROR agent.failed" meter="Đồng hồ"'


def test_a_quote_and_a_backslash_come_back() -> None:
    assert format_event("a.b", {"c": 'say "\\n"'}) == 'a.b c="say \\"\\\\n\\""'
