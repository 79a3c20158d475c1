"""Samples held out of a training set, to choose by without looking at the test set."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netc.data.dataset import Labels
from netc.diagnostics import NetcError

Numbers = NDArray[np.int64]


def held_out(labels: Labels, amount: float, seed: int) -> tuple[Numbers, Numbers]:
    """Return numbers of the samples to learn from and of those held out, both ascending.

    Every class gives its share of the held out samples, to the nearest whole number (largest remainders first); which
    ones is drawn from ``seed``.

    Args:
        labels: class numbers of all training samples ``(n,)``.
        amount: number of samples to hold out, or their share where it is below 1; 0 holds out none.
        seed: of the choice.

    Raises:
        NetcError: not at least one sample would be left on either side.
    """
    total = len(labels)
    wanted = round(amount * total) if amount < 1 else int(amount)
    if amount == 0:
        return np.arange(total), np.arange(0)
    if not 1 <= wanted < total:
        raise NetcError(
            f"--validation {amount:g} of {total} training samples leaves none to learn from or none to judge by",
            hint="ask for fewer than there are, or for a share such as 0.1",
        )
    classes, counts = np.unique(labels, return_counts=True)
    exact = counts * wanted / total
    take = np.floor(exact).astype(np.int64)
    # the classes that lost most by rounding down get what is missing; equal ones in order of their number
    missing = np.argsort(take - exact, kind="stable")[: wanted - int(take.sum())]
    take[missing] += 1
    generator = np.random.default_rng([seed, 0x76616C])
    chosen = [
        generator.permutation(np.flatnonzero(labels == label))[:count]
        for label, count in zip(classes, take, strict=True)
    ]
    out = np.sort(np.concatenate(chosen))
    learn = np.ones(total, dtype=bool)
    learn[out] = False
    return np.flatnonzero(learn), out
