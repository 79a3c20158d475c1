"""Exponential (Rosenbrock-)Euler on the small block of each cell.

    x[n+1] = x[n] + dt phi1(dt B) f(x[n], t_n),      phi1(z) = (exp(z) - 1) / z

``B`` is the part of the Jacobian df/dx (algebraic unknowns eliminated) that lies in blocks of one state, or of two
that act on each other and on no third: a block's own decay or oscillation is then followed exactly while its
surroundings stand still, and couplings between blocks are explicit.

Order 1, and 2 where the blocks are the whole Jacobian and nothing depends on the time.  A block that decays is stable
at every step; couplings between blocks keep the explicit limit.  One evaluation, the blocks' derivatives and an
exponential a state; no equations are solved (D. A. Pope 1963; M. Hochbruck, A. Ostermann, Acta Numerica 19, 209, 2010).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from netc.discretise.phi import phi1, phi1_pair
from netc.discretise.strategy import Integrator
from netc.ir import build
from netc.ir.build import add, mul, sub
from netc.ir.derivative import expanded, tangent, tangents
from netc.ir.implicit import Newton
from netc.ir.nodes import Expr, Index, ScatterAdd, State, TimeStep, Unknown, postorder
from netc.ir.program import AlgebraicBlock, Program
from netc.ir.sparsity import dependence, diagonal_groups
from netc.optimise import solve_algebraic

Numbers = np.ndarray[Any, np.dtype[np.int64]]


def run(program: Program) -> Program:
    """Return the system that takes exponential Euler steps."""
    return on(program, None)


def on(program: Program, lanes: Collection[tuple[int, int]] | None) -> Program:
    """Return the system in which the states ``lanes`` take exponential steps.

    ``lanes`` are numbers of dynamic blocks and of lanes in them; all when ``None``.  The others stay explicit.
    """
    solved = solve_algebraic.run(program)
    leaves = tuple(State(block.name, block.size) for block in program.dynamic)
    patterns = [[_pattern(expanded(b.derivative, (b.size,)), leaf) for leaf in leaves] for b in solved.dynamic]
    moves = Moves(program) if _iterates(solved) else Moves(solved)
    blocks = moves.program.dynamic
    slopes = [expanded(block.derivative, (block.size,)) for block in blocks]
    chosen = [
        np.arange(b.size) if lanes is None else np.array(sorted(i for k, i in lanes if k == n), dtype=np.int64)
        for n, b in enumerate(blocks)
    ]
    pairs = _pairs(patterns, [b.size for b in blocks], chosen)
    steps = [
        _across(moves, n, leaves[n], patterns[n][n], np.arange(b.size), np.arange(b.size))
        if len(chosen[n])
        else build.ZERO
        for n, b in enumerate(blocks)
    ]
    h = TimeStep()
    parts: list[list[tuple[Numbers, Expr]]] = [[] for _ in blocks]
    paired: list[Numbers] = [np.zeros(0, dtype=np.int64) for _ in blocks]
    for (a, b), (here, there) in pairs.items():
        first, second = _lanes(slopes[a], here), _lanes(slopes[b], there)
        left, right = _lanes(mul(steps[a], h), here), _lanes(mul(steps[b], h), there)
        across = mul(_across(moves, a, leaves[b], patterns[a][b], here, there), h)
        back = mul(_across(moves, b, leaves[a], patterns[b][a], there, here), h)
        m, half = mul(0.5, add(left, right)), mul(0.5, sub(left, right))
        u, v = phi1_pair(m, add(mul(half, half), mul(across, back)))
        turned = mul(v, half)
        parts[a].append((here, add(mul(add(u, turned), first), mul(mul(v, across), second))))
        parts[b].append((there, add(mul(sub(u, turned), second), mul(mul(v, back), first))))
        paired[a], paired[b] = np.concatenate([paired[a], here]), np.concatenate([paired[b], there])
    states = []
    for n, block in enumerate(blocks):
        alone = np.setdiff1d(chosen[n], paired[n])
        rest = np.setdiff1d(np.arange(block.size), chosen[n])
        if len(alone):
            damped = mul(phi1(mul(_lanes(steps[n], alone), h)), _lanes(slopes[n], alone))
            parts[n].append((alone, damped))
        if len(rest):
            parts[n].append((rest, _lanes(slopes[n], rest)))
        states.append(replace(block, derivative=_gathered(parts[n], block.size)))
    carried = (block for block in moves.program.states if block.carried)
    return replace(moves.program, states=(*states, *carried), algebraic=(*moves.program.algebraic, *moves.blocks))


def _iterates(program: Program) -> bool:
    """Whether a derivative holds something found by Newton's method, whose own derivative is good for one use only."""
    return any(isinstance(n, Newton) for n in postorder(*(b.derivative for b in program.dynamic)))


