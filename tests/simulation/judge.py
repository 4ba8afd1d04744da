"""Whether what must hold has held: asked at the end of each schedule.

I1 every reading that the spool has claimed is in the database, once; I2, I3 nothing is there that no meter ever said
at that time, with its value and quality; I4 a conflict never overwrites, and the agent makes none; I5 the backlog is
gone in bounded time, and every meter is read again; I6 disk and memory are bounded; I7 what is given up is declared and
told. (``docs/campaigns/agent.md`` explains what is asked beyond that.)
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator

from edge_agent.policy import PUNCTUAL_MS
from protocols.telemetry.loss import Loss, Reason
from protocols.telemetry.reading import Quality
from tests.simulation.faults import Kind
from tests.simulation.meters import Saying, TrueMeter
from tests.simulation.world import DRAIN_S_MAX, EPOCH_MS, EVERY_MS, Claim, World

READ_MS_MAX = 30_000  # from a reading's stamp to its value on the line: quarantines, second tries, a late answer
BEFORE_MS_MAX = 12_000  # a late answer to the same question, asked again: it is as old as answers may be late
CLOCK_NEAR_S = 30.0  # a jump so near to a reading leaves open by which clock it was stamped
LOST_BY_DAMAGE_MAX = 5  # readings that one damage may take, beyond those declared, if it was told
DISK_OCTETS_MAX = 4 << 20
SPOOL_SLACK_OCTETS = 16 << 12  # what one commit may need beyond the limit
CLOCK_KINDS = frozenset({Kind.CLOCK_FORWARD, Kind.CLOCK_BACK, Kind.CLOCK_UNSET})
METER_KINDS = frozenset({Kind.METER_FROZEN, Kind.METER_EXCHANGED, Kind.METER_ROLLS_OVER})

Key = tuple[str, str, int]


def judge(world: World) -> list[str]:
    """Return what is wrong, in words; nothing if all holds."""
    checks = (
        _crashes,
        _delivery,
        _truth,
        _glitches,
        _one_key,
        _conflicts,
        _drain,
        _healing,
        _days,
        _bounds,
        _told,
        _line,
    )
    return [found for check in checks for found in check(world)]


def _happened(world: World, kinds: frozenset[Kind]) -> bool:
    return any(fault.kind in kinds for fault in world.faults)


def _crashes(world: World) -> Iterator[str]:
    for error in world.process.failures:
        yield f"crash: {type(error).__name__}: {error}"


def _delivery(world: World) -> Iterator[str]:
    """I1, and I7 for what is lost."""
    server = world.broker.server
    lost: dict[str, list[Loss]] = defaultdict(list)
    for loss in server.losses:
        lost[loss.generation].append(loss)
    missing: list[Claim] = []
    kept = {reading[:4] for reading, _ in server.database.conflicts}  # beside the readings: see _conflicts
    kept |= {(*key, value) for key, (value, _) in server.database.readings.items()}
    for claim in world.record.claims:
        reading = claim.reading
        if reading[:4] in kept or not claim.durable:
            continue
        if not any(_covers(loss, claim) for loss in lost[claim.generation]):
            missing.append(claim)
    told = world.record.damages if _damage_was_told(world) else 0
    if len(missing) > told * LOST_BY_DAMAGE_MAX:
        claim = missing[0]
        yield f"I1: {claim.reading} of batch {claim.first} of {claim.generation} was claimed and is not stored"
    for reason in server.refused:
        yield f"I2: a message that breaks the contract: {reason}"
    for generation, sequences in server.reused:
        yield f"I1: batch {sequences} of {generation} came with two contents"


def _damage_was_told(world: World) -> bool:
    """Say whether there was an alarm for a damaged spool: then what was in it may be gone."""
    told = world.record.told
    return told["spool.set_aside"] + told["spool.renewed"] > 0 or any(each.damaged for each in world.process.spools)


def _covers(loss: Loss, claim: Claim) -> bool:
    return any(first <= claim.last and claim.first <= last for first, last in loss.sequences)


def _truth(world: World) -> Iterator[str]:
    """I2, I3: each stored reading was said by that meter, for that register, at that time."""
    for (meter, obis, at_ms), (value, quality) in world.broker.server.database.readings.items():
        true = world.meters[meter]
        if quality & Quality.PROFILE:
            if not _is_in_profile(true, obis, at_ms, value):
                yield f"I2: {meter} {obis} {at_ms} {value}: not what its load profile has"
                return
            continue
        said = [each for each in _said(world, true.sayings[obis], at_ms) if each.value == value]
        if not said:
            yield f"I2: {meter} {obis} {at_ms - EPOCH_MS} ms: {value} of quality {quality} was not said at that time"
            return


def _glitches(world: World) -> Iterator[str]:
    """A meter's own mistake is marked, unless it was the first that this life of the agent heard of the register."""
    heard: dict[tuple[str, str, int], bool] = {}  # whether the first was true
    for claim in world.record.claims:
        meter, obis, _, value, quality = claim.reading
        if quality & Quality.PROFILE or ".8." not in obis:
            continue
        said = [each.glitch for each in world.meters[meter].sayings[obis] if each.value == value]
        glitch = bool(said) and all(said)
        if heard.setdefault((meter, obis, claim.life), not glitch) and glitch and not quality & Quality.SUSPECT:
            yield f"I3: {claim.reading} is a glitch of the meter's, and not marked"
            return


