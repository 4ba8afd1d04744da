"""Random and mutated APDUs and values, decoded by us and by pydlms: ``python -m tests.peers.dlms_difference``.

Both decode and encode again; the octets are compared, and whether either refuses. Every class of difference has an
explanation below; one that has none is printed, and the exit status is 1.
"""

import argparse
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from protocols.dlms import axdr
from protocols.dlms.apdu import decode_apdu
from protocols.dlms.codes import ActionResult, DataAccessResult
from protocols.dlms.conformance import Conformance
from protocols.dlms.data import NULL, double_long_unsigned
from protocols.dlms.explain import explain_apdu, explain_data
from protocols.dlms.selective import Entries
from protocols.dlms.xdlms import access, action, get, notifications, short
from protocols.dlms.xdlms import set as set_service
from protocols.dlms.xdlms.general_block import GeneralBlock
from protocols.dlms.xdlms.references import Attribute, Block, Invoke
from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.obis import Obis
from tests.dlms.mutation import corpus, mutate
from tests.peers.environment import driver, environment

LOT = 2_000
SHOWN_MAX = 20


def ours(kind: str, octets: bytes) -> str:
    """Return ``= HEX`` or ``! REASON``."""
    try:
        if kind == "value":
            return "= " + axdr.encode(axdr.decode(octets)).hex()
        apdu = decode_apdu(octets)
        explain_apdu(apdu)  # Values stay encoded in an APDU until somebody looks.
        return "= " + apdu.encode().hex()
    except (RemoteProtocolError, LocalProtocolError) as error:
        return f"! {error}"


def constructed() -> list[bytes]:
    """Return an APDU of each kind that the vectors lack."""
    attribute, number = Attribute(3, Obis.parse("1.0.1.8.0"), 2), axdr.encode(double_long_unsigned(7))
    invoke, block, selection = Invoke(1), Block(1, bytes(9), False), Entries(1, 5).selection()
    item = access.AccessItem(access.AccessKind.GET_WITH_SELECTION, attribute, NULL, selection)
    got = access.AccessOutcome(access.AccessKind.GET, double_long_unsigned(7), DataAccessResult.SUCCESS)
    apdus = (
        get.GetRequestList(invoke, ((attribute, None), (attribute, selection))),
        get.GetResponseList(invoke, (number, DataAccessResult.OBJECT_UNDEFINED)),
        get.GetResponseBlock(invoke, block),
        set_service.SetRequestNormal(invoke, attribute, number, selection),
        set_service.SetRequestFirstBlock(invoke, attribute, None, block),
        set_service.SetRequestList(invoke, ((attribute, None),) * 2, (number, number)),
        set_service.SetRequestListFirstBlock(invoke, ((attribute, None), (attribute, selection)), block),
        set_service.SetResponseList(invoke, (DataAccessResult.SUCCESS, DataAccessResult.HARDWARE_FAULT)),
        set_service.SetResponseNormal(invoke, DataAccessResult.SUCCESS, 5),
        action.ActionRequestNormal(invoke, attribute, number),
        action.ActionRequestFirstBlock(invoke, attribute, block),
        action.ActionRequestList(invoke, (attribute, attribute), (number, b"\0")),
        action.ActionRequestListFirstBlock(invoke, (attribute, attribute), block),
        action.ActionResponseNormal(invoke, ActionResult.SUCCESS, number),
        action.ActionResponseList(invoke, ((ActionResult.SUCCESS, number), (ActionResult.OTHER_REASON, None))),
        access.AccessRequest(0xC0000001, (item, item)),
        access.AccessResponse(0xC0000001, (got, got)),
        notifications.EventNotification(None, attribute, double_long_unsigned(7)),
        short.ReadRequest((short.Variable(0xFA00), short.Variable(8, selection))),
        short.WriteRequest((short.Variable(8),), (number,)),
        short.WriteRequestBlock(block),
        short.WriteResponseNext(3),
        short.ReadResponse((number, DataAccessResult.OBJECT_UNDEFINED)),
        short.WriteResponse((DataAccessResult.SUCCESS, DataAccessResult.OBJECT_UNDEFINED)),
        GeneralBlock(1, bytes(9)),
    )
    return [apdu.encode() for apdu in apdus]


