"""Lines through days whose residuals follow a t distribution, for many transformers and hypotheses at once.

Each transformer has columns of its own, and each hypothesis behind it one term besides. The weights of days differ from
one hypothesis to the next, the products of columns that they weigh do not, so all normal matrices of a round are one
matrix product; they are then solved by elimination, all in step.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from billing_core.rounding import Int64Array
from billing_core.validation.screening import FloatArray

FREEDOM = 4.0  # of the t distribution
ROUNDS = 12  # of its fit
AT_ONCE = 700  # hypotheses, so that the days of all stay near the processor
ENOUGH = 250  # hypotheses that are worth a group of their own width
FEW = 20  # hypotheses behind a small transformer, which are not filled up to those of a large one
_SCALE_LEAST, _RIDGE = 1e-9, 1e-9


class Lines(NamedTuple):
    """What is to be fitted, a row for each transformer; zero on days that are not known."""

    columns: FloatArray  # [transformers × columns × days]
    values: FloatArray  # [Wh; transformers × days]
    days: Int64Array  # how many are known. [transformers]
    pull: FloatArray  # 1 if a column's factor is expected to be within ±1, else 0. [transformers × columns]
    least: FloatArray  # the smallest σ that is believed. [Wh, transformers]


class Fits(NamedTuple):
    """What the fits gave; the last gain is the term's."""

    gains: FloatArray  # [transformers × hypotheses × (columns + 1)]
    sigma: FloatArray  # [Wh; transformers × hypotheses]
    likelihood: FloatArray  # logarithmic. [transformers × hypotheses]


def stack_columns(columns: list[FloatArray]) -> FloatArray:
    """Return tables of columns as one, filled up with columns of zeros. [transformers × columns × days]"""
    stacked = np.zeros((len(columns), max(each.shape[0] for each in columns), columns[0].shape[1]))
    for row, each in enumerate(columns):
        stacked[row, : each.shape[0]] = each
    return stacked


def fit_lines(lines: Lines, terms: FloatArray | None = None, many: Int64Array | None = None) -> Fits:
    """Fit each transformer's line with each of its terms.

    Parameters
    ----------
    terms
        What each hypothesis adds, but for its factor; zeros for nothing, which is all there is if they are not given.
        [transformers × hypotheses × days]
    many
        How many hypotheses each transformer has, the first ones; what is beyond them is undefined. [transformers]
    """
    if terms is None or many is None:
        terms, many = np.zeros_like(lines.values)[:, None], np.ones(lines.days.shape, dtype=np.int64)
    places = np.arange(1, lines.columns.shape[1] + 1)
    wide = np.where((lines.columns != 0).any(axis=2), places, 1).max(axis=1)  # up to the last that is not zero
    gains = np.zeros((*terms.shape[:2], lines.columns.shape[1] + 1))
    sigma, likelihood = np.ones(terms.shape[:2]), np.zeros(terms.shape[:2])
    for rows in _alike(wide, many):
        columns, deep = int(wide[rows].max()), int(many[rows].max())
        fit = _fit(_some(lines, rows), terms[rows, :deep], columns)
        gains[rows, :deep, :columns], gains[rows, :deep, -1] = fit.gains[:, :, :-1], fit.gains[:, :, -1]
        sigma[rows, :deep], likelihood[rows, :deep] = fit.sigma, fit.likelihood
    return Fits(gains, sigma, likelihood)


