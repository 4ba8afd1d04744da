"""When each of the three rates runs, in words: the schedule a meter was programmed with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from billing_core.codes import Register
from billing_core.explain_names import Language, acts_in
from billing_core.tariff import TimeOfUse

WORDS = {
    Language.VI: {
        "and": " và ",
        "weekdays": ", trừ Chủ nhật",
        "holidays": " và ngày lễ",
        "rest": "các giờ còn lại",
        "schedule": "Biểu thời gian{meter}{since}: giờ cao điểm (CĐ) {peak}; giờ thấp điểm (TĐ) {off_peak}; giờ bình "
        "thường (BT) là {rest}. Căn cứ: {acts}.",
        "name": " năm {name}",
        "meter": " của công tơ {meter}",
        "since": ", chạy từ {since:%d/%m/%Y}",
    },
    Language.EN: {
        "and": " and ",
        "weekdays": ", not on Sundays",
        "holidays": " and holidays",
        "rest": "all other hours",
        "schedule": "Hours of the rates{meter}{since}: peak (CD) {peak}; off-peak (TD) {off_peak}; normal (BT) {rest}. "
        "By {acts}.",
        "name": " by the schedule of {name}",
        "meter": " of meter {meter}",
        "since": ", in the meter since {since}",
    },
}


@dataclass(frozen=True, slots=True)
class Programmed:
    """Which schedule a meter ran within a period, and from when; none of the day if it ran before the period."""

    schedule: TimeOfUse
    meter_id: str = ""
    since_on: date | None = None


def hours_of(schedule: TimeOfUse, language: Language) -> Mapping[Register, str]:
    """Return when each rate runs, to stand in brackets behind its name."""
    words = WORDS[language]
    days = "" if schedule.sunday_peak else words["weekdays"] + words["holidays"] * schedule.holidays_as_sunday
    return {
        Register.BT: words["rest"],
        Register.CD: _windows(schedule.peak, language) + days,
        Register.TD: _windows(schedule.off_peak, language),
    }


def schedule_text(programmed: Programmed, language: Language) -> str:
    """Return when the rates run, and by which act, as a sentence."""
    words, schedule = WORDS[language], programmed.schedule
    hours = hours_of(schedule, language)
    named = words["name"].format(name=schedule.name)
    return words["schedule"].format(
        meter=named + (words["meter"].format(meter=programmed.meter_id) if programmed.meter_id else ""),
        since="" if programmed.since_on is None else words["since"].format(since=programmed.since_on),
        peak=hours[Register.CD],
        off_peak=hours[Register.TD],
        rest=hours[Register.BT],
        acts=acts_in(schedule.source, language),
    )


def _windows(windows: Sequence[tuple[int, int]], language: Language) -> str:
    return WORDS[language]["and"].join(f"{_clock(start)}–{_clock(end)}" for start, end in windows)


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"
