"""A quote in sentences: how its energy comes about, its lines, its tax and its purchase, as of a stored bill."""

from collections.abc import Iterator, Mapping
from datetime import date
from fractions import Fraction
from itertools import pairwise

from billing_core.codes import Solar
from billing_core.consumption import consume
from billing_core.explain import Beside, explain_line
from billing_core.explain_hours import Programmed, hours_of, schedule_text
from billing_core.explain_names import Language
from billing_core.explain_registers import Counted, counted_text
from billing_core.explain_sharing import Use, days_texts, households_texts, uses_texts
from billing_core.explain_solar import Netting, netting_by_rate_texts, netting_text
from billing_core.mixed_use import WHOLE_BP
from billing_core.quote import Quote
from billing_core.quote_request import QuoteRequest, as_three_rates
from billing_core.request_separators import SEVERAL
from billing_core.request_words import energy_in
from billing_core.tariff_files import load_tariffs

REGISTER = {Language.VI: "Công tơ", Language.EN: "Meter"}


def quote_texts(answer: Quote, language: Language, given: Mapping[str, str | None] | None = None) -> Iterator[str]:
    """Yield the sentences of a quote in the order of its arithmetic.

    Parameters
    ----------
    given
        The words it was asked with (:func:`billing_core.request_text.request_from_text`): the indexes are in them.
    """
    request, tariffs = answer.request, load_tariffs()
    yield from _register_texts(given or {}, language)
    yield from _netting_texts(answer, language)
    yield from uses_texts(answer.lines, _uses(request), language)
    yield from days_texts(answer.lines, _read_on(answer), language)
    yield from households_texts(answer.lines, request.households, request.households_changes, language)
    hours = {}
    schedule = tariffs.schedule_on(request.end_on)
    if schedule is not None and any(line.formula == "rate" for line in answer.lines):
        yield schedule_text(Programmed(schedule), language)
        hours = dict(hours_of(schedule, language))
    beside = Beside(
        active_wh=answer.billed_wh,
        table=tariffs.power_factor_on(request.end_on),
        hours=hours,
        plan=request.rate_plan,
    )
    for line in answer.all_lines():
        yield explain_line(line, language, beside)


def _register_texts(given: Mapping[str, str | None], language: Language) -> Iterator[str]:
    """Yield what the register counted, if indexes were given: between each two of them."""
    old, new = given.get("old_index"), given.get("new_index")
    if old is None or new is None:
        return
    between = (given.get("index_at_change") or "").split(SEVERAL) if given.get("index_at_change") else []
    indexes = [energy_in("index", each) for each in (old, *between, new)]
    digits, multiplier = (int(given.get(name) or otherwise) for name, otherwise in (("digits", 0), ("multiplier", 1)))
    for before, after in pairwise(indexes):
        used = consume([before], [after], digits=digits, multiplier=multiplier)
        counted = Counted(
            whose=REGISTER[language],
            unit="kWh",
            old=before,
            new=after,
            digits=digits,
            multiplier=multiplier,
            used=int(used.energy_wh[0]),
        )
        yield counted_text(counted, language)


def _netting_texts(answer: Quote, language: Language) -> Iterator[str]:
    """Yield how a roof was settled, each rate by itself where it was netted so."""
    request = answer.request
    if request.solar is Solar.NONE:
        return
    rule = load_tariffs().solar_rule(request.solar)
    if rule.method == "net" and isinstance(request.energy_wh, tuple):
        columns = (request.energy_wh, as_three_rates(request.export_wh), as_three_rates(request.carry_in_wh))
        yield from netting_by_rate_texts(rule.act, columns, language, settled=request.settle_carry)
        return
    netting = Netting(
        method=rule.method,
        act=rule.act,
        import_wh=sum(as_three_rates(request.energy_wh)),
        export_wh=sum(as_three_rates(request.export_wh)),
        billed_wh=answer.billed_wh,
        carried_in_wh=sum(as_three_rates(request.carry_in_wh)),
        carried_out_wh=answer.carry_out_wh,
        settled=request.settle_carry,
    )
    yield netting_text(netting, language)


def _uses(request: QuoteRequest) -> list[Use]:
    """Return the uses of a mixed one in the order in which energy is shared out; none of a single use."""
    if not request.uses:
        return []
    rest = WHOLE_BP - sum(share for _, _, share in request.uses)
    listed = ((request.category, request.voltage, rest), *request.uses)
    return [Use(category, voltage, Fraction(share, WHOLE_BP // 100)) for category, voltage, share in listed]


def _read_on(answer: Quote) -> set[date]:
    """Return the days at new prices on which the meter was read."""
    return {line.start_on for line in answer.lines} if answer.request.before_changes_wh else set()
