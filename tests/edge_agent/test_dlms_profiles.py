"""Load profiles as meters give them: ranges with and without a deviation, a day at a time, the clock in any column,
times left out; registers in lists where the meter can; associations as the model wants.
"""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from edge_agent.dlms_access import Access
from edge_agent.dlms_entry import Entry
from edge_agent.dlms_meter import DlmsMeter
from edge_agent.dlms_session import DlmsSession
from edge_agent.meter import Answer, ProfileValue
from edge_agent.serial_line import LineSettings, SerialLine
from protocols.dlms.association import Policy
from protocols.dlms.codes import ActionResult, DataAccessResult
from protocols.dlms.conformance import LOGICAL_NAMES, Conformance
from protocols.dlms.cosem_time import date_time_of, encode_date_time
from protocols.dlms.data import NULL, Data, array, double_long_unsigned, octets, structure, unsigned
from protocols.dlms.hdlc.primary import HdlcParameters
from protocols.dlms.hdlc.secondary import HdlcServerParameters
from protocols.dlms.objects import ScalerUnit
from protocols.dlms.quirks import Quirks, RangeDeviation
from protocols.dlms.selective import CLOCK, CaptureObject, Range, decode_selection
from protocols.dlms.server import DlmsServer
from protocols.dlms.xdlms.references import Attribute, Selection
from protocols.meters.catalogue import load_model
from protocols.meters.dlms_rules import quirks_of
from protocols.meters.model import Group, MeterModel
from tests.edge_agent.secure_meter import Meter as AnyMeter
from tests.edge_agent.secure_meter import PtyMeter

MODEL = load_model("dlms_three_phase")
REGISTER = CaptureObject(3, MODEL.measurements[0].obis, 2)
STATUS = CaptureObject(1, replace(REGISTER.obis, a=0, c=96, d=10, e=1), 2)
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
BEGIN_MS = int(BEGIN.timestamp()) * 1000
PERIOD_S = 1800
ROWS = 4 * 48
PROFILE = Attribute(7, replace(REGISTER.obis, c=99, d=1), 2)


@dataclass
class Peculiar(AnyMeter):
    """A meter with registers and a load profile, and ways of its own."""

    columns: tuple[CaptureObject, ...] = (CLOCK, STATUS, REGISTER)
    deviation: bool | None = None  # whether bounds must, must not, or may have a deviation
    days_max: int | None = None
    null_times: bool = False
    ranges: list[tuple[datetime, datetime]] = field(default_factory=list)

    def get(self, client_sap: int, attribute: Attribute, selection: Selection | None) -> Data | DataAccessResult:
        if attribute == PROFILE:
            return self._buffer(selection)
        if attribute == replace(PROFILE, index=3):
            return array(*(column.to_data() for column in self.columns))
        if attribute == replace(PROFILE, index=4):
            return double_long_unsigned(PERIOD_S)
        if attribute.class_id == 3:
            return ScalerUnit(0, 30).to_data() if attribute.index == 3 else double_long_unsigned(7)
        return DataAccessResult.OBJECT_UNDEFINED

    def act(self, _client_sap: int, method: Attribute, parameter: Data | None) -> tuple[ActionResult, Data | None]:
        return ActionResult.OBJECT_UNDEFINED, None

    def _buffer(self, selection: Selection | None) -> Data | DataAccessResult:
        wanted = decode_selection(selection) if selection is not None else None
        if not isinstance(wanted, Range) or wanted.restricting != CLOCK:
            return DataAccessResult.SCOPE_OF_ACCESS_VIOLATED
        bounds = [date_time_of(bound) for bound in (wanted.first, wanted.last)]
        if self.deviation is not None and any((b.deviation_minutes is None) is self.deviation for b in bounds):
            return DataAccessResult.SCOPE_OF_ACCESS_VIOLATED
        first, last = (bound.at(-420) for bound in bounds)
        if self.days_max is not None and last - first >= timedelta(days=self.days_max):
            return DataAccessResult.DATA_BLOCK_UNAVAILABLE
        self.ranges.append((first, last))
        rows = [row for row in range(ROWS) if first <= BEGIN + timedelta(seconds=row * PERIOD_S) <= last]
        return array(*(self._row(row, is_first=row == rows[0]) for row in rows))

    def _row(self, row: int, *, is_first: bool) -> Data:
        clock = octets(encode_date_time(BEGIN + timedelta(seconds=row * PERIOD_S), -420))
        cells = {
            CLOCK: NULL if self.null_times and not is_first else clock,
            STATUS: unsigned(0),
            REGISTER: double_long_unsigned(1000 + row),
        }
        return structure(*(cells[column] for column in self.columns))


