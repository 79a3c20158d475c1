"""Do as much as possible once: fold, hoist divisions, and group what does not change with time.

x / r                 ->  x * (1 / r)          r of rate PARAMETER
(a * x) * b           ->  (a * b) * x          a, b not of rate STEP
(x - a) + b           ->  x + (b - a)          a, b constant in time
Gather(ScatterAdd(x, j, n), k)  ->  Gather(x, j^-1[k])
"""

from __future__ import annotations

import numpy as np

from netc.ir import build
from netc.ir.linear import lanes_of
from netc.ir.nodes import Binary, Concat, Expr, Gather, Index, Rate, ScatterAdd, State, postorder
from netc.ir.program import Program
from netc.ir.rates import Rates
from netc.optimise.rewriting import rewritten, signed_sum
from netc.optimise.splitting import split


def run(program: Program) -> Program:
    """Return ``program`` simplified."""
    rates = Rates(program)

    clocks: dict[Expr, bool] = {}

    def rule(node: Expr) -> Expr | None:
        if isinstance(node, Binary):
            if _is_clock(node, rates, clocks):
                return None
            if node.op == "div" and rates(node) and not rates(node.b):
                node = _grouped(node.a, build.div(build.ONE, node.b), rates)
            elif node.op == "mul":
                node = _grouped(node.a, node.b, rates)
            elif node.op in ("add", "sub"):
                return _sum(node, rates)
            return node
        if isinstance(node, Gather):
            return _gather(node)
        return _scatter_add(node) if isinstance(node, ScatterAdd) else None

    return rewritten(program, rule)


def _is_clock(root: Expr, rates: Rates, known: dict[Expr, bool]) -> bool:
    """Whether ``root`` changes with time and depends on nothing else that does."""
    if rates(root) != Rate.TIME:
        return False
    for node in postorder(root, known=known):
        known[node] = not isinstance(node, State) and all(known[child] for child in node.children)
    return known[root]


def _grouped(a: Expr, b: Expr, rates: Rates) -> Expr:
    return (split(a, rates) * split(b, rates)).joined()


def _sum(node: Binary, rates: Rates) -> Expr | None:
    fixed: list[tuple[int, Expr]] = []
    moving: list[tuple[int, Expr]] = []
    for sign, side in ((1, node.a), (1 if node.op == "add" else -1, node.b)):
        parts = [(sign, side)]
        if isinstance(side, Binary) and side.op in ("add", "sub"):
            inner = [(sign, side.a), (sign if side.op == "add" else -sign, side.b)]
            if any(not rates(x) & Rate.TIME for _, x in inner):
                parts = inner
        for part in parts:
            (moving if rates(part[1]) & Rate.TIME else fixed).append(part)
    if len(fixed) < 2 or not moving:
        return None
    by_parameter = [p for p in fixed if not rates(p[1])]
    by_sample = [p for p in fixed if rates(p[1])]
    constants = [(1, signed_sum(group)) for group in (by_parameter, by_sample) if group]
    return signed_sum([*moving, (1, signed_sum(constants))])


def _gather(node: Gather) -> Expr | None:
    x, wanted = node.x, node.index.array
    if isinstance(x, ScatterAdd) and len(x.shape) == 1:
        count = np.bincount(x.index.array, minlength=x.lanes)
        if (count[wanted] == 1).all():
            place = np.zeros(x.lanes, dtype=np.int64)
            place[x.index.array] = np.arange(len(x.index))
            return lanes_of(x.x, Index(place[wanted]))
    if isinstance(x, Concat) and len(wanted):
        ends = np.cumsum([part.shape[-1] for part in x.parts])
        part = int(np.searchsorted(ends, wanted.min(), side="right"))
        if wanted.max() < ends[part]:
            start = int(ends[part]) - x.parts[part].shape[-1]
            return lanes_of(x.parts[part], Index(wanted - start))
    return None


def _scatter_add(node: ScatterAdd) -> Expr | None:
    if len(node.shape) != 1:
        return None
    target = node.index.array
    if len(target) == node.lanes and len(np.unique(target)) == node.lanes:
        return lanes_of(node.x, Index(np.argsort(target)))
    if isinstance(node.x, ScatterAdd) and node.x.lanes == len(target):
        return build.scatter_add(node.x.x, Index(target[node.x.index.array]), node.lanes)
    return None
