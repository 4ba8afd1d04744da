"""The shapes of answers, as OpenAPI shows them. Energy is integer Wh, money integer đồng, times are UTC with Z."""

from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")

AT = "2026-10-31T17:00:00Z"


class Shape(BaseModel):
    """An answer: nothing in it that is not declared."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Page(Shape, Generic[T]):
    """A page of a list; ``next_cursor`` fetches the next, and is null on the last."""

    items: list[T]
    next_cursor: str | None = Field(examples=["q5JxPz0…"])


class Health(Shape):
    """Whether the API can answer: its own state and the database's."""

    status: str = Field(examples=["ok"])
    version: str = Field(examples=["0.1.0"])
    database: str = Field(examples=["ok"])


class ReadingShape(Shape):
    """What a register said at an instant; ``quality`` is empty for an actual reading without reservation."""

    obis: str = Field(examples=["1.0.1.8.0"])
    unit: str = Field(examples=["Wh"])
    measured_at: str = Field(examples=[AT])
    value: int = Field(examples=[1_552_345])
    quality: list[str] = Field(examples=[["PROFILE"]])


class InstallationShape(Shape):
    """Where a meter hangs, from when until when (half-open), and its multiplier (CT × VT)."""

    metering_point_id: str = Field(examples=["PD01000012345001"])
    installed_at: str = Field(examples=["2025-01-01T00:00:00Z"])
    removed_at: str | None = Field(examples=[None])
    multiplier: int = Field(examples=[1])


class CustomerShape(Shape):
    """Whose point it is."""

    customer_id: str = Field(examples=["PD01000012345"])
    name: str = Field(examples=["Nguyễn Thị Hoa"])


class MeterShape(Shape):
    """A meter, where it hangs, and its last reading of total import."""

    meter_id: str = Field(examples=["M-0001"])
    gateway_id: str = Field(examples=["gw-01"])
    model: str = Field(examples=["eastron_sdm120"])
    serial: str | None = Field(examples=["20115023"])
    digits: int = Field(examples=[6])
    installation: InstallationShape | None
    customer: CustomerShape | None
    last_reading: ReadingShape | None


class ChannelShape(Shape):
    """A register of a meter, with its last reading."""

    obis: str = Field(examples=["1.0.2.8.0"])
    unit: str = Field(examples=["Wh"])
    last_reading: ReadingShape | None


class MeterDetail(MeterShape):
    """A meter with all its registers and installations."""

    channels: list[ChannelShape]
    installations: list[InstallationShape]


class GapShape(Shape):
    """A stretch without readings, and the energy between the readings around it; null if that is not known either."""

    from_: str = Field(alias="from", examples=["2026-10-11T17:00:00Z"])
    to: str = Field(examples=["2026-10-12T17:00:00Z"])
    energy: int | None = Field(examples=[9_480])


class SeriesShape(Shape):
    """Half-hourly energy of one register; null where it is not known. ``quality`` holds flags, named in the answer."""

    obis: str = Field(examples=["1.0.1.8.0"])
    direction: str = Field(examples=["import"])
    unit: str = Field(examples=["Wh"])
    energy: list[int | None] = Field(examples=[[212, 187, None]])
    quality: list[int] = Field(examples=[[0, 1, 0]])
    quality_names: dict[str, str] = Field(examples=[{"1": "PROFILE"}])
    known_energy: int = Field(examples=[399])
    gaps: list[GapShape]


class MultiplierShape(Shape):
    """By what a bill multiplies what the meter counted (CT × VT), from when until when."""

    from_: str = Field(alias="from", examples=["2025-01-01T00:00:00Z"])
    to: str | None = Field(examples=[None])
    multiplier: int = Field(examples=[20])


class Chart(Shape):
    """Half-hourly import and export of a meter."""

    meter_id: str = Field(examples=["M-0001"])
    from_: str = Field(alias="from", examples=["2026-09-30T17:00:00Z"])
    to: str = Field(examples=[AT])
    step_s: int = Field(examples=[1800])
    multiplied: bool = Field(examples=[False], description="False: energies are the meter's own, before multipliers.")
    multipliers: list[MultiplierShape]
    series: list[SeriesShape]


class DailySeriesShape(Shape):
    """Energy of one register by civil day; null where it is not known. ``quality`` holds flags, named in the answer."""

    obis: str = Field(examples=["1.0.1.8.0"])
    direction: str | None = Field(examples=["import"], description="import or export of the total register, else null")
    unit: str = Field(examples=["Wh"])
    energy: list[int | None] = Field(examples=[[5_210, 4_870, None]])
    quality: list[int] = Field(examples=[[0, 1, 0]])
    went_back: list[str] = Field(examples=[[]], description="Days on which the register fell.")
    known_energy: int = Field(examples=[10_080])


