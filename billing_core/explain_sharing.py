"""How a meter's energy comes to the lines of a bill, in words: several uses, changes of price, households, tenants.

Each sentence is said only where its arithmetic comes to the energy that the lines charge.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from itertools import accumulate, pairwise

from billing_core.codes import Category, LineKind, Register, Voltage
from billing_core.explain import RATE_NAMES, format_day, format_number
from billing_core.explain_names import VOLTAGES, Language, category_of, use_name
from billing_core.line import BillLine
from billing_core.tiers import WH_PER_KWH

SENTENCES = {
    Language.VI: {
        "uses": "Một công tơ dùng cho nhiều mục đích, chia điện năng theo tỷ lệ trong hợp đồng, làm tròn đến kWh: "
        "{uses}.",
        "use": "{use} ({voltage}) {percent} % × {whole} kWh = {kwh} kWh",
        "use after": "{use} ({voltage}) {percent} %: cộng dồn {until} % × {whole} kWh − {before} kWh của các mục đích "
        "trước = {kwh} kWh",
        "last use": "{use} ({voltage}) {percent} %, phần còn lại {kwh} kWh",
        "use by register": "{use} ({voltage}) {percent} %: {kwh} kWh (chia riêng từng phần)",
        "days": "Giá đổi trong kỳ, chia theo số ngày, làm tròn đến kWh{what}: {parts}.",
        "part": "đến hết {end} {whole} kWh × {days} ÷ {all_days} ngày = {kwh} kWh",
        "part after": "đến hết {end} {whole} kWh × {days} ÷ {all_days} ngày − {before} kWh của các ngày trước = "
        "{kwh} kWh",
        "last part": "từ {start} phần còn lại {kwh} kWh",
        "average": "Số hộ đổi trong kỳ, lấy bình quân theo ngày{span}: ({terms}) ÷ {days} ngày = {households} hộ.",
        "span": " từ {start} đến {end}",
        "term": "{households} hộ × {days} ngày",
        "tenants": "Số hộ tính định mức: {people} người thuê nhà ÷ {parts} = {households} hộ.",
        "fraction": "Số hộ tính định mức: {households} hộ (bốn người thuê nhà tính là một hộ).",
    },
    Language.EN: {
        "uses": "One meter has several uses; its energy is shared out as the contract says, to whole kWh: {uses}.",
        "use": "{use} ({voltage}) {percent} % × {whole} kWh = {kwh} kWh",
        "use after": "{use} ({voltage}) {percent} %: together {until} % × {whole} kWh − {before} kWh of the uses "
        "before = {kwh} kWh",
        "last use": "{use} ({voltage}) {percent} %, the rest of {kwh} kWh",
        "use by register": "{use} ({voltage}) {percent} %: {kwh} kWh (each part shared out by itself)",
        "days": "The price changes in the period; energy is shared out by days, to whole kWh{what}: {parts}.",
        "part": "until {end} {whole} kWh × {days} ÷ {all_days} days = {kwh} kWh",
        "part after": "until {end} {whole} kWh × {days} ÷ {all_days} days − {before} kWh of the days before = "
        "{kwh} kWh",
        "last part": "from {start} the rest of {kwh} kWh",
        "average": "Households change in the period; their average over the days{span} is ({terms}) ÷ {days} days = "
        "{households} households.",
        "span": " of {start} to {end}",
        "term": "{households} × {days} days",
        "tenants": "Households that widen the tiers: {people} tenants ÷ {parts} = {households}.",
        "fraction": "Households that widen the tiers: {households} (four tenants count as one).",
    },
}


@dataclass(frozen=True, slots=True)
class Use:
    """A use of a mixed one. [share in percent]"""

    category: Category
    voltage: Voltage
    percent: Fraction


def uses_texts(lines: Sequence[BillLine], uses: Sequence[Use], language: Language) -> list[str]:
    """Return how energy is shared out among uses, in the contract's order, the last of which takes the rest.

    Each use ends where the shares up to it end, in whole kWh: rounding never adds up. Where the registers, or the parts
    of a period, were shared out each by itself, the whole does not come to it, and only that is said.
    """
    if not uses:
        return []
    say, told = SENTENCES[language], []
    own = [_energy(lines, use.category) for use in uses]
    whole = sum(own)
    shares, ends = list(accumulate(use.percent for use in uses)), list(accumulate(own))
    as_one = all(
        min(_half_up(whole * share / 100), whole) == end for share, end in zip(shares[:-1], ends[:-1], strict=True)
    )
    for number, (use, energy) in enumerate(zip(uses, own, strict=True)):
        words = {
            "use": use_name(use.category, language),
            "voltage": VOLTAGES[language][use.voltage],
            "percent": format_number(use.percent, language),
            "until": format_number(shares[number], language),
            "before": format_number(Fraction(ends[number] - energy, WH_PER_KWH), language),
            "whole": format_number(Fraction(whole, WH_PER_KWH), language),
            "kwh": format_number(Fraction(energy, WH_PER_KWH), language),
        }
        if number == len(uses) - 1:
            told.append(say["last use"].format(**words))
        else:
            told.append(say[("use after" if number else "use") if as_one else "use by register"].format(**words))
    return [say["uses"].format(uses="; ".join(told))]


def days_texts(lines: Sequence[BillLine], read_on: Collection[date], language: Language) -> Iterator[str]:
    """Yield how energy is shared out over parts of different prices; nothing where the meter was read in between.

    Parameters
    ----------
    read_on
        First days of parts whose meter was read then.
    """
    groups: dict[tuple[Category | None, Register | None], list[BillLine]] = {}
    for line in lines:
        if line.kind is LineKind.ENERGY:
            rate = line.register if _by_rate(line) else None
            groups.setdefault((category_of(line.clause), rate), []).append(line)
    several = len(groups) > 1
    for (use, rate), own in groups.items():
        spans = sorted({(line.start_on, line.end_on) for line in own})
        if len(spans) < 2 or any(start in read_on for start, _ in spans[1:]):
            continue
        names = [use_name(use, language)] if use is not None else []
        names += [RATE_NAMES[language][rate]] if rate is not None else []
        what = f" ({', '.join(names)})" if several and names else ""
        if parts := _parts(own, spans, language):
            yield SENTENCES[language]["days"].format(what=what, parts="; ".join(parts))


def _parts(lines: Sequence[BillLine], spans: Sequence[tuple[date, date]], language: Language) -> list[str]:
    """Return each part's energy and how it is found; nothing where days do not come to it."""
    say, told = SENTENCES[language], []
    energies = [sum(line.energy_wh for line in lines if line.start_on == start) for start, _ in spans]
    whole, all_days = sum(energies), lines[0].period_days
    given = days = 0
    for number, ((start, end), energy) in enumerate(zip(spans, energies, strict=True)):
        days += (end - start).days + 1
        if min(_half_up(Fraction(whole * days, all_days)), whole) != given + energy:
            return []
        words = {
            "start": format_day(start, language),
            "end": format_day(end, language),
            "days": days,
            "all_days": all_days,
            "whole": format_number(Fraction(whole, WH_PER_KWH), language),
            "before": format_number(Fraction(given, WH_PER_KWH), language),
            "kwh": format_number(Fraction(energy, WH_PER_KWH), language),
        }
        last = number == len(spans) - 1
        told.append(say["last part" if last else "part after" if number else "part"].format(**words))
        given += energy
    return told


