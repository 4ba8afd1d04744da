"""A quote request from words, as a command line or a query string has them; a wrong word is refused by its name."""

from collections.abc import Mapping
from datetime import date
from fractions import Fraction
from typing import Any

from billing_core.codes import Category, QuotaRounding, Solar, Voltage
from billing_core.mixed_use import WHOLE_BP
from billing_core.quote_request import QuoteRequest
from billing_core.request_energy import check_exports_at_changes, energies_before_in, energies_in, exports_in
from billing_core.request_separators import SEVERAL
from billing_core.request_words import day_in, energy_in, flag_in, fraction_in, hundredths_in, member_in, whole_in
from billing_core.rounding import DAYS_MAX, HOUSEHOLDS_MAX, PRICE_MAX
from billing_core.tariff import BY_RATE, TIERED
from protocols.errors import UsageError

PEOPLE_PER_HOUSEHOLD = 4  # tenants: four people make one household (Circular 60/2025/TT-BCT, article 12(5))


def request_from_text(words: Mapping[str, str | None]) -> QuoteRequest:
    """Make a request of words.

    Parameters
    ----------
    words
        By the names of the options of ``congto quote``, with ``_`` for ``-``: ``category``, ``from``, ``to``, ``kwh``,
        ``rates``, ``old_index``, ``new_index``, ``digits``, ``multiplier``, ``voltage``, ``households``, ``tenants``,
        ``person_days``, ``nominal_days``, ``price_change_date``, ``export_kwh``, ``generation_kwh``, ``solar_regime``,
        ``solar_price``, ``carry_in_kwh``, ``settle_carry``, ``reactive_kvarh``, ``cosphi``, ``undeclared_rental``,
        ``refused_three_rates``, ``households_change``, ``index_at_change``, ``rates_before_change``,
        ``export_before_change_kwh``, ``export_rates``, ``carry_in_rates``, ``export_rates_before_change``,
        ``demand_kw``, ``uses``, ``quota_rounding``. What is absent or ``None`` has its default. Where the price changes
        several times, days and figures at the changes are parted by commas, those by rate by semicolons.

    Raises
    ------
    UsageError
        Naming the word, what was found, what was expected, and the cure.
    """
    category = member_in("category", _needed(words, "category"), Category)
    start_on, end_on = day_in("from", _needed(words, "from")), day_in("to", _needed(words, "to"))
    if end_on < start_on:
        raise UsageError(f"from and to: found {start_on} and {end_on}, expected the first day first; exchange them")
    given: dict[str, Any] = {}
    if (text := words.get("voltage")) is not None:
        given["voltage"] = member_in("voltage", text, Voltage)
    if (text := words.get("nominal_days")) is not None:
        given["nominal_days"] = whole_in("nominal-days", text, 1, DAYS_MAX)
    if (text := words.get("price_change_date")) is not None:
        given["price_changes_on"] = tuple(day_in("price-change-date", each) for each in text.split(SEVERAL))
    if (text := words.get("generation_kwh")) is not None:
        given["generation_wh"] = energy_in("generation-kwh", text)
    if (text := words.get("reactive_kvarh")) is not None:
        given["reactive_varh"] = energy_in("reactive-kvarh", text)
    if (text := words.get("solar_price")) is not None:
        given["solar_price"] = whole_in("solar-price", text, 1, PRICE_MAX)
    if (text := words.get("quota_rounding")) is not None:
        given["quota_rounding"] = member_in("quota-rounding", text, QuotaRounding)
    for name in ("settle_carry", "undeclared_rental", "refused_three_rates"):
        if (text := words.get(name)) is not None:
            given[name] = flag_in(name.replace("_", "-"), text)
    energy = energies_in(words, category)
    before, exports = energies_before_in(words, energy), exports_in(words, energy)
    check_exports_at_changes(words, exports, before)
    given |= exports
    given |= _rarer(words, category, three_rates=isinstance(energy, tuple))
    return QuoteRequest(
        category=category,
        start_on=start_on,
        end_on=end_on,
        energy_wh=energy,
        before_changes_wh=before,
        households=_households(words, category, (end_on - start_on).days + 1),
        solar=_solar(words),
        **given,
    )


