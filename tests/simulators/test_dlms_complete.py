"""``congto sim dlms`` as a whole: every way in, what clients change, pushes, faults, five hundred meters at once."""

import asyncio
import socket
import stat
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from random import Random

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from protocols.dlms import control, plan, profile
from protocols.dlms.acse import Context, Mechanism
from protocols.dlms.association import Association
from protocols.dlms.ciphering import SecurityControl
from protocols.dlms.client import DlmsClient
from protocols.dlms.codes import ActionResult, DataAccessResult
from protocols.dlms.conformance import SHORT_NAMES
from protocols.dlms.control import ControlState
from protocols.dlms.cosem_time import date_time_of
from protocols.dlms.data import enum, integer_of, items_of
from protocols.dlms.hls import Signer
from protocols.dlms.link import NEED_DATA, LinkDown
from protocols.dlms.protection import Ciphering
from protocols.dlms.selective import CLOCK, CaptureObject
from protocols.dlms.services import (
    Act,
    ActionDone,
    ActionRefused,
    Associated,
    AssociationRefused,
    Connect,
    Get,
    GetBuffer,
    GetList,
    GetResult,
    Release,
    Set,
    SetDone,
)
from protocols.dlms.short_names import OBJECT_LIST
from protocols.dlms.wrapper import WrapperParameters, WrapperServerParameters
from protocols.dlms.xdlms.references import Attribute
from protocols.errors import UsageError
from protocols.meters.catalogue import load_model, model_keys
from protocols.obis import Obis
from simulators.dlms.commands import parse_faults
from simulators.dlms.keys import CURVES, derive_keys, read_keys, write_keys
from simulators.dlms.meter import CIPHERED_SAP, PLAIN_SAP, SHORT_LOW_SAP, DlmsMeter, Manners, mechanism_of, needs_keys
from simulators.dlms.profiles import BILLING, DAILY, DISCONNECTS, STANDARD, log_obis
from simulators.dlms.tcp import DlmsTcpServer
from tests.simulators.meters import INSTALLED, NOW, days, meter, run
from tests.simulators.test_dlms_meters import SECRET, Shell, hdlc, on_line

IMPORT = Attribute(3, Obis.parse("1.0.1.8.0"), 2)
OUR_TITLE = b"CNG....1"
DEADLINE_S = 20


def keyed(suite=0, address=17, **manners):
    device = meter("dlms_residential", address)
    keys = derive_keys(7, device.name, device.serial, suite)
    return DlmsMeter(device, SECRET, keys, Manners(**manners))


def association(dlms_meter, mechanism, *, ciphered, first=1, dedicated=None):
    keys = dlms_meter.keys
    suite = keys.suite
    signer = None
    if mechanism is Mechanism.HIGH_ECDSA:
        curve = CURVES[suite]
        server = ec.derive_private_key(keys.server_private, curve).public_key()
        signer = Signer(ec.derive_private_key(keys.client_private, curve), server)
    return Association(
        mechanism,
        SECRET if mechanism is Mechanism.LOW else keys.secret,
        context=Context.LN_CIPHERED if ciphered else Context.LN,
        challenge=b"a client's token",
        ciphering=Ciphering(
            keys.keys, OUR_TITLE, range(first, 1 << 32), control=SecurityControl(suite), dedicated_key=dedicated
        ),
        signer=signer,
    )


def over_tcp(dlms_meters, talk, now_ms=lambda: NOW, **options):
    """Serve meters on a port and let ``talk(shell_of)`` run in a thread beside them."""

    def with_port(port):
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            return talk(lambda client: Shell(client, connection.sendall, lambda: connection.recv(65536)))

    async def work():
        async with AsyncExitStack() as opened:
            server = DlmsTcpServer(dlms_meters, now_ms, **options)
            opened.push_async_callback(server.close)
            return await asyncio.to_thread(with_port, await server.open("127.0.0.1", 0))

    return run(work)


def own_shell(shell_of, address=17, association_=None, sap=1):
    shell = shell_of(DlmsClient(WrapperParameters(sap, address), association_ or Association(Mechanism.LOW, SECRET)))
    assert isinstance(shell.ask(Connect()), Associated)
    return shell


