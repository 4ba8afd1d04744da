"""How long to wait before the next attempt."""

import random

FIRST_S = 0.25
LAST_S = 15.0


def back_off_s(attempt: int) -> float:
    """Return the seconds before ``attempt`` (from 1): twice as long each time, and never in step with others."""
    longest_s = min(FIRST_S * 2.0 ** min(attempt - 1, 10), LAST_S)
    return longest_s * random.uniform(0.5, 1.0)  # noqa: S311  # no secret depends on it