class Moves:
    """How the derivatives of a system move with its states, the algebraic unknowns moving along.

    Where unknowns have no expression of their own, their motion ``d`` is a linear algebraic block beside theirs,
    ``g_z d = -g_x``; so a further derivative, by a parameter, is exact as well.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.blocks: list[AlgebraicBlock] = []
        self._names = {u.name for b in program.algebraic for u in b.unknowns if isinstance(u, Unknown)}
        self._known: dict[tuple[Expr, Expr], tuple[Expr, ...]] = {}

    def __call__(self, number: int, leaf: State, seed: Expr) -> Expr:
        """Return the tangent of the derivative of a dynamic block when ``leaf`` moves by ``seed``."""
        if (leaf, seed) not in self._known:
            self._known[leaf, seed] = self._moved(leaf, seed)
        return self._known[leaf, seed][number]

    def _moved(self, leaf: State, seed: Expr) -> tuple[Expr, ...]:
        seeds: dict[Expr, Expr] = {leaf: seed}
        for block in self.program.algebraic:
            if block.explicit is not None:
                seeds[block.unknowns[0]] = tangent(block.explicit, seeds)
            elif all(m is build.ZERO for m in tangents(block.residuals, seeds)):
                seeds |= dict.fromkeys(block.unknowns, build.ZERO)
            else:
                along = {u: Unknown(self._free("motion"), u.size) for u in block.unknowns}
                seeds |= along
                moved = tangents(block.residuals, seeds)
                residuals = tuple(expanded(m, u.shape) for m, u in zip(moved, block.unknowns, strict=True))
                lanes = tuple(tuple(f"{n} in motion" for n in names) for names in block.lanes)
                self.blocks.append(AlgebraicBlock(tuple(along.values()), residuals, None, lanes, block.spans))
        return tangents(tuple(b.derivative for b in self.program.dynamic), seeds)

    def _free(self, name: str) -> str:
        number = len(self._names)
        while f"{name}_{number}" in self._names:
            number += 1
        self._names.add(f"{name}_{number}")
        return f"{name}_{number}"


def _pattern(slope: Expr, leaf: State) -> Any:
    found = dependence(slope, leaf)
    return sparse.csr_matrix((slope.size, leaf.size), dtype=bool) if found is None else found


def _pairs(
    patterns: list[list[Any]], sizes: list[int], chosen: list[Numbers]
) -> dict[tuple[int, int], tuple[Numbers, Numbers]]:
    """Return states that act on each other and on no third one back, by their blocks: lanes here, lanes there."""
    if not sizes:
        return {}
    whole = sparse.bmat(patterns, format="csr")
    _, label = connected_components(whole, directed=True, connection="strong")
    ends = np.cumsum([0, *sizes])
    wanted = np.zeros(ends[-1], dtype=bool)
    for start, lanes in zip(ends[:-1], chosen, strict=True):
        wanted[start + lanes] = True
    order = np.argsort(label, kind="stable")
    first, count = np.unique(label[order], return_index=True, return_counts=True)[1:]
    twos = first[count == 2]
    members = np.stack([order[twos], order[twos + 1]], axis=1)
    members = np.sort(members[wanted[members].all(axis=1)], axis=1)
    home = np.searchsorted(ends, members, side="right") - 1
    found = {}
    for a, b in {(int(x), int(y)) for x, y in home}:
        these = members[(home == (a, b)).all(axis=1)]
        found[a, b] = these[:, 0] - ends[a], these[:, 1] - ends[b]
    return dict(sorted(found.items()))


def _across(moves: Moves, number: int, leaf: State, pattern: Any, rows: Numbers, columns: Numbers) -> Expr:
    """Return d ``slope[rows[k]]`` / d ``leaf[columns[k]]`` for every k, the slope being that of block ``number``."""
    size = moves.program.dynamic[number].size
    groups = diagonal_groups(pattern[rows][:, columns])
    if not groups:
        return build.ZERO
    if len(groups) == 1 and len(groups[0]) == leaf.size == size and (rows == columns).all():
        return moves(number, leaf, build.ONE)
    entries = []
    for group in groups:
        seed = ScatterAdd(build.ONE, Index(columns[group]), leaf.size)
        entries.append((group, _lanes(expanded(moves(number, leaf, seed), (size,)), rows[group])))
    return _gathered(entries, len(rows))


def _lanes(x: Expr, lanes: Numbers) -> Expr:
    return x if x.shape == (1,) else build.gather(x, Index(lanes))


def _gathered(parts: list[tuple[Numbers, Expr]], size: int) -> Expr:
    """Return ``size`` lanes from parts that hold the lanes of the given numbers."""
    if len(parts) == 1 and len(parts[0][0]) == size:
        numbers, x = parts[0]
        return build.widen(x, size) if (numbers == np.arange(size)).all() else _placed(parts, size)
    return _placed(parts, size)


def _placed(parts: list[tuple[Numbers, Expr]], size: int) -> Expr:
    numbers = np.concatenate([n for n, _ in parts])
    if len(numbers) < size:  # entries that are zero
        return build.total([build.scatter_add(x, Index(n), size) for n, x in parts])
    joined = build.concat([build.widen(x, len(n)) for n, x in parts])
    return build.gather(joined, Index(np.argsort(numbers)))


EXPONENTIAL = Integrator(
    "exponential", 1, False, "every step for a block by itself", "one evaluation, an exponential a state", math.inf, run
)
