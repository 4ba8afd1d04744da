"""Energy by civil day and what happened at the meters, as the API tells them."""

from datetime import timedelta
from typing import Any

import pytest

from tests.api.server import Api, serving
from tests.api.test_answers import every_item
from tests.billing_runs.district import IMPORT, OCTOBER, Customer, District, household

pytestmark = pytest.mark.integration
DAY = timedelta(days=1)
EVENTS = "/v1/events"


def test_events_are_listed_newest_first_and_pages_of_any_size_make_the_same_list(api: Api):
    whole, pages = every_item(api, EVENTS, 200)
    assert (len(whole), pages) == (7, 1)
    assert [each["happened_at"] for each in whole] == sorted((each["happened_at"] for each in whole), reverse=True)
    for limit in (1, 2, 3):
        assert every_item(api, EVENTS, limit)[0] == whole


@pytest.mark.parametrize(
    ("parameters", "kinds"),
    [
        ({"meter_id": "M-0007"}, ["relay", "push"]),
        ({"meter_id": "nobody"}, []),
        ({"gateway_id": "gw-02"}, []),
        ({"kind": "relay"}, ["relay"]),
        ({"meter_id": "M-0002", "from": "2026-09-30T19:00:00Z", "to": "2026-09-30T21:00:00Z"}, ["log", "log"]),
    ],
)
def test_events_are_chosen_by_meter_gateway_kind_and_time(api: Api, parameters: dict[str, str], kinds: list[str]):
    assert [each["kind"] for each in api.get(EVENTS, **parameters)["items"]] == kinds


def test_an_event_says_everything_that_was_told(api: Api):
    [event] = api.get(EVENTS, meter_id="M-0002", to="2026-09-30T17:30:00Z")["items"]
    assert event == {
        "meter_id": "M-0002",
        "gateway_id": "gw-01",
        "happened_at": "2026-09-30T17:00:00Z",
        "received_at": "2026-10-01T17:00:00Z",
        "kind": "log",
        "object": "0.0.99.98.0",
        "code": 0,
        "value": None,
        "text": None,
        "body": None,
    }


def of_october(api: Api, meter: str, obis: str = IMPORT, **days: str) -> dict[str, Any]:
    answer = api.get(f"/v1/meters/{meter}/daily", **{"from": "2026-10-01", "to": "2026-10-31", **days})
    [series] = [each for each in answer["series"] if each["obis"] == obis]
    return dict(series)


def test_days_follow_late_changed_and_withdrawn_readings(module_database: str, district: District):
    """The reading at a midnight arrives late, between two that are there; is changed; is taken away; goes back."""
    with serving(district.dsn) as api:
        assert of_october(api, "M-0001")["energy"] == [None] * 31
        for day, value in ((1, 1_005_000), (3, 1_020_000), (4, 1_030_000)):
            district.store("M-0001", IMPORT, OCTOBER.start_at + day * DAY, value)
        assert of_october(api, "M-0001")["energy"][:5] == [5_000, None, None, 10_000, None]
        district.store("M-0001", IMPORT, OCTOBER.start_at + 2 * DAY, 1_011_000, quality=1)
        late = of_october(api, "M-0001")
        assert late["energy"][:5] == [5_000, 6_000, 9_000, 10_000, None]
        assert late["quality"][:5] == [0, 1, 1, 0, 0]
        assert (late["known_energy"], late["direction"], late["unit"]) == (30_000, "import", "Wh")
        change(district, 2, "value = 1013000")
        assert of_october(api, "M-0001")["energy"][:5] == [5_000, 8_000, 7_000, 10_000, None]
        change(district, 3, "value = 1000")
        fallen = of_october(api, "M-0001")
        assert fallen["energy"][:4] == [5_000, 8_000, None, 1_029_000]
        assert fallen["went_back"] == ["2026-10-03"]
        district.forget("M-0001", IMPORT, OCTOBER.start_at + 3 * DAY)
        withdrawn = of_october(api, "M-0001")
        assert withdrawn["energy"][:4] == [5_000, 8_000, None, None]
        assert withdrawn["went_back"] == []
        cut = of_october(api, "M-0001", **{"from": "2026-10-02", "to": "2026-10-02"})
        assert cut["energy"] == [8_000]


def change(district: District, day: int, what: str) -> None:
    district.connection.execute(
        f"update reading r set {what} from channel c where c.channel_id = r.channel_id"
        " and c.meter_id = 'M-0001' and c.obis = %s and r.measured_at = %s",
        [IMPORT, OCTOBER.start_at + day * DAY],
    )


def test_only_registers_have_days_and_each_has(api: Api, district: District):
    power = Customer(number=11, registers={IMPORT: (0, 10), "1.0.1.7.0": (5, 7), "1.0.3.8.0": (1, 2)})
    district.add([power, household(12)])
    answer = api.get("/v1/meters/M-0011/daily", **{"from": "2026-10-01", "to": "2026-10-02"})
    assert [(each["obis"], each["direction"]) for each in answer["series"]] == [(IMPORT, "import"), ("1.0.3.8.0", None)]
    assert answer["quality_names"]["1"] == "PROFILE"
    api.problem("/v1/meters/nobody/daily", 404, **{"from": "2026-10-01", "to": "2026-10-02"})
