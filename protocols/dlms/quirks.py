"""What a meter model may do that the standard forbids: one frozen value, strict by default.

Each field names the meter it was seen with. A quirk widens what is accepted or chooses between two ways of asking;
it never lets a value through that was not said.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class RangeDeviation(Enum):
    """How a meter wants the deviation in the date-times of a range descriptor."""

    GIVEN = "given"  # minutes from UTC
    UNSPECIFIED = "unspecified"  # 0x8000: some meters refuse a deviation


@dataclass(frozen=True, slots=True)
class Quirks:
    """Rules to relax for one meter model."""

    any_server_address: bool = False
    """Answers come from another server address than asked (meters that answer a group address)."""

    push_without_llc: bool = False
    """UI frames after the first of a push have no LLC header (Landis+Gyr, with general block transfer)."""

    user_information_length_off_by_one: bool = False
    """The user-information of AARE and RLRE counts the old one-octet tag of the conformance block (Landis+Gyr E650)."""

    any_context_in_aare: bool = False
    """AARE names another application context than the one proposed."""

    empty_system_title: bool = False
    """general-glo-ciphering comes with an empty system title; the one of the association is meant."""

    trailing_octets: bool = False
    """Octets follow a complete GET response (GuruxDLMS.c 9.0); they are dropped."""

    release_without_rlrq: bool = False
    """RLRQ is not supported: disconnect the link only."""

    fixed_invoke_id: int | None = None
    """The meter answers one invoke-id only; else they count 1 to 15 so that a late answer is recognised."""

    range_deviation: RangeDeviation = RangeDeviation.GIVEN
    """Some meters refuse a deviation in range descriptors, others demand one."""

    days_per_range_max: int | None = None
    """At most so many days in one range request (Iskraemeco ME37x: 1)."""

    null_is_missing: bool = False
    """A null in a profile row is a value that is missing, not one that repeats the row before it."""

    repeated_rows: bool = False
    """A register and its clock are sent again in the next slot (Aidon), and the delta after is double: the repetition,
    same clock and same values, is no row. Of pushes, one that says the same as the one before is left out."""

    swapped_tag_and_length: bool = False
    """In pushes some logical names are tagged ``06 09`` for ``09 06`` (Landis+Gyr ZMF100)."""

    untyped_descriptors: bool = False
    """In pushes class, logical name and index stand without tags before each value (Sagemcom XT211 of EGD)."""

    winter_deviation: bool = False
    """In summer the clock status says so (80) but the deviation stays winter's: local time is 60 minutes ahead."""

    inverted_deviation: bool = False
    """The deviation's sign is minutes from UTC to local time, against Blue Book 4.1.6.1."""


STRICT = Quirks()
NUMBER_BOUNDS: Mapping[str, tuple[int, int]] = {"days_per_range_max": (1, 1000), "fixed_invoke_id": (0, 15)}
"""The quirks that are a number or not there: least and most. An invoke-id has four bits."""
