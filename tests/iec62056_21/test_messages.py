"""Messages, block checks, parity and data sets."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.iec62056_21.characters import put_parity, take_parity
from protocols.iec62056_21.messages import (
    Command,
    Identification,
    Mode,
    block_check,
    decode_command,
    decode_identification,
    encode_data,
    encode_selection,
    encode_sign_on,
)
from protocols.iec62056_21.readout import decode_data_sets, decode_readout
from protocols.obis import Obis

GOLDEN = Path(__file__).parent.parent / "golden" / "iec62056_21" / "mode_e.json"


@pytest.mark.parametrize("vector", json.loads(GOLDEN.read_text(encoding="utf-8")), ids=lambda vector: vector["name"])
def test_a_captured_identification_holds_and_encodes_back(vector):
    octets, expected = bytes.fromhex(vector["hex"]), vector["expected"]
    said = decode_identification(octets)
    found = (said.manufacturer, said.baud_character, said.baud, said.text)
    assert found == (expected["manufacturer"], expected["baud_char"], expected["baud"], expected["identification"])
    assert said.encode() == octets


def test_identifications_tell_speed_mode_and_hdlc():
    assert decode_identification(b"/LGZ4\\2ZMD3104100\r\n") == Identification("LGZ", "4", "ZMD3104100", "\\2")
    assert decode_identification(b"/LGZ4\\2ZMD3104100\r\n").offers_hdlc
    assert decode_identification(b"/ELSD4711\r\n").baud == 4800  # D is of mode B: the meter goes on by itself
    assert not decode_identification(b"/ELSD4711\r\n").waits_for_selection
    assert decode_identification(b"/ABC@old\r\n").baud == 300


@pytest.mark.parametrize("octets", [b"", b"/AB5x\r\n", b"/ABC5x\n", b"/ABC5" + b"x" * 17 + b"\r\n", b"/ABC5\x80\r\n"])
def test_what_is_no_identification_is_refused(octets):
    with pytest.raises(RemoteProtocolError):
        decode_identification(octets)


def test_messages_are_those_of_the_standard():
    assert encode_sign_on() == b"/?!\r\n"
    assert encode_sign_on("00123") == b"/?00123!\r\n"
    assert encode_selection(Mode.READOUT, "5") == b"\x06050\r\n"
    assert encode_selection(Mode.HDLC, "5") == b"\x06252\r\n"
    assert Command("B0").encode() == b"\x01B0\x03\x71"  # the break message as every meter's manual prints it
    assert Command("P0", "()").encode() == b"\x01P0\x02()\x03\x60"
    for refused in (
        lambda: encode_sign_on("x" * 33),
        lambda: encode_sign_on("!"),
        lambda: encode_selection(Mode.HDLC, "9"),
    ):
        with pytest.raises(LocalProtocolError):
            refused()


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60), st.sampled_from(["R5", "W1", "P1"]))
def test_a_command_comes_back_as_it_was(content, name):
    octets = Command(name, content).encode()
    assert block_check(octets[1:-1]) == octets[-1]
    assert decode_command(octets[1:-2]) == Command(name, content)


@given(st.binary(max_size=80).map(lambda octets: bytes(octet & 0x7F for octet in octets)), st.data())
def test_parity_is_even_and_any_single_bit_error_is_seen(characters, data):
    octets = put_parity(characters)
    assert all(octet.bit_count() % 2 == 0 for octet in octets)
    assert take_parity(octets) == characters
    if octets:
        place = data.draw(st.integers(0, len(octets) * 8 - 1))
        wrong = bytearray(octets)
        wrong[place // 8] ^= 1 << place % 8
        with pytest.raises(RemoteProtocolError, match="odd parity"):
            take_parity(bytes(wrong))


@given(st.binary(min_size=1, max_size=40).map(lambda octets: bytes(octet & 0x7F for octet in octets)), st.data())
def test_a_block_check_sees_any_one_changed_bit(content, data):
    block = encode_data(content)
    place = data.draw(st.integers(7, len(block) * 7 - 8))
    wrong = bytearray(block)
    wrong[place // 7] ^= 1 << place % 7
    assert block_check(bytes(wrong[1:-1])) != wrong[-1]


# -- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "obis", "quantity"),
    [
        ("1.8.0(0012345.678*kWh)", Obis(1, 0, 1, 8, 0), (12_345_678, "Wh")),
        ("1-0:1.8.1*255(12.5*kWh)", Obis(1, 0, 1, 8, 1), (12_500, "Wh")),
        ("1-1:2.8.0(1*MWH)", Obis(1, 1, 2, 8, 0), (1_000_000, "Wh")),
        ("1.8.0*12(5*kWh)", Obis(1, 0, 1, 8, 0, 12), (5000, "Wh")),
        ("1.6.0(1.2345*kW)(2410011530)", Obis(1, 0, 1, 6, 0), (1235, "W")),
        ("32.7.0(229.94*V)", Obis(1, 0, 32, 7, 0), (229_940, "mV")),
        ("2.7.0(-0.0005*kW)", Obis(1, 0, 2, 7, 0), (-1, "W")),
        ("14.7(50.01*Hz)", Obis(1, 0, 14, 7, 0), (50_010, "mHz")),
        ("1.8.0(12*kvarh)", Obis(1, 0, 1, 8, 0), None),  # not the unit of that code
        ("1.8.0(12)", Obis(1, 0, 1, 8, 0), None),
        ("1.8.0(12*bushel)", Obis(1, 0, 1, 8, 0), None),
        ("1.8.0(1e3*kWh)", Obis(1, 0, 1, 8, 0), None),
        ("0.9.1(12:34:56)", Obis(1, 0, 0, 9, 1), None),
        ("C.1.0(4711)", Obis(0, 0, 96, 1, 0), None),
        ("F.F(00)", Obis(0, 0, 97, 97, 0), None),
        ("P.01(1)", Obis(1, 0, 99, 1, 0), None),
        ("hello(1*kWh)", None, None),
        ("1.8.300(1*kWh)", None, None),
    ],
)
def test_lines_become_codes_and_integers_in_base_units(line, obis, quantity):
    (data_set,) = decode_data_sets(line)
    assert data_set.obis == obis
    assert data_set.quantity == quantity


def test_a_readout_is_its_data_sets_in_order():
    readout = decode_readout(b"F.F(00)\r\n1.6.0(1.2*kW)(24-10-01)\r\n\r\n0.0(1)0.1(2)\r\n!\r\n")
    assert [each.address for each in readout.data_sets] == ["F.F", "1.6.0", "0.0", "0.1"]
    assert [value.text for value in readout.data_sets[1].values] == ["1.2", "24-10-01"]
    assert readout.data_sets[1].values[0].unit == "kW"


@pytest.mark.parametrize(
    "block", [b"", b"1.8.0(1*kWh)\r\n", b"1.8.0 1\r\n!\r\n", b"1.8.0(1\r\n!\r\n", b"1.8.0(1)!x", b"\xff!\r\n"]
)
def test_what_is_no_readout_is_refused(block):
    with pytest.raises(RemoteProtocolError):
        decode_readout(block)


@given(st.integers(0, 10**12))
def test_a_counter_written_in_kilowatt_hours_keeps_each_watt_hour(energy_wh):
    (data_set,) = decode_data_sets(f"1.8.0({energy_wh // 1000}.{energy_wh % 1000:03d}*kWh)")
    assert data_set.quantity == (energy_wh, "Wh")
