"""Whether a frame of a model says what the model says it does, decoded and encoded back."""

from collections.abc import Iterator

from protocols.dlms import axdr
from protocols.dlms.data import integer_of
from protocols.dlms.xdlms.references import Attribute
from protocols.errors import LocalProtocolError, ProtocolError, UsageError
from protocols.meters.evidence import Frame
from protocols.meters.model import CosemAttribute, Measurement, MeterModel, ModbusRegister, Protocol, RegisterType
from protocols.modbus.messages import FUNCTION_OF_TABLE as FUNCTIONS
from protocols.modbus.messages import Function, ReadRegisters, RegistersReply
from protocols.modbus.rtu import REQUEST_OCTETS, RtuClient, encode_reply, encode_request
from protocols.modbus.values import Unusable, decode_value, encode_value, exponent_of

FLOATS = (RegisterType.FLOAT32, RegisterType.FLOAT64)
GET_REQUEST, GET_RESPONSE = bytes.fromhex("c0 01"), bytes.fromhex("c4 01")  # IEC 62056-5-3, 7.3.5: normal
GET_HEAD_OCTETS = 3  # tag, choice, invoke-id and priority
DATA_CHOSEN = 0  # Get-Data-Result: data, not data-access-result


def check_frame(model: MeterModel, frame: Frame) -> Iterator[str]:
    """Yield what is wrong with ``frame``; nothing if it holds."""
    try:
        yield from _check_modbus(model, frame) if model.protocol is Protocol.MODBUS else _check_dlms(model, frame)
    except (ProtocolError, UsageError) as error:
        yield str(error)


def _check_modbus(model: MeterModel, frame: Frame) -> Iterator[str]:
    request = _request(frame.request)
    if encode_request(request) != frame.request:
        yield f"request: the checksum should be {encode_request(request)[-2:].hex(' ')}"
        return
    client = RtuClient()
    client.send(request)
    client.receive_data(frame.reply)
    reply = client.next_event()
    if not isinstance(reply, RegistersReply):
        yield f"reply: found {frame.reply.hex(' ')}; expected {2 * request.count} octets of registers"
        return
    if encode_reply(reply) != frame.reply:
        yield "reply: octets before or after the frame"
    for name in (*frame.values, *frame.missing):
        measurement = _measurement(model, name)
        register = measurement.at
        assert isinstance(register, ModbusRegister)
        start, end = 2 * (register.first - request.address), 2 * (register.end - request.address)
        octets = reply.data[start:end] if start >= 0 else b""
        if FUNCTIONS[register.table] is not request.function or len(octets) < end - start:
            yield f"{name}: its registers are not in the reply"
        else:
            yield from _check_value(measurement, octets, frame.values.get(name))


def _check_value(measurement: Measurement, octets: bytes, expected: int | None) -> Iterator[str]:
    found = decode_value(measurement, octets)
    if isinstance(found, Unusable) or expected is None:
        if not (isinstance(found, Unusable) and expected is None):
            shown = found.reason if isinstance(found, Unusable) else str(found)
            yield f"{measurement.key}: found {shown}; expected {'no value' if expected is None else expected}"
        return
    if found != expected:
        yield f"{measurement.key}: found {found}; expected {expected}"
        return
    register = measurement.at
    assert isinstance(register, ModbusRegister)
    encoded = encode_value(measurement, found, exponent_of(register, octets) or 0)
    if (
        register.type in FLOATS or register.exponent_at is not None
    ):  # Many floats are one integer in the base unit: the way back is by value.
        if decode_value(measurement, encoded) != found:
            yield f"{measurement.key}: encoded back to {encoded.hex(' ')}, which is another value"
    elif encoded != octets:
        yield f"{measurement.key}: encoded back to {encoded.hex(' ')}; expected {octets.hex(' ')}"


def _request(octets: bytes) -> ReadRegisters:
    if len(octets) != REQUEST_OCTETS or octets[1] not in list(Function):
        raise LocalProtocolError(f"request {octets.hex(' ')}: expected 8 octets with function 3 or 4")
    address, count = int.from_bytes(octets[2:4], "big"), int.from_bytes(octets[4:6], "big")
    return ReadRegisters(octets[0], Function(octets[1]), address, count)


def _check_dlms(model: MeterModel, frame: Frame) -> Iterator[str]:
    if not frame.request.startswith(GET_REQUEST) or not frame.reply.startswith(GET_RESPONSE):
        yield "expected a GET.request and a GET.response of the choice normal (c0 01 …, c4 01 …)"
        return
    if frame.request[2:GET_HEAD_OCTETS] != frame.reply[2:GET_HEAD_OCTETS]:
        yield "the reply has another invoke-id than the request"
    if frame.reply[GET_HEAD_OCTETS : GET_HEAD_OCTETS + 1] != bytes((DATA_CHOSEN,)):
        yield "the reply holds no data"
        return
    found = integer_of(axdr.decode(frame.reply[GET_HEAD_OCTETS + 1 :]))
    for name, expected in frame.values.items():
        measurement = _measurement(model, name)
        assert isinstance(measurement.at, CosemAttribute)
        attribute = Attribute(measurement.at.class_id, measurement.obis, measurement.at.attribute)
        if frame.request[GET_HEAD_OCTETS:] != attribute.encode() + b"\0":
            yield f"{name}: the request asks for another attribute"
        if found != expected:
            yield f"{name}: found {found}; expected {expected}"


def _measurement(model: MeterModel, name: str) -> Measurement:
    return next(each for each in model.measurements if each.key == name)
