"""Activity calendar, special days, demand registers and the limiter's emergency: simulated meters asked over TCP."""

from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.dlms.codes import ActionResult, DataAccessResult
from protocols.dlms.control import ControlState
from protocols.dlms.cosem_time import date_time_of, encode_date_time
from protocols.dlms.data import (
    Data,
    Tag,
    array,
    double_long_unsigned,
    enum,
    integer_of,
    items_of,
    long_unsigned,
    octets,
    structure,
    unsigned,
)
from protocols.dlms.objects import decode_object_list, scaler_unit_of
from protocols.dlms.services import Act, ActionDone, ActionRefused, Get, GetList, GetResult, Set, SetDone
from protocols.dlms.xdlms.references import Attribute
from protocols.obis import Obis
from simulators.dlms.demand import DemandRegister
from simulators.dlms.limiter import ACTIVE_POWER, LIMITER
from simulators.dlms.meter import DlmsMeter
from simulators.dlms.profiles import DISCONNECTS, log_obis
from simulators.dlms.tariff_calendar import ACTIVE_RATE, CALENDAR, RATE_SCRIPTS, SPECIAL_DAYS, TariffCalendar
from simulators.vietnam_days import SLOT_MS, rates
from tests.simulators.meters import INSTALLED, NOW, meter
from tests.simulators.test_dlms_billing import RELAY, Clock, with_meter
from tests.simulators.test_dlms_complete import over_tcp, own_shell
from tests.simulators.test_dlms_meters import SECRET

VIETNAM = timezone(timedelta(hours=7))
ENERGY, DEMAND = Obis.parse("1.0.1.8.0"), Obis.parse("1.0.1.4.0")
HALF_HOURS_OF_A_YEAR = 48 * 365


