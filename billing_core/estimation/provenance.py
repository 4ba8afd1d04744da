"""Where a value comes from: its quality, the method that made it, and why it was made."""

from enum import IntEnum


class Quality(IntEnum):
    """What a value is. Stored by number; numbers never change."""

    ACTUAL = 0
    ESTIMATED = 1
    SUBSTITUTED = 2  # by a person or from a check meter
    FINAL_SUBSTITUTED = 3  # and no actual value will come any more
    MISSING = 4
    VARIABLE = 5  # a total of values of several qualities


class Method(IntEnum):
    """How a value was made: E0 to E8 in the order in which they are tried, and by hand."""

    NONE = 0
    E0_CHECK_METER = 1
    E1_LINEAR = 2
    E2_NEAREST_DAYS = 3
    E3_FIXED_DAY = 4
    E4_LAST_YEAR = 5
    E5_TEMPERATURE = 6
    E6_AVERAGE_DAY = 7
    E7_CLASS_PROFILE = 8
    E8_AGREED = 9
    EDITED = 10
    SPREAD_BY_DAYS = 11  # a register at the ends of periods between two readings


class Reason(IntEnum):
    """Why a value is not the meter's."""

    NONE = 0
    GAP = 1
    FAILED_VALIDATION = 2
    AGREED_WITH_CUSTOMER = 3
    METER_EXCHANGED = 4
    EDITED_BY_HAND = 5
    UNDONE = 6
    TRUED_UP = 7  # a reading came after periods that had been estimated
    OPEN_END = 8  # nothing was read after it: the next reading trues it up


SCALED = (
    Method.E1_LINEAR,
    Method.E2_NEAREST_DAYS,
    Method.E3_FIXED_DAY,
    Method.E4_LAST_YEAR,
    Method.E5_TEMPERATURE,
    Method.E6_AVERAGE_DAY,
    Method.E7_CLASS_PROFILE,
)
"""Methods whose values are scaled to the registers; a check meter's and an agreed value stand as they are."""

METHOD_VERSIONS: dict[Method, int] = {
    Method.E0_CHECK_METER: 1,
    Method.E1_LINEAR: 2,  # 2: drawn where lines have served the meter, as steep as they have
    Method.E2_NEAREST_DAYS: 3,  # 2: the middle of like days; 3: as sharp as the meter's own days support
    Method.E3_FIXED_DAY: 1,
    Method.E4_LAST_YEAR: 1,
    Method.E5_TEMPERATURE: 1,
    Method.E6_AVERAGE_DAY: 1,
    Method.E7_CLASS_PROFILE: 1,
    Method.E8_AGREED: 1,
}
"""Counts the changes of what a method proposes. What was proposed before stays: a bill rests on stored readings."""
