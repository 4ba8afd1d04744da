"""Answers as a bad line gives them: late, twice, cut, garbled, behind an echo, or not at all. Chance is an argument.

Each register holds its own address, so that a wrong value is seen. A garbled answer has one to three wrong bits: the
checksum of Modbus tells these apart from a right one for frames of this length, so nobody can be blamed for the rest.
"""

from random import Random

from protocols.modbus.crc import crc16

QUESTIONS = (
    (0x48, 4),
    (0x00, 2),
    (0x0C, 2),
    (0x46, 2),
    (0x34, 2),
    (0x4C, 4),
    (0x60, 4),
)  # registers and lengths, some alike
REFUSED = (0x60, 4)  # the meter has no such registers
FAULTY_IN = 5  # one answer in so many has a fault
FAULTS = ("late", "late", "twice", "cut", "garbled", "echoed", "silent")
BITS_MAX = 3
LATE_TIMES = 6  # a late answer comes up to so many timeouts late, a doubled one a second time within one


def registers_from(address: int, count: int) -> bytes:
    """Return what a right answer holds."""
    return b"".join(each.to_bytes(2, "big") for each in range(address, address + count))


def answer_to(question: bytes) -> bytes:
    """Return the right answer to a question for registers: those from :data:`REFUSED` on are refused."""
    if (int.from_bytes(question[2:4], "big"), int.from_bytes(question[4:6], "big")) >= REFUSED:
        refusal = bytes((question[0], question[1] | 0x80, 2))
        return refusal + crc16(refusal)
    data = registers_from(int.from_bytes(question[2:4], "big"), int.from_bytes(question[4:6], "big"))
    body = question[:2] + bytes((len(data),)) + data
    return body + crc16(body)


def deliveries(question: bytes, rng: Random, late_s: float) -> list[tuple[float, bytes]]:
    """Return what the line gives after ``question``, and how long after it is due."""
    answer = answer_to(question)
    if rng.randrange(FAULTY_IN):
        return [(0.0, answer)]
    match rng.choice(FAULTS):
        case "late":
            return [(rng.uniform(0, late_s), answer)]
        case "twice":
            return [(0.0, answer), (rng.uniform(0, late_s / LATE_TIMES), answer)]
        case "cut":
            return [(0.0, answer[: rng.randrange(1, len(answer))])]
        case "garbled":
            return [(0.0, _garbled(answer, rng))]
        case "echoed":
            return [(0.0, question + answer)]
        case _:
            return []


def _garbled(answer: bytes, rng: Random) -> bytes:
    octets = bytearray(answer)
    for place in rng.sample(range(8 * len(answer)), rng.randint(1, BITS_MAX)):
        octets[place // 8] ^= 1 << place % 8
    return bytes(octets)
