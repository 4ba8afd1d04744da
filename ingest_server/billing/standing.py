"""How a month stands: what a run would find, how far its bills are, and whether the ledger holds."""

import sys
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from billing_core.explain import Language, format_number
from billing_core.ledger import first_broken
from ingest_server.billing.book import blocks, sums
from ingest_server.billing.control_words import (
    ACCOUNT_WORDS,
    LEDGER_WORDS,
    PLAN_WORDS,
    RULE_WORDS,
    SIGNER_WORDS,
    STATE_WORDS,
    STATUS_WORDS,
)
from ingest_server.billing.doubted import doubted_bills
from ingest_server.billing.gather import Selection
from ingest_server.billing.period import Period

STATES = ("ready", "held", "issued", "cancelled", "superseded")
NO_BOOK = "–"

SELECT_PLAN = """
    select coalesce(p.book_id, %(no_book)s) as book_id, left(p.metering_point_id, 6) as unit,
           max(k.reading_day) as reading_day, max(k.cycle) as cycle, count(*) as points,
           count(*) filter (where exists (
               select from contract c where c.metering_point_id = p.metering_point_id
                 and c.valid_from <= %(last_on)s and (c.valid_to is null or c.valid_to >= %(first_on)s))) as contracts,
           count(*) filter (where exists (
               select from bill b where b.metering_point_id = p.metering_point_id
                 and b.period_to between %(first_on)s and %(last_on)s and b.period_from >= %(begins_on)s)) as billed
    from metering_point p left join reading_book k using (book_id)
    where (%(wanted)s::text[] is null or p.metering_point_id = any (%(wanted)s))
      and (%(unit)s::text is null or left(p.metering_point_id, 6) = %(unit)s)
      and (%(book)s::text is null or p.book_id = %(book)s)
      and (%(books)s::text[] is null or p.book_id = any (%(books)s))
    group by 1, 2 order by 2, 1
"""

SELECT_STATUS = """
    select s.state, count(*) as bills, sum(b.energy_wh)::bigint as energy_wh, sum(b.total)::bigint as total
    from bill b join bill_state s using (bill_id)
    where b.period_to between %(first_on)s and %(last_on)s and b.period_from >= %(begins_on)s
      and (%(wanted)s::text[] is null or b.metering_point_id = any (%(wanted)s))
      and (%(unit)s::text is null or left(b.metering_point_id, 6) = %(unit)s)
      and (%(book)s::text is null or exists (
            select from metering_point p where p.metering_point_id = b.metering_point_id and p.book_id = %(book)s))
    group by 1
"""

SELECT_TO_SIGN = """
    select b.bill_id, b.metering_point_id, b.energy_wh, b.total, c.rules, c.signer, c.expected_wh, c.before_wh
    from bill_control c
    join bill b using (bill_id)
    join bill_state s using (bill_id)
    where s.state = 'held' and b.period_to between %(first_on)s and %(last_on)s and b.period_from >= %(begins_on)s
      and (%(wanted)s::text[] is null or b.metering_point_id = any (%(wanted)s))
      and (%(unit)s::text is null or left(b.metering_point_id, 6) = %(unit)s)
      and (%(book)s::text is null or exists (
            select from metering_point p where p.metering_point_id = b.metering_point_id and p.book_id = %(book)s))
    order by b.total desc, b.bill_id limit %(rows_max)s
"""
TO_SIGN_MAX = 200


def plan_of(connection: Connection[Any], period: Period, selection: Selection) -> list[dict[str, Any]]:
    """Return for each reading book how many points, contracts and bills of the period there are."""
    parameters = {**selection.parameters, **period.bounds, "no_book": NO_BOOK}
    return _rows(connection, SELECT_PLAN, parameters)


def print_plan(period: Period, found: list[dict[str, Any]], language: Language) -> None:
    """Print what a run would find."""
    words = {name: texts[language] for name, texts in PLAN_WORDS.items()}
    table = Table(*(words[name] for name in ("unit", "book", "day", "points", "contracts", "billed", "rest")))
    table.title, table.title_justify = words["title"].format(period=period), "left"
    for row in found:
        numbers = (row["points"], row["contracts"], row["billed"], max(row["contracts"] - row["billed"], 0))
        day = "" if row["reading_day"] is None else str(row["reading_day"])
        table.add_row(row["unit"], Text(row["book_id"]), day, *(format_number(each, language) for each in numbers))
    Console(file=sys.stdout, highlight=False).print(table)


