"""The JSON Schema of a meter model, made from the rules of the loader.

It lets an editor complete and check a model while it is written. The loader knows more than a schema can say (units
that fit the OBIS code, registers beyond the last, doubled codes): what the schema refuses the loader refuses too, and
what the loader takes the schema takes.
"""

import json
from pathlib import Path
from typing import Any

from protocols.meters import evidence
from protocols.meters.dlms_settings import (
    ASSOCIATIONS,
    INFO_OCTETS_MAX,
    LIST_ITEMS_MAX,
    LOGS_MAX,
    MECHANISMS,
    SECURITIES,
    WINDOW_MAX,
)
from protocols.meters.model import CERTAINTIES, REGISTERS_PER_READ_MAX, Group, Protocol, RegisterType
from protocols.obis import UNIT_FACTORS

SCHEMA = Path("protocols/meters/schema/model.schema.json")
DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
OBIS: Schema = {"type": "string", "pattern": r"^\d{1,3}(\.\d{1,3}){4,5}$"}
OCTETS: Schema = {"type": "string", "pattern": r"^\s*([0-9A-Fa-f]{2}\s*)*$"}
DURATION: Schema = {"type": "string", "pattern": r"^[0-9]{1,6}(ms|s|m|h|d)$"}
TABLE: Schema = {"enum": ["input", "holding"]}
ORDER: Schema = {"enum": ["big", "little"]}


def integer(lowest: int, highest: int) -> Schema:
    """Return the schema of an integer within closed bounds."""
    return {"type": "integer", "minimum": lowest, "maximum": highest}


def table(required: dict[str, Schema], optional: dict[str, Schema]) -> Schema:
    """Return the schema of a table that has these keys and no others."""
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": sorted(required),
        "additionalProperties": False,
    }


def render_schema() -> str:
    """Return the schema as the text of its file."""
    return json.dumps(model_schema(), indent=2, ensure_ascii=False) + "\n"


def model_schema() -> Schema:
    """Return the schema of a model's file."""
    variants = [
        _model(Protocol.MODBUS, modbus_register(), modbus_identity()),
        _model(Protocol.DLMS, cosem(), name()),
        _model(Protocol.IEC62056_21, data_set(), name()),
    ]
    return {"$schema": DIALECT, "title": "congto meter model", "oneOf": variants}


def _model(protocol: Protocol, place: tuple[dict[str, Schema], dict[str, Schema]], identity: Schema) -> Schema:
    required: dict[str, Schema] = {
        "name": TEXT,
        "version": integer(1, 9999),
        "protocol": {"const": protocol.value},
        "source": TEXT,
        "certainty": {"enum": list(CERTAINTIES)},
        "serial": table(
            {"baud": integer(300, 921_600), "parity": {"enum": ["N", "E", "O"]}, "stop_bits": integer(1, 2)}, {}
        ),
        "measurements": {"type": "object", "additionalProperties": measurement(*place)},
    }
    optional: dict[str, Schema] = {
        "notes": {"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": evidence.NOTES_MAX},
        "registers_per_read_max": integer(4, REGISTERS_PER_READ_MAX),
        "identity": identity,
        "counters": counters(),
        "firmware": table({}, {"first": TEXT, "last": TEXT}),
        "frames": {"type": "array", "items": frame(), "maxItems": evidence.FRAMES_MAX},
        "profile": table({"obis": OBIS, "interval": DURATION}, {}),
        "logs": {"type": "object", "additionalProperties": OBIS, "maxProperties": LOGS_MAX},
    }
    if protocol is Protocol.DLMS:
        required["dlms"] = dlms()
    return table(required, optional)


def measurement(place_required: dict[str, Schema], place_optional: dict[str, Schema]) -> Schema:
    """Return the schema of one of ``[measurements]``."""
    required: dict[str, Schema] = {"obis": OBIS, "unit": {"enum": list(UNIT_FACTORS)}, **place_required}
    optional: dict[str, Schema] = {
        "group": {"enum": [each.value for each in Group]},
        "source": TEXT,
        "every": DURATION,
        **place_optional,
    }
    return table(required, optional)


def modbus_register() -> tuple[dict[str, Schema], dict[str, Schema]]:
    """Return the required and optional keys that say where a Modbus meter holds a value."""
    required = {
        "table": TABLE,
        "address": integer(0, 0xFFFF),
        "type": {"enum": [each.value[0] for each in RegisterType]},
    }
    return required, {
        "scale": TEXT,
        "word_order": ORDER,
        "byte_order": ORDER,
        "missing": OCTETS,
        "exponent_at": integer(0, 0xFFFF),
    }


def cosem() -> tuple[dict[str, Schema], dict[str, Schema]]:
    """Return the keys that say where a DLMS meter holds a value."""
    return {"class": integer(1, 255), "attribute": integer(1, 127)}, {}


def data_set() -> tuple[dict[str, Schema], dict[str, Schema]]:
    """Return the keys that say where a readout of IEC 62056-21 holds a value."""
    return {}, {"address": TEXT}


def modbus_identity() -> Schema:
    """Return the schema of ``[identity]`` of a Modbus model: a plausible measurement, or a code or text."""
    bounds = {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}
    place = {"table": TABLE, "address": integer(0, 0xFFFF), "registers": integer(1, evidence.IDENTITY_REGISTERS_MAX)}
    return {"oneOf": [table({"measurement": TEXT, "between": bounds}, {}), *_codes(place)]}


def name() -> Schema:
    """Return the schema of ``[identity]`` of a DLMS model."""
    return {"oneOf": list(_codes({"obis": OBIS}))}


def _codes(place: dict[str, Schema]) -> tuple[Schema, Schema]:
    values = {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": evidence.IDENTITY_VALUES_MAX}
    return table({**place, "equals": values}, {}), table(
        {**place, "starts_with": {"type": "string", "minLength": 1}}, {}
    )


def counters() -> Schema:
    """Return the schema of ``[counters]``."""
    return table(
        {},
        {
            "monotonic": FLAG,
            "power_max_w": integer(1, evidence.POWER_MAX_W),
            "rollover": integer(1, 1 << 62),
            "resolution_wh": integer(1, 1_000_000),
        },
    )


def frame() -> Schema:
    """Return the schema of one of ``[[frames]]``."""
    values = {"type": "object", "additionalProperties": {"type": "integer"}}
    return table(
        {"request": OCTETS, "reply": OCTETS, "origin": {"enum": list(evidence.ORIGINS)}},
        {"source": TEXT, "values": values, "missing": {"type": "array", "items": TEXT}},
    )


def dlms() -> Schema:
    """Return the schema of ``[dlms]``; its quirks are told apart by the loader."""
    quirks = {"type": "object", "additionalProperties": {"type": ["boolean", "integer", "string"]}}
    return table(
        {
            "client_sap": integer(1, 127),
            "server_logical": integer(1, 0x3FFF),
            "mechanism": {"enum": list(MECHANISMS)},
            "with_list": FLAG,
        },
        {
            "list_items_max": integer(1, LIST_ITEMS_MAX),
            "short_names": FLAG,
            "address_octets": {"enum": [1, 2, 4]},
            "info_octets": integer(1, INFO_OCTETS_MAX),
            "window": integer(1, WINDOW_MAX),
            "association": {"enum": list(ASSOCIATIONS)},
            "security": {"enum": list(SECURITIES)},
            "suite": integer(0, 2),
            "general": FLAG,
            "dedicated_key": FLAG,
            "general_blocks": FLAG,
            "counter": OBIS,
            "public_client_sap": integer(1, 127),
            "relay": OBIS,
            "quirks": quirks,
        },
    )
