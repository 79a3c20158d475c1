"""States that follow the rest of the circuit at once: their derivative is set to 0, and they become unknowns.

    tau x' = F(x, y)   with tau far below the step   ->   0 = F(x, y)

This is the limit of singular perturbation theory; the error is of the order of tau times the speed at which x moves
(A. N. Tikhonov 1952; Hairer, Wanner II, VI.1).  Their initial values no longer matter.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from netc.discretise import stage
from netc.ir import build
from netc.ir.derivative import expanded
from netc.ir.nodes import Expr, Index, State, Unknown
from netc.ir.program import AlgebraicBlock, Program, StateBlock
from netc.optimise.rewriting import Rewriter, mapped


def condense(program: Program, lanes: Collection[tuple[int, int]]) -> Program:
    """Return ``program`` with the states ``lanes`` (numbers of blocks and of lanes in them) at their limit."""
    replaced: dict[Expr, Expr] = {}
    settled: list[tuple[StateBlock, Unknown, Index]] = []
    kept: dict[str, Index] = {}
    taken = {u.name for b in program.algebraic for u in b.unknowns if isinstance(u, Unknown)}
    for number, block in enumerate(program.states):
        gone = np.array(sorted(lane for k, lane in lanes if k == number), dtype=np.int64)
        if not len(gone):
            continue
        name = f"{block.name}_settled"
        while name in taken:
            name += "_"
        taken.add(name)
        unknown = Unknown(name, len(gone))
        stay = np.setdiff1d(np.arange(block.size), gone)
        kept[block.name] = Index(stay)
        settled.append((block, unknown, Index(gone)))
        parts: list[Expr] = [unknown]
        if len(stay):
            parts.insert(0, State(block.name, len(stay)))
        order = Index(np.argsort(np.concatenate([stay, gone])))
        replaced[State(block.name, block.size)] = build.gather(build.concat(parts), order)
    rewrite = Rewriter(replaced.get)
    moved = mapped(program, rewrite)
    blocks = list(moved.algebraic)
    for block, unknown, index in settled:
        residual = build.gather(expanded(rewrite(block.derivative), (block.size,)), index)
        names = tuple(block.lanes[k] for k in index.array)
        spans = tuple(block.spans[k] for k in index.array) if len(block.spans) == block.size else block.spans
        blocks.append(AlgebraicBlock((unknown,), (residual,), None, (names,), (spans,)))
    states = []
    for block in moved.states:
        stays = kept.get(block.name)
        if stays is None:
            states.append(block)
        elif len(stays):
            states.append(
                replace(
                    block,
                    lanes=tuple(block.lanes[k] for k in stays.array),
                    spans=tuple(block.spans[k] for k in stays.array)
                    if len(block.spans) == len(block.lanes)
                    else block.spans,
                    initial=_picked(block.initial, stays),
                    derivative=_picked(block.derivative, stays),
                )
            )
    return replace(moved, states=tuple(states), algebraic=stage.ordered(blocks))


def _picked(x: Expr, index: Index) -> Expr:
    return x if x.shape == (1,) else build.gather(x, index)
