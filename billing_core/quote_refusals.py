"""Why a quote cannot be priced, with what was asked for: what was found, what was expected, and the cure."""

from billing_core.codes import HOLD_TEXTS, Hold, Solar
from billing_core.quote_request import QuoteRequest
from billing_core.tariff import Tariffs
from protocols.errors import UsageError


def check_price_changes(request: QuoteRequest, tariffs: Tariffs) -> None:
    """Refuse a day of price change on which no act came into force inside the period, and an estimate by some only."""
    changes = tariffs.changes_within(request.start_on, request.end_on)
    found = " and ".join(change.isoformat() for change in changes) or "none"
    for day in request.price_changes_on:
        if day not in changes:
            raise UsageError(
                f"the price change: found {day}, expected the first day of a new act after {request.start_on} and up "
                f"to {request.end_on} (in this period: {found}); correct the date or leave it out"
            )
    if request.price_changes_on and set(request.price_changes_on) != set(changes):
        given = " and ".join(day.isoformat() for day in request.price_changes_on)
        raise UsageError(
            f"the price change: found {given}, expected each change of the period ({found}); give "
            "the others too, or none"
        )


def check_pilot(request: QuoteRequest, tariffs: Tariffs) -> None:
    """Refuse a demand where neither a rate plan nor the two-component pilot prices it."""
    if request.demand_w is None or request.rate_plan is not None:
        return
    pilot = tariffs.two_component_on(request.start_on)
    if pilot is None:
        first = tariffs.two_component[0].effective_on if tariffs.two_component else None
        known = "the tariff files have none" if first is None else f"it begins on {first}"
        raise UsageError(
            f"demand-kw: found a period from {request.start_on}, expected one of the two-component pilot ({known}); "
            "correct the dates, or leave demand-kw out"
        )
    if request.category is not pilot.category:
        raise UsageError(
            f"demand-kw: found it with {request.category.value}, expected {pilot.category.value}, whose demand alone "
            "the two-component pilot prices; leave demand-kw out, or give a rate-plan that charges demand"
        )


def check_solar(request: QuoteRequest, tariffs: Tariffs) -> None:
    """Refuse a regime that is not yet in force, and what the regime asked for would not look at."""
    if request.solar is Solar.NONE:
        method, named = "", "no solar-regime"
    else:
        rule = tariffs.solar_rule(request.solar)
        method, named = rule.method, rule.regime.value
        if request.end_on < rule.effective_on:
            raise UsageError(
                f"solar-regime: found {named} in a period up to {request.end_on}, expected one in force by then: "
                f"{rule.act} is from {rule.effective_on} on; correct the regime or the dates"
            )
    carried = request.carry_in_wh if isinstance(request.carry_in_wh, tuple) else (request.carry_in_wh,)
    for given, option, wanted, why in (
        (any(carried), "carry-in", "net", "which alone carries a surplus on"),
        (request.settle_carry, "settle-carry", "net", "which alone has a surplus to settle"),
        (bool(request.generation_wh), "generation-kwh", "surplus", "which buy a share of what was generated"),
        (bool(request.solar_price), "solar-price", "", "whose purchase it prices"),
    ):
        if given and (method != wanted if wanted else not method):
            fitting = [each.regime.value for each in tariffs.solar if not wanted or each.method == wanted]
            raise UsageError(
                f"{option}: found it with {named}, expected it with solar-regime {' or '.join(fitting)}, {why}; leave "
                "it out, or give that solar-regime"
            )


def refusal_of(request: QuoteRequest, hold: Hold, tariffs: Tariffs) -> str:
    """Say why, with what was asked for."""
    asked = f"{request.category.value}, {request.voltage.value}, {request.start_on} to {request.end_on}"
    if hold in (Hold.NO_PRICE, Hold.VOLTAGE_NOT_PRICED) and (missing := _missing_price(request, tariffs)):
        return f"{asked}: {missing}"
    if hold is Hold.NO_PRICE:
        first = tariffs.acts[0]
        return f"{asked}: {HOLD_TEXTS[hold]}; the first is {first.name}, in force from {first.effective_on}"
    if hold is Hold.NO_VAT_RATE:
        return f"{asked}: {HOLD_TEXTS[hold]}; rates are known up to {tariffs.vat[-1].end_on}"
    if hold is Hold.PRICE_CHANGE_NOT_READ:
        days = ", ".join(str(day) for day in tariffs.changes_within(request.start_on, request.end_on))
        return (
            f"{asked}: {HOLD_TEXTS[hold]} (it changes on {days}), or give each such day as price-change-date for an "
            "estimate"
        )
    return f"{asked}: {HOLD_TEXTS[hold]}"


def _missing_price(request: QuoteRequest, tariffs: Tariffs) -> str:
    """Say which act in force has no price for which use, and where it has one; nothing if no act is the reason."""
    days = (request.start_on, *tariffs.changes_within(request.start_on, request.end_on))
    uses = [(request.category, request.voltage), *((category, voltage) for category, voltage, _ in request.uses)]
    for act in filter(None, map(tariffs.act_on, days)):
        for category, voltage in uses:
            priced = act.priced_voltages(category)
            if not priced:
                where = f"{act.name}: none for {category.value}, at any voltage"
                return f"{HOLD_TEXTS[Hold.NO_PRICE]} ({where}): correct the category or the dates"
            if voltage not in priced:
                known = ", ".join(each.value for each in priced)
                return f"{category.value} has no price at this voltage, {voltage.value}; {act.name} has one at {known}"
    return ""
