"""APDUs, values and frames as plain dictionaries and lists, for people, JSON and test vectors.

Types have the standard's words; octets are hex, logical names dotted with all six groups. Secrets that an AARQ carries
are shown, for whoever has the octets has them anyway; nothing here is for a log.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from protocols.dlms import acse, axdr
from protocols.dlms.codes import DataAccessResult
from protocols.dlms.cosem_time import decode_date_time
from protocols.dlms.data import BitString, Data, Tag, float_of, text_of
from protocols.dlms.hdlc.frames import Address, Frame, FrameType, check
from protocols.dlms.hdlc.negotiation import LinkLimits
from protocols.dlms.xdlms import access, action, general_block, get, initiate, notifications, refusals, short
from protocols.dlms.xdlms import set as set_service
from protocols.dlms.xdlms.references import Attribute, Block, Invoke, Selection
from protocols.obis import Obis

Explained: TypeAlias = dict[str, Any]
_TEXTS = (Tag.VISIBLE_STRING, Tag.UTF8_STRING)
_FLOATS = (Tag.FLOAT32, Tag.FLOAT64)


def explain_data(data: Data) -> list[Any]:
    """Return ``[type, value]``, nested."""
    tag, content = data
    shown: Any = content
    if tag in _TEXTS:
        shown = text_of(data)
    elif tag in _FLOATS:
        shown = float_of(data)
    elif isinstance(content, bytes):
        shown = content.hex()
    elif isinstance(content, BitString):
        shown = "".join(f"{octet:08b}" for octet in content.octets)[: content.length]
    elif isinstance(content, tuple):
        shown = [explain_data(element) for element in content if isinstance(element, Data)]
    return [tag.word, shown]


def dotted(obis: Obis) -> str:
    """Return all six groups."""
    return ".".join(map(str, obis.groups))


def explain_date_time(octets: bytes) -> Explained:
    """Return wall-clock time, deviation and status of twelve octets, or that they are a wildcard."""
    moment = decode_date_time(octets)
    parts = (moment.year, moment.month, moment.day, moment.hour, moment.minute)
    if any(part is None for part in parts):
        return {"wildcard": True}
    wall = "{:04d}-{:02d}-{:02d}T{:02d}:{:02d}:{:02d}".format(*parts, moment.second or 0)
    return {"wall": wall, "deviation_minutes": moment.deviation_minutes, "status": moment.status}


# -- frames -----------------------------------------------------------------------------------------------------------


def explain_frame(frame: Frame) -> Explained:
    """Return a frame's fields."""
    octets = frame.encode()[1:-1]
    kind = frame.type
    shown: Explained = {
        "length": len(octets),
        "segmented": frame.segmented,
        "dst": _address(frame.destination),
        "src": _address(frame.source),
        "control": f"{frame.control:02x}",
        "type": kind.name if kind is not None else "unknown",
        "pf": frame.poll_final,
        "fcs": octets[-2:].hex(),
        "fcs_ok": True,
    }
    if kind is FrameType.I:
        shown |= {"ns": frame.send_number, "nr": frame.receive_number}
    elif kind in (FrameType.RR, FrameType.RNR):
        shown["nr"] = frame.receive_number
    if frame.information:
        head = octets[: -len(frame.information) - 4]
        shown |= {"hcs": check(head).hex(), "hcs_ok": True, "info": frame.information.hex()}
        if kind in (FrameType.UA, FrameType.SNRM):
            limits = LinkLimits.decode(frame.information)
            shown["params"] = {
                "max_info_tx": limits.info_octets_tx,
                "max_info_rx": limits.info_octets_rx,
                "window_tx": limits.window_tx,
                "window_rx": limits.window_rx,
            }
    return shown


def _address(address: Address) -> Explained:
    return {"len": address.size, "upper": address.upper, "lower": address.lower, "raw": address.encode().hex()}


# -- APDUs ------------------------------------------------------------------------------------------------------------


def explain_apdu(apdu: object) -> Explained:
    """Return an APDU's fields; ``apdu`` and, where there are several, ``type`` name it in the standard's words."""
    for kind, explain in _EXPLAINERS.items():
        if isinstance(apdu, kind):
            return explain(apdu)
    raise TypeError(f"{type(apdu).__name__} is no APDU")


def _given(**fields: Any) -> Explained:
    """Return the fields that are there; octets as hex."""
    shown = {name: value.hex() if isinstance(value, bytes) else value for name, value in fields.items()}
    return {name: value for name, value in shown.items() if value is not None}


