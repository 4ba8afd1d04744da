"""Who a meter is: what it says of itself (function 43 / 14), and which models its registers fit.

A model with an identification code is recognised by it. For the others there is only plausibility: the measurement
that their identity names lies where it should, and the more of their registers answer with values, the better they fit.
Of two that fit alike the one with more live registers comes first: makers' smaller meters have a part of the larger
ones' table, and a larger one's first part is no smaller meter.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from edge_agent.failures import NoReplyError
from edge_agent.meter_tool.reading import read_meter, values_of
from edge_agent.modbus_meter import Link
from protocols.errors import RemoteProtocolError
from protocols.meters.model import MeterModel, Protocol
from protocols.meters.recognise import Question, answers_as, question_of
from protocols.modbus.messages import (
    FUNCTION_OF_TABLE,
    IDENTIFICATION_OBJECTS,
    IdentificationReply,
    ReadIdentification,
    ReadRegisters,
    RegistersReply,
)

CONTINUATIONS_MAX = 8  # of an identification that does not fit into one answer
TRIED_MAX = 8  # plausible models that are read in full
TRIES = 2  # of a question that nobody answers
WORD_LETTERS_MIN = 4  # of a maker's name, to be found in a model's


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model, the part of its measurements that answer with values, and how many with other values than zero.

    ``certain`` says that a code or the meter's own words name it. Registers that a meter does not have are often zero.
    """

    model: MeterModel
    certain: bool
    fits: float
    lives: int


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a meter says of itself, and the models it may be, the best one first."""

    words: dict[str, str]
    candidates: tuple[Candidate, ...]


async def fingerprint(link: Link, unit: int, models: Iterable[MeterModel]) -> Fingerprint:
    """Ask ``unit`` who it is."""
    words = await _identification(link, unit)
    answers: dict[Question, bytes | None] = {}
    by_code: list[MeterModel] = []
    plausible: list[MeterModel] = []
    for model in models:
        question = question_of(model) if model.protocol is Protocol.MODBUS else None
        if question is None:
            continue
        if question not in answers:
            answers[question] = await _registers(link, unit, question)
        octets = answers[question]
        if octets is not None and answers_as(model, octets):
            (by_code if question.strong else plausible).append(model)
    chosen = by_code or plausible
    named = [each for each in chosen if _names(words, each)]
    candidates = []
    for model in (named or chosen)[:TRIED_MAX]:
        values = [each.value for each in values_of(await read_meter(link, unit, model, model.measurements, tries=1))]
        fits = sum(each is not None for each in values) / len(model.measurements)
        lives = sum(bool(each) for each in values)
        if fits > 0:
            candidates.append(Candidate(model, bool(by_code or named), fits, lives))
    candidates.sort(key=lambda each: (-each.fits, -each.lives, len(each.model.measurements), each.model.key))
    return Fingerprint(words, tuple(candidates))


async def _identification(link: Link, unit: int) -> dict[str, str]:
    words: dict[str, str] = {}
    following: int | None = 0
    for _ in range(CONTINUATIONS_MAX):
        if following is None:
            break
        try:
            reply = await link.exchange(ReadIdentification(unit, first=following), probe=True)
        except (NoReplyError, RemoteProtocolError):
            break
        if not isinstance(reply, IdentificationReply):
            break
        for number, octets in reply.objects:
            name = IDENTIFICATION_OBJECTS[number] if number < len(IDENTIFICATION_OBJECTS) else f"object {number}"
            words[name] = octets.decode("latin-1").strip("\0 ")
        following = reply.following
    return {name: text for name, text in words.items() if text.isprintable() and text}


async def _registers(link: Link, unit: int, question: Question) -> bytes | None:
    request = ReadRegisters(unit, FUNCTION_OF_TABLE[question.table], question.address, question.registers)
    for _ in range(TRIES):  # or one bit of noise would make a meter another, or nobody
        try:
            reply = await link.exchange(request, probe=True)
        except (NoReplyError, RemoteProtocolError):
            continue
        return reply.data if isinstance(reply, RegistersReply) else None
    return None


def _names(words: dict[str, str], model: MeterModel) -> bool:
    """Tell whether the meter's own words name the model's maker."""
    said = " ".join(words.values()).casefold()
    maker = model.name.split()[0].casefold()
    return len(maker) >= WORD_LETTERS_MIN and maker in said
