"""The rewrites and plans between a program and its kernels, by name; each can be left out, to measure what it is worth.

Each is described, with what it makes of what, at the top of its own file.
"""

from __future__ import annotations

from collections.abc import Collection

PASSES: tuple[tuple[str, str], ...] = (
    ("collapse", "chains of sums and products with fixed values become one product and one sum"),
    ("shifts", "values of neighbouring lanes are computed where they are read rather than stored and gathered"),
    ("factoring", "sums become products where that saves operations; fixed factors meet at the seeds of adjoints"),
    ("common_exponentials", "logistic functions of one argument share an exponential and reciprocals"),
    ("fission", "a time loop is split by strongly connected components into layers that run one after the other"),
    ("loss_fusion", "the loss and its derivative are computed inside the time loop"),
    ("checkpoints", "states are stored every so many steps and recomputed between, as an estimate of memory says"),
    ("driven_products", "matrices times whole waveforms are multiplied for all steps at once, before the time loop"),
    ("weights", "large arrays of trained values are prepared in one pass, and their gradients in another"),
)
"""Names and what they do, in order."""


ALL: frozenset[str] = frozenset(name for name, _ in PASSES)


def enabled(disable: Collection[str]) -> frozenset[str]:
    """Return the names of the passes that run.

    Raises:
        ValueError: for a pass that does not exist.
    """
    unknown = set(disable) - ALL
    if unknown:
        raise ValueError(f"there is no pass {min(unknown)!r}; there are {', '.join(name for name, _ in PASSES)}")
    return ALL - set(disable)
