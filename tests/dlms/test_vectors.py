"""Every golden vector: decoded whole, byte by byte and before rubbish, compared field by field, and encoded back."""

from typing import Any

import pytest

from protocols.dlms import axdr, profile
from protocols.dlms.acse import AssociationRequest, AssociationResponse, ReleaseRequest, ReleaseResponse
from protocols.dlms.apdu import decode_apdu
from protocols.dlms.association import Association
from protocols.dlms.client import DlmsClient
from protocols.dlms.explain import dotted, explain_apdu, explain_data, explain_date_time, explain_frame
from protocols.dlms.hdlc.frames import Frame, FrameReader
from protocols.dlms.hdlc.primary import HdlcParameters
from protocols.dlms.link import NEED_DATA
from protocols.dlms.objects import decode_object_list
from protocols.dlms.quirks import STRICT, Quirks
from protocols.dlms.services import Notified
from protocols.errors import RemoteProtocolError
from tests.dlms.vectors import differences, load, name_of

E650 = Quirks(user_information_length_off_by_one=True)
REFUSED_BY = {"fcs": "FCS", "hcs": "HCS"}


def frames_of(chunks: list[bytes]) -> tuple[list[Frame], list[RemoteProtocolError]]:
    reader, frames, errors = FrameReader(), [], []
    for chunk in chunks:
        reader.receive_data(chunk)
        while True:
            try:
                frame = reader.next_frame()
            except RemoteProtocolError as error:
                errors.append(error)
                continue
            if frame is NEED_DATA:
                break
            assert isinstance(frame, Frame)
            frames.append(frame)
    return frames, errors


@pytest.mark.parametrize("vector", load("hdlc") + load("hdlc_stream"), ids=name_of)
def test_hdlc_vectors_hold_whole_and_byte_by_byte_and_around_noise(vector: dict[str, Any]) -> None:
    octets, expected = bytes.fromhex(vector["hex"]), vector["expected"]
    deliveries = [
        [octets],
        [bytes((octet,)) for octet in octets],
        [b"\x55\xaa\x00" + octets, b"\x13\x37"],
    ]
    for chunks in deliveries:
        frames, errors = frames_of(chunks)
        if "error" in expected:
            assert not frames
            if expected["error"] in REFUSED_BY:
                assert any(REFUSED_BY[expected["error"]] in str(error) for error in errors)
            continue
        assert not differences(expected["frames"], [explain_frame(frame) for frame in frames])
        assert b"".join(frame.encode() for frame in frames) == octets
        if "reassembled" in expected:
            assert b"".join(frame.information for frame in frames).hex() == expected["reassembled"]


def test_a_cut_frame_is_incomplete_until_silence_ends_it() -> None:
    reader = FrameReader()
    reader.receive_data(bytes.fromhex(load("hdlc")[0]["hex"])[:-4])
    assert reader.next_frame() is NEED_DATA
    reader.forget()
    assert reader.pending == 0


@pytest.mark.parametrize("vector", load("axdr"), ids=name_of)
def test_axdr_vectors_hold_and_encode_back(vector: dict[str, Any]) -> None:
    octets = bytes.fromhex(vector["hex"])
    value = axdr.decode(octets)
    assert explain_data(value) == vector["expected"]["value"]
    assert axdr.encode(value) == octets
    for end in range(len(octets)):
        with pytest.raises(RemoteProtocolError):
            axdr.decode(octets[:end])
    with pytest.raises(RemoteProtocolError, match="follow"):
        axdr.decode(octets + b"\x00")


