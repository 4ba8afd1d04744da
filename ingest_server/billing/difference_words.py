"""Differences in words, Vietnamese or English: what a bill should have been more or less, why, and who decided."""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from psycopg import Connection

from billing_core.explain import Language, act_in, format_number
from billing_core.line import WITHOUT_QUANTITY
from ingest_server.billing.act_words import said
from ingest_server.billing.back_bill_words import basis_text
from ingest_server.billing.corrections import differences_of_bill
from ingest_server.billing.explain_difference import difference_details

UNITS = {"kwh": "kWh", "kw": "kW", "kvarh": "kvarh"}  # of a line
SELECT_BILL_OF = "select bill_id from bill_difference where difference_id = %(difference)s"
UNPRICED = frozenset(kind.value for kind in WITHOUT_QUANTITY)


def difference_texts(row: Mapping[str, Any], language: Language) -> Iterator[str]:
    """Yield what is told of a difference: a line of its own, its basis, its purchase, its lines if they are there."""
    outcome = {"propose": "propose", "approve": "approved", "reject": "rejected"}[row["act"]]
    if row["replaced_by"] is not None:
        outcome = "replaced_by"
    yield said(
        "difference",
        language.value,
        number=row["difference_id"],
        bill=row["bill_id"],
        point=row["metering_point_id"],
        energy=signed(row["energy_wh"] / 1000, language),
        total=signed(row["total"], language),
        who=row["actor"],
        note=row["note"],
        decided=said(outcome, language.value, by=row["decided_by"], other=row["replaced_by"]),
    )
    if row["corrected_from"] is not None:
        yield "  " + basis_text(row["corrected_from"], row["found_on"], row["since_on"], language)
    if row["purchased_wh"] or row["purchased"]:
        energy, amount = signed(row["purchased_wh"] / 1000, language), signed(row["purchased"], language)
        yield "  " + said("purchase", language.value, energy=energy, amount=amount)
    for line in row.get("lines", ()):
        yield "  " + _line_text(line, language)


def _line_text(line: Mapping[str, Any], language: Language) -> str:
    quantities = [f"{signed(line[key], language)} {unit}" for key, unit in UNITS.items() if line.get(key)]
    price = ""
    if quantities and line["price"] is not None and line["kind"] not in UNPRICED:
        price = f" × {format_number(line['price'], language)} đ"
    measured = "".join(f"{each}{price}, " for each in quantities)
    days = f"{line['from']} – {line['to']}"
    return f"{line['name']}, {days}: {measured}{signed(line['amount'], language)} đ ({act_in(line['act'], language)})"


def explain_differences(connection: Connection[Any], bill_id: int, language: Language) -> list[str]:
    """Return what is to be read after a bill's own explanation: its differences, the oldest first, and what it is now.

    Those that were rejected are left out; what is only proposed is told as such and does not count.
    """
    rows = [row for row in reversed(differences_of_bill(connection, bill_id)) if row["act"] != "reject"]
    if not rows:
        return []
    texts = [
        text
        for row in rows
        for text in (*difference_texts(row, language), *difference_details(connection, row["difference_id"], language))
    ]
    total = rows[0]["bill_total"] + sum(row["total"] for row in rows if row["act"] == "approve")
    return [*texts, said("with_differences", language.value, total=format_number(total, language))]


def explain_difference(connection: Connection[Any], difference_id: int, language: Language) -> list[str]:
    """Return what is to be read of one difference; nothing if there is none of this number."""
    row = connection.execute(SELECT_BILL_OF, {"difference": difference_id}).fetchone()
    if row is None:
        return []
    [own] = [each for each in differences_of_bill(connection, row[0]) if each["difference_id"] == difference_id]
    return [*difference_texts(own, language), *difference_details(connection, difference_id, language)]


def signed(value: float, language: Language) -> str:
    """Return a difference with its sign, its thousands parted and all its digits, as the language writes them."""
    return ("+" if value >= 0 else "") + format_number(Fraction(str(value)), language)
