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
* another program that has asked on a line is known by its port (:mod:`edge_agent.port_use`), which is looked at before
  this process asks there first, whether it was configured at the start or later.

The note is a small file beside the spool. It is not synced, for it need only outlive the process: after a power cut the
computer's own age tells enough. Where it can't be written, or says nothing that is understood, or is gone although
there is a spool, the process listens. A disk that refuses to have the note of a tidy stop replaced or removed is told
(:attr:`Unheard.refused`): should it work again within ten seconds after a kill, the next process reads that old note,
and has only the port's times to go by.
"""

import asyncio
import json
import os
import time
from collections.abc import Callable
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

    def __init__(self, note: Path, boot: Boot, *, is_new: bool, clock_s: Callable[[], float] = time.time) -> None:
        """Read what the process before has noted, and note that this one asks.

        ``is_new`` says that there was none before: there was no spool. ``clock_s`` is the computer's clock, by which
        ports have their times.
        """
        self.refused: str | None = None
        """Why the note could not be written, if it was refused when last it should be."""
        self._note, self._boot, self._clock_s = note, boot, clock_s
        self._lengths: dict[LineSettings, tuple[Lengths, float]] = {}
        self._ports: dict[str, float] = {}  # the computer's age from when on nobody owes an answer there
        quiet_at_s = _read(note, boot, is_new=is_new)
        if not self._write({"asking": True}):  # nor could the one before, perhaps
            quiet_at_s = boot.age_s() + LATE_ANSWER_S
        self._quiet_at_s = quiet_at_s

    def listen_s(self, port: str | None = None) -> float:
        """Return for how long still nothing must be asked, on any line or on ``port``; 0 or less if that is over."""
        age_s = self._boot.age_s()
        quiet_at_s = self._quiet_at_s
        if port is not None:
            place = os.path.realpath(port)
            if place not in self._ports:
                self._ports[place] = age_s + owed_s(place, self._clock_s())
            quiet_at_s = max(quiet_at_s, self._ports[place])
        return quiet_at_s - age_s

    def lengths(self, settings: LineSettings, reply_timeout_s: float) -> Lengths:
        """Return what was asked on a line that is open, with these settings, whoever had it open before.

        It is the same line by the name that it is configured with, for an adapter that is plugged in again may get
        another one from the system; or by the system's name, for it may have been configured with another one before.
        """
        places = [replace(settings, port=each) for each in (settings.port, os.path.realpath(settings.port))]
        known = [self._lengths[each][0] for each in places if each in self._lengths]
        lengths = known[0] if known else Lengths(LATE_ANSWER_S)
        self._lengths.update(dict.fromkeys(places, (lengths, reply_timeout_s)))
        return lengths

    def close(self) -> None:
        """Note until when answers may come; nothing is asked any more."""
        now_s, loop_s = self._boot.age_s(), asyncio.get_running_loop().time()
        left_s = [lengths.quiet_at(doubled_s) - loop_s for lengths, doubled_s in self._lengths.values()]
        quiet_at_s = max([self._quiet_at_s, *(now_s + each for each in left_s if each > 0)])
        self._write({"quiet_at_s": quiet_at_s})
        owing = {place.port for place, (lengths, _) in self._lengths.items() if lengths.quiet_at(0.0) > loop_s}
        for port, port_quiet_at_s in self._ports.items():
            if port not in owing and max(port_quiet_at_s, self._quiet_at_s) <= now_s:
                leave_quiet(port)

    def _write(self, fields: dict[str, object]) -> bool:
        """Write the note, or else remove it; return whether it was written."""
        try:
            self._note.write_text(json.dumps({"boot": self._boot.name, **fields}), encoding="ascii")
        except OSError as error:
            self.refused = str(error)
            with suppress(OSError):
                self._note.unlink(missing_ok=True)
            return False
        self.refused = None
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
