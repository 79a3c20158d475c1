"""Random numbers of devices: pure functions of a seed and of numbers that say what is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

LAWS = ("normal", "lognormal", "uniform")
"""Distributions of relative noise; see :func:`factors`."""

LEAST_FACTOR = 0.01
"""No draw takes more than 99% off a value, so that conductances, times and the like stay positive."""


def generator(key: Sequence[int]) -> np.random.Generator:
    """Return a generator of its own for each ``key``, numbers of at least 0: a counter, not a stream that is shared."""
    return np.random.default_rng([len(key), *key])


def deviations(key: Sequence[int], law: str, count: int, dtype: np.dtype | type = np.float64) -> np.ndarray:
    """Return ``count`` numbers of mean 0 and variance 1: normal, for the law ``uniform`` uniform."""
    random = generator(key)
    real = np.float32 if dtype == np.float32 else np.float64
    if law == "uniform":
        return (random.random(count, dtype=real) - real(0.5)) * real(math.sqrt(12))
    return random.standard_normal(count, dtype=real)


def factors(share: float, law: str, deviation: np.ndarray) -> np.ndarray:
    """Return what multiplies values, of mean 1 and standard deviation ``share``, in the type of ``deviation``.

    Args:
        share: relative standard deviation s.
        law: ``normal`` and ``uniform``: 1 + s n; ``lognormal``: exp(t n - t^2 / 2) with t^2 = ln(1 + s^2).  What is
            below :data:`LEAST_FACTOR` is raised to it: for a normal law 2 in 10,000 at s = 28%, none to speak of at
            10%, while beyond some 35% mean and deviation visibly move.
        deviation: numbers of mean 0 and variance 1.
    """
    real = deviation.dtype.type
    if law == "lognormal":
        variance = math.log1p(share * share)
        found = np.exp(real(math.sqrt(variance)) * deviation - real(variance / 2))
    else:
        found = real(1) + real(share) * deviation
    held: np.ndarray = np.maximum(found, real(LEAST_FACTOR))
    return held
