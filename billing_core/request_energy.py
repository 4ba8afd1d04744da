"""The energy of a request: as kWh, by rate, or as two indexes of a register; and the same up to a price change."""

from collections.abc import Mapping
from typing import TypeAlias

from billing_core.codes import HOLD_TEXTS, RATES, Category, Hold, Register, Solar, member_of
from billing_core.consumption import DIGITS_MAX, MULTIPLIER_MAX, consume
from billing_core.line import wh_as_kwh
from billing_core.request_separators import SEVERAL, SEVERAL_RATES
from billing_core.request_words import energy_in, member_in, whole_in
from billing_core.tariff import BY_RATE
from protocols.errors import UsageError

REGISTER_WORDS = ("old_index", "new_index", "digits", "multiplier")

Energy: TypeAlias = int | tuple[int, int, int]
"""One number, or those of the normal, peak and off-peak rate. [Wh]"""


def energies_in(words: Mapping[str, str | None], category: Category) -> Energy:
    """Return the energy of the period, one number or three. [Wh]"""
    total, rates = words.get("kwh"), words.get("rates")
    if rates is None:
        read = _register(words)
        if total is None and read is None:
            raise UsageError("kwh: found nothing; give kwh, rates for a three-rate meter, or old-index and new-index")
        energy = energy_in("kwh", total) if total is not None else read
        assert energy is not None
        if read is not None and energy != read:
            raise UsageError(
                f"kwh: found {total}, but the register says {wh_as_kwh(read)} kWh; correct one, or leave kwh out"
            )
        return energy
    if any(words.get(name) is not None for name in REGISTER_WORDS):
        raise UsageError("rates: found an index too, expected one of them; leave the other out")
    if category not in BY_RATE:
        raise UsageError(f"rates: {category.value} has no prices by time of use; give kwh instead")
    normal, peak, off_peak = _rates("rates", rates)
    if total is not None and energy_in("kwh", total) != normal + peak + off_peak:
        raise UsageError(
            f"kwh: found {total}, but the rates sum to {wh_as_kwh(normal + peak + off_peak)} kWh; "
            "correct one, or leave kwh out"
        )
    return normal, peak, off_peak


def energies_before_in(words: Mapping[str, str | None], energy: Energy) -> tuple[Energy, ...]:
    """Return the energy up to each change of price, if the meter was read on those days. [Wh]"""
    indexes, rates = words.get("index_at_change"), words.get("rates_before_change")
    if indexes is None and rates is None:
        return ()
    if (rates is not None) != isinstance(energy, tuple) or (rates is not None and indexes is not None):
        name = "index-at-change" if rates is None else "rates-before-change"
        raise UsageError(
            f"{name}: found it, expected rates-before-change with rates, index-at-change with old-index and new-index; "
            "give the one that goes with the energy"
        )
    if rates is not None:
        return _rates_at_changes("rates-before-change", rates)
    if words.get("old_index") is None:
        raise UsageError("index-at-change: found it without old-index and new-index; give them too")
    found: list[int] = []
    until, given = 0, (indexes or "").split(SEVERAL)
    for index, following in zip(given, [*given[1:], words.get("new_index")], strict=True):
        if not found:
            until += _register(dict(words) | {"new_index": index}, "index-at-change") or 0
        found.append(until)
        until += _register(dict(words) | {"old_index": index, "new_index": following}, "index-at-change") or 0
    if until != energy:
        between = "an index between old-index and new-index" + (", in order" if len(given) > 1 else "")
        raise UsageError(f"index-at-change: found {indexes}, expected {between}; read again")
    return tuple(found)


