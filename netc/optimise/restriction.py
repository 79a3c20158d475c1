"""Some lanes of an expression, computed from no more lanes of its leaves than they need.

Gather(f(u), [3, 7])   ->   f(Gather(u, [3, 7]))          through sums, gathers, scatters and concatenations
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from netc.ir import build
from netc.ir.linear import lanes_of
from netc.ir.nodes import Binary, Concat, Expr, Gather, Index, ScatterAdd, Select, Unary, postorder

Task = tuple[Expr, Index | None]
"""An expression and the lanes of it that are wanted, ``None`` for all."""


class Restriction:
    """Rewrites expressions so that they read ``leaf(expr, lanes)`` in place of some of their leaves.

    What contains none of these leaves is left as it is, only gathered from.
    """

    def __init__(self, leaves: set[Expr], leaf: Callable[[Expr, Index | None], Expr]) -> None:
        self._leaves = leaves
        self._leaf = leaf
        self._inside: dict[Expr, bool] = {}
        self._done: dict[Task, Expr] = {}

    def __call__(self, expr: Expr, lanes: Index | None = None) -> Expr:
        """Return ``expr``, or its lanes ``lanes``, of as many lanes or one that broadcasts."""
        root = self._task(expr, lanes)
        stack = [root]
        while stack:
            task = stack[-1]
            if task in self._done:
                stack.pop()
                continue
            below = self._below(task)
            missing = [t for t in below if t not in self._done]
            if missing:
                stack += missing
            else:
                self._done[stack.pop()] = self._built(task, [self._done[t] for t in below])
        return self._done[root]

    def _contains(self, expr: Expr) -> bool:
        for node in postorder(expr, known=self._inside):
            self._inside[node] = node in self._leaves or any(self._inside[c] for c in node.children)
        return self._inside[expr]

    @staticmethod
    def _task(expr: Expr, lanes: Index | None) -> Task:
        whole = lanes is None or expr.shape == (1,) or len(expr.shape) != 1 or lanes.is_identity(expr.size)
        return expr, None if whole else lanes

    def _below(self, task: Task) -> list[Task]:
        node, lanes = task
        if node in self._leaves or not self._contains(node):
            return []
        if lanes is None:
            return [(child, None) for child in node.children]
        if isinstance(node, Unary | Binary | Select):
            return [self._task(child, lanes) for child in node.children]
        if isinstance(node, Gather):
            return [self._task(node.x, Index(node.index.array[lanes.array]))]
        if isinstance(node, ScatterAdd):
            return [self._task(node.x, Index(np.flatnonzero(np.isin(node.index.array, lanes.array))))]
        if isinstance(node, Concat):
            return [self._task(part, Index(inside)) for part, inside, _ in _parts(node, lanes)]
        return [(node, None)]

    def _built(self, task: Task, below: list[Expr]) -> Expr:
        node, lanes = task
        if node in self._leaves:
            return self._leaf(node, lanes)
        if not self._contains(node):
            return node if lanes is None else lanes_of(node, lanes)
        if lanes is None or isinstance(node, Unary | Binary | Select):
            return build.refold(node, tuple(below))
        if isinstance(node, Gather):
            return below[0]
        if isinstance(node, ScatterAdd):
            kept, place = np.unique(lanes.array, return_inverse=True)
            target = node.index.array[np.isin(node.index.array, kept)]
            return lanes_of(
                build.scatter_add(below[0], Index(np.searchsorted(kept, target)), len(kept)), Index(place.ravel())
            )
        if isinstance(node, Concat):
            parts = _parts(node, lanes)
            wide = [build.widen(x, len(inside)) for x, (_, inside, _) in zip(below, parts, strict=True)]
            order = np.argsort(np.concatenate([at for _, _, at in parts]))
            return lanes_of(build.concat(wide), Index(order))
        return lanes_of(below[0], lanes)


def _parts(node: Concat, lanes: Index) -> list[tuple[Expr, np.ndarray, np.ndarray]]:
    """Parts that hold some of ``lanes``: the part, which of its lanes, and where they stand in the result."""
    found = []
    start = 0
    for part in node.parts:
        at = np.flatnonzero((lanes.array >= start) & (lanes.array < start + part.size))
        if len(at):
            found.append((part, lanes.array[at] - start, at))
        start += part.size
    return found
