"""What a configuration will do, for ``congto agent check``, and which of its ports are not to be had now."""

import os
from collections.abc import Iterator

from edge_agent.config import DAY_MS, AgentConfig, BusConfig, MeterConfig, TcpPlace
from edge_agent.plan_page import load_words, plan_of


def describe(config: AgentConfig) -> str:
    """Return a page on the gateway's buses, meters and readings a day."""
    lines = [
        f"gateway {config.gateway}, spool {config.spool}",
        f"broker {config.broker.host}:{config.broker.port}{' with TLS' if config.broker.tls else ''}",
    ]
    if config.world is not None:
        lines.append(f"clock of the simulated world at {config.world}")
    for bus, demand in zip(config.buses, plan_of(config).values(), strict=True):
        head = f"bus {bus.id}: {_place(bus)}, {_protocols(bus)}, {len(bus.meters)} meters, {load_words(bus, demand)}"
        lines += ["", head]
        for meter in bus.meters:
            intervals = ", ".join(f"{group.value} every {_words(every)}" for group, every in meter.every_ms.items())
            own = "".join(f", {key} every {_words(every)}" for key, every in meter.intervals.items())
            where = f"address {meter.device or meter.address}{_line(bus, meter)}{_entered(meter)}"
            lines.append(f"  {meter.id:<16} {meter.model.name}, {where}: {intervals}{own}")
    total = sum(readings_a_day(meter) for bus in config.buses for meter in bus.meters)
    meters = sum(len(bus.meters) for bus in config.buses)
    return "\n".join([*lines, "", f"{meters} meters, {total} readings a day"])


def unusable_ports(config: AgentConfig) -> Iterator[str]:
    """Yield what stands in the way of each serial port; the configuration holds all the same, and a line may come.

    The ports of a simulated world come with it, and are not looked for.
    """
    for bus in config.buses:
        if config.world is not None or isinstance(bus.place, TcpPlace):
            continue
        port = bus.place.port
        if not os.path.exists(port):  # noqa: PTH110 - a string, as pyserial takes it
            yield (
                f"bus {bus.id}: {port} is not there; is the adapter plugged in, has it another name "
                "(ls /dev/serial/by-id)?"
            )
        elif not os.access(port, os.R_OK | os.W_OK):
            yield f"bus {bus.id}: {port} is not ours to open; put this user into the group dialout and log in again"


def readings_a_day(meter: MeterConfig) -> int:
    """Return how many readings a meter gives on a day without gaps."""
    return sum(DAY_MS // meter.interval_of(each) for each in meter.measurements)


def _protocols(bus: BusConfig) -> str:
    return " and ".join(sorted(each.value for each in bus.protocols))


def _place(bus: BusConfig) -> str:
    if isinstance(bus.place, TcpPlace):
        return f"tcp {bus.place.host}:{bus.place.port}"
    return f"{bus.place.port} at {bus.place.baud} 8{bus.place.parity}{bus.place.stop_bits}"


def _line(bus: BusConfig, meter: MeterConfig) -> str:
    """Return how the port is set for a meter that differs from its bus."""
    if meter.line is None or meter.line == bus.place:
        return ""
    return f" at {meter.line.baud} 8{meter.line.parity}{meter.line.stop_bits}"


def _entered(meter: MeterConfig) -> str:
    """Return how a DLMS meter is entered, where that takes more than a password."""
    if meter.access is None or (meter.access.settings.mechanism in ("none", "low") and not meter.access.is_ciphered):
        return ""
    settings = meter.access.settings
    ciphered = f", {settings.security} by suite {settings.suite}" if meter.access.is_ciphered else ""
    return f", {settings.mechanism}{ciphered}"


def _words(interval_ms: int) -> str:
    for suffix, factor in (("d", DAY_MS), ("h", 3_600_000), ("m", 60_000)):
        if interval_ms % factor == 0:
            return f"{interval_ms // factor}{suffix}"
    return f"{interval_ms // 1000}s" if interval_ms % 1000 == 0 else f"{interval_ms}ms"