@pytest.mark.parametrize("suite", [0, 1, 2])
def test_every_mechanism_plain_and_ciphered_reads_the_same_register(suite):
    device = keyed(suite)

    def talk(shell_of):
        found, first = [], 1
        for mechanism in Mechanism:
            for ciphered in (False, True):
                sap = (CIPHERED_SAP if ciphered else PLAIN_SAP) + mechanism
                wanted = association(device, mechanism, ciphered=ciphered, first=first)
                shell = own_shell(shell_of, association_=wanted, sap=sap)
                found.append(shell.ask(Get(IMPORT)).value)
                if shell.client.protection:
                    first = shell.client.protection.next_counter
        return found

    values = over_tcp([device], talk)
    assert len(values) == 16
    assert {integer_of(value) for value in values} == {device.meter.true_wh("1.0.1.8.0", NOW)}


def test_a_meter_uses_no_counter_twice_and_takes_none_twice_also_over_another_connection():
    device = keyed()

    def talk(first):
        def read(shell_of):
            wanted = association(device, Mechanism.HIGH_GMAC, ciphered=True, first=first)
            client = DlmsClient(WrapperParameters(CIPHERED_SAP + 5, 17), wanted)
            event = shell_of(client).ask(Connect())
            return event, client.protection.received_counter

        return read

    (event, counter) = over_tcp([device], talk(100))
    assert isinstance(event, Associated)
    (event, _) = over_tcp([device], talk(100))
    assert not isinstance(event, Associated)
    (event, later) = over_tcp([device], talk(1000))
    assert isinstance(event, Associated)
    assert later > counter
    plain = over_tcp([device], lambda shell_of: own_shell(shell_of, sap=16, association_=Association()).value(
        1, "0.0.43.1.0", 2))  # fmt: skip
    assert integer_of(plain) >= 1000


def test_a_wrong_secret_and_a_wrong_key_are_refused():
    device = keyed()
    stranger = derive_keys(8, "somebody", "1", 0)

    def talk(shell_of):
        refused = []
        for mechanism in (Mechanism.LOW, Mechanism.HIGH_SHA256, Mechanism.HIGH_GMAC):
            wrong = Association(
                mechanism,
                b"wrong",
                challenge=b"a client's token",
                ciphering=Ciphering(stranger.keys, OUR_TITLE, range(1, 99)),
            )
            shell = shell_of(DlmsClient(WrapperParameters(PLAIN_SAP + mechanism, 17), wrong))
            shell._put(shell.client.send(Connect()))
            while not isinstance(event := shell.client.next_event(), AssociationRefused):
                shell._put(shell.client.data_to_send())
                if event is NEED_DATA:
                    shell.client.receive_data(shell._read())
            refused.append(event)
        return refused

    assert ["authentication-failure" in event.words for event in over_tcp([device], talk)] == [True] * 3


def test_short_names_read_the_same_register_after_the_object_list():
    device = keyed()

    def talk(shell_of):
        wanted = Association(Mechanism.LOW, SECRET, SHORT_NAMES, context=Context.SN)
        shell = own_shell(shell_of, association_=wanted, sap=SHORT_LOW_SAP)
        shell.client.short_names.learn(shell.ask(Get(OBJECT_LIST)).value)
        switched = shell.ask(Act(Attribute(70, control.RELAY_OBIS, 1)))
        return shell.ask(Get(IMPORT)).value, switched, shell.ask(Get(Attribute(70, control.RELAY_OBIS, 3))).value

    value, switched, state = over_tcp([device], talk)
    assert integer_of(value) == device.meter.true_wh("1.0.1.8.0", NOW)
    assert isinstance(switched, ActionDone)
    assert state == enum(ControlState.DISCONNECTED)


def test_the_relay_is_a_state_machine_whose_steps_are_in_its_log():
    device = keyed()
    relay = [Get(Attribute(70, control.RELAY_OBIS, index)) for index in (2, 3)]

    def talk(shell_of):
        shell = own_shell(shell_of)

        def state():
            return control.relay_state_of(plan.results_of(shell.ask(GetList(tuple(relay)))))

        states = [state()]
        for connect in (False, False, True):
            assert isinstance(shell.ask(control.switch(connect=connect)), ActionDone)
            states.append(state())
        assert shell.ask(Set(Attribute(70, control.RELAY_OBIS, 4), enum(1))) == SetDone(
            Attribute(70, control.RELAY_OBIS, 4)
        )
        for connect in (False, True):
            shell.ask(control.switch(connect=connect))
            states.append(state())
        shell.ask(Set(Attribute(70, control.RELAY_OBIS, 4), enum(0)))
        refused = shell.ask(control.switch(connect=False))
        codes = [integer_of(items_of(row)[1]) for row in
                 items_of(shell.value(7, str(log_obis(DISCONNECTS)), 2))]  # fmt: skip
        return states, refused, codes

    states, refused, codes = over_tcp([device], talk)
    assert [(each.conducts, each.control) for each in states] == [
        (True, ControlState.CONNECTED),
        (False, ControlState.DISCONNECTED),
        (False, ControlState.DISCONNECTED),
        (True, ControlState.CONNECTED),
        (False, ControlState.DISCONNECTED),
        (False, ControlState.READY_FOR_RECONNECTION),
    ]
    assert isinstance(refused, ActionRefused)
    assert refused.code is ActionResult.READ_WRITE_DENIED
    assert codes == [62, 63, 62, 63]