def exports_in(words: Mapping[str, str | None], energy: Energy) -> dict[str, Energy | tuple[Energy, ...]]:
    """Return export, surplus carried in and export up to each change of price, by rate where they are given so. [Wh]"""
    found: dict[str, Energy | tuple[Energy, ...]] = {}
    for name, plain, by_rate in (
        ("export_wh", "export_kwh", "export_rates"),
        ("carry_in_wh", "carry_in_kwh", "carry_in_rates"),
        ("export_before_changes_wh", "export_before_change_kwh", "export_rates_before_change"),
    ):
        option, text, rates = by_rate.replace("_", "-"), words.get(plain), words.get(by_rate)
        if rates is not None:
            _check_by_rate(words, option, energy)
            if text is not None:
                raise UsageError(f"{option}: found {plain.replace('_', '-')} too, expected one of them; leave one out")
            several = _rates_at_changes(option, rates)
            found[name] = several if by_rate == "export_rates_before_change" else _one(option, rates, several)
        elif text is not None:
            plain_option = plain.replace("_", "-")
            if name == "export_before_changes_wh":
                found[name] = tuple(energy_in(plain_option, each) for each in text.split(SEVERAL))
            else:
                found[name] = energy_in(plain_option, text)
    return found


def check_exports_at_changes(
    words: Mapping[str, str | None], exports: Mapping[str, Energy | tuple[Energy, ...]], before: tuple[Energy, ...]
) -> None:
    """Refuse exports at changes of price that are not one for each reading of import there."""
    found = exports.get("export_before_changes_wh")
    if not isinstance(found, tuple) or len(found) == len(before):
        return
    by_rate = words.get("export_rates_before_change") is not None
    option = "export-rates-before-change" if by_rate else "export-before-change-kwh"
    beside = "rates-before-change" if by_rate else "index-at-change"
    raise UsageError(
        f"{option}: found {len(found)} of them with {len(before)} of {beside}, expected one of each for each change of "
        "price; give those that lack, or leave out what is too much"
    )


def _check_by_rate(words: Mapping[str, str | None], option: str, energy: Energy) -> None:
    if not isinstance(energy, tuple) or words.get("solar_regime") != Solar.NET_2017.value:
        raise UsageError(
            f"{option}: found it, expected it with rates and solar-regime net_2017, where each rate is netted by "
            "itself; leave it out"
        )


def _one(option: str, text: str, found: tuple[Energy, ...]) -> Energy:
    if len(found) > 1:
        raise UsageError(f"{option}: found {text!r}, expected BT=…,CD=…,TD=… once; correct it")
    return found[0]


def _rates_at_changes(name: str, text: str) -> tuple[tuple[int, int, int], ...]:
    return tuple(_rates(name, each) for each in text.split(SEVERAL_RATES))


def _rates(name: str, text: str) -> tuple[int, int, int]:
    """Return energy at the three rates from ``BT=…,CD=…,TD=…``. [Wh]"""
    found: dict[Register, int] = {}
    for pair in text.split(","):
        rate, equals, kwh = pair.partition("=")
        register = member_in(name, rate.strip(), Register)
        if not equals or register not in RATES or register in found:
            raise UsageError(f"{name}: found {pair!r}, expected BT=…,CD=…,TD=… in kWh, each once; correct it")
        found[register] = energy_in(f"{name}, {rate.strip()}", kwh.strip())
    normal, peak, off_peak = (found.get(rate, 0) for rate in RATES)
    return normal, peak, off_peak


def _register(words: Mapping[str, str | None], name: str = "old-index and new-index") -> int | None:
    """Return what a register counted between two readings. [Wh]"""
    old, new, digits, multiplier = (words.get(name) for name in REGISTER_WORDS)
    if old is None and new is None and digits is None and multiplier is None:
        return None
    if old is None or new is None:
        raise UsageError("old-index and new-index: found one of them; give both")
    found = consume(
        [energy_in("old-index", old)],
        [energy_in("new-index", new)],
        digits=0 if digits is None else whole_in("digits", digits, 1, DIGITS_MAX),
        multiplier=1 if multiplier is None else whole_in("multiplier", multiplier, 1, MULTIPLIER_MAX),
    )
    if found.hold[0]:
        reason = HOLD_TEXTS[member_of(Hold, int(found.hold[0]))]
        raise UsageError(f"{name}: found {old} and {new}: {reason}")
    return int(found.energy_wh[0])
