"""Figures: counts over companies into shares with intervals, by resampling the companies."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

RESAMPLES = 1_000
AT_ONCE = 50  # resamples; what they weigh companies by is held in memory
SEED = 0
LEVEL = 95  # percent of the resamples that an interval holds

Numbers = npt.NDArray[np.float64]


class Share(NamedTuple):
    """A share and its interval; NaN where there is nothing to share."""

    value: float
    low: float
    high: float


def shares(above: npt.ArrayLike, below: npt.ArrayLike) -> list[Share]:
    """The share sum(above) / sum(below) for each column of two tables with a row a company."""
    over, under = np.asarray(above, np.float64), np.asarray(below, np.float64)
    values = ratio(over.sum(axis=0), under.sum(axis=0))
    resampled = np.concatenate([ratio(w @ over, w @ under) for w in _weights(len(over))])
    return [Share(float(value), *_interval(column)) for value, column in zip(values, resampled.T, strict=True)]


def mean(values: Sequence[float]) -> Share:
    """The mean of a number a company."""
    column = np.asarray(values, np.float64).reshape(-1, 1)
    return shares(column, np.ones_like(column))[0]


def ratio(above: npt.ArrayLike, below: npt.ArrayLike) -> Numbers:
    """Element by element, NaN where there is nothing below."""
    over, under = np.asarray(above, np.float64), np.asarray(below, np.float64)
    found: Numbers = np.full(np.broadcast(over, under).shape, np.nan)
    np.divide(over, under, out=found, where=under > 0)
    return found


def f1(precision: float, recall: float) -> float:
    """The harmonic mean; NaN without a recall, 0 without a precision, as where nothing is given."""
    if math.isnan(recall):
        return recall
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def _weights(companies: int) -> Iterator[Numbers]:
    """How often each company is drawn, a row a resample, a few at a time."""
    draw = np.random.default_rng(SEED)
    even = np.full(companies, 1 / max(companies, 1))
    for _ in range(RESAMPLES // AT_ONCE):
        yield draw.multinomial(companies, even, AT_ONCE).astype(np.float64)


def _interval(resampled: Numbers) -> tuple[float, float]:
    known = resampled[~np.isnan(resampled)]
    if not known.size:
        return float("nan"), float("nan")
    tail = (100 - LEVEL) / 2
    low, high = np.percentile(known, [tail, 100 - tail])
    return float(low), float(high)
