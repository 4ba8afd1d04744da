"""Maximum demand, the end of a billing period, the limiter, the security setup: simulated meters asked over TCP."""

import pytest

from protocols.dlms import control
from protocols.dlms.acse import Mechanism
from protocols.dlms.codes import ActionResult, DataAccessResult
from protocols.dlms.control import BILLING_SCRIPTS, ControlState
from protocols.dlms.cosem_time import date_time_of
from protocols.dlms.data import (
    Data,
    Tag,
    double_long_unsigned,
    enum,
    integer,
    integer_of,
    items_of,
    long_unsigned,
    octets_of,
)
from protocols.dlms.objects import scaler_unit_of
from protocols.dlms.services import Act, ActionDone, Get, Set, SetDone
from protocols.dlms.xdlms.references import Attribute
from protocols.obis import Obis
from simulators.dlms.billing import DISCONNECT_SCRIPTS
from simulators.dlms.counting import Billings
from simulators.dlms.limiter import ACTIVE_POWER, LIMITER
from simulators.dlms.meter import CIPHERED_SAP, DlmsMeter, Manners
from simulators.dlms.profiles import BILLING, DISCONNECTS, POWER_DOWN, STANDARD, log_obis
from simulators.dlms.security_setup import SECURITY_SETUP
from simulators.vietnam_days import SLOT_MS
from tests.simulators.meters import INSTALLED, NOW, meter
from tests.simulators.test_dlms_complete import association, keyed, over_tcp, own_shell
from tests.simulators.test_dlms_meters import SECRET

IMPORT, DEMAND = Obis.parse("1.0.1.8.0"), Obis.parse("1.0.1.6.0")
OCTOBER_MS = next(at for at in range(NOW - NOW % SLOT_MS, INSTALLED, -SLOT_MS) if Billings().begin(at) == at)
RELAY = control.RELAY_OBIS


class Clock:
    """The meters' clock."""

    def __init__(self, now_ms=NOW):
        self.now_ms = now_ms

    def __call__(self):
        return self.now_ms


def with_meter(talk, clock=None, **manners):
    device = DlmsMeter(meter("dlms_residential", 17), SECRET, manners=Manners(**manners))
    return over_tcp([device], lambda shell_of: talk(own_shell(shell_of), device.meter), clock or Clock())