def test_the_clock_is_set_and_shifted_within_its_limit_and_the_public_client_changes_nothing():
    device = keyed()
    wanted = datetime.fromtimestamp(NOW // 1000 + 3600, UTC)

    def talk(shell_of):
        shell = own_shell(shell_of)
        assert shell.ask(control.set_clock(wanted)) == SetDone(Attribute(8, CLOCK.obis, 2))
        was = date_time_of(shell.value(8, "0.0.1.0.0", 2)).at()
        assert isinstance(shell.ask(control.shift_clock(-30)), ActionDone)
        now = date_time_of(shell.value(8, "0.0.1.0.0", 2)).at()
        log = [integer_of(items_of(row)[1]) for row in items_of(shell.value(7, str(log_obis(STANDARD)), 2))]
        public = own_shell(shell_of, sap=16, association_=Association())
        return was, now, log, public.ask(control.set_clock(wanted)).code, public.ask(control.shift_clock(1)).code

    was, now, log, *refused = over_tcp([device], talk)
    assert was == wanted
    assert (was - now).total_seconds() == 30
    assert log[-4:] == [4, 5, 4, 5]
    assert refused == [DataAccessResult.READ_WRITE_DENIED, ActionResult.READ_WRITE_DENIED]


@pytest.mark.parametrize(("obis", "rows"), [(DAILY, 67), (BILLING, 2)])
def test_daily_and_billing_profiles_hold_the_registers_at_midnight(obis, rows):
    device = keyed()

    def talk(shell_of):
        shell = own_shell(shell_of)
        captured = profile.decode_capture_objects(shell.value(7, str(obis), 3))
        buffer = profile.decode_buffer(shell.ask(GetBuffer(Attribute(7, obis, 2))).octets, len(captured))
        return profile.interpret(buffer, captured, period_s=86_400)

    table = over_tcp([device], talk)
    assert len(table.at) == rows
    assert all((at + 7 * 3600) % 86_400 == 0 for at in table.at)
    energy = table.column(CaptureObject(3, IMPORT.obis, 2))
    assert energy == [device.meter.true_wh("1.0.1.8.0", at * 1000) for at in table.at]


def test_event_logs_are_seeded_kept_in_order_and_read_by_range():
    first, again = (DlmsMeter(meter("dlms_residential", 17), SECRET).objects.state.logs for _ in range(2))
    late = NOW + days(200)
    for group_e, log in first.items():
        events = log.events(late)
        assert [at for at, _ in events] == sorted(at for at, _ in events)
        assert events == again[group_e].events(late)
        assert all(at_ms > INSTALLED for at_ms, _ in events)
    assert len(first[STANDARD].events(late)) > 10
    device = keyed()

    def talk(shell_of):
        shell = own_shell(shell_of)
        from_at, to_at = (datetime.fromtimestamp(at_ms / 1000, UTC) for at_ms in (INSTALLED, NOW - days(30)))
        (part,) = plan.read_profile(log_obis(STANDARD), from_at, to_at)
        return [
            profile.decode_buffer(shell.ask(each).octets).row_count
            for each in (part, GetBuffer(Attribute(7, log_obis(STANDARD), 2)))
        ]

    part, whole = over_tcp([device], talk)
    assert 0 < part < whole


def test_a_meter_may_ignore_the_selection_and_take_short_apdus_only():
    device = keyed(ignores_selection=True, pdu_octets_max=100)
    from_at, to_at = (datetime.fromtimestamp(at_ms / 1000, UTC) for at_ms in (NOW - 7_200_000, NOW))

    def talk(shell_of):
        shell = own_shell(shell_of)
        (request,) = plan.read_profile(Obis.parse("1.0.99.1.0"), from_at, to_at)
        return profile.decode_buffer(shell.ask(request).octets).row_count, shell.client.granted.pdu_octets_max

    assert over_tcp([device], talk) == (60 * 48, 100)


@pytest.mark.integration
def test_five_hundred_meters_in_one_process_are_read_once():
    meters = [meter("dlms_residential", address) for address in range(1, 501)]
    dlms_meters = [DlmsMeter(each, SECRET) for each in meters]

    def talk(shell_of):
        found = []
        for each in meters:
            shell = own_shell(shell_of, each.address)
            found.append(integer_of(shell.value(3, "1.0.1.8.0", 2)))
            shell.ask(Release())
        return found

    assert over_tcp(dlms_meters, talk) == [each.true_wh("1.0.1.8.0", NOW) for each in meters]


@pytest.mark.parametrize(
    "fault", ["drop=150", "corrupt=150", "duplicate=300", "truncate=150", "delay=200", "split=200", "dm=40", "frmr=40"]
)
def test_whatever_goes_wrong_on_the_line_a_value_is_right_or_absent(tmp_path, fault):
    device = meter("dlms_residential", 17)
    faults, link_faults, _ = parse_faults([fault])
    truth = device.true_wh("1.0.1.8.0", NOW)

    def talk(shell_of):
        found = []
        for _ in range(6):
            shell = shell_of(hdlc(17), 0.15)
            if isinstance(shell.ask(Connect()), Associated):
                event = shell.ask(Get(IMPORT))
                found.append(integer_of(event.value) if isinstance(event, GetResult) else event)
                if not isinstance(event, LinkDown):
                    shell.ask(Release())
        return found

    found = on_line(tmp_path, [device], talk, faults=faults, link_faults=link_faults, rng=Random(3))
    assert truth in found
    assert {each for each in found if isinstance(each, int)} == {truth}


@pytest.mark.parametrize("word", ["drop", "drop=x", "drop=1001", "flood=1", "dm=-1", "frmr=2000", "event=1001"])
def test_a_fault_that_is_none_is_told_with_those_that_are(word):
    with pytest.raises(UsageError, match="expected"):
        parse_faults([word])


def test_keys_come_from_the_seed_or_from_a_file_that_only_its_owner_reads(tmp_path):
    keys = {17: derive_keys(1, "a", "12345", 2), 18: derive_keys(1, "b", "12346", 2)}
    assert keys[17].keys != keys[18].keys
    assert derive_keys(1, "a", "12345", 2) == keys[17]
    path = tmp_path / "keys.json"
    write_keys(path, keys)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_keys(path, [17, 18]) == keys
    with pytest.raises(UsageError, match="nothing is yet"):
        write_keys(path, keys)
    with pytest.raises(UsageError, match="19 is missing"):
        read_keys(path, [19])
    for secret in (keys[17].keys.encryption, keys[17].secret):
        assert secret.hex() not in repr(keys)
        assert repr(secret)[2:-1] not in repr(keys)
    path.chmod(0o640)
    with pytest.raises(UsageError, match="chmod 600"):
        read_keys(path, [17])
    (tmp_path / "other").write_text('{"17": {"suite": 0}}')
    (tmp_path / "other").chmod(0o600)
    with pytest.raises(UsageError, match="missing"):
        read_keys(tmp_path / "other", [17])


@pytest.mark.parametrize("key", [key for key in model_keys() if load_model(key).dlms is not None])
def test_every_model_admits_its_own_client_by_its_own_rules(key):
    device = meter(key, 17)
    settings = device.model.dlms
    dlms_meter = DlmsMeter(device, SECRET, derive_keys(7, device.name, device.serial, settings.suite))
    mechanism = mechanism_of(device.model)
    wanted = association(dlms_meter, mechanism, ciphered=settings.security != "none")
    code = next(each.obis for each in device.model.measurements if each.obis.d == 8)

    def talk(shell_of):
        counter = own_shell(shell_of, association_=Association(), sap=settings.public_client_sap).value(
            1, str(settings.counter or Obis.parse("0.0.43.1.0")), 2
        )
        shell = own_shell(shell_of, association_=wanted, sap=settings.client_sap)
        return integer_of(counter), integer_of(shell.value(3, str(code), 2))

    assert over_tcp([dlms_meter], talk) == (0, device.value(code, NOW))
    if needs_keys(device.model):
        with pytest.raises(UsageError, match="give keys"):
            DlmsMeter(device, SECRET).serve_on(WrapperServerParameters(17), NOW)
