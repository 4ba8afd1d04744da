"""What happened to the metering of a stored bill, in words: registers that were set, and load profiles."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from fractions import Fraction
from itertools import pairwise
from typing import Any

from billing_core.codes import RATES
from billing_core.explain import Language, format_number
from ingest_server.billing.period import civil_text

CLOCKS = {Language.VI: "%H:%M %d/%m/%Y", Language.EN: "%Y-%m-%d %H:%M"}
WORDS: Mapping[str, Mapping[Language, str]] = {
    "set": {
        Language.VI: "Lúc {at} thanh ghi {register} của công tơ {meter} được đặt lại từ {before} thành {after} "
        "{unit}: phần trước và phần sau được cộng lại.",
        Language.EN: "At {at} the register {register} of meter {meter} was set from {before} to {after} {unit}: what "
        "it counted before and after is added up.",
    },
    "profile": {
        Language.VI: "Công tơ {meter}, biểu phụ tải từ {at}: {count} khoảng {minutes} phút cộng lại {total} kWh, chỉ "
        "số đếm {counted} kWh{difference}.",
        Language.EN: "Meter {meter}, load profile from {at}: {count} intervals of {minutes} minutes sum to {total} "
        "kWh, the register counted {counted} kWh{difference}.",
    },
    "difference": {
        Language.VI: "; chênh lệch {kwh} kWh chia vào các khoảng theo điện năng",
        Language.EN: "; the difference of {kwh} kWh is put into the intervals in proportion to their energy",
    },
    "rates": {
        Language.VI: "Theo biểu giờ {schedules}: {rates}.",
        Language.EN: "By the schedule {schedules}: {rates}.",
    },
    "since": {Language.VI: "{name} từ {at}", Language.EN: "{name} from {at}"},
    "demand": {
        Language.VI: "Công suất cực đại theo biểu phụ tải: nửa giờ cao nhất {kw} kW.",
        Language.EN: "Highest demand by the load profile: {kw} kW in the highest half hour.",
    },
}


def metering_texts(
    inputs: Mapping[str, Any], units: Mapping[str, str], names: Mapping[str, str], language: Language
) -> Iterator[str]:
    """Yield what was set at the meters of a bill, and what its load profiles came to.

    Parameters
    ----------
    units, names
        Of registers, by their labels; kWh where no unit is named.
    """
    yield from _resets(inputs["meters"], units, names, language)
    for kept in inputs.get("profiles", ()):
        yield _profile(kept, language)
        if "rates_wh" in kept:
            yield _rates(kept, names, language)
    if "demand_w" in inputs:
        yield WORDS["demand"][language].format(kw=_number(inputs["demand_w"], language))


def _resets(
    meters: list[Mapping[str, Any]], units: Mapping[str, str], names: Mapping[str, str], language: Language
) -> Iterator[str]:
    """Yield what registers show to have been set: a part of a meter begins with another index than the last ended."""
    for before, after in pairwise(meters):
        if before["meter_id"] != after["meter_id"]:
            continue
        ends = {each["register"]: each["readings"][-1] for each in before["registers"]}
        for each in after["registers"]:
            was, now = ends.get(each["register"]), each["readings"][0]
            if was is None or was["at"] != now["at"] or was["value_wh"] == now["value_wh"]:
                continue
            yield WORDS["set"][language].format(
                at=_clock(now["at"], language),
                register=names[each["register"]],
                meter=after["meter_id"],
                before=_number(was["value_wh"], language),
                after=_number(now["value_wh"], language),
                unit=units.get(each["register"], "kWh"),
            )


def _profile(kept: Mapping[str, Any], language: Language) -> str:
    difference = kept["difference_wh"]
    told = WORDS["difference"][language].format(kwh=_number(difference, language)) if difference else ""
    return WORDS["profile"][language].format(
        meter=kept["meter_id"],
        at=_clock(kept["begins"], language),
        count=format_number(len(kept["energy_wh"]), language),
        minutes=kept["minutes"],
        total=_number(kept["register_wh"] - difference, language),
        counted=_number(kept["register_wh"], language),
        difference=told,
    )


def _rates(kept: Mapping[str, Any], names: Mapping[str, str], language: Language) -> str:
    (_, first), *later = kept["schedules"]
    schedules = [first, *(WORDS["since"][language].format(name=name, at=_clock(at, language)) for at, name in later)]
    rates = [
        f"{names[rate.value]} {_number(energy, language)} kWh"
        for rate, energy in zip(RATES, kept["rates_wh"], strict=True)
    ]
    return WORDS["rates"][language].format(schedules=", ".join(schedules), rates=", ".join(rates))


def _clock(at: str, language: Language) -> str:
    return civil_text(datetime.fromisoformat(at), CLOCKS[language])


def _number(thousandths: int, language: Language) -> str:
    return format_number(Fraction(thousandths, 1000), language)
