"""One scaler that cannot be used costs its own column and no other."""

from dataclasses import dataclass, replace

import pytest

from protocols.dlms.codes import DataAccessResult
from protocols.dlms.data import NULL, Data, array, double_long_unsigned, structure
from protocols.dlms.objects import ScalerUnit
from protocols.dlms.quirks import Quirks
from protocols.dlms.selective import CLOCK
from protocols.dlms.xdlms.references import Attribute, Selection
from protocols.obis import Obis
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