def status_of(connection: Connection[Any], period: Period, selection: Selection) -> dict[str, Any]:
    """Return bills by state with energy and money, and those that somebody must sign, the largest first.

    Beside them ready bills that can't be issued for what was found out since, and issued ones that are in doubt.
    """
    parameters = selection.parameters | period.bounds
    found = {row.pop("state"): row for row in _rows(connection, SELECT_STATUS, parameters)}
    nothing = {"bills": 0, "energy_wh": 0, "total": 0}
    return {
        "period": str(period),
        "states": {state: found.get(state, nothing) for state in STATES},
        "to_sign": _rows(connection, SELECT_TO_SIGN, parameters | {"rows_max": TO_SIGN_MAX}),
        "kept_back": [each.to_json() for each in doubted_bills(connection, period, selection, ("ready",))],
        "issued_in_doubt": [each.to_json() for each in doubted_bills(connection, period, selection, ("issued",))],
    }


def print_status(found: dict[str, Any], language: Language) -> None:
    """Print how the bills of a month stand."""
    console = Console(file=sys.stdout, highlight=False)
    words = {name: texts[language] for name, texts in STATUS_WORDS.items()}
    table = Table(*(escape(words[name]) for name in ("state", "bills", "energy", "total")))  # [kWh] is no style
    table.title, table.title_justify = words["title"].format(period=found["period"]), "left"
    for state, row in found["states"].items():
        numbers = (row["bills"], row["energy_wh"] // 1000, row["total"])
        table.add_row(STATE_WORDS[state][language], *(format_number(each, language) for each in numbers))
    console.print(table)
    for bill in found["to_sign"]:
        expected = bill["expected_wh"]
        usual = "" if expected is None else words["usual"].format(energy=format_number(expected // 1000, language))
        text = words["to_sign"].format(
            bill=bill["bill_id"],
            point=bill["metering_point_id"],
            energy=format_number(bill["energy_wh"] // 1000, language),
            total=format_number(bill["total"], language),
            why=", ".join(RULE_WORDS[rule][language] for rule in bill["rules"]),
            usual=usual,
            signer=SIGNER_WORDS[bill["signer"]][language],
        )
        console.print(Text(text), soft_wrap=True)
    print_doubted(found["kept_back"], language)
    print_doubted(found["issued_in_doubt"], language, say="issued_in_doubt")


def print_doubted(bills: list[dict[str, Any]], language: Language, say: str | None = None) -> None:
    """Print bills in doubt, each with what to do, the first of them where there are many."""
    console = Console(file=sys.stdout, highlight=False)
    for bill in bills[:TO_SIGN_MAX]:
        point = bill["metering_point_id"]
        asked = f"{bill['asked']} --point {point}"
        told = {"bill": bill["bill_id"], "point": point, "found": bill["found"], "asked": asked}
        text = STATUS_WORDS[say or bill["why"]][language]
        console.print(Text(text.format(**told, cases=", ".join(map(str, bill["cases"])))), soft_wrap=True)
    if len(bills) > TO_SIGN_MAX:
        more = format_number(len(bills) - TO_SIGN_MAX, language)
        console.print(STATUS_WORDS["more_doubted"][language].format(more=more))


def ledger_of(connection: Connection[Any]) -> dict[str, Any]:
    """Return what stands on each account, whether that sums to zero, and the first block that is not as sealed."""
    accounts = sums(connection)
    return {"accounts": accounts, "sum": sum(accounts.values()), "broken_at_block": first_broken(blocks(connection))}


def print_ledger(found: dict[str, Any], language: Language) -> None:
    """Print the accounts, and whether the ledger holds."""
    console = Console(file=sys.stdout, highlight=False)
    words = {name: texts[language] for name, texts in LEDGER_WORDS.items()}
    table = Table(words["account"], words["balance"], title=words["title"], title_justify="left")
    for account, balance in found["accounts"].items():
        table.add_row(ACCOUNT_WORDS[account][language], format_number(balance, language))
    table.add_section()
    table.add_row(words["sum"], format_number(found["sum"], language))
    console.print(table)
    broken = found["broken_at_block"]
    console.print(words["sealed"] if broken is None else words["broken"].format(block=broken + 1), soft_wrap=True)


def _rows(connection: Connection[Any], query: Any, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, parameters).fetchall()