def households_texts(
    lines: Sequence[BillLine],
    households: Fraction,
    changes: Sequence[tuple[date, Fraction]],
    language: Language,
    *,
    parts: int = 1,
) -> Iterator[str]:
    """Yield how the number of households that widens the tiers comes about, if it is not simply the contract's.

    Parameters
    ----------
    households, changes
        At the begin, and from which days on how many.
    parts
        By how much tenants are divided to make ``households`` of them; 1 where it is not known, or there are none.
    """
    say = SENTENCES[language]
    spans = sorted({(line.start_on, line.end_on) for line in lines if line.formula == "tier"})
    if not spans:
        return
    if parts > 1 and not changes:
        people = format_number(households * parts, language)
        yield say["tenants"].format(people=people, parts=parts, households=format_number(households, language))
    elif households.denominator > 1 and not changes:
        yield say["fraction"].format(households=format_number(households, language))
    for start, end in spans if changes else ():
        marks = [(start, households), *changes, (end + timedelta(days=1), Fraction(0))]
        terms, summed = [], Fraction(0)
        for (since, count), (until, _) in pairwise(marks):
            own = (min(until, end + timedelta(days=1)) - max(since, start)).days
            if own > 0:
                terms.append(say["term"].format(households=format_number(count, language), days=own))
                summed += count * own
        days = (end - start).days + 1
        if len(terms) > 1:
            span = say["span"].format(start=format_day(start, language), end=format_day(end, language))
            yield say["average"].format(
                span=span if len(spans) > 1 else "",
                terms=" + ".join(terms),
                days=days,
                households=format_number(summed / days, language),
            )


def _by_rate(line: BillLine) -> bool:
    return line.formula == "rate"


def _energy(lines: Sequence[BillLine], category: Category) -> int:
    return sum(
        line.energy_wh for line in lines if line.kind is LineKind.ENERGY and category_of(line.clause) is category
    )


def _half_up(energy_wh: Fraction) -> int:
    """Return energy in whole kWh, half up, in Wh."""
    return int(energy_wh / WH_PER_KWH + Fraction(1, 2)) * WH_PER_KWH
