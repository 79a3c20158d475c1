"""Splits the states of a time loop into layers: one after another through many steps instead of side by side.

A layer is a set of states that depend on each other (a strongly connected component of "reads").  What it reads of
earlier layers through more than lane-by-lane arithmetic, a *flow*, does not depend on its own states, so that it is
computed for many steps at once: a coupling product becomes one matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import networkx as nx

from netc.emit.schedule import Schedule, frontier
from netc.ir.implicit import Newton
from netc.ir.nodes import Binary, Const, Expr, Input, Rate, Select, State, Unary, postorder

MOST_LAYERS = 8
"""A circuit of more is one layer: each is a graph of its own for ``torch.compile``."""

_MOST_OPERATIONS = 240  # in one compiled graph: the time to compile grows with it, and registers run out
_MANY_LANES = 100  # states common to all samples are rarely enough work for a compiled graph
_BLOCKS = (10, 5, 4, 2)  # all divide the stretches of the emitted module


@dataclass(frozen=True, slots=True)
class Layer:
    """States (their numbers in the program) that take a step together, and what that step reads besides them.

    ``rows`` change with the step: flows, waveforms, sequences, driven inputs.  ``held`` do not.  ``block`` is how
    many steps make a compiled graph of bearable size, 0 where none can be compiled.
    """

    numbers: tuple[int, ...]
    rows: tuple[Expr, ...]
    held: tuple[Expr, ...]
    block: int


def layers(plan: Schedule) -> list[Layer]:
    """Return the layers of the states of rate STEP in an order in which none reads a later one."""
    groups = _components(plan)
    if len(groups) > MOST_LAYERS:
        groups = [list(plan.step)]
    return [_layer(plan, numbers) for numbers in groups]


def common_layer(plan: Schedule) -> Layer:
    """Return the states of rate TIME, which have no batch axis, as one layer."""
    own = {plan.leaf(k) for k in plan.common}
    waves = set(plan.common_reads)
    read = frontier([plan.derivatives[k] for k in plan.common], lambda e: bool(plan.rates(e)) and e not in waves)
    held = tuple(e for e in read if e not in waves and e not in own)
    lanes = sum(state.size for state in own)
    block = _block([plan.derivatives[k] for k in plan.common], {*read, *own}) if lanes >= _MANY_LANES else 0
    return Layer(tuple(plan.common), tuple(e for e in read if e in waves), held, block)


def _components(plan: Schedule) -> list[list[int]]:
    place = {plan.leaf(k): k for k in plan.step}
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(plan.step)
    for number in plan.step:
        found = (place[x] for x in postorder(plan.derivatives[number]) if isinstance(x, State) and x in place)
        graph.add_edges_from((k, number) for k in found)
    condensed = nx.condensation(graph)
    order = nx.lexicographical_topological_sort(condensed, key=lambda n: min(condensed.nodes[n]["members"]))
    return [sorted(condensed.nodes[n]["members"]) for n in order]


def _layer(plan: Schedule, numbers: Sequence[int]) -> Layer:
    own = {plan.leaf(k) for k in numbers}
    roots = [plan.derivatives[k] for k in numbers]
    mine: set[Expr] = set()
    with_matrices: set[Expr] = set()  # those would be stored for every step and sample
    for node in postorder(*roots):
        if node in own or any(c in mine for c in node.children):
            mine.add(node)
        moves = plan.rates(node) is Rate.STEP
        if moves and (len(node.shape) > 1 or any(c in with_matrices for c in node.children)):
            with_matrices.add(node)

    def inside(node: Expr) -> bool:
        if plan.rates(node) is not Rate.STEP or isinstance(node, State | Input):
            return False
        return node in mine or node in with_matrices or isinstance(node, Unary | Binary | Select)

    read = [e for e in frontier(roots, inside) if e not in own]
    rows = tuple(e for e in read if plan.rates(e) & Rate.TIME)
    held = tuple(e for e in read if not plan.rates(e) & Rate.TIME)
    return Layer(tuple(numbers), rows, held, _block(roots, {*read, *own}))


def _block(roots: Sequence[Expr], given: set[Expr]) -> int:
    computed = [e for e in postorder(*roots, known=given) if e not in given and not isinstance(e, Const)]
    if any(isinstance(e, Newton) for e in computed):  # it goes on for as long as the values want
        return 0
    operations = len(computed) + len(roots)
    return next((n for n in _BLOCKS if n * operations <= _MOST_OPERATIONS), 1)
