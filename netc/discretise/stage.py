"""The right-hand side of a system at another point: what the stages of Runge-Kutta and implicit methods are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import networkx as nx

from netc.ir import build
from netc.ir.nodes import Expr, State, Time, TimeStep, Unknown, postorder
from netc.ir.program import AlgebraicBlock, Program, StateBlock
from netc.optimise.rewriting import Rewriter


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """``f`` at some states and time: a derivative for each state block, and the algebraic blocks it needs.

    ``guesses`` names, for each unknown of ``blocks``, the unknown of the system itself that it is a copy of.
    """

    derivatives: tuple[Expr, ...]
    blocks: tuple[AlgebraicBlock, ...]
    originals: dict[Expr, Expr]


def leaves(program: Program) -> tuple[State, ...]:
    """Return the state leaf of every block."""
    return tuple(State(block.name, block.size) for block in program.states)


def later(fraction: float = 1.0) -> Expr:
    """Return the time ``fraction`` of a step from now, in seconds."""
    return build.add(Time(), build.mul(fraction, TimeStep())) if fraction else Time()


def now(program: Program) -> Stage:
    """Return ``f`` where the step starts; its algebraic blocks are those of ``program`` itself."""
    return Stage(tuple(block.derivative for block in program.states), (), {})


def at(program: Program, states: Mapping[Expr, Expr], time: Expr, name: str) -> Stage:
    """Return ``f`` with ``states`` in place of the state leaves and ``time`` in place of the time.

    Unknowns get copies whose names end in ``name``; those with an expression of their own are put in.  Only what
    the derivatives need is copied.
    """
    needed = _needed(program)
    taken = {u.name for block in program.algebraic for u in block.unknowns if isinstance(u, Unknown)}
    replaced: dict[Expr, Expr] = {**states, Time(): time}
    rewrite = Rewriter(replaced.get)
    blocks: list[AlgebraicBlock] = []
    originals: dict[Expr, Expr] = {}
    for block in needed:
        if block.explicit is not None:
            replaced[block.unknowns[0]] = build.widen(rewrite(block.explicit), block.unknowns[0].size)
            continue
        for unknown in block.unknowns:
            assert isinstance(unknown, Unknown)
            copy = Unknown(_free(f"{unknown.name}_{name}", taken), unknown.size)
            replaced[unknown] = copy
            originals[copy] = unknown
        residuals = tuple(build.widen(rewrite(r), u.size) for r, u in zip(block.residuals, block.unknowns, strict=True))
        unknowns = tuple(replaced[u] for u in block.unknowns)
        blocks.append(AlgebraicBlock(unknowns, residuals, None, block.lanes, block.spans))
    return Stage(tuple(rewrite(block.derivative) for block in program.states), tuple(blocks), originals)


def _needed(program: Program) -> list[AlgebraicBlock]:
    """Return the blocks that derivatives read, directly or through others, in their order."""
    reached = {n for n in postorder(*(s.derivative for s in program.states)) if isinstance(n, Unknown)}
    found: list[AlgebraicBlock] = []
    for block in reversed(program.algebraic):
        if reached.isdisjoint(block.unknowns):
            continue
        found.append(block)
        roots = block.residuals if block.explicit is None else (block.explicit,)
        reached |= {n for n in postorder(*roots) if isinstance(n, Unknown)}
    return found[::-1]


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def ordered(blocks: Sequence[AlgebraicBlock]) -> tuple[AlgebraicBlock, ...]:
    """Return ``blocks`` with those behind the ones they read; blocks that read each other become one."""
    home = {unknown: k for k, block in enumerate(blocks) for unknown in block.unknowns}
    graph: nx.DiGraph = nx.DiGraph()
    graph.add_nodes_from(range(len(blocks)))
    for k, block in enumerate(blocks):
        roots = block.residuals if block.explicit is None else (block.explicit,)
        graph.add_edges_from((home[node], k) for node in postorder(*roots) if node in home)
    whole = nx.condensation(graph)
    members = {n: sorted(numbers) for n, numbers in whole.nodes(data="members")}
    order = nx.lexicographical_topological_sort(whole, key=lambda n: members[n][0])
    return tuple(_joined([blocks[k] for k in members[n]]) for n in order)


def _joined(blocks: list[AlgebraicBlock]) -> AlgebraicBlock:
    if len(blocks) == 1:
        return blocks[0]
    return AlgebraicBlock(
        tuple(u for block in blocks for u in block.unknowns),
        tuple(
            r
            for block in blocks
            for r in (block.residuals if block.explicit is None else (build.sub(block.unknowns[0], block.explicit),))
        ),
        None,
        tuple(lanes for block in blocks for lanes in block.lanes),
        tuple(spans for block in blocks for spans in block.spans),
        # a part of a guess is none: the solver then starts where it was a step before
        guesses=tuple(g for block in blocks for g in block.guesses) if all(b.guesses for b in blocks) else (),
    )


def increment(after: Expr, block: StateBlock) -> Expr:
    """Return ``(x[n+1] - x[n]) / dt`` where ``after`` is ``x[n+1]``, in units of the state per second."""
    return build.div(build.sub(after, State(block.name, block.size)), TimeStep())