def _aarq(apdu: acse.AssociationRequest) -> Explained:
    authenticated = apdu.mechanism is not acse.Mechanism.NONE
    return {"apdu": "AARQ", "context": apdu.context.name} | _given(
        calling_ap_title=apdu.calling_ap_title,
        acse_requirements="0780" if authenticated else None,
        mechanism=int(apdu.mechanism) if authenticated else None,
        authentication_value=apdu.authentication_value,
        user_information=apdu.user_information,
    )


def _aare(apdu: acse.AssociationResponse) -> Explained:
    source = "acse-service-provider" if apdu.by_provider else "acse-service-user"
    shown = {
        "apdu": "AARE",
        "context": apdu.context.name,
        "result": int(apdu.result),
        "diagnostic": {"source": source, "value": int(apdu.diagnostic)},
    }
    authenticated = apdu.mechanism is not acse.Mechanism.NONE
    return shown | _given(
        responding_ap_title=apdu.responding_ap_title,
        mechanism=int(apdu.mechanism) if authenticated else None,
        authentication_value=apdu.authentication_value,
        user_information=apdu.user_information,
        lenient=True if apdu.tolerated else None,
    )


def _release(apdu: acse.ReleaseRequest | acse.ReleaseResponse) -> Explained:
    name = "RLRQ" if isinstance(apdu, acse.ReleaseRequest) else "RLRE"
    return {"apdu": name} | _given(reason=apdu.reason, user_information=apdu.user_information)


def _initiate_request(apdu: initiate.InitiateRequest) -> Explained:
    return {
        "apdu": "initiate-request",
        "dedicated_key": apdu.dedicated_key.hex() if apdu.dedicated_key is not None else None,
        "response_allowed": apdu.response_allowed,
        "qos": apdu.quality_of_service,
        "dlms_version": apdu.version,
        "conformance": apdu.conformance.words,
        "max_pdu": apdu.pdu_octets_max,
    }


def _initiate_response(apdu: initiate.InitiateResponse) -> Explained:
    return {
        "apdu": "initiate-response",
        "qos": apdu.quality_of_service,
        "dlms_version": apdu.version,
        "conformance": apdu.conformance.words,
        "max_pdu": apdu.pdu_octets_max,
        "vaa": apdu.vaa,
    }


def _head(name: str, kind: str, invoke: Invoke) -> Explained:
    return {
        "apdu": name,
        "type": kind,
        "invoke_id": invoke.id,
        "confirmed": invoke.confirmed,
        "high_priority": invoke.high_priority,
    }


def _reference(attribute: Attribute) -> Explained:
    return {"class_id": attribute.class_id, "obis": dotted(attribute.obis), "index": attribute.index}


def _access(selection: Selection | None) -> Explained | None:
    if selection is None:
        return None
    return {"selector": selection.selector, "parameters": explain_data(selection.parameters)}


def _block(block: Block) -> Explained:
    return {"last_block": block.last, "block_number": block.number, "raw_data": block.octets.hex()}


def _result(result: get.OneResult) -> Explained:
    if isinstance(result, DataAccessResult):
        return {"access_result": int(result)}
    return {"data": explain_data(axdr.decode(result))}


def _listed(items: tuple[tuple[Attribute, Selection | None], ...]) -> list[Explained]:
    return [{"attribute": _reference(attribute), "access": _access(selection)} for attribute, selection in items]


def _get_request(apdu: get.GetRequest) -> Explained:
    if isinstance(apdu, get.GetRequestNext):
        return _head("get-request", "next", apdu.invoke) | {"block_number": apdu.number}
    if isinstance(apdu, get.GetRequestList):
        return _head("get-request", "with-list", apdu.invoke) | {"list": _listed(apdu.items)}
    fields = {"attribute": _reference(apdu.attribute), "access": _access(apdu.selection)}
    return _head("get-request", "normal", apdu.invoke) | fields


def _get_response(apdu: get.GetResponse) -> Explained:
    if isinstance(apdu, get.GetResponseNormal):
        return _head("get-response", "normal", apdu.invoke) | _result(apdu.result)
    if isinstance(apdu, get.GetResponseList):
        return _head("get-response", "with-list", apdu.invoke) | {"results": [_result(one) for one in apdu.results]}
    head = _head("get-response", "with-datablock", apdu.invoke)
    if isinstance(apdu.block, Block):
        return head | _block(apdu.block)
    return head | {"block_number": apdu.block[0], "access_result": int(apdu.block[1])}


