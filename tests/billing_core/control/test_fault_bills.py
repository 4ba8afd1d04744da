"""Wrong bills of faulty meters are held and right ones go out, in a small district of a seed that no page shows."""

from tests.billing_core.control.fault_bills import run


def test_bills_that_faults_make_wrong_are_held_and_right_ones_are_not():
    total = run(2_500, 77, "varied")
    assert sum(total.wrong.values()) >= 40
    for way in ("registers", "intervals"):
        assert total.share(way) >= 0.9  # 0.95, and a deviation and a half of some thirty bills
        assert total.right_share(way) <= 0.013  # 0.01, and two deviations of 2,400 bills
        assert total.right[way] > 2_000
