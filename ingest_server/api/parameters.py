"""What requests may ask: each parameter with its limits, so that an impossible one is refused before any query runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Annotated, Any, TypeVar

from fastapi import Path, Query, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ingest_server.api.problems import invalid
from ingest_server.api.security import CURSOR_CHARACTERS_MAX, Guard
from ingest_server.billing.documents import instant_text
from ingest_server.billing.period import YEAR_MAX, YEAR_MIN

LIMIT_DEFAULT, LIMIT_MAX = 50, 200
READINGS_LIMIT_DEFAULT, READINGS_LIMIT_MAX = 1_000, 10_000  # a month of one register has 1,488
ID_CHARACTERS_MAX = 64  # as in topics, and longer than a metering point's id
BIGINT_MAX = 2**63 - 1

Row = TypeVar("Row")


class Language(StrEnum):
    """Languages of explanations."""

    VI = "vi"
    EN = "en"


def _instant(text: str) -> str:
    """Check that ``text`` is ISO 8601 in UTC, written with Z, of a year readings can have."""
    if not text.endswith("Z") or "T" not in text:
        raise ValueError("expected a time in UTC like 2026-10-01T00:00:00Z")
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("no such time; expected one like 2026-10-01T00:00:00Z") from None
    if not YEAR_MIN <= at.year <= YEAR_MAX:
        raise ValueError(f"expected a year from {YEAR_MIN} to {YEAR_MAX}")
    return text


def _day(text: str) -> str:
    """Check that ``text`` is a day of a year readings can have."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise ValueError("no such day; expected one like 2026-10-31") from None
    if day.isoformat() != text or not YEAR_MIN <= day.year <= YEAR_MAX:
        raise ValueError(f"expected a day of {YEAR_MIN} to {YEAR_MAX} like 2026-10-31")
    return text


def _without_control(text: str) -> str:
    """Refuse characters that no id has, and that PostgreSQL cannot take (NUL)."""
    if not text.isprintable():
        raise ValueError("expected printable characters")
    return text


def instant(text: str) -> datetime:
    """Return the instant a checked parameter names."""
    return datetime.fromisoformat(text).astimezone(UTC)


Instant = Annotated[str, AfterValidator(_instant)]
# What the description says of texts that our own checks hold to, with errors that tell what is right.
IS_INSTANT: dict[str, Any] = {"format": "date-time", "pattern": "T.*Z$"}
IS_DAY: dict[str, Any] = {"format": "date", "minLength": 10}
IS_NAME: dict[str, Any] = {"pattern": r"^[^\u0000-\u001f\u007f-\u00a0]*$"}
IS_CURSOR: dict[str, Any] = {"pattern": "^[A-Za-z0-9_-]+$"}
UTC_WORDS = "UTC, ISO 8601 with Z"
INSTANT = Query(max_length=32, description=UTC_WORDS, examples=["2026-11-01T00:00:00Z"], json_schema_extra=IS_INSTANT)
INSTANT_FROM = Query(
    alias="from",
    max_length=32,
    description=UTC_WORDS,
    examples=["2026-10-01T00:00:00Z"],
    json_schema_extra=IS_INSTANT,
)
FirstDay = Annotated[
    str,
    AfterValidator(_day),
    Query(
        alias="from",
        max_length=10,
        description="first civil day of Vietnam",
        examples=["2026-10-01"],
        json_schema_extra=IS_DAY,
    ),
]
LastDay = Annotated[
    str,
    AfterValidator(_day),
    Query(
        alias="to",
        max_length=10,
        description="last civil day of Vietnam, included",
        examples=["2026-10-31"],
        json_schema_extra=IS_DAY,
    ),
]
Name = Annotated[str, AfterValidator(_without_control)]
MeterId = Annotated[Name, Path(max_length=ID_CHARACTERS_MAX, examples=["M-0001"], json_schema_extra=IS_NAME)]
BillId = Annotated[int, Path(ge=1, le=BIGINT_MAX, examples=[1])]
Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX, description="rows of a page", examples=[50])]
ReadingsLimit = Annotated[int, Query(ge=1, le=READINGS_LIMIT_MAX, description="rows of a page", examples=[1000])]
Cursor = Annotated[
    str | None,
    Query(max_length=CURSOR_CHARACTERS_MAX, description="next_cursor of the page before", json_schema_extra=IS_CURSOR),
]
OptionalMeter = Annotated[
    Name | None, Query(max_length=ID_CHARACTERS_MAX, description="only of this meter", examples=["M-0001"])
]
OptionalGateway = Annotated[
    Name | None, Query(max_length=ID_CHARACTERS_MAX, description="only of this gateway", examples=["gw-01"])
]
OptionalPoint = Annotated[
    Name | None,
    Query(max_length=ID_CHARACTERS_MAX, description="only of this metering point", examples=["PD01000012345001"]),
]
OptionalObis = Annotated[
    Name | None, Query(max_length=ID_CHARACTERS_MAX, description="only this register", examples=["1.0.1.8.0"])
]
Month = Annotated[
    str, Query(pattern=r"^\d{4}-\d{2}$", max_length=7, description="calendar month in Vietnam", examples=["2026-10"])
]
InLanguage = Annotated[Language, Query(description="language of names and explanations")]


Word = Annotated[str, Field(max_length=64)]  # of a quote; the longest that is right are three rates
Words = Annotated[str, Field(max_length=300)]  # several at once, with commas