class Daily(Shape):
    """Energy of a meter's registers by civil day, both days included."""

    meter_id: str = Field(examples=["M-0001"])
    from_: str = Field(alias="from", examples=["2026-10-01"])
    to: str = Field(examples=["2026-10-03"])
    quality_names: dict[str, str] = Field(examples=[{"1": "PROFILE"}])
    series: list[DailySeriesShape]


class EventShape(Shape):
    """What happened at a meter; what the fields from ``object`` to ``body`` (hex) say depends on ``kind``.

    ``log``: entry ``code`` of the event log ``object``, as the vendor's list tells it. ``push``: the meter sent
    ``body`` unasked. ``clock``: it was off by ``value`` ms. ``clock_shifted``: it was shifted by that. ``relay``: it
    was switched, ``code`` is 1 if it conducts. ``glitch``, ``counter``: the register ``object`` said ``value``, once
    or from now on.
    """

    meter_id: str = Field(examples=["M-0001"])
    gateway_id: str = Field(examples=["gw-01"])
    happened_at: str = Field(examples=["2026-10-12T03:15:42Z"])
    received_at: str = Field(examples=["2026-10-12T03:30:05Z"])
    kind: str = Field(examples=["log"])
    object: str | None = Field(examples=["0.0.99.98.0"])
    code: int | None = Field(examples=[2])
    value: int | None = Field(examples=[None])
    text: str | None = Field(examples=[None])
    body: str | None = Field(examples=[None])


class MissingShape(Shape):
    """Batches that were not received, both inclusive."""

    first: int = Field(examples=[17])
    last: int = Field(examples=[19])


class SequenceShape(Shape):
    """What was received of one spool generation; ``missing`` names at most 50 ranges, ``missing_count`` counts all."""

    generation: str = Field(examples=["0192f3a4"])
    newest: int = Field(examples=[1488])
    updated_at: str = Field(examples=[AT])
    missing: list[MissingShape]
    missing_count: int = Field(examples=[3])


class GatewayShape(Shape):
    """A gateway, its last contact by the server's clock, and the gaps in what it sent."""

    gateway_id: str = Field(examples=["gw-01"])
    registered_at: str = Field(examples=["2026-10-01T02:00:00Z"])
    state: str = Field(examples=["online"])
    last_contact_at: str | None = Field(examples=[AT])
    status: dict[str, Any] | None = Field(
        description="The gateway's last status message, as it came.",
        examples=[{"at": 1_793_466_000_000, "generation": "0192f3a4", "spooled": 1488, "version": "0.1.0", "days": []}],
    )
    meters: int = Field(examples=[12])
    sequences: list[SequenceShape]


class BillShape(Shape):
    """A bill without its lines; ``solar_purchase`` is what is paid beside it, null if nothing is. [Wh, đ]"""

    bill_id: int = Field(examples=[3])
    run_id: int = Field(examples=[1])
    metering_point_id: str = Field(examples=["PD01000012345001"])
    customer_id: str = Field(examples=["PD01000012345"])
    customer_name: str = Field(examples=["Nguyễn Thị Hoa"])
    period_from: str = Field(examples=["2026-10-01"])
    period_to: str = Field(examples=["2026-10-31"])
    version: int = Field(examples=[1])
    energy_wh: int = Field(examples=[165_000])
    subtotal: int = Field(examples=[356_400])
    vat: int = Field(examples=[28_512])
    total: int = Field(examples=[384_912])
    created_at: str = Field(examples=["2026-11-01T01:00:00Z"])
    solar_purchase: int | None = Field(examples=[None])
    state: str = Field(examples=["issued"], description="ready, held, issued, cancelled or superseded")
    replaced_by: list[int] = Field(examples=[[]], description="Bills that took its place.")
    replaces: list[int] = Field(examples=[[]], description="Bills it took the place of.")
    difference: int = Field(examples=[0], description="What its approved differences come to. [đ]")
    differences: int = Field(examples=[0], description="How many differences were approved.")
    proposed: int = Field(examples=[0], description="How many differences wait for approval.")


class LineShape(Shape):
    """A line, what it is called, and its operands: enough to compute it again. [Wh, đ/kWh, đ]"""

    line: int = Field(examples=[3])
    kind: str = Field(examples=["energy"])
    tier: int | None = Field(examples=[3])
    register_: str | None = Field(alias="register", examples=[None])
    energy_wh: int | None = Field(examples=[65_000])
    price: int | None = Field(examples=[2380])
    amount: int = Field(examples=[154_700])
    name: str = Field(examples=["Bậc 3"])
    operands: dict[str, Any] = Field(examples=[{"kind": "energy", "tier": 3, "energy_wh": 65_000, "price": 2380}])


