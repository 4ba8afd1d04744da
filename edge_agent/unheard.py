"""Answers that nobody has heard yet: to questions of this process on each line, and of the process before it.

A late answer is right by its checksum, and its length is all that tells which question it answers. So a master must
know what was asked in the last :data:`edge_agent.modbus_rtu.LATE_ANSWER_S` (:mod:`edge_agent.lengths`):

* while a process runs, that is remembered for each line and its settings, over the line's loss and reopening and over a
  new configuration (:meth:`Unheard.lengths`);
* a process that is told to stop notes until when an answer may still come; the next one listens until then. Mostly that
  is over before it has started;
* one that was killed leaves the note that it was asking, and the next one listens for the whole time: nothing is asked
  on any serial line, whatever its protocol, and what comes is thrown away;
* one whose computer was switched off too asked nothing since the computer was switched on;
* another program that has asked on a line is known by its port (:mod:`edge_agent.port_use`).

The note is a small file beside the spool. It is not synced, for it need only outlive the process: after a power cut the
computer's own age tells enough. Where it can't be written, or says nothing that is understood, or is gone although
there is a spool, the process listens. One case is left: a disk that refuses to have the note changed or removed, a
kill, and a disk that does not refuse any more, all within the ten seconds.
"""

import asyncio
import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path

from edge_agent.lengths import Lengths
from edge_agent.modbus_rtu import LATE_ANSWER_S
from edge_agent.port_use import leave_quiet, owed_s
from edge_agent.serial_line import LineSettings

SUFFIX = ".unheard"
NOTE_OCTETS_MAX = 1000
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
BOOT_VARIABLE = "CONGTO_BOOT"  # where the unit hides BOOT_ID, systemd tells it


@dataclass(frozen=True, slots=True)
class Boot:
    """The computer since it was switched on: a name that no other time has, if one is known, and its age [s]."""

    name: str | None
    age_s: Callable[[], float]


def this_boot() -> Boot:
    """Return this computer's."""
    name = os.environ.get(BOOT_VARIABLE)
    if not name:
        try:
            name = BOOT_ID.read_text(encoding="ascii")
        except (OSError, ValueError):
            name = ""
    return Boot(name.strip().replace("-", "") or None, lambda: time.clock_gettime(time.CLOCK_BOOTTIME))


class Unheard:
    """What was asked on the lines of one agent."""

    def __init__(
        self,
        note: Path,
        boot: Boot,
        *,
        is_new: bool,
        ports: Sequence[str] = (),
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        """Read what the process before has noted, and note that this one asks.

        ``is_new`` says that there was none before: there was no spool. ``ports`` are looked at for others' questions,
        by the computer's clock.
        """
        self._note, self._boot, self._ports = note, boot, ports
        self._lengths: dict[LineSettings, tuple[Lengths, float]] = {}
        quiet_at_s = _read(note, boot, is_new=is_new)
        if not self._write({"asking": True}):  # nor could the one before, perhaps
            quiet_at_s = boot.age_s() + LATE_ANSWER_S
        owed = max((owed_s(port, clock_s()) for port in ports), default=0.0)
        self._quiet_at_s = max(quiet_at_s, boot.age_s() + owed if owed else 0.0)

    def listen_s(self) -> float:
        """Return for how long still nothing must be asked; 0 or less if that is over."""
        return self._quiet_at_s - self._boot.age_s()

    def lengths(self, settings: LineSettings, reply_timeout_s: float) -> Lengths:
        """Return what was asked on a line that is open, with these settings, whoever had it open before."""
        place = replace(settings, port=os.path.realpath(settings.port))  # it may be had by several names
        lengths, _ = self._lengths.get(place, (Lengths(LATE_ANSWER_S), 0.0))
        self._lengths[place] = lengths, reply_timeout_s
        return lengths

    def close(self) -> None:
        """Note until when answers may come; nothing is asked any more."""
        now_s, loop_s = self._boot.age_s(), asyncio.get_running_loop().time()
        left_s = {place: lengths.quiet_at(doubled_s) - loop_s for place, (lengths, doubled_s) in self._lengths.items()}
        quiet_at_s = max([self._quiet_at_s, *(now_s + each for each in left_s.values() if each > 0)])
        self._write({"quiet_at_s": quiet_at_s})
        owing = {place.port for place, (lengths, _) in self._lengths.items() if lengths.quiet_at(0.0) > loop_s}
        for port in self._ports if self.listen_s() <= 0 else ():
            if os.path.realpath(port) not in owing:
                leave_quiet(port)

    def _write(self, fields: dict[str, object]) -> bool:
        """Write the note, or else remove it; return whether it was written."""
        try:
            self._note.write_text(json.dumps({"boot": self._boot.name, **fields}), encoding="ascii")
        except OSError:
            with suppress(OSError):
                self._note.unlink(missing_ok=True)
            return False
        return True


def _read(note: Path, boot: Boot, *, is_new: bool) -> float:
    """Return at which age of the computer no answer to a process before can come any more."""
    unknown_s = boot.age_s() + LATE_ANSWER_S
    try:
        told = json.loads(note.read_bytes()[:NOTE_OCTETS_MAX])
        if boot.name is None or not isinstance(told["boot"], str):
            return unknown_s
        if told["boot"] != boot.name:
            return LATE_ANSWER_S  # what was asked before it was switched on
        quiet_at_s = float(told["quiet_at_s"])
    except FileNotFoundError:
        return LATE_ANSWER_S if is_new else unknown_s
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return unknown_s
    if not isfinite(quiet_at_s):
        return unknown_s
    return min(max(quiet_at_s, LATE_ANSWER_S), unknown_s)
