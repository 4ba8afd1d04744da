"""What a configuration needs of a bus, and that more than there is is refused with the sum."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.config import AgentConfig, parse_config
from edge_agent.demand import DAY_MS, bus_demand, times_together
from edge_agent.known import Known
from edge_agent.learned import Learned
from edge_agent.plan_page import timetable, to_json
from protocols.errors import UsageError

HEAD = """
[gateway]
id = "gw-01"
spool = "spool.sqlite"
[broker]
url = "mqtt://127.0.0.1:1883"
[[bus]]
id = "rs485-1"
port = "/dev/ttyUSB0"
baud = 9600
parity = "E"
stop_bits = 1
"""
intervals = st.sampled_from([1000, 2000, 5000, 10_000, 60_000, 900_000, 1_800_000, 3_600_000, DAY_MS])


def configuration(directory: Path, meters: str) -> AgentConfig:
    return parse_config(HEAD + meters, "agent.toml", directory, {})


def meter(number: int, more: str = "") -> str:
    return f"""
[[bus.meter]]
id = "M-{number:04}"
model = "eastron_sdm630"
address = {number}
{more}
"""


@given(st.lists(intervals, min_size=1, max_size=5, unique=True))
def test_each_boundary_is_counted_once_for_the_set_that_falls_on_it(chosen: list[int]) -> None:
    counts = dict(times_together(sorted(chosen)))
    for each in chosen:
        assert sum(times for together, times in counts.items() if each in together) == DAY_MS // each
    step = min(chosen)
    falls = [tuple(each for each in sorted(chosen) if at % each == 0) for at in range(0, DAY_MS, max(step, 60_000))]
    assert all(each in counts for each in falls if each)


def test_one_meter_more_than_the_bus_can_read_is_refused_with_the_sum_of_each(tmp_path: Path) -> None:
    """A three-phase meter read whole each second, on one line with ten more."""
    fast = 'every = "1m"\ninstantaneous_every = "1s"'
    with pytest.raises(UsageError) as refused:
        configuration(tmp_path, "".join(meter(number, fast) for number in range(1, 12)))
    words = str(refused.value)
    assert words.startswith("agent.toml: bus rs485-1: this configuration needs ")
    share = int(words.partition("needs ")[2].partition(" %")[0])
    assert share > 100
    assert "M-0001 " in words
    assert "congto agent plan" in words
    told = [
        float(each.split()[1]) for each in words.partition("bus: ")[2].partition(";")[0].split("bus: ")[-1].split(", ")
    ]
    assert sum(told) == pytest.approx(share, abs=1)


def test_what_is_learned_of_a_meter_counts_instead_of_what_is_assumed(tmp_path: Path) -> None:
    config = configuration(tmp_path, meter(1))
    assumed = bus_demand(config.buses[0], {})
    slow = bus_demand(config.buses[0], {"M-0001": Known(turnaround_us=250_000.0, answers=9)})
    assert slow.share > assumed.share > assumed.floor_share
    assert slow.floor_share >= assumed.floor_share  # a slow meter is worth bridging longer holes
    assert slow.meters[0].is_learned


def test_a_learned_turnaround_lets_in_what_an_assumed_one_would_not(tmp_path: Path) -> None:
    def many(every: str) -> str:
        return "".join(meter(number, f'instantaneous_every = "{every}"') for number in range(1, 18))

    quick = Learned(configuration(tmp_path, many("1m")).buses[0], tmp_path / "spool.sqlite.learned")
    with pytest.raises(UsageError, match=r"needs 1\d\d % of the bus"):
        configuration(tmp_path, many("2s"))
    for number in range(1, 18):
        quick.set(f"M-{number:04}", Known(turnaround_us=2000.0, slowest_us=3000.0, answers=1000))
    quick.save()
    (bus,) = configuration(tmp_path, many("2s")).buses
    assert len(bus.meters) == 17


def test_the_timetable_tells_every_question_with_its_cost(tmp_path: Path) -> None:
    config = configuration(tmp_path, meter(1, 'instantaneous_every = "1m"\nintervals = { voltage_l1 = "10s" }'))
    lines = list(timetable(config))
    told = to_json(config)["buses"][0]["meters"][0]["questions"]
    assert sum(" a day " in line for line in lines) == len(told)
    assert {tuple(each["intervals_ms"]) for each in told} == {
        (10_000,),
        (10_000, 60_000),
        (10_000, 60_000, 1_800_000),
    }
    by_day = sum(each["times_a_day"] * each["cost_ms"] for each in told) / DAY_MS
    assert by_day == pytest.approx(to_json(config)["buses"][0]["share"])
    assert any("floor" in line for line in lines)
