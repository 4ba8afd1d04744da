"""Two questions to one unit never have the same length while an answer to the first may still come.

An answer shows unit, function and length, not which registers it holds. A meter, a repeater or an adapter that gives an
answer late, or gives it twice, so deceives a master whose next question has the same length. Here it has another one:
a question is lengthened by some registers, which are cut off again, until nothing else of that length was asked in the
last :data:`edge_agent.modbus_rtu.LATE_ANSWER_S`. That costs four characters and no waiting.

A meter may refuse the longer question because there are no such registers. That is remembered, and then time must do:
see :class:`edge_agent.modbus_rtu.RtuLink`.

A refusal has no length. One that may be the late or doubled refusal of another question is no answer yet
(:meth:`Lengths.may_refuse_another`): the master asks again.
"""

from dataclasses import dataclass, replace
from math import inf

from protocols.meters.model import REGISTERS_PER_READ_MAX
from protocols.modbus.messages import Function, ReadRegisters, Request

STEP = 2  # meters that keep floats may refuse odd numbers of registers
LONGER_MAX = 8  # steps that are tried
REFUSED_MAX = 4096  # places remembered, for all units of a line


@dataclass(slots=True)
class _Asked:
    """The last question of a length: when it was asked or answered, and when last it was not answered."""

    request: Request
    at_s: float
    unanswered_s: float = -inf


class Lengths:
    """What was asked last with each length, on one line; kept over its reopening (:mod:`edge_agent.unheard`)."""

    def __init__(self, late_answer_s: float) -> None:
        self._late_answer_s = late_answer_s
        self._asked: dict[tuple[int, int, int], _Asked] = {}
        self._refused: set[tuple[int, Function, int, int]] = set()
        self._without_values: dict[tuple[int, int], dict[Request, float]] = {}

    def rival(self, request: Request, now_s: float) -> Request | None:
        """Return the other question whose answer may still come and be taken for that to ``request``, if any."""
        last = self._asked.get(request.shape)
        if last is None or last.request == request or now_s >= last.at_s + self._late_answer_s:
            return None
        return last.request

    def distinct(self, request: Request, now_s: float) -> Request:
        """Return ``request``, or a longer one that begins with it and has no rival; itself if there is none."""
        if self.rival(request, now_s) is None or not isinstance(request, ReadRegisters):
            return request
        for steps in range(1, LONGER_MAX + 1):
            count = request.count + STEP * steps
            if count > REGISTERS_PER_READ_MAX or request.address + count > 0x10000:
                break
            longer = replace(request, count=count)
            if _place(longer) not in self._refused and self.rival(longer, now_s) is None:
                return longer
        return request

    def note(self, request: Request, now_s: float, *, answered: bool = True) -> None:
        """Note that ``request`` was asked, or answered, or given up."""
        last = self._asked.get(request.shape)
        if last is None or last.request != request:
            last = self._asked[request.shape] = _Asked(request, now_s)
        last.at_s = now_s
        if not answered:
            last.unanswered_s = now_s

    def late_until(self, request: Request) -> float:
        """Return until when an answer may come that the last question of this length did not get in time."""
        last = self._asked.get(request.shape)
        return -inf if last is None else last.unanswered_s + self._late_answer_s

    def doubled_until(self, request: Request, within_s: float) -> float:
        """Return until when the answer to the last question of this length may come a second time."""
        last = self._asked.get(request.shape)
        return -inf if last is None else last.at_s + within_s

    def quiet_at(self, doubled_s: float) -> float:
        """Return from when on no answer to anything asked can come, if doubled ones come within ``doubled_s``."""
        until = (max(each.unanswered_s + self._late_answer_s, each.at_s + doubled_s) for each in self._asked.values())
        return max(until, default=-inf)

    def note_without_values(self, request: Request, now_s: float) -> None:
        """Note that ``request`` was refused or not answered."""
        place = (request.unit, request.function)
        before = self._without_values.get(place, {})
        recent = {each: at_s for each, at_s in before.items() if now_s < at_s + self._late_answer_s}
        self._without_values[place] = {**recent, request: now_s}

    def may_refuse_another(self, request: Request, now_s: float) -> bool:
        """Tell whether a refusal that comes now may be meant for another question than ``request``."""
        others = self._without_values.get((request.unit, request.function), {})
        return any(each != request and now_s < at_s + self._late_answer_s for each, at_s in others.items())

    def refused(self, longer: ReadRegisters) -> None:
        """Note that a meter has no registers where ``longer`` reaches."""
        if len(self._refused) >= REFUSED_MAX:
            self._refused.clear()
        self._refused.add(_place(longer))


def _place(request: ReadRegisters) -> tuple[int, Function, int, int]:
    return (request.unit, request.function, request.address, request.count)
