"""Where a bill stands in its chain: what it took the place of, what took its, and the differences beside it."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, LiteralString

from billing_core.explain import Language, format_number
from ingest_server.billing.control_words import STATE_WORDS
from ingest_server.billing.period import civil_text

# Bills of the same point for any of the same days: the next ones that took its place, the last ones it took that of.
# Columns of a query in which ``b`` is the bill; ids ascend with time.
CHAIN: LiteralString = """
    (select coalesce(array_agg(n.bill_id order by n.bill_id), '{}') from bill n
     where n.metering_point_id = b.metering_point_id and n.bill_id > b.bill_id
       and n.period_from <= b.period_to and n.period_to >= b.period_from
       and not exists (select from bill m
                       where m.metering_point_id = b.metering_point_id and m.bill_id > b.bill_id
                         and m.bill_id < n.bill_id and m.period_from <= least(b.period_to, n.period_to)
                         and m.period_to >= greatest(b.period_from, n.period_from))) as replaced_by,
    (select coalesce(array_agg(o.bill_id order by o.bill_id), '{}') from bill o
     where o.metering_point_id = b.metering_point_id and o.bill_id < b.bill_id
       and o.period_from <= b.period_to and o.period_to >= b.period_from
       and not exists (select from bill m
                       where m.metering_point_id = b.metering_point_id and m.bill_id < b.bill_id
                         and m.bill_id > o.bill_id and m.period_from <= least(b.period_to, o.period_to)
                         and m.period_to >= greatest(b.period_from, o.period_from))) as replaces,
    (select coalesce(sum(f.total), 0)::bigint from bill_difference f join bill_difference_act a using (difference_id)
     where f.bill_id = b.bill_id and a.act = 'approve') as difference,
    (select count(*) from bill_difference f join bill_difference_act a using (difference_id)
     where f.bill_id = b.bill_id and a.act = 'approve') as differences,
    (select count(*) from bill_difference f
     where f.bill_id = b.bill_id
       and not exists (select from bill_difference_act a where a.difference_id = f.difference_id)) as proposed
"""
SENTENCES = {
    Language.VI: {
        "bill": "Hóa đơn {bill_id} (bản {version}), khách hàng {customer}, điểm đo {point}: {state}.",
        "cancelled": "Hóa đơn này đã bị hủy ngày {on}, người hủy {who}, lý do: {note}. Không thanh toán theo hóa "
        "đơn này.",
        "replaced": "Thay bằng hóa đơn {bills}.",
        "replaces": "Thay cho hóa đơn {bills}.",
        "differences": "Có {count} điều chỉnh đã duyệt, cộng {total} đ: phải trả {now} đ thay vì {was} đ.",
        "proposed": "Có {count} điều chỉnh đang chờ duyệt.",
        "short replaced": "{state}, thay bằng {bills}",
        "short replaces": "{state}, thay cho {bills}",
        "short differences": "{state}, điều chỉnh {total} đ",
    },
    Language.EN: {
        "bill": "Bill {bill_id} (version {version}), customer {customer}, metering point {point}: {state}.",
        "cancelled": "This bill was cancelled on {on} by {who}: {note}. It is not to be paid.",
        "replaced": "Bill {bills} stands in its place.",
        "replaces": "It stands in the place of bill {bills}.",
        "differences": "Differences that were approved: {count}, {total} đ in all; {now} đ are to be paid instead "
        "of {was} đ.",
        "proposed": "Differences that wait for approval: {count}.",
        "short replaced": "{state}, {bills} in its place",
        "short replaces": "{state}, in place of {bills}",
        "short differences": "{state}, difference {total} đ",
    },
}
DAYS = {Language.VI: "%d/%m/%Y", Language.EN: "%Y-%m-%d"}


def heading_texts(bill: Mapping[str, Any], language: Language) -> Iterator[str]:
    """Yield whose bill it is, its number and state, its place in the chain, and the differences beside it."""
    say = SENTENCES[language]
    state = STATE_WORDS[bill["state"]][language]
    customer = bill["customer_name"]
    if bill.get("customer_address"):
        customer = f"{customer} ({bill['customer_address']})"
    numbers = {"bill_id": bill["bill_id"], "version": bill["version"], "point": bill["metering_point_id"]}
    yield say["bill"].format(**numbers, customer=customer, state=state)
    for act in bill.get("acts", ()):
        if act["act"] == "cancel":
            on = civil_text(datetime.fromisoformat(act["acted_at"]), DAYS[language])
            yield say["cancelled"].format(on=on, who=act["actor"], note=act["note"].rstrip("."))
    if bill["replaced_by"]:
        yield say["replaced"].format(bills=_numbers(bill["replaced_by"]))
    if bill["replaces"]:
        yield say["replaces"].format(bills=_numbers(bill["replaces"]))
    if bill["differences"]:
        yield say["differences"].format(
            count=bill["differences"],
            total=_signed(bill["difference"], language),
            now=format_number(bill["total"] + bill["difference"], language),
            was=format_number(bill["total"], language),
        )
    if bill["proposed"]:
        yield say["proposed"].format(count=bill["proposed"])


def state_text(bill: Mapping[str, Any], language: Language) -> str:
    """Return a bill's state with its chain, short enough for a column."""
    say, found = SENTENCES[language], STATE_WORDS[bill["state"]][language]
    if bill["replaces"]:
        found = say["short replaces"].format(state=found, bills=_numbers(bill["replaces"]))
    if bill["replaced_by"]:
        found = say["short replaced"].format(state=found, bills=_numbers(bill["replaced_by"]))
    if bill["differences"]:
        found = say["short differences"].format(state=found, total=_signed(bill["difference"], language))
    return found


def _signed(amount: int, language: Language) -> str:
    return ("+" if amount >= 0 else "") + format_number(amount, language)


def _numbers(bills: list[int]) -> str:
    return ", ".join(str(bill) for bill in bills)
