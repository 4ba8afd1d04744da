"""The files that make a simulated village a customer base: the agents' configurations and the registry."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from protocols.errors import UsageError
from protocols.meters.model import Protocol
from protocols.obis import Obis
from simulators.village import AgentBus, Village, VillageMeter

CONTRACT_KEYS = {
    "customer", "name", "address", "category", "voltage", "households", "three_rates", "solar_regime", "multiplier",
    "digits",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Polling:
    """How the agents of the village read: the replayed month half-hourly, live ones in seconds."""

    every: str
    instantaneous_every: str
    world: str | None  # the clock's socket; None for the computer's clock


@dataclass(frozen=True, slots=True)
class Contract:
    """The commercial side of a village meter, as its file says."""

    customer: str
    name: str
    address: str
    category: str
    voltage: str | None
    households: int
    three_rates: bool
    solar_regime: str | None
    multiplier: int
    digits: int

    @property
    def metering_point(self) -> str:
        """The code of the metering point: the customer's and 001."""
        return f"{self.customer}001"


def contract_of(meter: VillageMeter) -> Contract:
    """Return the contract of a village meter; raise :class:`UsageError` for what it does not say rightly."""
    unknown = set(meter.contract) - CONTRACT_KEYS
    if unknown or not {"customer", "name", "category"} <= set(meter.contract):
        raise UsageError(
            f"village, meter {meter.name}, contract: expected customer, name, category and some of "
            f"{', '.join(sorted(CONTRACT_KEYS))}; found {', '.join(sorted(meter.contract))}"
        )
    values: dict[str, Any] = {
        "address": "", "voltage": None, "households": 1, "three_rates": False, "solar_regime": None, "multiplier": 1,
        "digits": 9, **meter.contract,
    }  # fmt: skip
    return Contract(**values)


def billing_registers(meter: VillageMeter) -> list[Obis]:
    """Return the OBIS codes of the energy registers that a meter's model measures."""
    return [each.obis for each in meter.device.model.measurements if each.obis.d == 8]


def render_agent(gateway: str, buses: list[AgentBus], broker_url: str, polling: Polling) -> str:
    """Return the configuration of the agent on ``gateway``."""
    lines = [
        "[gateway]",
        f"id = {_text(gateway)}",
        f"spool = {_text(f'{gateway}.sqlite')}",
        "",
        "[broker]",
        f"url = {_text(broker_url)}",
        'reconnect_max = "2s"  # the demo kills its broker and does not want to wait',
        'resend_after = "5s"',
    ]
    if polling.world is not None:
        lines += ["", "[clock]", f"world = {_text(polling.world)}"]
    for bus in buses:
        if bus.gateway == gateway:
            lines += ["", *_render_bus(bus, polling)]
    return "\n".join(lines) + "\n"


def _render_bus(bus: AgentBus, polling: Polling) -> Iterator[str]:
    yield "[[bus]]"
    yield f"id = {_text(bus.bus.name)}"
    if bus.tcp is not None:
        yield f"tcp = {_text(bus.tcp)}"
    elif bus.port is not None and bus.bus.line is not None:
        yield f"port = {_text(bus.port)}"
        yield f"baud = {bus.bus.line.baud}"
        yield f"parity = {_text(bus.bus.line.parity)}"
        yield f"stop_bits = {bus.bus.line.stop_bits}"
        yield "paced = false  # a pseudo-terminal without a baud rate: no silent intervals to keep"
    yield 'reply_timeout = "250ms"'
    for meter in bus.meters:
        yield ""
        yield "[[bus.meter]]"
        yield f"id = {_text(meter.name)}"
        yield f"model = {_text(meter.model_key)}"
        yield f"address = {meter.address}"
        yield f"every = {_text(polling.every)}"
        yield f"instantaneous_every = {_text(polling.instantaneous_every)}"
        if meter.device.model.protocol is Protocol.DLMS:
            yield f"secret_env = {_text(meter.secret_env)}"


def secrets(village: Village) -> Mapping[str, str]:
    """Return the environment from which the agents take the meters' secrets."""
    return {meter.secret_env: meter.secret for meter in village.meters if meter.device.model.protocol is Protocol.DLMS}


def render_registry(village: Village, installed_on: date) -> str:
    """Return the registry of the village: every meter hangs at one metering point since ``installed_on``."""
    parts = [f"[[gateway]]\nid = {_text(gateway)}\n" for gateway in village.gateways]
    for meter in village.meters:
        contract = contract_of(meter)
        parts.append(
            f"[[meter]]\nid = {_text(meter.name)}\ngateway = {_text(meter.bus.gateway)}\n"
            f"model = {_text(meter.model_key)}\ndigits = {contract.digits}\n"
        )
        parts.append(
            f"[[customer]]\nid = {_text(contract.customer)}\nname = {_text(contract.name)}\n"
            f"address = {_text(contract.address)}\n"
        )
        parts.append(
            f"[[metering_point]]\nid = {_text(contract.metering_point)}\ncustomer = {_text(contract.customer)}\n"
        )
        parts.append(
            f"[[installation]]\nmetering_point = {_text(contract.metering_point)}\nmeter = {_text(meter.name)}\n"
            f"installed_at = {installed_on.isoformat()}T00:00:00+07:00\nmultiplier = {contract.multiplier}\n"
        )
        parts.append(_render_contract(contract, installed_on))
    return "\n".join(parts)


def _render_contract(contract: Contract, valid_from: date) -> str:
    lines = [
        "[[contract]]",
        f"metering_point = {_text(contract.metering_point)}",
        f"valid_from = {valid_from.isoformat()}",
        f"category = {_text(contract.category)}",
        f"households = {contract.households}",
        f"three_rates = {str(contract.three_rates).lower()}",
    ]
    if contract.voltage is not None:
        lines.append(f"voltage = {_text(contract.voltage)}")
    if contract.solar_regime is not None:
        lines.append(f"solar_regime = {_text(contract.solar_regime)}")
    return "\n".join(lines) + "\n"


def _text(text: str) -> str:
    """Return ``text`` as a basic TOML string, whose escapes are those of JSON."""
    return json.dumps(text, ensure_ascii=False)