@pytest.mark.parametrize("vector", load("acse"), ids=name_of)
def test_acse_vectors_hold_and_encode_back(vector: dict[str, Any]) -> None:
    octets, expected = bytes.fromhex(vector["hex"]), vector["expected"]
    lenient = expected.get("lenient", False)
    apdu = decode_apdu(octets, E650 if lenient else STRICT)
    shown = explain_apdu(apdu)
    outer = {key: value for key, value in expected.items() if "user_information_" not in key and key != "note"}
    assert not differences(outer, shown)
    assert isinstance(apdu, AssociationRequest | AssociationResponse | ReleaseRequest | ReleaseResponse)
    if lenient:
        with pytest.raises(RemoteProtocolError):
            decode_apdu(octets)
    else:
        assert apdu.encode() == octets
    inside = expected.get("user_information_decoded")
    if inside is not None and not inside["apdu"].startswith("glo-"):
        assert apdu.user_information is not None
        assert not differences(inside, explain_apdu(decode_apdu(apdu.user_information)))


@pytest.mark.parametrize("vector", load("xdlms"), ids=name_of)
def test_xdlms_vectors_hold_and_encode_back(vector: dict[str, Any]) -> None:
    octets, expected = bytes.fromhex(vector["hex"]), dict(vector["expected"])
    apdu = decode_apdu(octets)
    shown = explain_apdu(apdu)
    if "n_items" in expected:
        items = shown["data"][1]
        assert [len(items), items[0], items[-1]] == [expected[key] for key in ("n_items", "first", "last")]
        expected = {"apdu": expected["apdu"], "type": expected["type"]}
    assert not differences(expected, shown)
    assert apdu.encode() == octets


@pytest.mark.parametrize("vector", load("cosem_datetime"), ids=name_of)
def test_cosem_date_time_vectors_hold(vector: dict[str, Any]) -> None:
    assert explain_date_time(bytes.fromhex(vector["hex"])) == vector["expected"]


@pytest.mark.parametrize("vector", load("object_list"), ids=name_of)
def test_object_list_vectors_hold(vector: dict[str, Any]) -> None:
    objects = decode_object_list(axdr.decode(bytes.fromhex(vector["hex"])))
    assert len(objects) == vector["expected"]["count"]
    shown = [[entry.class_id, entry.version, dotted(entry.obis)] for entry in objects]
    assert shown == vector["expected"]["objects"]


@pytest.mark.parametrize("vector", load("profile"), ids=name_of)
def test_profile_vectors_hold_by_rows_and_by_columns(vector: dict[str, Any]) -> None:
    octets, expected = bytes.fromhex(vector["hex"]), vector["expected"]
    value = axdr.decode(octets)
    assert explain_data(value) == expected["value"]
    buffer = profile.decode_buffer(octets)
    assert buffer.row_count == expected["n_rows"]
    rows = [[cell[1] for cell in row[1]] for row in expected["value"][1]]
    shown = [
        [cell.hex() if isinstance(cell, bytes) else cell for cell in row] for row in zip(*buffer.columns, strict=True)
    ]
    assert shown == rows


PLAIN_PUSHES = [v for v in load("push") if v["link"] != "mbus" and "apdu" in v["expected"]]


@pytest.mark.parametrize("vector", PLAIN_PUSHES, ids=name_of)
def test_push_vectors_hold_and_the_client_reports_each_as_one_event(vector: dict[str, Any]) -> None:
    octets, expected = bytes.fromhex(vector["hex"]), vector["expected"]
    if vector["link"] == "raw":
        assert not differences(expected["apdu"], explain_apdu(decode_apdu(octets)))
        return
    frames, errors = frames_of([octets])
    assert not errors
    assert not differences(expected["hdlc"], [explain_frame(frame) for frame in frames])
    source = frames[0].source
    parameters = HdlcParameters(
        client_sap=frames[0].destination.upper,
        server_logical=source.upper,
        server_physical=source.lower,
        server_size=source.size,
    )
    client = DlmsClient(parameters, Association(), Quirks(push_without_llc=len(frames) > 1))
    events = []
    for octet in octets:
        client.receive_data(bytes((octet,)))
        while (event := client.next_event()) is not NEED_DATA:
            events.append(event)
    assert len(events) == 1
    assert isinstance(events[0], Notified)
    assert not differences(expected["apdu"], explain_apdu(events[0].notification))
