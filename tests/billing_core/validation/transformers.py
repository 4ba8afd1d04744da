"""What stands above the meters of a simulated district: transformers with meters of their own.

A public transformer feeds some forty homes, shops, schools and street lights; factories share one by twos and threes.
What its meter counts is what all of them truly took and gave, losses (an iron part, and a copper part with the square
of the load, unsteady by 3 %), behind one in ten somebody who takes without a meter, and that meter's own class and
steps.
"""

import numpy as np
from numpy.typing import NDArray

FEW, MANY = (1, 3), (30, 50)  # meters behind a transformer of factories, and behind a public one
IRON, COPPER, UNSTEADY = 0.003, 0.015, 0.03
TAKEN_SHARE, TAKEN = 0.1, 0.03
CLASS = 0.005
STEP_WH = 600  # a hundredth of a kWh times 300/5


def feed(
    large: NDArray[np.bool_], net_wh: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which transformer feeds each meter, and what each transformer's meter counts a day.

    ``net_wh`` is true energy by meter and day. [Wh; meters × days]
    """
    transformer = np.zeros(large.shape[0], dtype=np.int64)
    groups = 0
    for members, (low, high) in ((np.flatnonzero(large), FEW), (np.flatnonzero(~large), MANY)):
        order = rng.permutation(members)
        while order.size:
            size = int(rng.integers(low, high + 1))
            transformer[order[:size]] = groups
            order, groups = order[size:], groups + 1
    load = np.zeros((groups, net_wh.shape[1]))
    np.add.at(load, transformer, net_wh.astype(np.float64))
    mean = np.maximum(np.abs(load).mean(axis=1, keepdims=True), 1)
    loss = IRON * mean + COPPER * load**2 / mean * (1 + UNSTEADY * rng.standard_normal(load.shape))
    taken = TAKEN * mean * (rng.random((groups, 1)) < TAKEN_SHARE) * rng.uniform(0.7, 1.3, load.shape)
    counted = (load + loss + taken) * (1 + rng.uniform(-CLASS, CLASS, (groups, 1)))
    return transformer, (counted // STEP_WH * STEP_WH).astype(np.int64)