def _alike(wide: Int64Array, many: Int64Array) -> list[Int64Array]:
    """Return groups of transformers that have about as many hypotheses and columns, and not too many together."""
    few = many <= (FEW if many.size * int(many.max()) > 2 * ENOUGH else 0)
    groups: list[Int64Array] = []
    for some in (few, ~few):
        rows = np.flatnonzero(some)
        rows = rows[np.argsort(wide[rows], kind="stable")]
        begin = 0
        while begin < rows.size:
            most = int(many[rows[begin:]].max())
            end = begin + max(1, AT_ONCE // most)
            enough = begin + ENOUGH // most
            wider = np.flatnonzero(wide[rows[enough:end]] > wide[rows[begin]])
            if enough > begin and wider.size and rows.size - enough - wider[0] > ENOUGH // most:
                end = enough + int(wider[0])
            groups.append(rows[begin:end])
            begin = end
    return groups


def _some(lines: Lines, rows: Int64Array) -> Lines:
    return Lines(lines.columns[rows], lines.values[rows], lines.days[rows], lines.pull[rows], lines.least[rows])


def _fit(lines: Lines, terms: FloatArray, wide: int) -> Fits:
    """Fit lines of at most ``wide`` columns, which are the first ones."""
    days = lines.days.astype(np.float64)[:, None]
    column_scale = np.maximum(np.sqrt((lines.columns[:, :wide] ** 2).sum(axis=2) / days), _SCALE_LEAST)
    columns = np.ascontiguousarray(lines.columns[:, :wide] / column_scale[:, :, None])
    term_scale = np.maximum(np.sqrt(np.einsum("tgd,tgd->tg", terms, terms) / days), _SCALE_LEAST)
    terms = terms / term_scale[:, :, None]
    values = lines.values[:, None, :]
    expected = lines.pull[:, :wide] / column_scale**2  # 1 over the variance of each scaled factor
    left, right = np.tril_indices(wide)
    of_values = columns * values
    products = np.concatenate([columns[:, left] * columns[:, right], of_values], axis=1)
    bordering = np.concatenate([columns, values], axis=1)
    squares = terms * terms
    mean = lines.values.sum(axis=1, keepdims=True) / days
    known_square = (lines.values**2).sum(axis=1, keepdims=True) / days - mean**2
    least_square = lines.least[:, None] ** 2
    variance = np.broadcast_to(np.maximum(known_square, least_square), terms.shape[:2])
    weight, rest, heavy = np.ones(terms.shape), np.empty(terms.shape), np.empty(terms.shape)
    normal = np.zeros((wide + 2, wide + 1, *terms.shape[:2]))  # lower half; the last row is the right side
    diagonal, ridge = np.einsum("kktg->ktg", normal[:-1]), _RIDGE * days
    pulled = np.flatnonzero(expected.any(axis=0))
    for _ in range(ROUNDS):
        by_columns = np.matmul(products, weight.transpose(0, 2, 1)).transpose(1, 0, 2)
        normal[left, right] = by_columns[: left.size]
        normal[-1, :wide] = by_columns[left.size :]
        np.multiply(weight, terms, out=heavy)
        border = np.matmul(bordering, heavy.transpose(0, 2, 1)).transpose(1, 0, 2)
        normal[wide, :wide], normal[-1, wide] = border[:wide], border[wide]
        normal[wide, wide] = np.einsum("tgd,tgd->tg", weight, squares)
        diagonal += ridge
        if pulled.size:
            normal[pulled, pulled] += variance * expected.T[pulled][:, :, None]
        gains = _solved(normal)
        np.matmul(gains[:wide].transpose(1, 2, 0), columns, out=rest)
        np.multiply(terms, gains[wide][:, :, None], out=heavy)
        rest += heavy
        np.subtract(values, rest, out=rest)
        rest *= rest
        variance = np.maximum(np.einsum("tgd,tgd->tg", weight, rest) / days, least_square)
        rest += FREEDOM * variance[:, :, None]
        np.divide((FREEDOM + 1) * variance[:, :, None], rest, out=weight)
    tail = (FREEDOM + 1) / 2 * np.log(rest / (FREEDOM * variance)[:, :, None]).sum(axis=2)
    penalty = np.einsum("ktg,tk->tg", gains[:wide] ** 2, expected) / 2
    scale = np.concatenate([np.broadcast_to(column_scale.T[:, :, None], gains[:wide].shape), term_scale[None]])
    return Fits((gains / scale).transpose(1, 2, 0), np.sqrt(variance), -days * np.log(variance) / 2 - tail - penalty)


def _solved(normal: NDArray[np.float64]) -> FloatArray:
    """Return the solutions of symmetric systems of which the lower half is given, and spoil them. [columns × …]

    The right side is a row below the others.
    """
    size = normal.shape[1]
    for pivot in range(size):
        below = normal[pivot + 1 :, pivot]
        times = below / normal[pivot, pivot]
        if pivot + 1 < size:  # the upper half is worked on as well, which nobody reads: that is less than to go by rows
            normal[pivot + 1 :, pivot + 1 :] -= times[:, None] * below[:-1]
        below[:] = times  # what is left of the row above, over its pivot
    solution = np.empty((size, *normal.shape[2:]))
    for row in range(size - 1, -1, -1):
        solution[row] = normal[-1, row]
        if row < size - 1:
            solution[row] -= np.einsum("k...,k...->...", normal[row + 1 : size, row], solution[row + 1 :])
    return solution