def _needed(words: Mapping[str, str | None], name: str) -> str:
    text = words.get(name)
    if text is None:
        raise UsageError(f"{name}: found nothing; give it")
    return text


def _rarer(words: Mapping[str, str | None], category: Category, *, three_rates: bool) -> dict[str, Any]:
    """Return what few requests have: power factor, demand, a change of households, mixed use."""
    given: dict[str, Any] = {}
    if words.get("refused_three_rates") == "true" and (category not in BY_RATE or three_rates):
        raise UsageError(
            "refused-three-rates: found it with rates, or in a category without rates; expected a meter without three "
            "rates where they are mandatory; leave it out"
        )
    if (text := words.get("cosphi")) is not None:
        if words.get("reactive_kvarh") is not None:
            raise UsageError("cosphi: found reactive-kvarh too, expected one of them; leave the other out")
        given["power_factor_percent"] = hundredths_in("cosphi", text, "a power factor from 0.01 to 1.00")
    if (text := words.get("demand_kw")) is not None:
        given["demand_w"] = energy_in("demand-kw", text)
    if (text := words.get("households_change")) is not None:
        if category not in TIERED:
            raise UsageError(f"households-change: {category.value} has no tiers that households widen; leave it out")
        given["households_changes"] = tuple(_change_of_households(each) for each in text.split(","))
    if (text := words.get("uses")) is not None:
        given["uses"] = _uses(text, category)
    return given


def _change_of_households(text: str) -> tuple[date, Fraction]:
    """Return the first day of another number of households, and that number, from ``2025-12-15=2``."""
    day, equals, after = text.strip().partition("=")
    if not equals:
        raise UsageError(f"households-change: found {text!r}, expected DAY=H like 2025-12-15=2; correct it")
    return day_in("households-change", day), fraction_in("households-change", after)


def _uses(text: str, category: Category) -> tuple[tuple[Category, Voltage, int], ...]:
    """Return the other uses of a meter from ``business=40`` or ``business@lt6=37.5,production=10``, in percent."""
    found: dict[Category, tuple[Voltage, int]] = {}
    for pair in text.split(","):
        name, equals, percent = pair.partition("=")
        kind, _, voltage = name.strip().partition("@")
        use = member_in("uses", kind, Category)
        if not equals or use in found or use is category:
            raise UsageError(
                f"uses: found {pair!r}, expected CATEGORY=PERCENT, each once and not --category, which has the rest; "
                "correct it"
            )
        share = hundredths_in("uses", percent.strip(), "percent like 40 or 37.5")
        found[use] = (member_in("uses", voltage, Voltage) if voltage else Voltage.LT6, share)
    if sum(share for _, share in found.values()) >= WHOLE_BP:
        raise UsageError(f"uses: found {text!r}, expected less than 100 % together; the rest is the category's")
    return tuple((use, voltage, share) for use, (voltage, share) in found.items())


def _households(words: Mapping[str, str | None], category: Category, days: int) -> Fraction:
    ways = [name for name in ("households", "tenants", "person_days") if words.get(name) is not None]
    if not ways:
        return Fraction(1)
    way = ways[0].replace("_", "-")
    if len(ways) > 1:
        raise UsageError(f"{way}: found {ways[1].replace('_', '-')} too, expected one of them; leave the other out")
    if category not in TIERED:
        raise UsageError(f"{way}: {category.value} has no tiers that households widen; leave it out")
    text = words[ways[0]] or ""
    if way == "tenants":
        return Fraction(whole_in(way, text, 1, HOUSEHOLDS_MAX), PEOPLE_PER_HOUSEHOLD)
    if way == "person-days":
        return Fraction(whole_in(way, text, 1, HOUSEHOLDS_MAX), PEOPLE_PER_HOUSEHOLD * days)
    return fraction_in(way, text)


def _solar(words: Mapping[str, str | None]) -> Solar:
    text = words.get("solar_regime")
    if text is None:
        asked = [name for name in ("export_kwh", "carry_in_kwh", "generation_kwh") if words.get(name) is not None]
        return Solar.SEPARATE_2020 if asked else Solar.NONE
    return member_in("solar-regime", text, Solar)
