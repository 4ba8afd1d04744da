"""How a line is searched in a given time: which questions, how long each is waited for.

A question to nobody costs its own octets, the silence before a meter may answer and the time a meter takes to do so.
For 247 addresses, three speeds and two parities a minute leaves 40 ms each, less than a slow meter needs. So a scan
*passes over*: it waits a short time for the first octet of an answer; an answer that comes later, while the scan is
some addresses further, names its unit or is at least heard, and then the scan goes back and asks patiently.

How short is bounded by the line and the quickest meters: of the 51 s that this takes at least, 24 are the questions'
own octets, 16 the silence before an answer, its first octet and this program's time for each, 7 the 5 ms that a quick
meter takes, and 4 the start and the ports. 55 s leave 7.5 ms to it. A wider window finds nobody more: who takes longer,
up to a quarter of a second, is heard some addresses further, and costs a return.

Times follow Modbus over Serial Line V1.02, 2.5.1.1: eleven bits a character with parity or a second stop bit, ten
without; 3.5 characters of silence, 1.75 ms above 19,200 baud.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.serial_line import LineSettings
from protocols.errors import UsageError
from protocols.modbus.plan import serial_cost
from protocols.modbus.rtu import REQUEST_OCTETS

TURNAROUND_MIN_S = 0.005  # the quickest meters take so long; less would find none
TURNAROUND_MAX_S = 0.25  # the slowest meters known
OWN_TIME_S = 0.002  # of this program for each question: timers of a millisecond, and a busy machine
PASS_S = 0.45  # of each speed and parity beside its questions: the port is opened, the last ones may be late
STARTING_S = 1.0  # of the program


@dataclass(frozen=True, slots=True)
class Pass:
    """All addresses at one speed and parity; an answer must begin within ``window_s`` after the question's end.

    Down to ``window_min_s`` it makes up for what the machine was late.
    """

    settings: LineSettings
    window_s: float
    window_min_s: float
    probe_s: float

    @property
    def request_s(self) -> float:
        """How long a question is on the line."""
        return _request_s(self.settings)


@dataclass(frozen=True, slots=True)
class ScanPlan:
    """What a scan will do where nobody answers."""

    passes: tuple[Pass, ...]
    addresses: int
    turnaround_s: float
    takes_s: float

    def __str__(self) -> str:
        shown = ", ".join(
            f"{each.settings.baud} 8{each.settings.parity}{each.settings.stop_bits} ({1000 * each.probe_s:.0f} ms each)"
            for each in self.passes
        )
        addresses = "1 address" if self.addresses == 1 else f"{self.addresses} addresses"
        return (
            f"{addresses} × {shown}: {self.takes_s:.0f} s if nobody answers; "
            f"meters that answer within {1000 * self.turnaround_s:.0f} ms are met at once"
        )


def plan_scan(settings: Sequence[LineSettings], addresses: int, within_s: float) -> ScanPlan:
    """Return the plan; raise :class:`UsageError` if ``within_s`` does not suffice."""
    fixed = [_fixed_s(each) for each in settings]
    least_s = STARTING_S + sum(addresses * each + PASS_S for each in fixed)
    turnaround_s = (within_s - least_s) / (addresses * len(settings))
    if turnaround_s < TURNAROUND_MIN_S:
        needed_s = least_s + TURNAROUND_MIN_S * addresses * len(settings)
        raise UsageError(
            f"--within {within_s:g}: {addresses} addresses at {len(settings)} settings take {needed_s:.0f} s or more; "
            "allow more time, or fewer --baud, --parity or --address"
        )
    turnaround_s = min(turnaround_s, TURNAROUND_MAX_S)
    passes = tuple(_pass(each, fixed_s, turnaround_s) for each, fixed_s in zip(settings, fixed, strict=True))
    takes_s = STARTING_S + sum(addresses * each.probe_s + PASS_S for each in passes)
    return ScanPlan(passes, addresses, turnaround_s, takes_s)


def _pass(settings: LineSettings, fixed_s: float, turnaround_s: float) -> Pass:
    least_s = fixed_s - _request_s(settings) - OWN_TIME_S
    return Pass(settings, least_s + turnaround_s, least_s + TURNAROUND_MIN_S, fixed_s + turnaround_s)


def _request_s(settings: LineSettings) -> float:
    return REQUEST_OCTETS * settings.character_s


def _fixed_s(settings: LineSettings) -> float:
    """Return what a question takes beside the meter's turnaround: itself, the silence, the answer's first octet."""
    silence_s = serial_cost(settings.baud, settings.bits_per_character, 0).silence_us / 1e6
    return _request_s(settings) + silence_s + settings.character_s + OWN_TIME_S