def power(device, begin_ms, end_ms):
    """The highest mean power of whole half-hours, and when that half-hour ended; counted anew from the registers."""
    edges = range(-(-begin_ms // SLOT_MS) * SLOT_MS, end_ms + 1, SLOT_MS)
    powers = [(2 * (device.value(IMPORT, at + SLOT_MS) - device.value(IMPORT, at)), at + SLOT_MS) for at in edges[:-1]]
    return max(powers, key=lambda each: (each[0], -each[1]))


def demand(shell):
    at = date_time_of(shell.value(4, "1.0.1.6.0", 5)).at()
    return integer_of(shell.value(4, "1.0.1.6.0", 2)), int(at.timestamp()) * 1000


def billing(shell):
    return [tuple(items_of(row)) for row in items_of(shell.value(7, str(BILLING), 2))]


def test_the_highest_demand_is_of_the_half_hours_of_this_month_with_its_time():
    def talk(shell, device):
        return demand(shell), scaler_unit_of(shell.value(4, "1.0.1.6.0", 3)), power(device, OCTOBER_MS, NOW)

    found, unit, expected = with_meter(talk)
    assert found == expected
    assert (unit.scaler, unit.word) == (0, "W")


def test_the_end_of_billing_keeps_the_registers_and_begins_the_demand_at_zero():
    clock = Clock()

    def talk(shell, device):
        before, was = billing(shell), demand(shell)
        assert isinstance(shell.ask(control.end_billing()), ActionDone)
        after, now = billing(shell), demand(shell)
        again = shell.ask(control.end_billing())
        clock.now_ms += 3 * SLOT_MS
        later = demand(shell)
        assert isinstance(shell.ask(control.end_billing()), ActionDone)
        return device, before, was, after, now, again, later, billing(shell)

    device, before, was, after, now, again, later, last = with_meter(talk, clock)
    assert after[:-1] == before
    row = after[-1]
    assert int(date_time_of(row[0]).at().timestamp()) == NOW // 1000
    assert device.value(IMPORT, NOW) in [each.content for each in row]
    assert (integer_of(row[-4]), int(date_time_of(row[-3]).at().timestamp()) * 1000) == was
    assert now == (0, NOW - NOW % 1000)
    assert again.code is ActionResult.TEMPORARY_FAILURE
    assert later == power(device, NOW, clock.now_ms)
    assert last[:-1] == after
    assert integer_of(last[-1][-4]) == later[0]


def test_a_row_is_captured_and_the_demand_reset_also_singly_and_the_table_lists_what_its_script_does():
    def talk(shell, _device):
        count = len(billing(shell))
        captured = shell.ask(Act(Attribute(7, BILLING, 2), integer(0)))
        alone = (len(billing(shell)) - count, demand(shell)[0] > 0)
        reset = shell.ask(Act(Attribute(4, DEMAND, 1), integer(0)))
        scripts = items_of(shell.value(9, str(BILLING_SCRIPTS), 2))
        wrong = [shell.ask(Act(Attribute(9, BILLING_SCRIPTS, 1), each)).code for each in (long_unsigned(9), integer(1))]
        return captured, alone, reset, demand(shell)[0], scripts, wrong

    captured, alone, reset, watts, scripts, wrong = with_meter(talk)
    assert isinstance(captured, ActionDone)
    assert alone == (1, True)
    assert isinstance(reset, ActionDone)
    assert watts == 0
    number, actions = items_of(scripts[0])
    assert integer_of(number) == 1
    assert [(integer_of(items_of(each)[1]), octets_of(items_of(each)[2])) for each in items_of(actions)] == [
        (7, BILLING.to_octets()),
        (4, DEMAND.to_octets()),
        (4, Obis.parse("1.0.2.6.0").to_octets()),
    ]
    assert wrong == [ActionResult.OBJECT_UNAVAILABLE, ActionResult.TYPE_UNMATCHED]


def test_moments_of_months_and_of_asked_ends_are_numbered_without_a_gap():
    moments = Billings([OCTOBER_MS + 90_000, OCTOBER_MS + 9_000_000, NOW])
    newest = moments.number(NOW)
    times = [moments.time(number) for number in range(newest - 4, newest + 2)]
    assert times == sorted(set(times))
    assert times[1:5] == [OCTOBER_MS, *moments.asked]
    assert [moments.number(at) for at in times] == list(range(newest - 4, newest + 2))
    assert not moments.end(NOW + 59_999)
    assert moments.end(NOW + 60_000)


@pytest.mark.parametrize("stops", [True, False])
def test_an_open_relay_stops_consumption_only_where_it_is_meant_to(stops):
    clock = Clock()

    def talk(shell, device):
        def now():
            return integer_of(shell.value(3, "1.0.1.8.0", 2)), integer_of(shell.value(3, "1.0.1.7.0", 2))

        found = [now()]
        shell.ask(control.switch(connect=False))
        clock.now_ms += 5 * SLOT_MS
        found.append(now())
        shell.ask(control.switch(connect=True))
        clock.now_ms += 5 * SLOT_MS
        found.append(now())
        voltage = integer_of(shell.value(3, "1.0.32.7.0", 2))
        return device, found, voltage

    device, (before, behind, after), voltage = with_meter(talk, clock, relay_stops=stops)
    truth = [device.value(IMPORT, NOW + turns * SLOT_MS) for turns in (0, 5, 10)]
    assert before == (truth[0], device.value(ACTIVE_POWER, NOW))
    assert voltage > 200_000
    if stops:
        assert behind == (truth[0], 0)
        assert after[0] == truth[0] + truth[2] - truth[1]
    else:
        assert behind == (truth[1], device.value(ACTIVE_POWER, NOW + 5 * SLOT_MS))
        assert after[0] == truth[2]
    assert after[1] > 0


def test_power_over_the_limit_opens_the_relay_when_it_lasted_and_a_client_closes_it_again():
    clock = Clock()

    def write(shell, index, value):
        attribute = Attribute(71, LIMITER, index)
        return shell.ask(Set(attribute, value)) == SetDone(attribute)

    def talk(shell, device):
        high = device.value(ACTIVE_POWER, NOW)
        assert write(shell, 4, double_long_unsigned(high))
        assert write(shell, 6, double_long_unsigned(120))
        clock.now_ms += 60_000
        states = [shell.value(70, str(RELAY), 3)]
        assert write(shell, 4, double_long_unsigned(1))
        clock.now_ms += 119_000
        states.append(shell.value(70, str(RELAY), 3))
        clock.now_ms += 61_000
        states.append(shell.value(70, str(RELAY), 3))
        opened_ms = NOW + 180_000
        counted = integer_of(shell.value(3, "1.0.1.8.0", 2))
        log = [integer_of(items_of(row)[1]) for row in items_of(shell.value(7, str(log_obis(DISCONNECTS)), 2))]
        assert write(shell, 4, double_long_unsigned(0xFFFF_FFFF))
        closed = shell.ask(Act(Attribute(9, DISCONNECT_SCRIPTS, 1), long_unsigned(2)))
        states.append(shell.value(70, str(RELAY), 3))
        clock.now_ms += 10 * SLOT_MS
        states.append(shell.value(70, str(RELAY), 3))
        return states, device.value(IMPORT, opened_ms), counted, log, closed

    states, expected, counted, log, closed = with_meter(talk, clock, relay_stops=True)
    connected, disconnected = enum(ControlState.CONNECTED), enum(ControlState.DISCONNECTED)
    assert states == [connected, connected, disconnected, connected, connected]
    assert counted == expected
    assert sorted(log) == [62, 65]
    assert isinstance(closed, ActionDone)


def test_the_limiter_tells_what_it_does_and_takes_numbers_only():
    def talk(shell, _device):
        found = [shell.value(71, str(LIMITER), index) for index in range(2, 12)]
        return found, shell.ask(Set(Attribute(71, LIMITER, 4), enum(1))), shell.ask(Get(Attribute(71, LIMITER, 12)))

    found, refused, absent = with_meter(talk)
    assert octets_of(items_of(found[0])[1]) == ACTIVE_POWER.to_octets()
    assert found[8] == Data(Tag.BOOLEAN, False)  # the emergency profile is off
    assert [octets_of(items_of(each)[0]) for each in items_of(found[9])] == [DISCONNECT_SCRIPTS.to_octets()] * 2
    assert refused.code is DataAccessResult.TYPE_UNMATCHED
    assert absent.code is DataAccessResult.READ_WRITE_DENIED


def test_the_security_setup_tells_policy_suite_and_titles():
    device = keyed(suite=1, ciphered=True, mechanism=Mechanism.HIGH_GMAC)

    def talk(shell_of):
        sap = device.meter.model.dlms.client_sap
        wanted = association(device, Mechanism.HIGH_GMAC, ciphered=True)
        shell = own_shell(shell_of, association_=wanted, sap=sap)
        found = [shell.value(64, str(SECURITY_SETUP), index) for index in (2, 3, 4, 5)]
        later = association(device, Mechanism.HIGH_GMAC, ciphered=True, first=10_000)
        other = own_shell(shell_of, association_=later, sap=CIPHERED_SAP + Mechanism.HIGH_GMAC)
        return found, other.value(64, str(SECURITY_SETUP), 2)

    (policy, suite, client, server), other = over_tcp([device], talk)
    assert (policy, suite) == (enum(3), enum(1))
    assert octets_of(client) == b"CNG....1"
    assert octets_of(server) == device.keys.title
    assert other == policy
    plain = with_meter(lambda shell, _device: [shell.value(64, str(SECURITY_SETUP), index) for index in (2, 3)])
    assert plain == [enum(0), enum(0)]


def test_power_failures_are_those_of_the_log_and_transformers_have_the_ratio_one():
    def talk(shell, _device):
        log = [integer_of(items_of(row)[1]) for row in items_of(shell.value(7, str(log_obis(STANDARD)), 2))]
        ratios = [shell.value(1, obis, 2) for obis in ("1.0.0.4.2", "1.0.0.4.3")]
        return log, integer_of(shell.value(1, "0.0.96.7.21", 2)), ratios

    log, failures, ratios = with_meter(talk)
    assert log.count(POWER_DOWN) == failures > 0
    assert ratios == [long_unsigned(1)] * 2
