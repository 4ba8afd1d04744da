"""What a meter has taught us: how long it takes to answer, and which registers it will not have asked for in one.

Pure: :class:`Known` is a value. :mod:`edge_agent.learned` keeps it over restarts.
"""

from dataclasses import dataclass, replace

from protocols.modbus.plan import Cut

WEIGHT_MIN = 1 / 32  # of a new answer, once there are many
SLOWEST_FADES = 0.999  # an answer; a slow one is half forgotten after 700
PATIENCE_AFTER = 20  # answers; before them the configuration's reply_timeout is believed alone
PATIENCE_FACTOR, PATIENCE_S_MIN = 4.0, 0.1  # a meter that is busy with its own work takes several times as long
CUTS_MAX = 256  # of one meter; a model has fewer measurements
TURNAROUND_US_MAX = 60_000_000.0


@dataclass(frozen=True, slots=True)
class Known:
    """One meter's turnaround in µs, mean and slowest of ``answers``, and its cuts (see protocols.modbus.plan)."""

    turnaround_us: float | None = None
    slowest_us: float = 0.0
    answers: int = 0
    cuts: frozenset[Cut] = frozenset()

    def after_answer(self, took_us: float) -> "Known":
        """Return what is known after one more answer."""
        took_us = min(took_us, TURNAROUND_US_MAX)
        answers = self.answers + 1
        before = took_us if self.turnaround_us is None else self.turnaround_us
        weight = max(1 / answers, WEIGHT_MIN)
        return replace(
            self,
            turnaround_us=before + weight * (took_us - before),
            slowest_us=max(took_us, SLOWEST_FADES * self.slowest_us),
            answers=answers,
        )

    def after_refusal(self, cuts: frozenset[Cut]) -> "Known":
        """Return what is known after the meter refused a question across ``cuts``."""
        return self if len(self.cuts | cuts) > CUTS_MAX else replace(self, cuts=self.cuts | cuts)

    @property
    def patience_s(self) -> float | None:
        """How long to wait for an answer at most; ``None`` while too little is known."""
        if self.answers < PATIENCE_AFTER:
            return None
        return max(PATIENCE_S_MIN, PATIENCE_FACTOR * self.slowest_us / 1e6)