def ask(
    meter: Peculiar, quirks: Quirks, *, model: MeterModel = MODEL, with_list: bool = True, times: int = 0
) -> tuple[tuple[ProfileValue, ...] | str, list[Answer]]:
    """Read four days of the profile and ``times`` the registers, over a pseudo-terminal."""

    async def go() -> tuple[tuple[ProfileValue, ...] | str, list[Answer]]:
        assert model.dlms is not None
        conformance = LOGICAL_NAMES if with_list else LOGICAL_NAMES & ~Conformance.MULTIPLE_REFERENCES
        server = DlmsServer(HdlcServerParameters(1, 17), {1: Policy(conformance=conformance)}, meter)
        pty = PtyMeter(server, meter)
        line = SerialLine(LineSettings(pty.port, 9600, "N", 1, paced=False))
        access = Access(replace(model.dlms, mechanism="none"), quirks)
        entry = Entry(access, lambda client_sap, retries: HdlcParameters(client_sap, 1, 17, 2, retries_max=retries))
        asked = DlmsMeter(DlmsSession(line, entry, reply_timeout_s=2.0), model)
        found = await asked.read_profile(BEGIN_MS, BEGIN_MS + ROWS * PERIOD_S * 1000 - 1)
        answers = [await asked.read(frozenset({Group.BILLING}), probe=False) for _ in range(times)]
        line.close()
        pty.close()
        return found, answers

    return asyncio.run(go())


EXPECTED = tuple(ProfileValue("1.0.1.8.0", BEGIN_MS + row * PERIOD_S * 1000, 1000 + row) for row in range(ROWS))


@pytest.mark.parametrize(
    ("meter", "written", "requests"),
    [
        (Peculiar(), {}, 1),
        (Peculiar(deviation=True), {}, 1),
        (Peculiar(deviation=False), {"range_deviation": "unspecified"}, 1),
        (Peculiar(days_max=1), {"days_per_range_max": 1}, 4),
        (Peculiar(columns=(REGISTER, CLOCK, STATUS)), {}, 1),
        (Peculiar(columns=(STATUS, REGISTER, CLOCK), null_times=True), {}, 1),
        (Peculiar(null_times=True, days_max=1), {"days_per_range_max": 1}, 4),
    ],
)
def test_a_profile_is_read_as_its_meter_gives_it(
    meter: Peculiar, written: dict[str, bool | int | str], requests: int
) -> None:
    found, _ = ask(meter, quirks_of(written, "test"))
    assert found == EXPECTED
    assert len(meter.ranges) == requests


def test_without_its_quirk_such_a_meter_says_no_in_the_standards_words() -> None:
    assert ask(Peculiar(deviation=False), Quirks())[0] == "load profile 1.0.99.1.0: scope-of-access-violated"
    assert ask(Peculiar(deviation=True), Quirks(range_deviation=RangeDeviation.UNSPECIFIED))[0] != EXPECTED


@pytest.mark.parametrize("with_list", [True, False])
def test_registers_come_together_where_the_meter_can_else_one_by_one(with_list: bool) -> None:
    meter = Peculiar()
    _, answers = ask(meter, Quirks(), with_list=with_list, times=1)
    billing = [each for each in MODEL.measurements if each.group is Group.BILLING]
    lists = meter.requests.count("GetRequestList")
    assert lists == (3 if with_list else 0)  # the shape of the profile, scalers, values
    assert (meter.requests.count("GetRequestNormal") > 2 * len(billing)) is not with_list
    # The reactive register is in Wh on this meter, which is told and left out.
    assert len(answers[0].values) == len(billing) - 1
    assert answers[0].failure is None
    assert "expected varh" in answers[0].refusals[0]


@pytest.mark.parametrize(("wanted", "links"), [("kept", 1), ("reopened", 4), ("as needed", 2)])
def test_an_association_is_kept_or_reopened_as_the_model_wants(wanted: str, links: int) -> None:
    assert MODEL.dlms is not None
    meter = Peculiar()
    model = replace(MODEL, dlms=replace(MODEL.dlms, association=wanted))
    found, answers = ask(meter, Quirks(), model=model, times=3)
    assert found == EXPECTED
    assert [answer.failure for answer in answers] == [None] * 3
    assert meter.links == links  # four readings, all within a second


@pytest.mark.parametrize("asked", [False, True])
def test_general_blocks_are_used_where_the_model_asks_for_them_and_the_meter_grants_them(asked: bool) -> None:
    async def go() -> tuple[Conformance, tuple[ProfileValue, ...] | str, list[str]]:
        assert MODEL.dlms is not None
        meter = Peculiar()
        granting = Policy(conformance=LOGICAL_NAMES | Conformance.GENERAL_BLOCK_TRANSFER, pdu_octets_max=40)
        pty = PtyMeter(DlmsServer(HdlcServerParameters(1, 17), {1: granting}, meter), meter)
        line = SerialLine(LineSettings(pty.port, 9600, "N", 1, paced=False))
        access = Access(replace(MODEL.dlms, mechanism="none", general_blocks=asked), quirks_of({}, "test"))
        entry = Entry(access, lambda client_sap, retries: HdlcParameters(client_sap, 1, 17, 2, retries_max=retries))
        session = DlmsSession(line, entry, reply_timeout_s=2.0)
        granted = await session.open(retries=2)
        found = await DlmsMeter(session, MODEL).read_profile(BEGIN_MS, BEGIN_MS + ROWS * PERIOD_S * 1000 - 1)
        line.close()
        pty.close()
        return granted.conformance, found, meter.requests

    conformance, found, requests = asyncio.run(go())
    assert found == EXPECTED
    assert (Conformance.GENERAL_BLOCK_TRANSFER in conformance) == asked
    assert ("GeneralBlock" in requests) == asked  # a question longer than the meter's PDU goes in two