def _said(world: World, sayings: list[Saying], at_ms: int) -> list[Saying]:
    """Return what was said when the computer's clock may have shown ``at_ms`` or a little later."""
    found = []
    for jump, end_s in zip(world.record.jumps, [*(each.at_s for each in world.record.jumps[1:]), 1e12], strict=True):
        begin_s = (at_ms - EPOCH_MS - jump.ahead_ms) / 1000
        if begin_s < jump.at_s - CLOCK_NEAR_S - PUNCTUAL_MS / 1000 or begin_s > end_s + CLOCK_NEAR_S:
            continue
        first = bisect_left(sayings, begin_s - BEFORE_MS_MAX / 1000, key=lambda each: each.at_s)
        last = bisect_left(sayings, begin_s + (PUNCTUAL_MS + READ_MS_MAX) / 1000, key=lambda each: each.at_s)
        found += sayings[first:last]
    return found


def _is_in_profile(meter: TrueMeter, obis: str, at_ms: int, value: int) -> bool:
    for each in meter.model.measurements:
        if str(each.obis) == obis:
            rows = meter.profile(each.obis, at_ms, at_ms, EVERY_MS)
            return [row.value for row in rows] == [value]
    return False


def _one_key(world: World) -> Iterator[str]:
    """No sample has two keys: a counter's value stands at no more times than the meter said it.

    It counts each tenth of a second, so two answers are equal only if no more lies between them: when the clock jumps
    while a cycle is read, the meter is asked again at once, for a slot of the new time, and that is another sample.
    """
    if _happened(world, METER_KINDS):
        return
    times: dict[tuple[str, str, int], list[int]] = defaultdict(list)
    for (meter, obis, at_ms), (value, quality) in world.broker.server.database.readings.items():
        if ".8." not in obis or quality & (Quality.PROFILE | Quality.SUSPECT):
            continue
        times[meter, obis, value].append(at_ms - EPOCH_MS)
    for (meter, obis, value), found in times.items():
        said = sum(each.value == value for each in world.meters[meter].sayings[obis]) if len(found) > 1 else 1
        if len(found) > said:
            yield f"I2: {meter} {obis} {value} was said {said} times and stands at {found} ms"
            return


def _conflicts(world: World) -> Iterator[str]:
    """I4: the agent gives one key one value, unless its spool was damaged and it could not know what it had given."""
    database = world.broker.server.database
    if (world.record.damages and _damage_was_told(world)) or _moved_by_days(world):
        return
    for reading, before in database.conflicts:
        _, quality = database.readings[reading.meter, reading.obis, reading.measured_at_ms]
        if not (quality | reading.quality) & Quality.NOT_DURABLE:  # a life in memory leaves no slots behind
            yield f"I4: {reading} although {before} was given before"
            return


def _moved_by_days(world: World) -> bool:
    return any(abs(each.ahead_ms) > 2 * 86_400_000 for each in world.record.jumps)


def _drain(world: World) -> Iterator[str]:
    """I5."""
    if world.record.spooled_at_end:
        yield f"I5: {world.record.spooled_at_end} batches still wait at the end"
    elif world.record.drained_after_s is None or world.record.drained_after_s > DRAIN_S_MAX:
        yield f"I5: the backlog took {world.record.drained_after_s} s; at most {DRAIN_S_MAX} s are allowed"
    for name, obis in world.unread()[:1]:
        yield f"I5: {name} {obis} was not read again after all was healed"


def _healing(world: World) -> Iterator[str]:
    """What a meter with a load profile has not given at its time is there in the end, for it remembers."""
    if _happened(world, CLOCK_KINDS) or world.record.damages or world.broker.server.losses:
        return
    if missing := world.unhealed():
        yield f"I5: C lacks {len(missing)} slots from {missing[0] - EPOCH_MS} ms on, which its load profile has"


def _days(world: World) -> Iterator[str]:
    """What the agent says of each day is what the server has, unless a loss, a damage or a second value excuses it.

    What was in memory only, and sent, before a life ended is excused too: the disk was full until then.
    """
    server = world.broker.server
    if world.record.damages or server.losses or server.database.conflicts or not world.record.days:
        return
    if any(not claim.durable and claim.life < world.process.life.number for claim in world.record.claims):
        return
    said = {day: counts for day, counts in world.record.days.items() if counts[0]}
    if said != world.record.days_stored:
        yield f"I7: the agent says {said} of its days, and the server has {world.record.days_stored}"


def _bounds(world: World) -> Iterator[str]:
    """I6."""
    if world.record.octets_max > DISK_OCTETS_MAX:
        yield f"I6: {world.record.octets_max} octets on the disk"
    limit = world.config.spool_octets_max
    if world.record.spooled_octets_max > limit + SPOOL_SLACK_OCTETS:
        yield f"I6: {world.record.spooled_octets_max} octets spooled; the limit is {limit}"


def _told(world: World) -> Iterator[str]:
    """I7: what is given up is told; and nothing is given up without a cause."""
    if world.record.set_aside and not world.record.told["spool.set_aside"]:
        yield "I7: a spool was set aside and nothing was told"
    if world.record.set_aside and not world.record.damages:
        yield "I7: a spool was set aside, but the disk had kept all"

    for loss in world.broker.server.losses:
        if not (world.record.damages if loss.reason is Reason.DAMAGE else world.small or world.record.damages):
            yield f"I7: {loss.sequences} declared lost for {loss.reason.value} without a cause"
            return


def _line(world: World) -> Iterator[str]:
    if world.wires.silence_violations:
        yield f"line: {world.wires.silence_violations} questions began before 3.5 characters of silence were over"
