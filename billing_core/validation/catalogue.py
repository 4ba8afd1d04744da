"""The catalogue of validation rules: what each is called, how grave a finding is, and at what grain it is found.

A rule never changes in place: another formula is another version, and what was judged names the version that judged
it. Parameters live in ``parameters.toml``, dated and with their source. The rules V50 to V55 never change a value; they
feed the inspection queue (:mod:`billing_core.validation.cases`).
"""

from dataclasses import dataclass
from enum import Enum, IntEnum


class Severity(IntEnum):
    """How grave a finding is; the graver has the larger number, so that the gravest of several is their maximum."""

    NONE = 0
    NOTE = 1  # known and in order
    WARN = 2  # a person may look; the value stays
    CASE = 3  # joins the inspection queue; the value stays
    FAIL = 4  # the value is estimated, or the bill is held
    REJECT = 5  # the value is not taken in at all


class Grain(Enum):
    """What one element of a rule's mask stands for."""

    READING = "reading"  # one row of a batch
    INTERVAL = "interval"
    DAY = "day"
    PERIOD = "period"
    METER = "meter"
    READER = "reader"
    TRANSFORMER = "transformer"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of the catalogue."""

    id: str
    version: int
    severity: Severity
    grain: Grain
    name: str

    @property
    def bit(self) -> int:
        """The place of the rule in the bits of :class:`billing_core.validation.verdict.Verdict`."""
        return int(self.id[1:])


_R, _F, _W, _N, _C = Severity.REJECT, Severity.FAIL, Severity.WARN, Severity.NOTE, Severity.CASE

RULES: dict[str, Rule] = {
    rule.id: rule
    for rule in (
        Rule("V01", 1, _N, Grain.READING, "duplicate: same key, same value; dropped"),
        Rule("V02", 1, _N, Grain.READING, "replacement: same key, another value; a conflict"),
        Rule("V03", 1, _R, Grain.METER, "unit, interval length, multiplier or dials differ from master data"),
        Rule("V04", 1, _F, Grain.DAY, "use on a meter that is removed, disconnected or without contract"),
        Rule("V05", 1, _F, Grain.DAY, "a sibling channel is missing"),
        Rule("V06", 1, _F, Grain.DAY, "intervals are missing"),
        Rule("V07", 1, _F, Grain.DAY, "clock drift"),
        Rule("V08", 1, _F, Grain.DAY, "the clock was set, or an interval is long or short"),
        Rule("V09", 1, _N, Grain.DAY, "power failed"),
        Rule("V10", 1, _F, Grain.DAY, "a counter overflowed"),
        Rule("V11", 1, _F, Grain.DAY, "the meter was in test mode"),
        Rule("V12", 1, _F, Grain.DAY, "memory or watchdog error"),
        Rule("V13", 1, _C, Grain.DAY, "tamper, cover, magnet or reverse flow"),
        Rule("V14", 3, _F, Grain.DAY, "the days' shape moved: a clock is wrong and nobody said so"),
        Rule("V15", 2, _F, Grain.DAY, "the transformer contradicts a meter's step or standstill"),
        Rule("V16", 1, _F, Grain.DAY, "values between the meter's steps: computed, not counted"),
        Rule("V20", 1, _F, Grain.DAY, "negative interval on a one-way channel"),
        Rule("V21", 1, _F, Grain.DAY, "more than the connection can carry"),
        Rule("V22", 1, _W, Grain.DAY, "spike within 24 hours"),
        Rule("V23", 1, _W, Grain.DAY, "jump from one interval to the next"),
        Rule("V24", 1, _W, Grain.DAY, "peak far from the meter's history"),
        Rule("V25", 1, _W, Grain.DAY, "run of zeros without an outage"),
        Rule("V26", 3, _F, Grain.DAY, "stuck value, or a straight line"),
        Rule("V27", 2, _F, Grain.DAY, "stale snapshot: repeated, then caught up"),
        Rule("V28", 3, _F, Grain.DAY, "copied day"),
        Rule("V29", 1, _W, Grain.DAY, "load factor"),
        Rule("V30", 2, _F, Grain.DAY, "intervals do not sum to the register"),
        Rule("V31", 1, _F, Grain.DAY, "rate registers do not sum to the total"),
        Rule("V32", 1, _N, Grain.DAY, "rollover, accepted"),
        Rule("V33", 1, _F, Grain.DAY, "register fell: reversed, exchanged or misread"),
        Rule("V34", 1, _W, Grain.PERIOD, "high or low against history or peers"),
        Rule("V36", 1, _W, Grain.METER, "no use on an active contract"),
        Rule("V37", 1, _F, Grain.PERIOD, "digit error"),
        Rule("V38", 1, _F, Grain.METER, "too many estimates in a row"),
        Rule("V39", 1, _F, Grain.PERIOD, "hours of use exceed the hours of the period"),
        Rule("V40", 1, _W, Grain.PERIOD, "reactive without active energy, or an unlikely power factor"),
        Rule("V41", 1, _F, Grain.PERIOD, "main and check meter differ"),
        Rule("V42", 2, _F, Grain.DAY, "export at night, beyond the inverter, or without a solar contract"),
        Rule("V43", 1, _C, Grain.TRANSFORMER, "transformer balance"),
        Rule("V50", 1, _C, Grain.DAY, "unlike its own hour of the week"),
        Rule("V51", 1, _C, Grain.DAY, "change point against peers"),
        Rule("V52", 1, _C, Grain.METER, "lowest of its peers"),
        Rule("V53", 1, _C, Grain.READER, "last digits that no register shows"),
        Rule("V54", 1, _C, Grain.METER, "volatility changed"),
        Rule("V55", 1, _C, Grain.METER, "same reading in three cycles by one reader"),
    )
}
"""All rules, by id."""