def _set_request(apdu: set_service.SetRequest) -> Explained:
    if isinstance(apdu, set_service.SetRequestNormal):
        fields = {"attribute": _reference(apdu.attribute), "access": _access(apdu.selection)}
        return _head("set-request", "normal", apdu.invoke) | fields | {"data": explain_data(axdr.decode(apdu.octets))}
    if isinstance(apdu, set_service.SetRequestList):
        values = [explain_data(axdr.decode(value)) for value in apdu.values]
        return _head("set-request", "with-list", apdu.invoke) | {"list": _listed(apdu.items), "data": values}
    if isinstance(apdu, set_service.SetRequestListFirstBlock):
        listed = {"list": _listed(apdu.items)}
        return _head("set-request", "with-list-and-first-datablock", apdu.invoke) | listed | _block(apdu.block)
    if isinstance(apdu, set_service.SetRequestFirstBlock):
        fields = {"attribute": _reference(apdu.attribute), "access": _access(apdu.selection)}
        return _head("set-request", "with-first-datablock", apdu.invoke) | fields | _block(apdu.block)
    return _head("set-request", "with-datablock", apdu.invoke) | _block(apdu.block)


def _set_response(apdu: set_service.SetResponse) -> Explained:
    if isinstance(apdu, set_service.SetResponseBlock):
        return _head("set-response", "datablock", apdu.invoke) | {"block_number": apdu.number}
    if isinstance(apdu, set_service.SetResponseList):
        kind = "with-list" if apdu.number is None else "last-datablock-with-list"
        results = {"results": [int(result) for result in apdu.results]}
        return _head("set-response", kind, apdu.invoke) | results | _given(block_number=apdu.number)
    kind = "normal" if apdu.number is None else "last-datablock"
    return _head("set-response", kind, apdu.invoke) | {"result": int(apdu.result)} | _given(block_number=apdu.number)


def _action_request(apdu: action.ActionRequest) -> Explained:
    if isinstance(apdu, action.ActionRequestNext):
        return _head("action-request", "next-pblock", apdu.invoke) | {"block_number": apdu.number}
    if isinstance(apdu, action.ActionRequestList):
        asked = zip(apdu.methods, apdu.parameters, strict=True)
        listed = [{"method": _reference(one), "parameters": explain_data(axdr.decode(given))} for one, given in asked]
        return _head("action-request", "with-list", apdu.invoke) | {"list": listed}
    if isinstance(apdu, action.ActionRequestListFirstBlock):
        methods: Explained = {"list": [{"method": _reference(one)} for one in apdu.methods]}
        return _head("action-request", "with-list-and-first-pblock", apdu.invoke) | methods | _block(apdu.block)
    if isinstance(apdu, action.ActionRequestBlock):
        return _head("action-request", "with-pblock", apdu.invoke) | _block(apdu.block)
    method = {"method": _reference(apdu.method)}
    if isinstance(apdu, action.ActionRequestFirstBlock):
        return _head("action-request", "with-first-pblock", apdu.invoke) | method | _block(apdu.block)
    parameters = None if apdu.parameter is None else explain_data(axdr.decode(apdu.parameter))
    return _head("action-request", "normal", apdu.invoke) | method | {"parameters": parameters}


def _action_response(apdu: action.ActionResponse) -> Explained:
    if isinstance(apdu, action.ActionResponseNext):
        return _head("action-response", "next-pblock", apdu.invoke) | {"block_number": apdu.number}
    if isinstance(apdu, action.ActionResponseBlock):
        return _head("action-response", "with-pblock", apdu.invoke) | _block(apdu.block)
    if isinstance(apdu, action.ActionResponseList):
        return _head("action-response", "with-list", apdu.invoke) | {"list": [_outcome(*one) for one in apdu.outcomes]}
    return _head("action-response", "normal", apdu.invoke) | _outcome(apdu.result, apdu.returned)


def _outcome(result: int, returned: get.OneResult | None) -> Explained:
    shown: Explained = {"result": int(result)}
    if isinstance(returned, DataAccessResult):
        shown["return_access_result"] = int(returned)
    elif returned is not None:
        shown["return"] = explain_data(axdr.decode(returned))
    return shown


