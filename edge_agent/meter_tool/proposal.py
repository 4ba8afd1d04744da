"""A configuration to begin with, from what a scan has found."""

from collections import Counter
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
    """Return a ``[[bus]]`` table in TOML for ``met``, as the agent takes it: a port is one bus.

    It has the speed and parity that most answered at; who answered at others only has them said at the meter. A meter
    that answers at several is proposed once.
    """
    settings = Counter(each.settings for each in met)
    places: dict[int, list[Met]] = {}
    for each in sorted(met, key=lambda one: -settings[one.settings]):  # stable: what was met first stays first
        places.setdefault(each.unit, []).append(each)
    if not places:
        return ""
    common = max(settings, key=lambda one: settings[one])
    lines = ["[[bus]]", 'id = "bus-1"']
    if common is None:
        lines.append(f'tcp = "{tcp}"')
    else:
        lines += [f'port = "{common.port}"', *_line(common)]
    lines += [f'reply_timeout = "{reply_timeout}"', ""]
    for _, found in sorted(places.items()):
        lines += _meter(found[0], [each.settings for each in found[1:] if each.settings is not None], common)
    return "\n".join(lines)


def _line(settings: LineSettings) -> list[str]:
    return [f"baud = {settings.baud}", f'parity = "{settings.parity}"', f"stop_bits = {settings.stop_bits}"]


def _meter(met: Met, also: Sequence[LineSettings], common: LineSettings | None) -> list[str]:
    best, *others = met.who.candidates or (None,)
    said = ", ".join(f"{name} {text!r}" for name, text in met.who.words.items())
    lines = ["[[bus.meter]]", f'id = "B1-{met.unit:03}"  # its number in your books']
    if said:
        lines.append(f"# it says: {said}")
    if also:
        named = ", ".join(f"{each.baud} 8{each.parity}{each.stop_bits}" for each in also)
        lines.append(f"# answers at {named} too; is that another meter with this address? Give it one of its own")
    end = [f"address = {met.unit}"]
    if met.settings is not None and met.settings != common:
        end += _line(met.settings)
    if best is None:
        return [*lines, 'model = ""  # no known model fits: congto model new', *end, ""]
    why = "by its own words or code" if best.certain else "plausible; compare with its name plate"
    lines.append(f'model = "{best.model.key}"  # {best.model.name}: {why}, {_share(best)} of its registers answer')
    if others:
        named = ", ".join(f"{each.model.key} ({_share(each)})" for each in others[:OTHERS_MAX] if each is not None)
        lines.append(f"# or: {named}")
    return [*lines, *end, 'every = "30m"', ""]


def _share(candidate: Candidate) -> str:
    return f"{100 * candidate.fits:.0f} %"
