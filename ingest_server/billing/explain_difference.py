"""A difference in sentences: which readings are others now, and of each line what it should be, what it was, and why.

What a difference says is what the bill should have been less what stood when it was made: the bill itself, or the last
difference that was approved before.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from fractions import Fraction
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row

from billing_core.explain import Beside, Language, explain_line, format_day, format_number, line_name
from billing_core.line import BillLine
from billing_core.tariff_files import load_tariffs
from ingest_server.billing.columns import MISSING, MeterRegister, Terms
from ingest_server.billing.explain import REGISTER_NAMES, UNITS, note_on
from ingest_server.billing.pack import METERED
from ingest_server.billing.period import instant_of
from ingest_server.billing.stored import SELECT_CHANNELS
from ingest_server.billing.unpack import Row, lines_of
from ingest_server.billing.versions import versions_of

SELECT_BOTH = """
    select b.metering_point_id, b.period_from, b.period_to, coalesce(b.more, '{}') as more,
           f.metered, f.line_slot, f.line_wh, f.line_amount, f.line_extra, f.made_at,
           t.category, t.voltage, t.households, t.households_parts, t.three_rates, t.solar_regime, t.reactive,
           t.undeclared_rental, t.refused_three_rates, t.two_component, t.uses, t.rate_plan,
           own.metered as stood_metered, own.line_slot as stood_slot, own.line_wh as stood_wh,
           own.line_amount as stood_amount, own.made_at as stood_made_at
    from bill_difference f
    join bill b using (bill_id)
    join bill_terms t on t.terms_id = f.terms_id
    cross join lateral (
        select * from (
            (select e.metered, e.line_slot, e.line_wh, e.line_amount, e.made_at
             from bill_difference e join bill_difference_act a using (difference_id)
             where e.bill_id = f.bill_id and a.act = 'approve' and a.acted_at <= f.made_at
             order by e.difference_id desc limit 1)
            union all
            (select b.metered, b.line_slot, b.line_wh, b.line_amount, b.created_at)) as stood
        limit 1) own
    where f.difference_id = %(difference)s
