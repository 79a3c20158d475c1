"""Gaussian elimination over expressions: many small linear systems of one pattern, a lane each.

    [[a, b], [c, d]] u = [e, f]   ->   u1 = (f - (c / a) e) / (d - (c / a) b),   u0 = (e - b u1) / a

The pivots are the same for all lanes, so they are chosen by the pattern and by the nominal values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from netc.ir import build
from netc.ir.interpret import Array
from netc.ir.nodes import Expr

_CANCELLED = 1e-12  # what is left of a difference counts as rounding below this fraction of its parts
_USABLE = 1e-9  # smallest pivot, relative to its row
_GOOD = 0.1


class Singular(ValueError):
    """No pivot is left: the systems in ``lanes`` (all when ``None``) have no unique solution."""

    def __init__(self, lanes: Array | None) -> None:
        self.lanes = lanes
        super().__init__("singular")


def eliminate(
    matrix: Sequence[Sequence[Expr]],
    right: Sequence[Expr],
    nominal: Callable[[Expr], Array],
    settled: Callable[[Expr], bool],
) -> list[Expr]:
    """Return ``u`` with ``sum_c matrix[r][c] * u[c] = right[r]`` lane by lane.

    ``nominal`` gives a coefficient's value (lanes, or 1); ``settled`` whether it is of rate PARAMETER, so that
    this value decides.  Raises :class:`Singular`.
    """
    size = len(right)
    a = [list(row) for row in matrix]
    b = list(right)
    value = [[np.abs(nominal(x)) for x in row] for row in a]
    signed = [[nominal(x) for x in row] for row in a]
    free_rows, free_columns = list(range(size)), list(range(size))
    pivots: list[tuple[int, int]] = []
    while free_rows:
        r, c = _pivot(a, signed, value, free_rows, free_columns, settled)
        pivots.append((r, c))
        free_rows.remove(r)
        free_columns.remove(c)
        for i in free_rows:
            if a[i][c] is build.ZERO:
                continue
            ratio, ratio_value = build.div(a[i][c], a[r][c]), _divided(signed[i][c], signed[r][c])
            for j in free_columns:
                if a[r][j] is not build.ZERO:
                    change = ratio_value * signed[r][j]
                    a[i][j] = build.sub(a[i][j], build.mul(ratio, a[r][j]))
                    signed[i][j] = signed[i][j] - change
                    value[i][j] = value[i][j] + np.abs(change)
            b[i] = build.sub(b[i], build.mul(ratio, b[r]))
    result: list[Expr] = [build.ZERO] * size
    for place in reversed(range(size)):
        r, c = pivots[place]
        known = build.total(
            [build.mul(a[r][j], result[j]) for _, j in pivots[place + 1 :] if a[r][j] is not build.ZERO]
        )
        result[c] = build.div(build.sub(b[r], known), a[r][c])
    return result


def _divided(a: Array, b: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.nan_to_num(np.asarray(a / b), nan=0.0, posinf=0.0, neginf=0.0)


def _pivot(
    a: list[list[Expr]],
    signed: list[list[Array]],
    parts: list[list[Array]],
    rows: list[int],
    columns: list[int],
    settled: Callable[[Expr], bool],
) -> tuple[int, int]:
    best: tuple[tuple[bool, bool, int, int, int], tuple[int, int]] | None = None
    doubtful: tuple[int, int] | None = None
    lanes: Array | None = None
    for r in rows:
        largest: Array = np.zeros(1)
        for c in columns:
            largest = np.maximum(largest, np.abs(signed[r][c]))
        for c in columns:
            if a[r][c] is build.ZERO:
                continue
            size = np.abs(signed[r][c])
            usable = (size > _CANCELLED * parts[r][c]) & np.isfinite(size)
            relative = np.where(usable, _divided(size, largest), 0.0)
            if relative.min() < _USABLE:
                if settled(a[r][c]):
                    lanes = relative < _USABLE if lanes is None else lanes & (relative < _USABLE)
                else:
                    doubtful = doubtful or (r, c)
                continue
            fill = sum(a[i][c] is not build.ZERO for i in rows) * sum(a[r][j] is not build.ZERO for j in columns)
            key = (not bool(relative.min() >= _GOOD), not settled(a[r][c]), fill, r, c)
            if best is None or key < best[0]:
                best = key, (r, c)
    if best is not None:
        return best[1]
    if doubtful is None:
        raise Singular(lanes)
    return doubtful
