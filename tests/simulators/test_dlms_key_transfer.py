"""New keys for a simulated meter, wrapped under its master key: in force at once, old ones refused, kept in --state."""

import json
import socket
from contextlib import ExitStack
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from protocols.dlms.acse import Mechanism
from protocols.dlms.ciphering import Keys
from protocols.dlms.client import DlmsClient
from protocols.dlms.codes import ActionResult
from protocols.dlms.data import Data, array, enum, integer_of, octets, structure, unsigned
from protocols.dlms.push import Pushed, PushLink, PushReceiver, PushSecurity
from protocols.dlms.services import Act, ActionDone, ActionRefused, Associated, Connect, Get
from protocols.dlms.wrapper import Wrapped, WrapperParameters
from protocols.dlms.xdlms.references import Attribute
from protocols.errors import RemoteProtocolError
from simulators.dlms.keys import derive_keys, read_keys, write_keys
from simulators.dlms.meter import CIPHERED_SAP, DlmsMeter
from simulators.dlms.security_setup import AUTHENTICATION, KEY_TRANSFER, SECURITY_SETUP, UNICAST_ENCRYPTION
from tests.simulators.meters import NOW, meter
from tests.simulators.test_dlms_command import AT, sim
from tests.simulators.test_dlms_complete import IMPORT, association, keyed, over_tcp, own_shell
from tests.simulators.test_dlms_meters import SECRET, Shell

TRANSFER = Attribute(64, SECURITY_SETUP, KEY_TRANSFER)
SAP = CIPHERED_SAP + Mechanism.HIGH_GMAC
DEADLINE_S = 20


def transfer(master: bytes, **new: bytes) -> Act:
    ids = {"encryption": UNICAST_ENCRYPTION, "authentication": AUTHENTICATION}
    items = (structure(enum(ids[name]), octets(aes_key_wrap(master, key))) for name, key in new.items())
    return Act(TRANSFER, array(*items))


def ciphered(device, first):
    return association(device, Mechanism.HIGH_GMAC, ciphered=True, first=first)


@pytest.mark.parametrize("suite", [0, 1, 2])
def test_new_keys_are_in_force_after_the_answer_and_the_old_ones_are_refused(suite):
    device = keyed(suite)
    size = len(device.keys.keys.encryption)
    new = Keys(bytes(range(size)), bytes(range(100, 100 + size)))

    def talk(shell_of):
        before = ciphered(device, 1)
        shell = own_shell(shell_of, association_=before, sap=SAP)
        known = shell.ask(Get(IMPORT)).value
        asked = transfer(device.keys.master, encryption=new.encryption, authentication=new.authentication)
        assert isinstance(shell.ask(asked), ActionDone)
        shell.client.protection.use_keys(new)
        assert shell.ask(Get(IMPORT)).value == known  # The open association goes on.
        refused = shell_of(
            DlmsClient(
                WrapperParameters(SAP, 17),
                replace(before, ciphering=replace(before.ciphering, counters=range(5000, 9000))),
            )
        )
        assert not isinstance(refused.ask(Connect()), Associated)
        again = own_shell(shell_of, association_=ciphered(device, 100), sap=SAP)
        assert again.ask(Get(IMPORT)).value == known
        other = own_shell(shell_of, association_=association(device, Mechanism.LOW, ciphered=True, first=9000),
                          sap=CIPHERED_SAP + Mechanism.LOW)  # fmt: skip
        assert other.ask(Get(IMPORT)).value == known

    over_tcp([device], talk)
    assert device.keys.keys == new


def test_a_push_goes_under_the_new_keys():
    device = keyed()
    new = Keys(bytes(range(16)), device.keys.keys.authentication)

    def talk(shell_of):
        shell = own_shell(shell_of, association_=ciphered(device, 1), sap=SAP)
        assert isinstance(shell.ask(transfer(device.keys.master, encryption=new.encryption)), ActionDone)

    over_tcp([device], talk)
    pushed = Wrapped(17, 103, device.notification(NOW, ciphered=True)).encode()
    for keys, expected in ((new, True), (keyed().keys.keys, False)):
        receiver = PushReceiver(PushLink.WRAPPER, {device.keys.title: PushSecurity(keys)})
        receiver.receive_data(pushed)
        try:
            assert isinstance(receiver.next_event(), Pushed) == expected
        except RemoteProtocolError:
            assert not expected


