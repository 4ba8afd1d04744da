"""Meters on one pseudo-terminal that are signed on to by characters at 300 baud; mode E hands the line to HDLC.

On a pseudo-terminal the characters' parity is the eighth bit of each octet, as an 8N1 port sees a line of 7E1. The
line's pace follows the speed that was agreed.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from protocols.dlms.cosem_time import zone_of
from protocols.errors import UsageError
from protocols.iec62056_21.messages import BAUD_FIRST, BAUDS, Identification
from protocols.iec62056_21.server import Server, ServerParameters, ServerState
from protocols.obis import Obis, base_unit
from simulators.dlms.hdlc_line import HdlcMeters
from simulators.dlms.meter import DlmsMeter
from simulators.meter import SimulatedMeter
from simulators.serial_line import LineSettings, SerialLine

DEVIATION_MINUTES = -420  # Vietnam is UTC+7 all year
SELECTION_S = 2.2  # IEC 62056-21, 6.4.3: a selection comes within 1.5 s; then the readout is sent at 300 baud
MANUFACTURER = "CTO"  # invented; not a registered FLAG identification
ERROR_REGISTER, SERIAL, TIME, DATE = "F.F", "C.1.0", "0.9.1", "0.9.2"
# Base unit → how it is written: unit, digits before and after the point, units of the last digit (as meters show them).
_FORMS: dict[str, tuple[str, int, int, int]] = {
    "Wh": ("kWh", 7, 3, 1), "varh": ("kvarh", 7, 3, 1), "VAh": ("kVAh", 7, 3, 1),
    "W": ("kW", 3, 3, 1), "var": ("kvar", 3, 3, 1), "VA": ("kVA", 3, 3, 1),
    "mV": ("V", 3, 1, 100), "mA": ("A", 3, 2, 10), "mHz": ("Hz", 2, 2, 10), "1/1000": ("", 1, 3, 1),
}  # fmt: skip


class MeterRegisters:
    """What a simulated meter tells by characters, as of ``at_ms``."""

    def __init__(self, meter: SimulatedMeter) -> None:
        self._meter = meter
        self._values = {_short(each.obis): each.obis for each in meter.model.measurements}
        self.at_ms = meter.installed_at_ms

    def readout(self) -> bytes:
        """Return the lines of the readout."""
        addresses = (ERROR_REGISTER, SERIAL, TIME, DATE, *self._values)
        return "".join(f"{address}({self.read(address)})\r\n" for address in addresses).encode("ascii")

    def read(self, address: str) -> str | None:
        """Return a value with its unit, as written in brackets; None when there is no such register."""
        local = datetime.fromtimestamp(self.at_ms / 1000, UTC).astimezone(zone_of(DEVIATION_MINUTES))
        fixed = {
            ERROR_REGISTER: "00000000",
            SERIAL: self._meter.serial,
            TIME: f"{local:%H:%M:%S}",
            DATE: f"{local:%y-%m-%d}",
        }
        if address in fixed:
            return fixed[address]
        known = self._values.get(address)
        if known is None:
            return None
        return format_value(self._meter.value(known, self.at_ms), base_unit(known))

    def write(self, address: str, value: str) -> bool:
        """Nothing can be written."""
        del address, value
        return False


class CharacterLine(SerialLine):
    """A line on which meters are signed on to; what comes after the switch to HDLC goes to who listens."""

    def __init__(self, link: Path, settings: LineSettings, now_ms: Callable[[], int], turnaround_s: float) -> None:
        super().__init__(link, replace(settings, baud=BAUD_FIRST))
        self._now_ms, self._turnaround_s = now_ms, turnaround_s
        self._servers: list[tuple[SimulatedMeter, Server, MeterRegisters]] = []
        self._hdlc: Callable[[bytes], None] | None = None
        self._silence: asyncio.TimerHandle | None = None
        super().listen(self._dispatch)

    def add(self, meter: SimulatedMeter, parameters: ServerParameters) -> None:
        """Put a meter on the line."""
        registers = MeterRegisters(meter)
        self._servers.append((meter, Server(parameters, registers), registers))

    def listen(self, receive: Callable[[bytes], None]) -> None:
        """Hand what comes after the switch to HDLC to ``receive``."""
        self._hdlc = receive

    def _dispatch(self, data: bytes) -> None:
        if self._silence is not None:
            self._silence.cancel()
        self._silence = asyncio.get_running_loop().call_later(SELECTION_S, self._fall_silent)
        at_ms = self._now_ms()
        for meter, server, registers in self._servers:
            if meter.is_silent(at_ms):
                continue
            registers.at_ms = at_ms
            server.receive_data(data)
            self._answer(server)
            handed = server.take_hdlc()
            if handed and self._hdlc is not None:
                self._hdlc(handed)

    def hears(self, baud: int) -> bool:
        """Whether a meter listens at ``baud``: all do at the first speed, one in a session at what was agreed."""
        return baud == BAUD_FIRST or any(server.baud == baud for _, server, _ in self._servers)

    def _fall_silent(self) -> None:
        self._silence = None
        for _, server, registers in self._servers:
            registers.at_ms = self._now_ms()
            server.receive_silence()
            self._answer(server)

    def _answer(self, server: Server) -> None:
        octets = server.data_to_send()
        if server.baud != self.settings.baud and (octets or server.state is ServerState.SIGNED_OFF):
            self.settings = replace(self.settings, baud=server.baud)
        if octets:
            self.send(octets, pause_s=self._turnaround_s)

    def close(self) -> None:
        """Stop waiting, then close as any line."""
        if self._silence is not None:
            self._silence.cancel()
        super().close()


def open_meters(
    line: CharacterLine,
    meters: Sequence[SimulatedMeter],
    now_ms: Callable[[], int],
    *,
    baud_max: int,
    password: str,
    secret: bytes,
    hdlc: bool,
    turnaround_s: float,
) -> None:
    """Put meters on ``line``; one meter answers a sign-on without an address, several want theirs."""
    letters = {baud: letter for letter, baud in BAUDS.items()}
    if baud_max not in letters:
        raise UsageError(f"--baud {baud_max}: expected one of {', '.join(map(str, letters))}")
    for each in meters:
        escapes = "\\2" if hdlc else ""
        said = Identification(MANUFACTURER, letters[baud_max], f"{each.model.key}"[:16], escapes)
        line.add(each, ServerParameters(said, str(each.address), password, hdlc=hdlc))
    if hdlc:
        HdlcMeters(line, [DlmsMeter(each, secret) for each in meters], now_ms, turnaround_s=turnaround_s)


def format_value(value: int, base: str) -> str:
    """Return a value as a meter's display writes it: fixed digits, cut off, and its unit."""
    unit, before, after, step = _FORMS[base]
    whole, rest = divmod(abs(value) // step, 10**after)
    return f"{'-' if value < 0 else ''}{whole:0{before}d}.{rest:0{after}d}{'*' if unit else ''}{unit}"


def _short(obis: Obis) -> str:
    return f"{obis.c}.{obis.d}.{obis.e}"
