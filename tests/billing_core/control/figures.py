"""How many wrong bills control holds, and how many honest ones: ``python -m tests.billing_core.control.figures``."""

import argparse
from dataclasses import dataclass

import numpy as np

from billing_core.control.judge import judge
from billing_core.control.thresholds import load_thresholds
from tests.billing_core.control.population import SLIPS, district, to_judge, with_slips

FACTORS = (1.0, 1.25, 1.5, 2.0, 3.0)
MATERIAL_WH = 30_000
WRONG_SHARE = 0.03


@dataclass(frozen=True, slots=True)
class Figures:
    """Shares held: of honest bills; of bills wrong by at least a factor and 30 kWh; of each slip that did harm."""

    honest_held: float
    wrong: dict[float, int]
    held_by_factor: dict[float, float]
    held_by_slip: dict[str, float]


def figures(seed: int, customers: int) -> Figures:
    """Judge a district. A negative bill counts as held: the engine holds it before control sees it."""
    chance = np.random.default_rng(seed)
    found = district(chance, customers)
    billed, slip = with_slips(chance, found, WRONG_SHARE)
    true = found.true_wh[:, -1]
    held = (judge(to_judge(found, billed), load_thresholds()).signer > 0) | (billed < 0)
    wrong = (billed != true) & (np.abs(billed - true) >= MATERIAL_WH)
    factor = np.where(billed > true, billed / np.maximum(true, 1), true / np.maximum(billed, 1))
    return Figures(
        honest_held=float(held[billed == true].mean()),
        wrong={least: int((wrong & (factor >= least)).sum()) for least in FACTORS},
        held_by_factor={least: float(held[wrong & (factor >= least)].mean()) for least in FACTORS},
        held_by_slip={name: float(held[wrong & (slip == place)].mean()) for place, name in enumerate(SLIPS)},
    )


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=7, help="of the district and its slips")
    parser.add_argument("--customers", type=int, default=400_000, help="how many customers")
    arguments = parser.parse_args()
    found = figures(arguments.seed, arguments.customers)
    print(f"honest bills held: {found.honest_held:.2%}")
    for least, share in found.held_by_factor.items():
        print(f"wrong by a factor of {least:g} or more: {found.wrong[least]} bills, {share:.1%} held")
    for name, share in found.held_by_slip.items():
        print(f"slip {name!r}, off by 30 kWh or more: {share:.1%} held")


if __name__ == "__main__":
    main()