def gentle(rng: Random, seeds: list[bytes]) -> bytes:
    """Return one of ``seeds`` with one octet changed, so that most still decode."""
    data = bytearray(seeds[rng.randrange(len(seeds))])
    data[rng.randrange(len(data))] = rng.getrandbits(8)
    return bytes(data)


class Peer:
    """One long-lived process that decodes lot after lot."""

    def __init__(self) -> None:
        command = [str(environment("pydlms") / "python"), "-u", "-c", driver("pydlms_decode")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def ask(self, lines: list[str]) -> list[str]:
        """Return the answers to ``lines``; a thread writes them, so that full pipes keep nobody waiting."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        writer = threading.Thread(target=self._tell, args=("".join(f"{line}\n" for line in lines),))
        writer.start()
        answers = [self._process.stdout.readline().rstrip("\n") for _ in lines]
        writer.join()
        return answers

    def _tell(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text)
        self._process.stdin.flush()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)
        if self._process.stdout is not None:
            self._process.stdout.close()


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why the two may differ; patterns of what we and they say, and what else must hold of the octets."""

    why: str
    ours: str
    theirs: str
    holds: Callable[[bytes, str, str], bool] = lambda _octets, _we, _they: True


def _but_reserved_bits(_octets: bytes, we: str, they: str) -> bool:
    """Equal but for bits 4 and 5 of invoke-id-and-priority, the third octet of an LN service."""
    one, other = bytes.fromhex(we[2:]), bytes.fromhex(they[2:])
    if not (len(one) == len(other) > 2 and 0xC0 <= one[0] <= 0xC7):
        return False
    return one[2] == other[2] & 0xCF and one[:2] + one[3:] == other[:2] + other[3:]


def _but_reserved_services(_octets: bytes, we: str, they: str) -> bool:
    """Equal but for bits of the conformance block that stand for no service."""
    one, other = bytes.fromhex(we[2:]), bytes.fromhex(they[2:])
    at = one.find(b"\x5f\x1f\x04\x00") + 4
    if at < 4 or len(one) != len(other) or one[:at] + one[at + 3 :] != other[:at] + other[at + 3 :]:
        return False
    known = int(~Conformance(0))
    return int.from_bytes(one[at : at + 3], "big") == int.from_bytes(other[at : at + 3], "big") & known


def _of_one_meaning(_octets: bytes, we: str, they: str) -> bool:
    try:
        one, other = (explain_apdu(decode_apdu(bytes.fromhex(each[2:]))) for each in (we, they))
    except RemoteProtocolError:  # a value, which is no APDU
        return False
    return one == other


def _but_unused_bits(_octets: bytes, we: str, they: str) -> bool:
    """Equal values, but for the bits behind the last one of a bit-string."""
    try:
        one, other = (explain_data(axdr.decode(bytes.fromhex(each[2:]))) for each in (we, they))
    except RemoteProtocolError:  # an APDU, which is no value
        return False
    return one == other and len(we) == len(they)


DECODED = r"= "
EXPLANATIONS = (
    Explanation(
        "bits of the conformance block that stand for no service: we leave them out, they keep them",
        DECODED,
        DECODED,
        _but_reserved_services,
    ),
    Explanation(
        "invoke-id-and-priority has two reserved bits (IEC 62056-5-3): we leave them out, they keep them",
        DECODED, DECODED, _but_reserved_bits,
    ),
    Explanation(
        "a code that the standard has no word for: we refuse it, for it would reach people as a number; they keep it",
        r"! (data-access|action)-result \d+ is not in the standard", DECODED,
    ),
    Explanation(
        "an A-XDR flag other than 0 and 1: to us anything but 0 is yes (IEC 61334-6, 6.2), to them it is an error",
        DECODED, r"! .*(presence flag|BOOLEAN|boolean).*(must be|expected)",
    ),
    Explanation(
        "confirmed-service-error with a service or class that is not defined: we tell its number, they refuse it",
        DECODED, r"! (ConfirmedServiceError service|ServiceError) choice \d+ is not defined",
    ),
    Explanation(
        "the conformance block's octet of unused bits is not 0 (X.690, 8.6): we refuse it, they do not look",
        r"! found 5f1?[0-9a-f]+, expected a conformance block", DECODED,
    ),
    Explanation(
        "octets in a utf8-string that are no UTF-8: we keep them as octets, they refuse them",
        DECODED, r"! utf8-string is not valid UTF-8",
    ),
    Explanation(
        "WRITE with another number of values than of variables: we refuse it, they write what there is",
        r"! \d+ values for \d+ variables", DECODED,
    ),
    Explanation(
        "READ and WRITE results that belong to transfers in blocks inside a list of several: only alone to us",
        r"! result of kind [23], expected 0 or 1", DECODED,
    ),
    Explanation(
        "a length in a longer form than it needs: we keep a value's octets as they came, they encode them anew",
        DECODED,
        DECODED,
        _of_one_meaning,
    ),
    Explanation(
        "the one-octet tag of the first editions' conformance block: we take it, they do not",
        DECODED, r"! conformance block must start 5F 1F 04, got 5f0400",
    ),
    Explanation(
        "READ of a block inside a list of several variables: only alone to us",
        r"! variable-access-specification [1-9]\d*, expected 2 or 4", DECODED,
    ),
    Explanation(
        "a dedicated key of no octets: we keep it, and every suite refuses it; they take it for none",
        DECODED, DECODED, lambda octets, _we, they: octets[:3] == b"\1\1\0" and they.startswith("= 0100"),
    ),
    Explanation(
        "an acknowledged block of WRITE inside a list of several results: only alone to us",
        r"! a result is 2, expected 0 or 1", DECODED,
    ),
    Explanation(
        "a block of WRITE whose value is no octet-string: we refuse it, they decode it",
        r"! found .* where octets were expected", DECODED, lambda octets, _we, _they: octets[:3] == b"\6\1\7",
    ),
    Explanation(
        "unused bits of a bit-string: we keep the octets as they came, they clear them",
        DECODED, DECODED, _but_unused_bits,
    ),
)  # fmt: skip


def explain(octets: bytes, we: str, they: str) -> str | None:
    """Return the explanation of a difference; None when there is none."""
    for each in EXPLANATIONS:
        if re.match(each.ours, we) and re.match(each.theirs, they) and each.holds(octets, we, they):
            return each.why
    return None


def compare(count: int, seed: int, seconds: float = 1e9) -> tuple[int, Counter[str], list[str]]:
    """Return how many were compared, the explained differences by name, and the unexplained ones."""
    seeds = {"apdu": corpus("xdlms") + constructed(), "value": corpus("axdr", "profile", "object_list")}
    peer, began = Peer(), time.monotonic()
    explained: Counter[str] = Counter()
    strange: list[str] = []
    done = 0
    try:
        while done < count and time.monotonic() - began < seconds:
            rng = Random(f"{seed}/{done}")
            cases = []
            for number in range(min(LOT, count - done)):
                kind = "value" if number % 3 == 2 else "apdu"
                octets = mutate(rng, seeds[kind]) if rng.getrandbits(1) else gentle(rng, seeds[kind])
                if octets:
                    cases.append((kind, octets))
            answers = peer.ask([f"{kind} {octets.hex()}" for kind, octets in cases])
            for (kind, octets), they in zip(cases, answers, strict=True):
                we = ours(kind, octets)
                if we == they or (we[0] == they[0] == "!"):
                    explained["the same octets" if we[0] == "=" else "both refuse"] += 1
                    continue
                name = explain(octets, we, they)
                if name is None:
                    strange.append(f"{kind} {octets.hex()}\n   ours   {we[:200]}\n   theirs {they[:200]}")
                else:
                    explained[name] += 1
            done += len(cases)
    finally:
        peer.close()
    return done, explained, strange


def main(words: list[str]) -> int:
    """Compare and print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.peers.dlms_difference", description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(words)
    began = time.monotonic()
    done, explained, strange = compare(arguments.count, arguments.seed)
    print(f"seed {arguments.seed}: {done:,} compared in {time.monotonic() - began:.0f} s")
    for name, number in explained.most_common():
        print(f"{number:>9,}  {name}")
    print(f"{len(strange):>9,}  unexplained")
    for text in strange[:SHOWN_MAX]:
        print(text)
    return 1 if strange else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