def ms(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> int:
    return int(datetime(year, month, day, hour, minute, tzinfo=VIETNAM).timestamp()) * 1000


def time_of_day(hour: int, minute: int = 0) -> Data:
    return octets(bytes((hour, minute, 0, 0)))


def day(number: int, *switches: tuple[int, int]) -> Data:
    """A day with its switches: hour and script."""
    script = octets(RATE_SCRIPTS.to_octets())
    return structure(
        unsigned(number), array(*(structure(time_of_day(hour), script, long_unsigned(rate)) for hour, rate in switches))
    )


def week(name: bytes, *days: int) -> Data:
    return structure(octets(name), *map(unsigned, days))


def season(name: bytes, month: int, on: int, week_name: bytes, year: int = 0xFFFF) -> Data:
    start = year.to_bytes(2, "big") + bytes((month, on, 0xFF, 0, 0, 0, 0)) + b"\x80\x00\xff"
    return structure(octets(name), octets(start), octets(week_name))


WRITTEN = {
    6: octets(b"two"),
    7: array(season(b"dry", 11, 1, b"a"), season(b"wet", 5, 1, b"b")),
    8: array(week(b"a", 1, 1, 1, 1, 1, 1, 2), week(b"b", 2, 2, 2, 2, 2, 2, 2)),
    9: array(day(1, (0, 3), (6, 1), (17, 2)), day(2, (0, 1))),
}


def write(shell, obis, class_id, index, value):
    return shell.ask(Set(Attribute(class_id, obis, index), value))


def rate(shell):
    return integer_of(shell.value(1, str(ACTIVE_RATE), 2))


@given(st.integers(0, HALF_HOURS_OF_A_YEAR))
def test_the_first_calendar_tells_the_laws_rate_in_every_half_hour(number):
    at_ms = ms(2026, 1, 1) + number * SLOT_MS
    law = int(rates(np.array([at_ms // SLOT_MS]))[0]) + 1
    assert TariffCalendar().rate(at_ms) == TariffCalendar().rate(at_ms + SLOT_MS - 1) == law


def test_a_calendar_is_written_activated_by_a_client_and_read_back():
    clock = Clock(ms(2026, 12, 7, 18))  # a Monday of the dry season

    def talk(shell, _device):
        before = rate(shell)
        assert all(isinstance(write(shell, CALENDAR, 20, index, value), SetDone) for index, value in WRITTEN.items())
        assert rate(shell) == before
        assert isinstance(shell.ask(Act(Attribute(20, CALENDAR, 1))), ActionDone)
        active = [shell.value(20, str(CALENDAR), index) for index in (2, 3, 4, 5)]
        found = [rate(shell)]
        for at_ms in (ms(2026, 12, 7, 5, 59), ms(2026, 12, 7, 6), ms(2026, 12, 13, 18), ms(2027, 6, 7, 18)):
            clock.now_ms = at_ms
            found.append(rate(shell))
        return active, found

    active, found = with_meter(talk, clock)
    assert active == list(WRITTEN.values())
    assert found == [2, 3, 1, 1, 1]


def test_the_passive_calendar_becomes_the_active_one_at_its_time_by_the_meters_clock():
    clock = Clock(ms(2026, 12, 7, 18))

    def talk(shell, _device):
        for index, value in WRITTEN.items():
            write(shell, CALENDAR, 20, index, value)
        due = encode_date_time(datetime(2026, 12, 7, 19, tzinfo=VIETNAM))
        assert isinstance(write(shell, CALENDAR, 20, 10, octets(due)), SetDone)
        clock.now_ms = ms(2026, 12, 7, 18, 59)
        names = [shell.value(20, str(CALENDAR), 2)]
        clock.now_ms = ms(2026, 12, 7, 19)
        names.append(shell.value(20, str(CALENDAR), 2))
        time = date_time_of(shell.value(20, str(CALENDAR), 10))
        return names, time

    names, time = with_meter(talk, clock)
    assert names == [octets(b"law"), octets(b"two")]
    assert time.year is None  # It happens once.


UNFIT = {
    "a week that is not there": {7: array(season(b"dry", 11, 1, b"c"))},
    "a day that is not there": {8: array(week(b"a", 1, 1, 1, 1, 1, 1, 9), week(b"b", 2, 2, 2, 2, 2, 2, 2))},
    "a day that begins later": {9: array(day(1, (6, 1)), day(2, (0, 1)))},
    "no season": {7: array()},
}


@pytest.mark.parametrize("change", UNFIT.values(), ids=UNFIT.keys())
def test_a_calendar_whose_parts_do_not_fit_is_not_activated(change):
    def talk(shell, _device):
        for index, value in {**WRITTEN, **change}.items():
            assert isinstance(write(shell, CALENDAR, 20, index, value), SetDone)
        return shell.ask(Act(Attribute(20, CALENDAR, 1))), shell.value(20, str(CALENDAR), 2)

    refused, name = with_meter(talk)
    assert isinstance(refused, ActionRefused)
    assert name == octets(b"law")


@pytest.mark.parametrize(
    ("index", "value"),
    [
        (6, unsigned(1)),
        (7, array(structure(octets(b"a"), octets(b"b")))),
        (7, array(season(b"a", 2, 29, b"a"))),
        (7, array(season(b"a", 13, 1, b"a"))),
        (7, array(season(b"a", 0, 1, b"a"))),
        (7, array(season(b"a", 1, 1, b"a", year=0))),
        (8, array(week(b"a", 1))),
        (9, array(day(1, (24, 1)))),
        (9, array(day(1, (0, 4)))),
        (9, array(structure(unsigned(1), array(structure(time_of_day(0), octets(b"x"), long_unsigned(1)))))),
        (9, array(*[day(1, (0, 1))] * 101)),
        (10, octets(b"soon")),
    ],
)
def test_what_is_no_part_of_a_calendar_is_refused(index, value):
    refused = with_meter(lambda shell, _device: write(shell, CALENDAR, 20, index, value))
    assert refused.code is DataAccessResult.TYPE_UNMATCHED


def entry(index: int, on: tuple[int, int, int, int], day_id: int) -> Data:
    """A special day: year, month, day, day of the week."""
    year, *rest = on
    return structure(long_unsigned(index), octets(year.to_bytes(2, "big") + bytes(rest)), unsigned(day_id))


def test_special_days_go_before_the_week_with_wildcards_and_the_lowest_index_first():
    clock = Clock(ms(2026, 12, 7, 18))

    def talk(shell, _device):
        law = rate(shell)  # peak; day 2 of the law's calendar is Sunday's, without a peak
        insert, delete = Attribute(11, SPECIAL_DAYS, 1), Attribute(11, SPECIAL_DAYS, 2)
        found = []
        for special in (
            entry(5, (2026, 12, 7, 0xFF), 2),
            entry(5, (0xFFFF, 12, 0xFF, 1), 2),
            entry(5, (2025, 12, 7, 0xFF), 2),
            entry(5, (2026, 12, 0xFE, 0xFF), 2),
        ):
            assert isinstance(shell.ask(Act(insert, special)), ActionDone)
            found.append(rate(shell))
        clock.now_ms = ms(2026, 12, 31, 18)
        found.append(rate(shell))
        assert isinstance(shell.ask(Act(insert, entry(1, (2026, 12, 31, 0xFF), 1))), ActionDone)
        found.append(rate(shell))
        listed = shell.value(11, str(SPECIAL_DAYS), 2)
        assert isinstance(shell.ask(Act(delete, long_unsigned(1))), ActionDone)
        found.append(rate(shell))
        gone = shell.ask(Act(delete, long_unsigned(1)))
        two_before = array(entry(1, (2026, 12, 0xFD, 0xFF), 2))
        assert isinstance(write(shell, SPECIAL_DAYS, 11, 2, two_before), SetDone)
        clock.now_ms = ms(2026, 12, 30, 18)
        found.append(rate(shell))
        wrong = [shell.ask(Act(insert, each)) for each in (None, entry(1, (2026, 12, 1, 1), 1).content[1])]
        wrong += [shell.ask(Act(delete, octets(b"")))]
        return law, found, listed, gone, wrong

    law, found, listed, gone, wrong = with_meter(talk, clock)
    assert law == 2
    assert found == [1, 1, 2, 2, 1, 2, 1, 1]
    assert listed == array(entry(1, (2026, 12, 31, 0xFF), 1), entry(5, (2026, 12, 0xFE, 0xFF), 2))
    assert gone.code is ActionResult.OTHER_REASON
    assert [each.code for each in wrong] == [ActionResult.TYPE_UNMATCHED] * 3


# -- demand -----------------------------------------------------------------------------------------------------------


def mean(device, begin_ms, end_ms, over_s):
    return (device.value(ENERGY, end_ms) - device.value(ENERGY, begin_ms)) * 3600 // over_s


def test_the_demand_register_holds_the_running_and_the_last_half_hour():
    def talk(shell, device):
        read = {index: shell.value(5, str(DEMAND), index) for index in range(2, 10)}
        return read, device

    read, device = with_meter(talk)
    begin_ms = NOW // SLOT_MS * SLOT_MS
    assert integer_of(read[2]) == mean(device, begin_ms, NOW, 1800)
    assert integer_of(read[3]) == mean(device, begin_ms - SLOT_MS, begin_ms, 1800)
    assert scaler_unit_of(read[4]).unit == 27
    for index in (6, 7):
        assert date_time_of(read[index]).at().timestamp() * 1000 == begin_ms
    assert (integer_of(read[8]), integer_of(read[9])) == (1800, 1)


def test_a_client_ends_a_period_slides_the_window_and_forgets_what_was_measured():
    clock = Clock()

    def number(shell, index):
        return integer_of(shell.value(5, str(DEMAND), index))

    def talk(shell, device):
        begin_ms = NOW // SLOT_MS * SLOT_MS
        assert isinstance(shell.ask(Act(Attribute(5, DEMAND, 2))), ActionDone)
        assert number(shell, 3) == mean(device, begin_ms, NOW, 1800)
        assert number(shell, 2) == 0
        clock.now_ms = NOW + SLOT_MS + 60_000
        assert number(shell, 3) == mean(device, NOW, NOW + SLOT_MS, 1800)
        assert date_time_of(shell.value(5, str(DEMAND), 7)).at().timestamp() == (NOW + SLOT_MS) // 1000
        assert isinstance(write(shell, DEMAND, 5, 8, double_long_unsigned(900)), SetDone)
        assert isinstance(write(shell, DEMAND, 5, 9, long_unsigned(4)), SetDone)
        first_ms = clock.now_ms
        clock.now_ms += 2 * 900_000 + 1000
        assert number(shell, 3) == mean(device, first_ms, first_ms + 2 * 900_000, 3600)
        clock.now_ms += 4 * 900_000
        assert number(shell, 3) == mean(device, first_ms + 2 * 900_000, first_ms + 6 * 900_000, 3600)
        assert isinstance(shell.ask(Act(Attribute(5, DEMAND, 1))), ActionDone)
        assert (number(shell, 2), number(shell, 3)) == (0, 0)
        wrong = [(8, enum(1)), (8, double_long_unsigned(0)), (9, enum(1)), (9, long_unsigned(0))]
        return [write(shell, DEMAND, 5, index, value).code for index, value in wrong]

    unmatched, other = DataAccessResult.TYPE_UNMATCHED, DataAccessResult.OTHER_REASON
    assert with_meter(talk, clock) == [unmatched, other, unmatched, other]


@given(st.lists(st.tuples(st.sampled_from(["next", "reset", "wait"]), st.integers(1, 7_200_000)), max_size=20))
def test_a_period_never_lasts_longer_than_it_may_and_no_demand_is_above_the_energys(steps):
    counting = DlmsMeter(meter("dlms_residential", 17), SECRET).objects.state.counting
    register, at_ms = DemandRegister(counting, ENERGY), INSTALLED + 86_400_000
    for what, wait_ms in steps:
        at_ms += wait_ms
        if what != "wait":
            {"next": register.next_period, "reset": register.reset}[what](at_ms)
        assert 0 <= at_ms - register.begin(at_ms) < 1_800_000
        assert 0 <= register.current(at_ms) <= mean(counting.meter, at_ms - 1_800_000, at_ms, 1800)
        assert register.last(at_ms)[1] == register.begin(at_ms)


# -- emergency --------------------------------------------------------------------------------------------------------


def emergency(group: int, begin_ms: int, duration_s: int) -> Data:
    begin = encode_date_time(datetime.fromtimestamp(begin_ms / 1000, VIETNAM))
    return structure(long_unsigned(group), octets(begin), double_long_unsigned(duration_s))


@pytest.mark.parametrize("groups", [(7, 9), (8,)])
def test_in_an_emergency_of_its_group_another_threshold_opens_the_relay(groups):
    clock = Clock()
    begin_ms = (NOW // 1000 + 600) * 1000

    def talk(shell, device):
        high = max(device.value(ACTIVE_POWER, NOW + number * SLOT_MS) for number in range(4))
        for index, value in (
            (4, double_long_unsigned(high)),
            (5, double_long_unsigned(1)),
            (6, double_long_unsigned(60)),
            (8, emergency(7, begin_ms, 1200)),
            (9, array(*map(long_unsigned, groups))),
        ):
            assert isinstance(write(shell, LIMITER, 71, index, value), SetDone)
        states = []
        for at_ms in (begin_ms - 1000, begin_ms + 59_000, begin_ms + 61_000, begin_ms + 1_200_000):
            clock.now_ms = at_ms
            states.append(
                (
                    integer_of(shell.value(71, str(LIMITER), 3)) == 1,
                    shell.value(71, str(LIMITER), 10).content,
                    integer_of(shell.value(70, str(RELAY), 3)) == ControlState.CONNECTED,
                )
            )
        log = [integer_of(items_of(row)[1]) for row in items_of(shell.value(7, str(log_obis(DISCONNECTS)), 2))]
        return states, log

    states, log = with_meter(talk, clock, relay_stops=True)
    if 7 in groups:
        assert states == [(False, False, True), (True, True, True), (True, True, False), (False, False, False)]
        assert sorted(log) == [62, 65]
    else:
        assert states == [(False, False, True)] * 4
        assert log == []


def test_an_emergency_nobody_asked_about_is_found_afterwards_and_one_that_was_too_short_opened_nothing():
    clock = Clock()

    def talk(shell, device, duration_s):
        for index, value in (
            (5, double_long_unsigned(1)),
            (6, double_long_unsigned(60)),
            (8, emergency(7, (NOW // 1000 + 600) * 1000, duration_s)),
            (9, array(long_unsigned(7))),
        ):
            assert isinstance(write(shell, LIMITER, 71, index, value), SetDone)
        clock.now_ms = NOW + 4 * SLOT_MS
        return integer_of(shell.value(70, str(RELAY), 3))

    found = []
    for duration_s in (59, 120):
        clock.now_ms = NOW
        found.append(with_meter(lambda shell, device, long=duration_s: talk(shell, device, long), clock))
    assert found == [ControlState.CONNECTED, ControlState.DISCONNECTED]


@pytest.mark.parametrize(
    ("index", "value", "code"),
    [
        (8, array(), DataAccessResult.TYPE_UNMATCHED),
        (8, structure(long_unsigned(1), octets(b"now"), double_long_unsigned(1)), DataAccessResult.TYPE_UNMATCHED),
        (8, structure(enum(1), octets(b"\xff" * 9 + b"\x80\0\xff"), double_long_unsigned(1)),
         DataAccessResult.TYPE_UNMATCHED),
        (9, enum(1), DataAccessResult.TYPE_UNMATCHED),
        (9, array(enum(1)), DataAccessResult.TYPE_UNMATCHED),
        (9, array(*[long_unsigned(1)] * 21), DataAccessResult.OTHER_REASON),
    ],
)  # fmt: skip
def test_what_is_no_emergency_is_refused(index, value, code):
    assert with_meter(lambda shell, _device: write(shell, LIMITER, 71, index, value)).code is code


# -- all of them ------------------------------------------------------------------------------------------------------


def test_every_attribute_that_the_object_list_names_is_read_in_lists():
    device = DlmsMeter(meter("dlms_residential", 17), SECRET)

    def talk(shell_of):
        shell = own_shell(shell_of)
        listed = decode_object_list(shell.value(15, "0.0.40.0.0", 2))
        found = [each for each in listed if each.class_id in (5, 11, 20, 64, 71)]
        wanted = [Get(each.attribute(index)) for each in found for index, _ in each.attributes]
        results = [
            one for at in range(0, len(wanted), 20) for one in shell.ask(GetList(tuple(wanted[at : at + 20]))).results
        ]
        return {each.class_id for each in listed}, results

    classes, results = over_tcp([device], talk)
    assert {5, 11, 20, 64, 71} <= classes
    assert len(results) > 40
    assert all(isinstance(each, GetResult) for each in results)
    assert any(each.value.tag is Tag.ARRAY for each in results)
