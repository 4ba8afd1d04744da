"""What questions cost on a line. Pure; used to plan, to admit a configuration, and to fit work into idle time.

A Modbus transaction is counted exactly (:class:`protocols.modbus.plan.LineCost`). Of DLMS and IEC 62056-21 the octets
are estimated, counted in traces of simulated meters; each bus learns by how much its meters' profiles differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edge_agent.meter import Question
from edge_agent.serial_line import LineSettings
from protocols.meters.dlms_settings import DlmsSettings
from protocols.meters.model import Group, Measurement, MeterModel, Protocol
from protocols.modbus.plan import Cut, LineCost, plan_reads, serial_cost

if TYPE_CHECKING:
    from edge_agent.config import MeterConfig

TURNAROUND_US = 20_000.0  # until it is learned; meters take 5 to 250 ms
# A register costs next to nothing on Ethernet, a question its round trip and the meter's own time.
TCP_COST = LineCost(character_us=1.0, silence_us=0.0, turnaround_us=TURNAROUND_US)

# DLMS over HDLC, by octets on the line both ways, and how often the meter takes its turnaround.
DLMS_SESSION_OCTETS, DLMS_SESSION_TURNS = 270, 4  # SNRM, AARQ, release, DISC and their answers
DLMS_GET_OCTETS = 84
DLMS_LIST_OCTETS, DLMS_LIST_ITEM_OCTETS = 60, 19
DLMS_PROFILE_OCTETS = 150  # the question, the range, the frame of the answer
DLMS_ROW_OCTETS, DLMS_COLUMN_OCTETS, DLMS_BLOCK_OCTETS = 10, 6, 110
# IEC 62056-21, 6.4: sign-on and identification at 300 baud, each character ten bits.
IEC_BAUD_FIRST = 300
IEC_SIGN_ON_OCTETS, IEC_SELECT_OCTETS = 45, 6
IEC_PAUSES_MS = 800.0  # reaction time at each of three turns, and the settling of the port
IEC_READOUT_OCTETS, IEC_DATA_SET_OCTETS = 600, 26  # a readout has more data sets than a model names
LEARN_WEIGHT = 0.25


def line_cost(line: LineSettings | None, turnaround_us: float | None = None) -> LineCost:
    """Return the cost of octets and questions on ``line``; without one, by TCP."""
    turnaround_us = TURNAROUND_US if turnaround_us is None else turnaround_us
    if line is None:
        return replace(TCP_COST, turnaround_us=turnaround_us)
    return serial_cost(line.baud, line.bits_per_character, turnaround_us)


def questions_of(
    model: MeterModel, wanted: Sequence[Measurement], cost: LineCost, cuts: frozenset[Cut] = frozenset()
) -> tuple[Question, ...]:
    """Return what to ask a meter for ``wanted``; ``cuts`` are places that no Modbus question may reach across."""
    if not wanted:
        return ()
    if model.protocol is Protocol.MODBUS:
        reads = plan_reads(wanted, cost, registers_max=model.registers_per_read_max, cuts=cuts)
        return tuple(Question(each.measurements, cost.transaction_us(each.count) / 1000, each) for each in reads)
    return (Question(tuple(wanted), session_ms(model, len(wanted), cost), turns=session_turns(model, len(wanted))),)


def session_ms(model: MeterModel, count: int, cost: LineCost) -> float:
    """Return how long a DLMS or IEC 62056-21 session takes in which ``count`` measurements are read."""
    if model.protocol is Protocol.IEC62056_21:
        first_ms = 1000 * 10 / IEC_BAUD_FIRST
        readout = IEC_READOUT_OCTETS + IEC_DATA_SET_OCTETS * len(model.measurements)
        return (IEC_SIGN_ON_OCTETS + IEC_SELECT_OCTETS) * first_ms + IEC_PAUSES_MS + readout * cost.character_us / 1000
    settings = model.dlms
    if settings is not None and settings.with_list:
        octets = _lists(settings, count) * DLMS_LIST_OCTETS + count * DLMS_LIST_ITEM_OCTETS
    else:
        octets = count * DLMS_GET_OCTETS
    turns = session_turns(model, count)
    return ((DLMS_SESSION_OCTETS + octets) * cost.character_us + turns * cost.turnaround_us) / 1000


def session_turns(model: MeterModel, count: int) -> int:
    """Return how often a meter takes its turnaround in such a session."""
    if model.protocol is Protocol.IEC62056_21:
        return 0  # it is in IEC_PAUSES_MS
    settings = model.dlms
    lists = _lists(settings, count) if settings is not None and settings.with_list else count
    return DLMS_SESSION_TURNS + lists


def _lists(settings: DlmsSettings, count: int) -> int:
    return -(-count // settings.list_items_max)


@dataclass(frozen=True, slots=True)
class ProfileCost:
    """What a piece of a load profile costs: a session, and so much a slot; ``slower`` is learned."""

    session_ms: float
    slot_ms: float
    slower: float = 1.0

    def of(self, slots: int) -> float:
        """Return how long a piece of ``slots`` takes."""
        return (self.session_ms + slots * self.slot_ms) * self.slower

    def slots_in(self, left_ms: float) -> int:
        """Return how many slots fit into ``left_ms``."""
        return max(0, int((left_ms / self.slower - self.session_ms) / self.slot_ms))

    def learn(self, slots: int, took_ms: float) -> "ProfileCost":
        """Return the cost after a piece took ``took_ms``; what is faster than reckoned is not counted on."""
        ratio = took_ms / (self.session_ms + slots * self.slot_ms)
        slower = max(1.0, ratio, (1 - LEARN_WEIGHT) * self.slower + LEARN_WEIGHT * ratio)
        return ProfileCost(self.session_ms, self.slot_ms, slower)


def profile_cost(meter: "MeterConfig") -> ProfileCost:
    """Return what the load profile of ``meter`` costs by slots of its billing registers."""
    cost = line_cost(meter.line)
    profile, settings = meter.model.profile, meter.model.dlms
    every_ms = meter.every_ms[Group.BILLING]
    rows = 1.0 if profile is None else max(1.0, every_ms / profile.interval_ms)
    columns = sum(each.group is Group.BILLING for each in meter.model.measurements)
    octets = DLMS_ROW_OCTETS + DLMS_COLUMN_OCTETS * columns
    info = 128 if settings is None else settings.info_octets * settings.window
    turns_a_row = octets / info
    row_ms = (octets * (1 + 20 / info) * cost.character_us + turns_a_row * cost.turnaround_us) / 1000
    fixed_ms = session_ms(meter.model, 2, cost) + (DLMS_PROFILE_OCTETS + DLMS_BLOCK_OCTETS) * cost.character_us / 1000
    return ProfileCost(fixed_ms, rows * row_ms)
