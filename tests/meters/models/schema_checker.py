"""So much of JSON Schema as the model's schema uses; anything else in a schema is refused."""

import re
from typing import Any

KINDS = {"string": str, "boolean": bool, "integer": int, "object": dict, "array": list}
KNOWN = {
    "$schema", "title", "oneOf", "type", "enum", "const", "pattern", "minimum", "maximum", "minLength", "properties",
    "required", "additionalProperties", "maxProperties", "items", "minItems", "maxItems",
}  # fmt: skip


def holds(value: Any, schema: dict[str, Any]) -> bool:
    """Tell whether ``value`` is as ``schema`` says."""
    assert set(schema) <= KNOWN, set(schema) - KNOWN
    if "oneOf" in schema:
        return sum(holds(value, each) for each in schema["oneOf"]) == 1
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "const" in schema and value != schema["const"]:
        return False
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and type(value) not in [KINDS[kind] for kind in kinds]:
        return False
    if isinstance(value, str):
        return bool(re.search(schema.get("pattern", ""), value)) and len(value) >= schema.get("minLength", 0)
    if type(value) is int:
        return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
    if isinstance(value, list):
        fits = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
        return fits and all(holds(each, schema.get("items", {})) for each in value)
    return not isinstance(value, dict) or _object_holds(value, schema)


def _object_holds(value: dict[str, Any], schema: dict[str, Any]) -> bool:
    known = schema.get("properties", {})
    others = schema.get("additionalProperties", True)
    if not set(schema.get("required", [])) <= set(value) or len(value) > schema.get("maxProperties", len(value)):
        return False
    for key, each in value.items():
        if key in known:
            if not holds(each, known[key]):
                return False
        elif others is False or (others is not True and not holds(each, others)):
            return False
    return True