"""
SELECT_SLOTS = "select slot_id, slot from bill_slot where slot_id = any (%(slots)s::integer[])"
SENTENCES = {
    Language.VI: {
        "reading": "Công tơ {meter}, {register}: chỉ số đã dùng {old} {unit} ({old_note}) được thay bằng {new} {unit} "
        "({new_note}).",
        "reading new": "Công tơ {meter}, {register}: thêm chỉ số {new} {unit} ({new_note}).",
        "line": "{explained} Trước đây tính {old}{amount} đ; chênh lệch {now} − {amount} = {difference} đ.",
        "gone": "{name}, từ {start} đến {end}: không còn khoản này. Trước đây tính {old}{amount} đ; chênh lệch "
        "{now} − {amount} = {difference} đ.",
        "energy": "{kwh} {unit} = ",
    },
    Language.EN: {
        "reading": "Meter {meter}, {register}: the reading of {old} {unit} ({old_note}) is replaced by {new} "
        "{unit} ({new_note}).",
        "reading new": "Meter {meter}, {register}: a reading of {new} {unit} ({new_note}) is added.",
        "line": "{explained} Charged before: {old}{amount} đ; the difference is {now} − {amount} = {difference} đ.",
        "gone": "{name}, {start} to {end}: not charged any more. Charged before: {old}{amount} đ; the difference is "
        "{now} − {amount} = {difference} đ.",
        "energy": "{kwh} {unit} = ",
    },
}


@dataclass(frozen=True, slots=True)
class _Reading:
    value: int
    quality: int
    note: str


def difference_details(connection: Connection[Any], difference_id: int, language: Language) -> list[str]:
    """Return what a difference rests on, and how each of its lines comes about; nothing if there is none."""
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(SELECT_BOTH, {"difference": difference_id}).fetchone()
    if row is None:
        return []
    wanted = sorted({*row["metered"][::METERED], *row["stood_metered"][::METERED]})
    found = connection.execute(SELECT_CHANNELS, {"channels": wanted}).fetchall()
    channels = {channel: (meter, obis) for channel, meter, obis in found}
    return [
        *_reading_texts(connection, row, channels, language),
        *_line_texts(connection, row, channels, language),
    ]


def _readings(
    connection: Connection[Any], metered: Sequence[int], made_at: datetime, language: Language
) -> dict[tuple[int, datetime], _Reading]:
    """Return the readings of a document by channel and instant, with what is known of each."""
    listed = {}
    for at in range(0, len(metered), METERED):
        channel, start_us, old, old_quality, end_us, new, new_quality, _, _ = metered[at : at + METERED]
        for us, value, quality in ((start_us, old, old_quality), (end_us, new, new_quality)):
            if quality != MISSING:
                listed[channel, instant_of(us)] = (value, quality)
    versions = versions_of(connection, ((*key, *reading) for key, reading in listed.items()), made_at)
    return {
        (channel, at): _Reading(
            value,
            quality,
            note_on({"at": at.isoformat(), "quality": quality, "version": versions.get((channel, at))}, language),
        )
        for (channel, at), (value, quality) in listed.items()
    }


def _reading_texts(
    connection: Connection[Any], row: Mapping[str, Any], channels: Mapping[int, tuple[str, str]], language: Language
) -> Iterator[str]:
    say = SENTENCES[language]
    before = _readings(connection, row["stood_metered"], row["stood_made_at"], language)
    after = _readings(connection, row["metered"], row["made_at"], language)
    for key, reading in after.items():
        old = before.get(key)
        if old is not None and (old.value, old.quality) == (reading.value, reading.quality):
            continue
        meter, obis = channels[key[0]]
        label = MeterRegister(obis).label
        yield say["reading new" if old is None else "reading"].format(
            meter=meter,
            register=REGISTER_NAMES[language][label],
            unit=UNITS.get(label, "kWh"),
            old="" if old is None else _kwh(old.value, language),
            old_note="" if old is None else old.note,
            new=_kwh(reading.value, language),
            new_note=reading.note,
        )


def _line_texts(
    connection: Connection[Any], row: Mapping[str, Any], channels: Mapping[int, tuple[str, str]], language: Language
) -> Iterator[str]:
    """Yield each line that is another now: explained as of today, with what was charged before."""
    wanted = sorted({*row["line_slot"], *row["stood_slot"]})
    slots = dict(connection.execute(SELECT_SLOTS, {"slots": wanted}).fetchall())
    stood = {
        slot: (wh, amount)
        for slot, wh, amount in zip(row["stood_slot"], row["stood_wh"], row["stood_amount"], strict=True)
    }
    energy_wh = sum(wh for slot, wh in zip(row["line_slot"], row["line_wh"], strict=True) if _is_energy(slots[slot]))
    beside = Beside(active_wh=energy_wh, table=load_tariffs().power_factor_on(row["period_to"]))
    lines = [BillLine.from_json(line.operands) for line in lines_of(_as_row(row, slots, channels, energy_wh))]
    for slot, line in zip(row["line_slot"], lines, strict=True):
        old_wh, old = stood.pop(slot, (0, 0))
        if (old_wh, old) != (line.energy_wh, line.amount):
            yield _line_text(line, (old_wh, old), line.amount, language, explain_line(line, language, beside))
    for slot, (wh, amount) in stood.items():
        if amount or wh:
            line = BillLine.from_json({**slots[slot], "amount": amount})
            yield _line_text(line, (wh, amount), 0, language)


def _is_energy(slot: Mapping[str, Any]) -> bool:
    return bool(slot["kind"] == "energy")


def _as_row(
    row: Mapping[str, Any], slots: Mapping[int, Any], channels: Mapping[int, tuple[str, str]], energy_wh: int
) -> Row:
    """Return the bill as it should have been."""
    *amounts, vat = row["line_amount"]  # tax is the last
    return Row(
        metering_point_id=row["metering_point_id"],
        first_on=row["period_from"],
        last_on=row["period_to"],
        energy_wh=energy_wh,
        subtotal=sum(amounts),
        vat=vat,
        total=sum(amounts) + vat,
        terms=Terms(**{each.name: row[each.name] for each in fields(Terms)}),
        metered=row["metered"],
        slots=[slots[slot] for slot in row["line_slot"]],
        line_wh=row["line_wh"],
        line_amount=row["line_amount"],
        line_extra=row["line_extra"],
        more=row["more"],
        channels=channels,
    )


def _line_text(line: BillLine, before: tuple[int, int], now: int, language: Language, explained: str = "") -> str:
    """Return what a line is now and was before; of one that is ``explained`` by nothing, that it is gone."""
    wh, amount = before
    unit = {"reactive": "kvarh", "demand": "kW"}.get(line.kind.value, "kWh")
    sign = "+" if now >= amount else ""
    return SENTENCES[language]["line" if explained else "gone"].format(
        explained=explained,
        name=line_name(line, language),
        start=format_day(line.start_on, language),
        end=format_day(line.end_on, language),
        old=SENTENCES[language]["energy"].format(kwh=_kwh(wh, language), unit=unit) if wh else "",
        amount=format_number(amount, language),
        now=format_number(now, language),
        difference=sign + format_number(now - amount, language),
    )


def _kwh(thousandths: int, language: Language) -> str:
    return format_number(Fraction(thousandths, 1000), language)