def _access_apdu(apdu: access.AccessRequest | access.AccessResponse) -> Explained:
    head = {"long_invoke_id": apdu.long_invoke & 0xFF_FFFF, "date_time": apdu.date_time.hex() or None}
    if isinstance(apdu, access.AccessRequest):
        listed = [
            {"kind": item.kind.name.lower().replace("_", "-"), "attribute": _reference(item.attribute)}
            | {"access": _access(item.selection), "data": explain_data(item.data)}
            for item in apdu.items
        ]
        return {"apdu": "access-request"} | head | {"list": listed}
    results = [
        {"kind": one.kind.name.lower(), "result": int(one.result), "data": explain_data(one.data)}
        for one in apdu.outcomes
    ]
    return {"apdu": "access-response"} | head | {"results": results}


def _data_notification(apdu: notifications.DataNotification) -> Explained:
    return {
        "apdu": "data-notification",
        "long_invoke_id": apdu.invoke_id,
        "long_invoke_raw": f"{apdu.long_invoke:08x}",
        "date_time": apdu.date_time.hex() if apdu.date_time is not None else None,
        "data": explain_data(apdu.data),
    }


def _event_notification(apdu: notifications.EventNotification) -> Explained:
    time = apdu.date_time.hex() if apdu.date_time is not None else None
    fields = {"attribute": _reference(apdu.attribute), "data": explain_data(apdu.data)}
    return {"apdu": "event-notification", "date_time": time} | fields


def _variable(variable: short.Variable) -> Explained:
    return {"short_name": f"{variable.name:04x}", "access": _access(variable.selection)}


def _short(apdu: short.ShortRequest | short.ShortResponse) -> Explained:
    if isinstance(apdu, short.ReadNext):
        return {"apdu": "read-request", "type": "block-number-access", "block_number": apdu.number}
    if isinstance(apdu, short.ReadRequest):
        return {"apdu": "read-request", "list": [_variable(variable) for variable in apdu.variables]}
    if isinstance(apdu, short.WriteRequest):
        values = [explain_data(axdr.decode(value)) for value in apdu.values]
        return {"apdu": "write-request", "list": [_variable(variable) for variable in apdu.variables], "data": values}
    if isinstance(apdu, short.WriteRequestBlock):
        return {"apdu": "write-request", "type": "write-data-block-access"} | _block(apdu.block)
    if isinstance(apdu, short.WriteResponseNext):
        return {"apdu": "write-response", "type": "block-number", "block_number": apdu.number}
    if isinstance(apdu, short.ReadResponseBlock):
        return {"apdu": "read-response", "type": "data-block-result"} | _block(apdu.block)
    if isinstance(apdu, short.WriteResponse):
        return {"apdu": "write-response", "results": [int(result) for result in apdu.results]}
    return {"apdu": "read-response", "results": [_result(one) for one in apdu.results]}


def _general_block(apdu: general_block.GeneralBlock) -> Explained:
    return {
        "apdu": "general-block-transfer",
        "last_block": apdu.last,
        "streaming": apdu.streaming,
        "window": apdu.window,
        "block_number": apdu.number,
        "block_number_ack": apdu.acknowledged,
        "raw_data": apdu.octets.hex(),
    }


def _exception(apdu: refusals.ExceptionResponse) -> Explained:
    numbers = {"state_error": apdu.state_error, "service_error": apdu.service_error}
    return {"apdu": "exception-response"} | numbers | _given(invocation_counter=apdu.invocation_counter)


def _confirmed_error(apdu: refusals.ConfirmedServiceError) -> Explained:
    numbers = {"service": apdu.service, "error_class": apdu.error_class, "error_code": apdu.error_code}
    return {"apdu": "confirmed-service-error"} | numbers


_EXPLAINERS: Mapping[Any, Callable[[Any], Explained]] = {
    acse.AssociationRequest: _aarq,
    acse.AssociationResponse: _aare,
    acse.ReleaseRequest | acse.ReleaseResponse: _release,
    initiate.InitiateRequest: _initiate_request,
    initiate.InitiateResponse: _initiate_response,
    get.GetRequest: _get_request,
    get.GetResponse: _get_response,
    set_service.SetRequest: _set_request,
    set_service.SetResponse: _set_response,
    short.ShortRequest | short.ShortResponse: _short,
    action.ActionRequest: _action_request,
    action.ActionResponse: _action_response,
    access.AccessRequest | access.AccessResponse: _access_apdu,
    notifications.DataNotification: _data_notification,
    notifications.EventNotification: _event_notification,
    general_block.GeneralBlock: _general_block,
    refusals.ExceptionResponse: _exception,
    refusals.ConfirmedServiceError: _confirmed_error,
}
