"""One scaler that cannot be used costs its own column and no other."""

import argparse
import asyncio
from dataclasses import dataclass, replace
from typing import cast

import pytest

from edge_agent.dlms_tool.read import read_with_scalers
from edge_agent.dlms_tool.remembered import Remembered
from edge_agent.dlms_tool.session import MeterSession
from protocols.dlms.codes import DataAccessResult
from protocols.dlms.data import NULL, Data, array, double_long_unsigned, structure
from protocols.dlms.objects import ScalerUnit
from protocols.dlms.quirks import Quirks
from protocols.dlms.selective import CLOCK
from protocols.dlms.services import Event, Request
from protocols.dlms.xdlms.references import Attribute, Selection
from protocols.obis import Obis
from tests.dlms.line import Line, Shelf, connected, tcp_line
from tests.edge_agent.test_dlms_profiles import EXPECTED, REGISTER, Peculiar, ask

ODD = replace(REGISTER, obis=Obis.parse("1.0.2.8.0"))


@dataclass
class OddScaler(Peculiar):
    """A meter that captures a second register, whose scaler is one that cannot be used."""

    scaler: Data = NULL

    def get(self, client_sap: int, attribute: Attribute, selection: Selection | None) -> Data | DataAccessResult:
        if (attribute.obis, attribute.index) == (ODD.obis, 3):
            return self.scaler
        return super().get(client_sap, attribute, selection)

    def _row(self, row: int, *, is_first: bool) -> Data:
        columns, self.columns = self.columns, (CLOCK, REGISTER)
        clock, value = super()._row(row, is_first=is_first).content
        self.columns = columns
        return structure(clock, value, double_long_unsigned(5))


@pytest.mark.parametrize("scaler", [array(), double_long_unsigned(1), ScalerUnit(99, 30).to_data()])
def test_a_profile_is_read_without_the_column_whose_scaler_cannot_be_used(scaler: Data) -> None:
    meter = OddScaler(columns=(CLOCK, REGISTER, ODD), scaler=scaler)
    assert ask(meter, Quirks())[0] == EXPECTED


class InMemory:
    """A session with a meter in memory."""

    def __init__(self, line: Line) -> None:
        self._line = line
        granted = line.client.granted
        assert granted is not None
        self.granted, self.target = granted, argparse.Namespace(lists=True)
        self.remembered = Remembered(self, line.client, None)

    async def ask(self, request: Request) -> Event:
        return self._line.ask(request)[-1]


def test_the_tool_reads_the_other_registers_with_their_scalers() -> None:
    good, odd = (Attribute(3, column.obis, 2) for column in (REGISTER, ODD))
    values = {
        good: double_long_unsigned(7),
        odd: double_long_unsigned(8),
        replace(good, index=3): ScalerUnit(1, 30).to_data(),
        replace(odd, index=3): ScalerUnit(99, 30).to_data(),
    }
    session = InMemory(connected(tcp_line(Shelf(values))))
    readings = asyncio.run(read_with_scalers(cast("MeterSession", session), [good, odd]))
    assert [each.text() for each in readings] == ["70 Wh", "8"]
