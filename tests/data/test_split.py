"""Held out samples: as many as asked for, of every class its share, the same ones for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from netc.data.split import held_out
from netc.diagnostics import NetcError

LABELS = np.repeat(np.arange(4), [10, 20, 30, 41])


@pytest.mark.parametrize(("amount", "expected"), [(0.2, 20), (20, 20), (1, 1), (100, 100), (0.5, 50)])
def test_number_and_shares(amount: float, expected: int) -> None:
    learn, out = held_out(LABELS, amount, 0)
    assert len(out) == expected and sorted([*learn, *out]) == list(range(len(LABELS)))
    counts = np.bincount(LABELS[out], minlength=4)
    exact = np.bincount(LABELS) * expected / len(LABELS)
    assert (np.abs(counts - exact) < 1).all()


def test_seed_decides_alone() -> None:
    first, again, other = (held_out(LABELS, 20, seed)[1] for seed in (0, 0, 1))
    assert (first == again).all() and not (first == other).all()


def test_none_and_too_many() -> None:
    learn, out = held_out(LABELS, 0, 0)
    assert len(learn) == len(LABELS) and not len(out)
    for amount in (101, 1e-6, 500):
        with pytest.raises(NetcError, match="leaves none"):
            held_out(LABELS, amount, 0)
