"""Slips of the pen are held and right readings are not, in a small population of another seed than the page's."""

from tests.billing_core.validation.digit_errors import run_digits


def test_material_slips_are_held_and_right_readings_are_not():
    total = run_digits(1_200, 77)
    assert total.material.total() > 200
    assert total.material_held.total() >= 0.92 * total.material.total()  # 0.95, less two deviations of 250 slips
    assert total.right_held <= 8  # 0.1 per 1,000 meter-days in 840 months are 2.5; chance allows some more
    assert total.proposed_right >= 0.95 * total.proposed > 0