class QuoteWords(BaseModel):
    """What a quote is asked with: the options of ``congto quote``, by the same names."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    category: Word = Field(description="what the energy is used for", examples=["residential"])
    from_: Word = Field(alias="from", description="first day, billed", examples=["2025-12-01"])
    to: Word = Field(description="last day, billed", examples=["2025-12-31"])
    kwh: Word | None = Field(None, description="energy of the days", examples=["165"])
    rates: Word | None = Field(None, description="BT=…,CD=…,TD=… in kWh")
    voltage: Word | None = Field(None, description="where it is delivered, such as lt6")
    households: Word | None = Field(None, description="households behind the meter")
    tenants: Word | None = Field(None, description="people in a shared house; four make one household")
    person_days: Word | None = Field(None, description="days that people lived there, summed, where tenants moved")
    nominal_days: Word | None = Field(None, description="length of the nominal reading cycle, if not the month")
    price_change_date: Words | None = Field(None, description="first day of new prices; several with commas")
    export_kwh: Word | None = Field(None, description="given to the grid")
    export_rates: Word | None = Field(None, description="the same by rate, BT=…,CD=…,TD=…, for net_2017 with rates")
    generation_kwh: Word | None = Field(None, description="of the roof")
    solar_regime: Word | None = Field(None, description="how export is settled, such as net_2017")
    solar_price: Word | None = Field(None, description="price of exported energy in đ/kWh, where none is published")
    carry_in_kwh: Word | None = Field(None, description="surplus of the period before")
    carry_in_rates: Word | None = Field(None, description="the same by rate, with export_rates")
    settle_carry: Word | None = Field(None, description="true or false")
    reactive_kvarh: Word | None = Field(None, description="reactive energy")
    cosphi: Word | None = Field(None, description="power factor, instead of reactive_kvarh")
    old_index: Word | None = Field(None, description="index in kWh, with new_index instead of kwh")
    new_index: Word | None = Field(None, description="index in kWh, with old_index")
    digits: Word | None = Field(None, description="digits of the register before the decimal point")
    multiplier: Word | None = Field(None, description="CT × VT")
    index_at_change: Words | None = Field(None, description="index on the day the price changed; several with commas")
    rates_before_change: Words | None = Field(None, description="BT=…,CD=…,TD=… in kWh until then; several with ;")
    export_before_change_kwh: Words | None = Field(None, description="exported until then, for net_2017; with commas")
    export_rates_before_change: Words | None = Field(None, description="the same by rate; several with ;")
    undeclared_rental: Word | None = Field(None, description="true or false")
    refused_three_rates: Word | None = Field(None, description="true or false")
    households_change: Words | None = Field(None, description="DAY=H, such as 2025-12-15=2; several with commas")
    demand_kw: Word | None = Field(None, description="highest half hour, two-component pilot")
    uses: Words | None = Field(None, description="other uses: CATEGORY=PERCENT or CATEGORY@VOLTAGE=PERCENT, …")
    quota_rounding: Word | None = Field(None, description="kwh or wh: to what tiers' widths are rounded")
    plan_name: Word | None = Field(None, description="rate plan that was loaded, in force on the first day")
    demand_before_kw: Word | None = Field(None, description="highest demand of the months the plan's ratchet reaches")
    language: Language = Field(Language.VI, description="language of the explanation")


@dataclass(frozen=True, slots=True)
class Pages:
    """Makes pages of one list: a cursor belongs to a path and to all its other parameters."""

    guard: Guard
    scope: str

    @classmethod
    def of(cls, request: Request) -> "Pages":
        """Return the pages of the list that ``request`` asks for."""
        asked = sorted((k, v) for k, v in request.query_params.multi_items() if k not in ("cursor", "limit"))
        return cls(request.app.state.guard, f"{request.url.path}?{asked}")

    def after(self, cursor: str | None, first: Sequence[Any]) -> list[Any]:
        """Return the key to go on after: that of ``cursor``, or ``first`` without one.

        Raises
        ------
        RequestValidationError
            If the cursor was not made here for this list.
        """
        if cursor is None:
            return list(first)
        key = self.guard.open_cursor(self.scope, cursor)
        if key is None or len(key) != len(first):
            raise invalid("cursor", "not a cursor of this list: give next_cursor of its last page, unchanged")
        return key

    def page(self, rows: Sequence[Row], limit: int, key: Any) -> dict[str, Any]:
        """Return a page of at most ``limit`` of ``rows``, of which one more was asked for.

        Parameters
        ----------
        key
            Gives the list of values a row is found again by.
        """
        more = len(rows) > limit
        items = list(rows[:limit])
        return {"items": items, "next_cursor": self.guard.sign_cursor(self.scope, key(items[-1])) if more else None}


def span(from_text: str | None, to_text: str | None) -> tuple[datetime, datetime]:
    """Return both ends of a span; an absent one is open.

    Raises
    ------
    RequestValidationError
        If it ends before it begins.
    """
    from_at = datetime(YEAR_MIN, 1, 1, tzinfo=UTC) if from_text is None else instant(from_text)
    to_at = datetime(YEAR_MAX + 1, 1, 1, tzinfo=UTC) if to_text is None else instant(to_text)
    if to_at <= from_at:
        raise invalid("to", f"expected a time after from ({instant_text(from_at)}); exchange them")
    return from_at, to_at
