"""A month in which the price changes several times: meters read at each change, at some, at none."""

import psycopg

from billing_core.codes import Category, Solar
from billing_core.control.thresholds import load_thresholds
from billing_core.quote import quote
from billing_core.quote_request import QuoteRequest
from ingest_server.billing import queries
from ingest_server.billing.decide import Decision, decide
from ingest_server.billing.gather import Frame, Selection, chunks_of_run, gather, terms_of_run
from ingest_server.billing.period import Period, midnight_of
from ingest_server.billing.run import SNAPSHOT
from protocols.telemetry.reading import Quality
from tests.billing_core.crowded_calendar import CROWDED, crowded_tariffs
from tests.billing_runs.district import EXPORT, IMPORT, RATES, Customer, District, household

MARCH = Period.of_month("2026-03")
CHANGES = CROWDED[:4]


def decided(district: District) -> Decision:
    """Return the bills and holds of the month by the crowded calendar, from a real database."""
    with psycopg.connect(district.dsn) as reader:
        reader.execute(SNAPSHOT)
        reader.execute(queries.PREPARE)
        terms = terms_of_run(reader, MARCH)
        frame = Frame(MARCH, Selection(), terms, tuple(range(len(terms))), CHANGES)
        [chunk] = chunks_of_run(reader, Selection(), 1_000)
        return decide(gather(reader, frame, chunk), crowded_tariffs(), load_thresholds())


def read(district: District, meter: str, obis: str, values: tuple[int, ...]) -> None:
    for day, value in zip(CHANGES, values, strict=False):
        district.store(meter, obis, midnight_of(day), value)


def wanted(energy_wh: object, **more: object) -> tuple[int, int]:
    given = {"category": Category.RESIDENTIAL, "start_on": MARCH.first_on, "end_on": MARCH.last_on}
    found = quote(QuoteRequest(**{**given, "energy_wh": energy_wh, **more}), crowded_tariffs())
    return found.subtotal, found.total


def amounts(decision: Decision) -> list[tuple[int, int]]:
    found = decision.computed
    return [(int(found.charges.subtotal[at]), int(found.charges.total[at])) for at in found.places.tolist()]


def test_meters_read_at_each_of_four_changes_are_charged_by_their_readings(district: District):
    home = household(1, 700_000, start_wh=0)
    shop = Customer(
        number=2,
        registers=dict.fromkeys(RATES, (0, 900_000)) | {IMPORT: (0, 2_700_000)},
        category="business",
        voltage="lt6",
        three_rates=True,
    )
    roof = Customer(number=3, registers={IMPORT: (0, 400_000), EXPORT: (0, 210_000)}, solar_regime="net_2017")
    district.add([home, shop, roof], MARCH)
    read(district, home.meter, IMPORT, (50_000, 200_000, 230_000, 500_000))
    for rate, shift in zip(RATES, (0, 40_000, 90_000), strict=True):
        read(district, shop.meter, rate, tuple(each + shift for each in (100_000, 300_000, 310_000, 700_000)))
    read(district, shop.meter, IMPORT, (430_000, 1_030_000, 1_060_000, 2_230_000))
    read(district, roof.meter, IMPORT, (30_000, 130_000, 140_000, 300_000))
    read(district, roof.meter, EXPORT, (60_000, 90_000, 120_000, 150_000))
    decision = decided(district)
    assert decision.holds == []
    by_rate = tuple((each, each + 40_000, each + 90_000) for each in (100_000, 300_000, 310_000, 700_000))
    assert amounts(decision) == [
        wanted(700_000, before_changes_wh=(50_000, 200_000, 230_000, 500_000)),
        wanted((900_000,) * 3, category=Category.BUSINESS, before_changes_wh=by_rate),
        wanted(
            400_000,
            solar=Solar.NET_2017,
            export_wh=210_000,
            before_changes_wh=(30_000, 130_000, 140_000, 300_000),
            export_before_changes_wh=(60_000, 90_000, 120_000, 150_000),
        ),
    ]


def test_a_meter_read_at_some_of_the_changes_only_is_held_but_for_a_household_read_by_hand(district: District):
    never, once, by_hand, by_hand_once = (household(number, 700_000, start_wh=0) for number in (1, 2, 3, 4))
    district.add([never, once, by_hand, by_hand_once], MARCH)
    read(district, once.meter, IMPORT, (50_000,))
    read(district, by_hand_once.meter, IMPORT, (50_000,))
    for home in (by_hand, by_hand_once):
        district.forget(home.meter, IMPORT, MARCH.end_at)
        district.store(home.meter, IMPORT, MARCH.end_at, 700_000, Quality.MANUAL)
    decision = decided(district)
    assert [(hold.metering_point_id, hold.reason) for hold in decision.holds] == [
        (never.point, "price_change_not_read"),
        (once.point, "price_change_not_read"),
    ]
    assert "03/03/2026, 10/03/2026, 11/03/2026, 25/03/2026" in str(decision.holds[0].detail)
    assert amounts(decision) == [wanted(700_000)] * 2