class PurchaseShape(Shape):
    """Energy bought from a roof: a document beside the bill. [Wh, đ/kWh, đ]"""

    regime: str = Field(examples=["separate_2020"])
    energy_wh: int = Field(examples=[100_000])
    price: int = Field(examples=[2039])
    amount: int = Field(examples=[203_900])
    carried_in_wh: int = Field(examples=[0])
    carried_out_wh: int = Field(examples=[0])
    carried_cd_wh: int = Field(examples=[0], description="of carried_out_wh what is of the peak rate")
    carried_td_wh: int = Field(examples=[0], description="of carried_out_wh what is of the off-peak rate")
    operands: dict[str, Any] = Field(examples=[{"kind": "purchase", "energy_wh": 100_000, "price": 2039}])


class BillDetail(Shape):
    """A bill with everything it rests on, and an explanation to be read to the customer."""

    bill_id: int = Field(examples=[3])
    run_id: int = Field(examples=[1])
    metering_point_id: str = Field(examples=["PD01000012345001"])
    customer_id: str = Field(examples=["PD01000012345"])
    customer_name: str = Field(examples=["Nguyễn Thị Hoa"])
    customer_address: str = Field(examples=["12 ngõ 3, Đông Anh"])
    period_from: str = Field(examples=["2026-10-01"])
    period_to: str = Field(examples=["2026-10-31"])
    version: int = Field(examples=[1])
    energy_wh: int = Field(examples=[165_000])
    subtotal: int = Field(examples=[356_400])
    vat: int = Field(examples=[28_512])
    total: int = Field(examples=[384_912])
    created_at: str = Field(examples=["2026-11-01T01:00:00Z"])
    state: str = Field(examples=["issued"], description="ready, held, issued, cancelled or superseded")
    replaced_by: list[int] = Field(examples=[[]], description="Bills that took its place.")
    replaces: list[int] = Field(examples=[[]], description="Bills it took the place of.")
    difference: int = Field(examples=[0], description="What its approved differences come to. [đ]")
    differences: int = Field(examples=[0], description="How many differences were approved.")
    proposed: int = Field(examples=[0], description="How many differences wait for approval.")
    inputs_hash: str = Field(examples=["6f1e…"])
    document_hash: str | None = Field(examples=["a2b9…"], description="Over the inputs and all that came of them.")
    inputs: dict[str, Any] = Field(
        description="Readings with times, qualities and versions (null: the meter's own), contract, acts and prices.",
        examples=[{"contract": {"category": "residential", "households": 1}, "meters": [{"meter": "M-0001"}]}],
    )
    lines: list[LineShape]
    purchase: PurchaseShape | None
    purchase_waits: dict[str, Any] | None = Field(description="Why a purchase was not made.", examples=[None])
    schedules: dict[str, list[tuple[str, str | None]]] = Field(
        description="By meter the schedules of its three rates, and since when within the period.",
        examples=[{"M-0001": [["2014", None]]}],
    )
    control: dict[str, Any] | None = Field(
        description="Which rules of bill control spoke, and who must sign.", examples=[None]
    )
    acts: list[dict[str, Any]] = Field(
        description="Who held, released, cancelled or rebilled it, when and why.", examples=[[]]
    )
    explanation: list[str] = Field(examples=[["Bậc 3, từ 01/10/2026 đến 31/10/2026: 65 kWh × 2.380 đ/kWh = 154.700 đ"]])


class HoldShape(Shape):
    """A point of which a month is not billed (or, ``purchase_…``, its purchase not made), why, and the cure."""

    metering_point_id: str = Field(examples=["PD01000012345001"])
    customer_id: str = Field(examples=["PD01000012345"])
    customer_name: str = Field(examples=["Nguyễn Thị Hoa"])
    run_id: int = Field(examples=[1])
    reason: str = Field(examples=["missing_register_reading"])
    detail: str = Field(examples=["meter M-0001, register 1.0.1.8.0 at 2026-10-31T17:00:00Z: no reading is stored …"])
    held_at: str = Field(examples=["2026-11-01T01:00:00Z"])


class QuoteShape(BaseModel):
    """What ``congto quote --json`` prints; energy in kWh, money in đồng. Lines carry their operands."""

    model_config = ConfigDict(extra="allow", frozen=True)

    subtotal: int = Field(examples=[356_400])
    vat: int = Field(examples=[28_512])
    total: int = Field(examples=[384_912])
    lines: list[dict[str, Any]] = Field(
        examples=[[{"kind": "energy", "tier": 1, "energy": "100", "price": 1984, "amount": 198_400}]]
    )
    explanation: list[str] = Field(examples=[["Bậc 1: 100 kWh × 1.984 đ/kWh = 198.400 đ"]])


class FieldError(Shape):
    """One thing wrong with the input."""

    where: str = Field(examples=["query.limit"])
    what: str = Field(examples=["Input should be less than or equal to 200"])


class ProblemShape(BaseModel):
    """Problem details (RFC 9457)."""

    model_config = ConfigDict(frozen=True)

    type: str = Field(examples=["/docs#invalid-input"])
    title: str = Field(examples=["Unprocessable Content"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["query.limit: Input should be less than or equal to 200"])
    errors: list[FieldError] = []
