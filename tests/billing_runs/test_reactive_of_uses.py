"""Reactive energy of a mixed use: none of its surcharge lies on a household; bills of before replay all the same."""

from dataclasses import replace
from typing import Any

import numpy as np
import psycopg
import pytest

from billing_core.codes import Category, Voltage
from billing_core.control.thresholds import load_thresholds
from billing_core.explain import Language
from billing_core.tariff_files import load_tariffs
from ingest_server.billing.decide import decide
from ingest_server.billing.explain import explain_bill
from ingest_server.billing.gather import Chunk, Frame, Selection, gather, terms_of_run
from ingest_server.billing.pack import pack
from ingest_server.billing.queries import INSERT_TERMS, SELECT_TERMS_IDS
from ingest_server.billing.replay import replay
from ingest_server.billing.run import Plan, run_billing
from ingest_server.billing.stored import load_bill
from ingest_server.billing.write import Writing, write_chunk
from tests.billing_runs.district import IMPORT, OCTOBER, Customer, District
from tests.billing_runs.test_contracts import REACTIVE, agree, bill, quoted, totals

pytestmark = pytest.mark.integration
SHOP = '[{"category": "business", "voltage": "lt6", "share_percent": 60}]'
USES = ((Category.BUSINESS, Voltage.LT6, 6000),)
FROM_KW = 40
INSERT_RUN = """
    insert into billing_run (period_from, period_to, code_version) values (%(first_on)s, %(last_on)s, '0.0')
    returning run_id
"""


def home_with_a_shop(district: District) -> Customer:
    """Enter a household of 20,000 kWh with a shop behind one meter, cosφ 0.80."""
    registers = {IMPORT: (0, 20_000_000), REACTIVE: (0, 15_000_000)}
    mixed = Customer(number=1, registers=registers)
    district.add([mixed])
    agree(district, mixed, uses=SHOP, contracted_kw=60)
    return mixed


def test_the_surcharge_is_explained_from_the_cost_of_the_shop_alone(district: District):
    home_with_a_shop(district)
    assert totals(bill(district)) == [quoted(20_000_000, uses=USES, reactive_varh=15_000_000)]
    stored = load_bill(district.connection, 1)
    assert stored is not None
    [line] = [each for each in stored["lines"] if each["kind"] == "reactive"]
    shop = 12_000 * 3152
    assert (line["operands"]["base_amount"], line["amount"]) == (shop, shop * 125 // 1000)
    assert stored["inputs"]["reactive_exempt"] == ["residential"]
    assert any(f"{shop:,}" in text for text in explain_bill(stored, Language.EN))


def test_a_bill_of_when_the_household_bore_it_too_replays_to_the_same_bytes_and_is_corrected(district: District):
    home_with_a_shop(district)
    written_as_before(district)
    assert [each.why for each in replay(district.connection)] == [""]
    stored = load_bill(district.connection, 1)
    assert stored is not None
    lines = [each for each in stored["lines"] if each["kind"] == "reactive"]
    assert [each["amount"] for each in lines] == [(each["operands"]["base_amount"] + 4) // 8 for each in lines]
    assert len(lines) == 2
    correction = Plan(correct_as=("An", "Thông tư 15/2014"))
    summary = run_billing(district.dsn, OCTOBER, correction)
    right = quoted(20_000_000, uses=USES, reactive_varh=15_000_000)[1]
    assert (summary.proposed, summary.difference) == (1, right - stored["total"])
    assert summary.difference < 0
    assert run_billing(district.dsn, OCTOBER, correction).proposed == 0


def test_a_prepaid_household_needs_no_reactive_register(district: District):
    prepaid = Customer(number=1, registers={IMPORT: (0, 100_000)}, category="prepaid")
    district.add([prepaid])
    agree(district, prepaid, contracted_kw=60)
    assert totals(bill(district)) == [quoted(100_000, category=Category.PREPAID)]


def number_from(connection: psycopg.Connection[Any], query: Any, parameters: dict[str, Any]) -> int:
    row = connection.execute(query, parameters).fetchone()
    assert row is not None
    return int(row[0])


def written_as_before(district: District) -> None:
    """Bill and issue October as it was done when every use of a meter bore the surcharge."""
    with psycopg.connect(district.dsn, autocommit=True) as writer, psycopg.connect(district.dsn) as reader:
        terms = terms_of_run(reader, OCTOBER, FROM_KW)
        for each in terms:
            writer.execute(INSERT_TERMS, each.columns)
        terms_ids = tuple(number_from(writer, SELECT_TERMS_IDS, each.columns) for each in terms)
        frame = Frame(OCTOBER, Selection(), terms, terms_ids, reactive_from_kw=FROM_KW)
        points = gather(reader, frame, Chunk("", "PD99", 1))
        decision = decide(
            replace(points, exempt_surcharged=np.ones(len(points), dtype=np.bool_)), load_tariffs(), load_thresholds()
        )
        packed = pack(decision.computed)
        assert "reactive_exempt" not in "".join(packed.more)
        run_id = number_from(writer, INSERT_RUN, {"first_on": OCTOBER.first_on, "last_on": OCTOBER.last_on})
        bills = np.arange(len(packed))
        write_chunk(
            writer,
            Writing(
                run_id=run_id,
                terms_ids=terms_ids,
                packed=packed,
                bills=bills,
                versions=np.ones(len(bills), dtype=np.int64),
                purchases={},
                completed=[],
                corrections=np.empty(0, dtype=np.int64),
                purchase_corrections=np.zeros((0, 3), dtype=np.int64),
                note="",
                holds=[],
                actor="An",
            ),
        )
