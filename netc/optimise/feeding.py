"""What feeds a linear network: a right-hand side as a fixed sparse matrix times the few values that move.

b = Concat(0, ScatterAdd(g * v(t), i, n))   ->   E v(t),   E[i[k], k] = g[k]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from netc.ir import build
from netc.ir.linear import Nonlinear, linear_form
from netc.ir.nodes import Binary, Concat, Expr, Gather, Index, ScatterAdd, Unary, Unknown
from netc.optimise.rewriting import Rewriter


@dataclass(frozen=True, slots=True, eq=False)
class Feeds:
    """``b[rows[k]] += values[k] * drive[ports[k]]``; ``drive`` has ``lanes`` lanes, the last one perhaps 1."""

    drive: Expr
    lanes: int
    values: Expr
    rows: Index
    ports: Index


def feeds(right: Expr, moves: Callable[[Expr], bool]) -> Feeds | None:
    """Return what moves in ``right`` and how it enters; ``None`` where that is not linear.

    Args:
        right: ``n`` lanes.
        moves: whether an expression changes once the parameters are given.
    """
    sources = list(_sources(right, moves))
    leaves = {source: Unknown(f"feed {k}", source.size) for k, source in enumerate(sources)}
    starts = dict(
        zip((leaf.name for leaf in leaves.values()), np.cumsum([0, *(s.size for s in sources)]), strict=False)
    )
    try:
        form = linear_form(build.widen(Rewriter(leaves.get)(right), right.size), starts)
    except Nonlinear:
        return None
    lanes = sum(s.size for s in sources)
    parts: list[tuple[Expr, np.ndarray, np.ndarray]] = [
        (build.widen(e.coefficient, len(e.rows)), e.rows.array, e.columns.array + starts[e.unknown])
        for e in form.entries
        if e.coefficient is not build.ZERO
    ]
    drive = list(sources)
    if form.remainder is not build.ZERO:  # what does not move at all feeds one port more
        every = np.arange(right.size)
        parts.append((build.widen(form.remainder, right.size), every, np.full(right.size, lanes)))
        drive.append(build.ONE)
        lanes += 1
    if not parts:
        return None
    # ports that no entry reads are left out
    used = np.unique(np.concatenate([ports for _, _, ports in parts]))
    place = np.searchsorted(used, np.concatenate([ports for _, _, ports in parts]))
    wide = build.concat([build.widen(d, d.size) for d in drive])
    return Feeds(
        build.gather(wide, Index(used)) if len(used) < lanes else wide,
        len(used),
        build.concat([values for values, _, _ in parts]),
        Index(np.concatenate([rows for _, rows, _ in parts])),
        Index(place),
    )


def _sources(root: Expr, moves: Callable[[Expr], bool]) -> dict[Expr, None]:
    """Return the largest moving expressions that fixed linear operators make ``root`` of."""
    found: dict[Expr, None] = {}
    seen: set[Expr] = set()
    stack = [root]
    while stack:
        node = stack.pop()
        if node in seen or not moves(node):
            continue
        seen.add(node)
        linear = isinstance(node, Gather | ScatterAdd | Concat) or (isinstance(node, Unary) and node.op == "neg")
        if isinstance(node, Binary):
            linear = node.op in ("add", "sub")
            linear |= node.op in ("mul", "div") and not moves(node.b)
            linear |= node.op == "mul" and not moves(node.a)
        if linear:
            stack.extend(node.children)
        else:
            found[node] = None
    return found
