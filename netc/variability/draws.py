"""Random numbers of devices: pure functions of a seed and of numbers that say what is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import sha256

import numpy as np
import torch

LAWS = ("normal", "lognormal", "uniform")
"""Distributions of relative noise; see :func:`factors`."""

LEAST_FACTOR = 0.01
"""No draw takes more than 99% off a value, so that conductances, times and the like stay positive."""


def generator(key: Sequence[int]) -> np.random.Generator:
    """Return a generator of its own for each ``key``, numbers of at least 0: a counter, not a stream that is shared."""
    return np.random.default_rng([len(key), *key])


def uniforms(key: Sequence[int], count: int, dtype: np.dtype | type = np.float64) -> np.ndarray:
    """Return ``count`` numbers from 0 to 1; see :func:`deviations` for the type."""
    if dtype == np.float32:
        return np.asarray(torch.rand(count, generator=_fast(key)).numpy())
    return np.asarray(generator(key).random(count))


def deviations(key: Sequence[int], law: str, count: int, dtype: np.dtype | type = np.float64) -> np.ndarray:
    """Return ``count`` numbers of mean 0 and variance 1: normal, for the law ``uniform`` uniform.

    In float64 they are the same on every machine; in float32, of which training takes many, by torch's generator, which
    is several times as fast and has numbers of its own.
    """
    if law == "uniform":
        found = uniforms(key, count, dtype)
        found -= found.dtype.type(0.5)
        found *= found.dtype.type(math.sqrt(12))
        return found
    if dtype == np.float32:
        return np.asarray(torch.randn(count, generator=_fast(key)).numpy())
    return generator(key).standard_normal(count)


def factors(share: float, law: str, deviation: np.ndarray) -> np.ndarray:
    """Return what multiplies values, of mean 1 and standard deviation ``share``; ``deviation`` is overwritten.

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
        deviation *= real(math.sqrt(variance))
        deviation -= real(variance / 2)
        np.exp(deviation, out=deviation)
    else:
        deviation *= real(share)
        deviation += real(1)
    np.maximum(deviation, real(LEAST_FACTOR), out=deviation)
    return deviation


def _fast(key: Sequence[int]) -> torch.Generator:
    digest = sha256(repr((len(key), *key)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
