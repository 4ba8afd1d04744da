"""What each meter explains of u in each window of days that a step may have, by squares: which to weigh closely."""

import numpy as np

from billing_core.rounding import Int64Array
from billing_core.validation.finding import BoolArray
from billing_core.validation.own_level import SIDE_LEAST
from billing_core.validation.screening import FloatArray

STEP_LEAST = 0.11  # logarithm of a factor; a smaller one is weather
FACTOR_MOST = 20.0
_TINY_WH = 1.0


def windows(days: int) -> tuple[Int64Array, Int64Array]:
    """Return the first day of each window that a step may have, and the day after it."""
    first, end = np.meshgrid(np.arange(SIDE_LEAST, days - SIDE_LEAST + 1), np.arange(days + 1), indexing="ij")
    fits = (end - first >= SIDE_LEAST) & ((end == days) | (end <= days - SIDE_LEAST))
    return first[fits], end[fits]


def explained_squares(own: FloatArray, shown: FloatArray, base: FloatArray, ends: Int64Array) -> FloatArray:
    """Return the squares of u that each place explains with each window, less than zero. [Wh²; places × windows]

    Sums over a window are differences of sums from the first day on.

    Parameters
    ----------
    own, shown, base
        What is taken, u less its line, and the line's orthonormal columns, of each place; zero on days left out.
        [places × days], [places × days], [places × columns × days]
    ends
        Where each transformer's places end; its last two are the load's and the even one. [transformers]
    """
    first, end = windows(own.shape[1])
    day_sums = np.zeros((base.shape[1] + 2, own.shape[1] + 1, own.shape[0]))  # [kinds × days + 1 × places]
    day_sums[0, 1:] = (own * shown).T
    day_sums[1, 1:] = (own * own).T
    day_sums[2:, 1:] = (base * own[:, None]).transpose(1, 2, 0)
    np.cumsum(day_sums, axis=1, out=day_sums)
    sums = day_sums.take(end, axis=1)
    sums -= day_sums.take(first, axis=1)  # [kinds × windows × places]
    product, power = sums[0], sums[1]
    for square in np.square(sums[2:], out=sums[2:]):
        power -= square
    tiny = power <= _TINY_WH
    np.copyto(power, 1.0, where=tiny)
    gain = product / power
    np.copyto(gain, 0.0, where=tiny)
    product *= gain
    gain += 1
    fits = is_step(gain)
    fits[:, ends - 1] = fits[:, ends - 2] = True
    explained: FloatArray = np.where(fits, product, 0.0).T
    return np.negative(explained, order="C")


_LEAST_UP, _LEAST_DOWN = float(np.exp(STEP_LEAST)), float(np.exp(-STEP_LEAST))


def is_step(truth: FloatArray) -> BoolArray:
    """Tell which multiples of what is shown the truth can be, for a meter of which a part is wrong."""
    up = (truth >= _LEAST_UP) & (truth <= FACTOR_MOST)
    down = (truth <= _LEAST_DOWN) & (truth >= 1 / FACTOR_MOST)
    return np.asarray(up | down)
