"""From the data sets of a readout to integers in the base unit, exactly, by a meter model.

A model names data sets as its meter writes them, usually by the shortened code (``1.8.0``); meters write it whole
(``1-0:1.8.0*255``) or with the storage number of a billing period, which is another value.
"""

import re
from collections.abc import Sequence
from decimal import Decimal

from protocols.iec62056_21.readout import DataSet
from protocols.meters.model import DataSetAddress, Measurement
from protocols.obis import UNIT_FACTORS, base_unit
from protocols.telemetry.batch import VALUE_MAX

_WHOLE = re.compile(r"(?:\d{1,3}-\d{1,3}:)?([^*&]+)(?:[*&]255)?")
_NUMBER = re.compile(r"[+-]?\d{1,20}(?:\.\d{1,12})?")
_UNITS = {unit.casefold(): unit for unit in UNIT_FACTORS}


def find_data_set(data_sets: Sequence[DataSet], address: str) -> DataSet | None:
    """Return the data set at ``address``, written in full or shortened; None if the meter tells none."""
    exact = next((each for each in data_sets if each.address == address), None)
    return exact or next((each for each in data_sets if _shortened(each.address) == address), None)


def value_of(measurement: Measurement, data_sets: Sequence[DataSet]) -> int | str:
    """Return the measurement in the base unit of its code, or why there is none.

    Rounded once, halves away from zero. Where the meter writes no unit, the model's holds; another quantity's unit is
    refused.
    """
    assert isinstance(measurement.at, DataSetAddress)
    found = find_data_set(data_sets, measurement.at.address)
    if found is None or not found.values:
        return f"no data set {measurement.at.address} in the readout"
    text, told = found.values[0].text, found.values[0].unit
    unit = _UNITS.get(told.casefold()) if told else measurement.unit
    if unit is None or UNIT_FACTORS[unit][0] != base_unit(measurement.obis):
        return f"data set {found.address}: unit {told!r}, expected {measurement.unit}"
    if _NUMBER.fullmatch(text) is None:
        return f"data set {found.address}: {text!r} is no number"
    _, factor, divisor = UNIT_FACTORS[unit]
    numerator, denominator = Decimal(text).as_integer_ratio()
    numerator, denominator = numerator * factor, denominator * divisor
    whole = (2 * abs(numerator) + denominator) // (2 * denominator)
    value = -whole if numerator < 0 else whole
    return value if abs(value) <= VALUE_MAX else f"data set {found.address}: beyond ±(2⁶² − 1)"


def _shortened(address: str) -> str:
    match = _WHOLE.fullmatch(address)
    return address if match is None else match[1]
