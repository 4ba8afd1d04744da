"""``congto quote``: what an amount of energy costs, and why."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from billing_core.request_separators import SEPARATORS
from protocols.errors import UsageError

if TYPE_CHECKING:
    from billing_core.quote_request import QuoteRequest

OPTIONS = (
    (
        "--category",
        "NAME",
        "residential, production, business, hospital_school, lighting_admin, prepaid, wholesale_rural, wholesale_…",
    ),
    ("--kwh", "E", "energy of the period in kWh, up to three decimals"),
    ("--from", "DAY", "first day billed, like 2025-12-01"),
    ("--to", "DAY", "last day billed"),
    ("--rates", "BT=…,CD=…,TD=…", "kWh at the normal, peak and off-peak rate (production, business)"),
    ("--voltage", "V", "lt6 (the default), 6_22, 22_110, ge110, ge22 or ge6, in kV"),
    ("--households", "H", "households behind the meter: 2, 1.25 or 5/4"),
    ("--tenants", "P", "people in a shared house; four make one household"),
    ("--person-days", "D", "days that people lived there, summed, where tenants moved in or out"),
    ("--households-change", "DAY=H,…", "another number of households from that day on; several in order"),
    ("--uses", "CATEGORY=PERCENT,…", "mixed use: what else the energy is used for; the rest is --category's"),
    ("--nominal-days", "T", "length of the nominal reading cycle, if not the month that begins on the first day"),
    ("--old-index", "E", "index of the register before, in kWh, instead of --kwh"),
    ("--new-index", "E", "index of the register after"),
    ("--digits", "D", "whole digits of the register, if it may have rolled over"),
    ("--multiplier", "M", "ratio of the current transformer × that of the voltage transformer"),
    (
        "--price-change-date",
        "DAY",
        "first day of a new act; only to estimate by days what a meter read then would show; once for each change",
    ),
    (
        "--index-at-change",
        "E",
        "index of the register on the day of the price change, with --old-index and --new-index; once for each change",
    ),
    (
        "--rates-before-change",
        "BT=…,CD=…,TD=…",
        "kWh by rate up to the price change, with --rates; once for each change",
    ),
    ("--export-kwh", "E", "energy exported by rooftop solar"),
    ("--export-rates", "BT=…,CD=…,TD=…", "the same by rate: net_2017 with --rates nets each rate by itself"),
    (
        "--export-before-change-kwh",
        "E",
        "what of it was exported up to the price change; net_2017 with --index-at-change; once for each change",
    ),
    (
        "--export-rates-before-change",
        "BT=…,CD=…,TD=…",
        "the same by rate; net_2017 with --rates-before-change; once for each change",
    ),
    ("--generation-kwh", "E", "energy the panels generated; regimes of 2024 on buy up to a share of it"),
    (
        "--solar-regime",
        "R",
        "net_2017, separate_2019, separate_2020 (the default with export), surplus_2024, surplus_2026",
    ),
    ("--solar-price", "P", "price of exported energy in đ/kWh, where no published one is known"),
    ("--carry-in-kwh", "E", "surplus carried over from the cycle before (net metering)"),
    ("--carry-in-rates", "BT=…,CD=…,TD=…", "the same by rate, with --export-rates"),
    ("--reactive-kvarh", "Q", "reactive energy, where it is charged (from 40 kW)"),
    ("--cosphi", "X", "power factor, instead of the reactive energy"),
    ("--demand-kw", "P", "highest half hour of the month: prices by the two-component pilot (production)"),
    ("--quota-rounding", "TO", "round the tiers' widths to whole kwh (EVN, the default) or keep fractions to the wh"),
)

FLAGS = ("settle_carry", "undeclared_rental", "refused_three_rates")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``congto quote``."""
    for option, metavar, purpose in OPTIONS:
        parser.add_argument(
            option,
            metavar=metavar,
            help=purpose,
            required=option in ("--category", "--from", "--to"),
            action="append" if _word_name(option) in SEPARATORS else "store",
        )
    parser.add_argument(
        "--settle-carry", action="store_true", help="buy the surplus now (year end) instead of carrying it"
    )
    parser.add_argument(
        "--undeclared-rental",
        action="store_true",
        help="tenants whose number was not declared: all at one tier's price",
    )
    parser.add_argument(
        "--refused-three-rates", action="store_true", help="a mandatory three-rate meter was refused: all at peak price"
    )
    parser.add_argument("--rate-plan", metavar="FILE", help="price by a rate plan of this file, with --plan-name")
    parser.add_argument("--plan-name", metavar="NAME", help="which one; of several of the name that of the first day")
    parser.add_argument("--demand-before-kw", metavar="P", help="highest demand of the months its ratchet reaches")
    parser.add_argument("--explain", action="store_true", help="say for each line how it comes about")
    parser.add_argument("--language", choices=("vi", "en"), default="vi", help="language of tables and explanations")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the quote; a request that cannot be priced raises ``UsageError``."""
    from billing_core.explain import Language
    from billing_core.quote import quote
    from billing_core.request_text import request_from_text

    words = {name: _word(name, arguments) for name in (_word_name(option) for option, _, _ in OPTIONS)}
    words |= {name: "true" for name in FLAGS if getattr(arguments, name)}
    answer = quote(_with_plan(request_from_text(words), arguments))
    language = Language(arguments.language)
    if arguments.json:
        found = answer.to_json(language)
        if arguments.explain:
            from billing_core.explain_quote import quote_texts

            found["explanations"] = list(quote_texts(answer, language, words))
        print(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        from billing_core.quote_table import print_quote

        print_quote(answer, language, explain=arguments.explain, words_given=words)
    return 0


def _word_name(option: str) -> str:
    return option[2:].replace("-", "_")


def _word(name: str, arguments: argparse.Namespace) -> str | None:
    """Return what an option was given, joined where it was given several times."""
    given: str | list[str] | None = getattr(arguments, name)
    return SEPARATORS[name].join(given) if isinstance(given, list) else given


def _with_plan(request: "QuoteRequest", arguments: argparse.Namespace) -> "QuoteRequest":
    """Return a request with the rate plan it asks for."""
    from billing_core.rate_plan import rate_plans_of
    from billing_core.request_plan import with_plan

    file, name, before = arguments.rate_plan, arguments.plan_name, arguments.demand_before_kw
    if file is None and (name is not None or before is not None):
        raise UsageError("plan-name and demand-before-kw: found one without rate-plan; give the plan's file too")
    if file is None:
        return request
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"rate-plan: {file} can't be read ({error}); correct the path") from error
    return with_plan(request, rate_plans_of(text, file), name, before)