WRONG: dict[str, Data | None] = {
    "nothing": None,
    "no key": array(),
    "another master key": transfer(bytes(16), encryption=bytes(16)).parameter,
    "a short key": transfer(keyed().keys.master, encryption=bytes(24)).parameter,
    "no wrapping": array(structure(enum(0), octets(b"123"))),
    "the key of broadcasts": array(structure(enum(1), octets(aes_key_wrap(keyed().keys.master, bytes(16))))),
    "one good, one bad": array(
        *transfer(keyed().keys.master, encryption=bytes(16)).parameter.content, structure(enum(2), octets(bytes(24)))
    ),
    "one twice": array(*transfer(keyed().keys.master, encryption=bytes(16)).parameter.content * 2),
    "a number for an enum": array(structure(unsigned(0), octets(bytes(24)))),
    "no structure": array(enum(0)),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_what_is_no_whole_transfer_changes_no_key(wrong):
    device = keyed()
    before = device.keys

    def talk(shell_of):
        shell = own_shell(shell_of, association_=ciphered(device, 1), sap=SAP)
        refused = shell.ask(Act(TRANSFER, wrong))
        assert isinstance(refused, ActionRefused)
        assert refused.code in (ActionResult.OTHER_REASON, ActionResult.TYPE_UNMATCHED)
        assert integer_of(shell.ask(Get(IMPORT)).value) > 0

    over_tcp([device], talk)
    assert device.keys == before


def test_a_meter_without_keys_or_master_key_takes_none(tmp_path):
    plain = DlmsMeter(meter("dlms_residential", 17), SECRET)

    def talk(shell_of):
        return own_shell(shell_of).ask(transfer(bytes(16), encryption=bytes(16)))

    assert over_tcp([plain], talk).code is ActionResult.READ_WRITE_DENIED
    path = tmp_path / "keys.json"
    write_keys(path, {17: derive_keys(1, "a", "1", 0)})
    entries = json.loads(path.read_text())
    del entries["17"]["master_key"]  # as files of older versions are
    path.write_text(json.dumps(entries))
    device = meter("dlms_residential", 17)
    older = DlmsMeter(device, SECRET, read_keys(path, [17])[17])
    assert over_tcp([older], talk).code is ActionResult.READ_WRITE_DENIED


def test_the_master_key_is_in_no_repr():
    keys = derive_keys(1, "a", "1", 0)
    assert len(keys.master) == 16
    assert str(keys.master) not in repr(keys)


@pytest.mark.integration
def test_a_meter_that_was_off_has_the_keys_that_were_transferred_but_not_in_place_of_others(tmp_path):
    path, state = tmp_path / "keys.json", tmp_path / "state.json"
    words = ["--tcp", "--units", "5", "--at", AT, "--speed", "0", "--state", state]
    new = bytes(range(16))

    def enter(said, encryption, first):
        """Return a shell of a client with an encryption key, and what came of its association."""
        host, _, port = said["tcp"].rpartition(":")
        connection = socket.create_connection((host, int(port)), DEADLINE_S)
        opened.callback(connection.close)
        given = read_keys(path, [5])[5]
        device.keys = replace(given, keys=replace(given.keys, encryption=encryption))
        client = DlmsClient(WrapperParameters(SAP, 5), ciphered(device, first))
        shell = Shell(client, connection.sendall, lambda: connection.recv(65536))
        return shell, shell.ask(Connect())

    device = keyed(address=5)  # only to hold keys
    with ExitStack() as opened:
        with sim(*words, "--keys-out", path) as said:
            old = read_keys(path, [5])[5]
            shell, found = enter(said, old.keys.encryption, 1)
            assert isinstance(found, Associated)
            assert isinstance(shell.ask(transfer(old.master, encryption=new)), ActionDone)
        assert state.stat().st_mode & 0o777 == 0o600
        with sim(*words, "--keys", path) as said:
            assert not isinstance(enter(said, old.keys.encryption, 100)[1], Associated)
            assert isinstance(enter(said, new, 100)[1], Associated)
            assert not isinstance(enter(said, new, 100)[1], Associated)  # The counters count on.
        entries = json.loads(path.read_text())
        entries["5"]["encryption_key"] = "77" * 16
        path.write_text(json.dumps(entries))
        with sim(*words, "--keys", path) as said:
            assert isinstance(enter(said, b"\x77" * 16, 5000)[1], Associated)
