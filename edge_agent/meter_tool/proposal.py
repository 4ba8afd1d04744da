"""A configuration to begin with, from what a scan has found."""

from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.meter_tool.fingerprint import Candidate, Fingerprint
from edge_agent.serial_line import LineSettings

OTHERS_MAX = 4  # models named beside the best one


@dataclass(frozen=True, slots=True)
class Met:
    """A meter that was found, on a serial line with its settings, and who it is."""

    unit: int
    settings: LineSettings | None
    who: Fingerprint


def propose(met: Sequence[Met], tcp: str | None, reply_timeout: str = "500ms") -> str:
    """Return ``[[bus]]`` tables in TOML for ``met``; each speed and parity on a line is a section of its own."""
    lines: list[str] = []
    for number, settings in enumerate(dict.fromkeys(each.settings for each in met), 1):
        lines += ["[[bus]]", f'id = "bus-{number}"']
        if settings is None:
            lines.append(f'tcp = "{tcp}"')
        else:
            lines += [
                f'port = "{settings.port}"',
                f"baud = {settings.baud}",
                f'parity = "{settings.parity}"',
                f"stop_bits = {settings.stop_bits}",
            ]
        lines += [f'reply_timeout = "{reply_timeout}"', ""]
        for each in met:
            if each.settings == settings:
                lines += _meter(each, number)
    return "\n".join(lines)


def _meter(met: Met, bus: int) -> list[str]:
    best, *others = met.who.candidates or (None,)
    said = ", ".join(f"{name} {text!r}" for name, text in met.who.words.items())
    lines = ["[[bus.meter]]", f'id = "B{bus}-{met.unit:03}"  # its number in your books']
    if said:
        lines.append(f"# it says: {said}")
    if best is None:
        return [*lines, 'model = ""  # no known model fits: congto model new', f"address = {met.unit}", ""]
    why = "by its own words or code" if best.certain else "plausible; compare with its name plate"
    lines.append(f'model = "{best.model.key}"  # {best.model.name}: {why}, {_share(best)} of its registers answer')
    if others:
        named = ", ".join(f"{each.model.key} ({_share(each)})" for each in others[:OTHERS_MAX] if each is not None)
        lines.append(f"# or: {named}")
    return [*lines, f"address = {met.unit}", 'every = "30m"', ""]


def _share(candidate: Candidate) -> str:
    return f"{100 * candidate.fits:.0f} %"
