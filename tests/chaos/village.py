"""The meters, what the agent is told of them, and what the server has registered."""

import json
from collections.abc import Mapping
from datetime import date
from typing import Any

from protocols.meters.catalogue import load_model
from simulators.village import Village, parse_village

GATEWAY = "gw-chaos"
STARTS_ON = date(2025, 3, 1)
EVERY_MS = 1000
BUSES = {"rtu": "modbus_rtu", "tcp": "modbus_tcp"}
METERS = (
    ("M-1", "rtu", "eastron_sdm120", 1),
    ("M-2", "rtu", "eastron_sdm120", 2),
    ("M-3", "tcp", "eastron_sdm120", 1),
)
SIZE_KWH = 2600  # a month; about a watt-hour a second, so that each reading differs from the one before


def village_text() -> str:
    """Return the village's file."""
    text = 'name = "Chaos"\nseed = 11\n'
    for bus, kind in BUSES.items():
        line = "baud = 115200\nturnaround_ms = 0\n" if kind == "modbus_rtu" else ""
        text += f'[[bus]]\nid = "{bus}"\ngateway = "{GATEWAY}"\nkind = "{kind}"\n{line}'
    for name, bus, model, address in METERS:
        text += f'[[meter]]\nid = "{name}"\nbus = "{bus}"\nmodel = "{model}"\naddress = {address}\n'
        text += f'kind = "lighting"\nsize_kwh = {SIZE_KWH}\nplace = "hanoi"\n'
    return text


def village() -> Village:
    """Return the village, which knows what its meters have truly counted."""
    return parse_village(village_text(), "village.toml", starts_on=STARTS_ON)


def agent_text(described: Mapping[str, Any], broker_port: int, clock: str) -> str:
    """Return the agent's configuration; ``described`` is what ``world.json`` says."""
    text = f'[gateway]\nid = "{GATEWAY}"\nspool = "spool/spool.sqlite"\nkeep_receipted = "12h"\n'
    text += 'counters = "counters"\nlearned = "learned"\n'
    text += f'[broker]\nurl = "mqtt://127.0.0.1:{broker_port}"\nreconnect_max = "500ms"\nresend_after = "300ms"\n'
    text += f"[clock]\nworld = {json.dumps(clock)}\n"
    for bus in BUSES:
        place = described["buses"][bus]
        text += f'[[bus]]\nid = "{bus}"\nreply_timeout = "2s"\n'
        text += f'tcp = "{place["tcp"]}"\n' if "tcp" in place else f'port = "{place["port"]}"\npaced = false\n'
        text += "" if "tcp" in place else 'baud = 115200\nparity = "N"\n'
        for name, its_bus, model, address in METERS:
            if its_bus == bus:
                text += f'[[bus.meter]]\nid = "{name}"\nmodel = "{model}"\naddress = {address}\n'
                text += 'every = "1s"\ninstantaneous_every = "2s"\n'
    return text


def registry_text() -> str:
    """Return the registry's file."""
    text = f'[[gateway]]\nid = "{GATEWAY}"\n'
    for name, _, model, _ in METERS:
        channels = [str(each.obis) for each in load_model(model).measurements]
        text += f'[[meter]]\nid = "{name}"\ngateway = "{GATEWAY}"\nmodel = "{model}"\n'
        text += f"channels = {json.dumps(channels)}\n"
    return text
