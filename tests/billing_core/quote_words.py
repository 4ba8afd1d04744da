"""Random bills asked for in words, as ``congto quote`` and the HTTP API are, beside the exact recomputation."""

from fractions import Fraction

from billing_core.codes import Category, Solar
from billing_core.quote import Quote, quote
from billing_core.request_text import request_from_text
from billing_core.tariff import BY_RATE, TIERED, Tariffs
from deploy.demo.exact_values import ExactBill, Use
from protocols.errors import UsageError


def words_of(use: Use, tariffs: Tariffs) -> dict[str, str] | None:
    """Return the words that ask for ``use``; ``None`` if it has something the words do not offer."""
    three, tiered = "BT" in use.kwh, Category(use.category) in TIERED
    without_words = (
        use.plan is not None
        or (use.uses and not tiered and _people(use))
        or (use.cosphi is not None and use.reactive_kvarh is not None)
        or (use.refused_three_rates and (use.uses or three or Category(use.category) not in BY_RATE))
        or (use.demand_kw is not None and use.solar is not None)
        or (use.carry_in_by_rate_kwh is not None and use.carry_in_kwh > 0)
        or (use.solar is not None and use.end_on < tariffs.solar_rule(Solar(use.solar)).effective_on)
    )
    energy = _energy(use)
    if without_words or energy is None:
        return None
    words = {"category": use.category, "voltage": use.voltage, "from": str(use.start_on), "to": str(use.end_on)}
    words |= energy
    words |= _people(use) if tiered else {}
    if use.category != "residential" and use.share_by_days and not use.before_changes_kwh:
        changes = tariffs.changes_within(use.start_on, use.end_on)
        words |= {"price_change_date": ",".join(map(str, changes))} if changes else {}
    flags = ("undeclared_rental", "refused_three_rates", *(("settle_carry",) if use.solar == "net_2017" else ()))
    words |= {name: "true" for name in flags if getattr(use, name)}
    surplus = use.solar is not None and use.solar.startswith("surplus")
    amounts = ("reactive_kvarh", "demand_kw", *(("generation_kwh",) if surplus else ()))
    words |= {name: _decimal(getattr(use, name)) for name in amounts if getattr(use, name) is not None}
    if use.solar is not None:
        words |= {"solar_regime": use.solar} | _exports(use)
        words |= {"solar_price": str(use.solar_price)} if use.solar_price else {}
    if use.nominal_days is not None:
        words["nominal_days"] = str(use.nominal_days)
    if use.cosphi is not None:
        words["cosphi"] = _decimal(use.cosphi)
    if use.uses:
        words["uses"] = ",".join(f"{name}@{voltage}={_decimal(share * 100)}" for name, voltage, share in use.uses)
    words["quota_rounding"] = "kwh" if use.quota_unit_kwh == 1 else "wh"
    return words


def _people(use: Use) -> dict[str, str]:
    """Return who lives there, in words; nothing for one household."""
    if use.tenants is not None:
        return {"tenants": str(use.tenants)}
    if use.person_days is not None:
        return {"person_days": str(use.person_days)}
    found = {} if use.households == 1 else {"households": str(use.households)}
    changes = ",".join(f"{day}={after}" for day, after in use.household_changes)
    return found | ({"households_change": changes} if changes else {})


def _energy(use: Use) -> dict[str, str] | None:
    if use.meters:
        [part, *more] = use.meters
        if more or part.backwards or part.register != "SG":
            return None
        given = {"old_index": _decimal(part.old_kwh), "new_index": _decimal(part.new_kwh)}
        digits = {} if part.digits is None else {"digits": str(part.digits)}
        return given | digits | {"multiplier": str(part.multiplier)}
    if "BT" in use.kwh:
        before = ";".join(map(_rates, use.before_changes_kwh))
        return {"rates": _rates(use.kwh)} | ({"rates_before_change": before} if before else {})
    if not use.before_changes_kwh:
        return {"kwh": _decimal(use.kwh["SG"])}
    indexes = {"old_index": [Fraction(0)], "new_index": [use.kwh["SG"]]}
    indexes["index_at_change"] = [kwh["SG"] for kwh in use.before_changes_kwh]
    return {name: ",".join(map(_decimal, index)) for name, index in indexes.items()}


def _exports(use: Use) -> dict[str, str]:
    """Return what was exported and carried, by rate where it is netted by rate."""
    if use.export_by_rate_kwh is None:
        found = {"export_kwh": _decimal(use.export_kwh)}
        found |= {"carry_in_kwh": _decimal(use.carry_in_kwh)} if use.carry_in_kwh else {}
        before = ",".join(_decimal(kwh["SG"]) for kwh in use.export_before_changes_kwh)
        return found | ({"export_before_change_kwh": before} if before else {})
    found = {"export_rates": _rates(use.export_by_rate_kwh)}
    if use.carry_in_by_rate_kwh is not None:
        found["carry_in_rates"] = _rates(use.carry_in_by_rate_kwh)
    elif use.carry_in_kwh:
        found["carry_in_kwh"] = _decimal(use.carry_in_kwh)
    before = ";".join(map(_rates, use.export_before_changes_kwh))
    return found | ({"export_rates_before_change": before} if before else {})


def _rates(kwh: dict[str, Fraction] | object) -> str:
    assert isinstance(kwh, dict)
    return ",".join(f"{rate}={_decimal(energy)}" for rate, energy in kwh.items())


def _decimal(value: Fraction) -> str:
    """Return a number of at most three decimals as people write it."""
    whole, thousandths = divmod(int(value * 1000), 1000)
    return f"{whole}.{thousandths:03}".rstrip("0").rstrip(".")


def quoted(words: dict[str, str], tariffs: Tariffs | None = None) -> ExactBill | None:
    """Return what the quote says, in the terms of the recomputation; ``None`` if it is refused."""
    try:
        found = quote(request_from_text(words), tariffs)
    except UsageError:
        return None
    return ExactBill(
        lines=tuple(sorted((Fraction(line.energy_wh, 1000), line.price or 0, line.amount) for line in found.lines)),
        subtotal=found.subtotal,
        vat=found.vat,
        total=found.total,
        bought_kwh=Fraction(0 if found.purchase is None else found.purchase.energy_wh, 1000),
        purchase=_purchase(found),
        carry_out_kwh=Fraction(found.carry_out_wh, 1000),
        carry_out_by_rate_kwh=tuple(Fraction(wh, 1000) for wh in found.carry_out_rates_wh or ()),
    )


def _purchase(found: Quote) -> int | None:
    if found.purchase_hold is not None:
        return None
    return 0 if found.purchase is None else found.purchase.amount
