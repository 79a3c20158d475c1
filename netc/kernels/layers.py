"""Loops whose lanes do not read each other but through what one layer drives into the next.

for t: all states step                    for t, few lanes of layer 0 at a time: they step
                                   ->     for t: what layer 0 drives into layer 1
                                          for t, few lanes of layer 1 at a time: they step

A *layer* is a set of states of equal lanes that depend on each other at the same lane only, such as the neurons of one
layer of a buffered network.  What a layer reads of earlier ones, a *flow*, is computed for many steps at once; then a
few lanes run through many steps while all they touch stays in the first cache, forward and, right after,
backward.  What the adjoint of a step multiplies the seeds with, the Jacobian of a lane, is found on the way forward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import networkx as nx

from netc.emit.schedule import frontier
from netc.ir.adjoint import adjoints
from netc.ir.build import ONE, ZERO, add, mul, sub
from netc.ir.nodes import (
    Binary,
    Expr,
    Interpolate,
    Outer,
    Rate,
    Select,
    State,
    Transpose,
    Unary,
    Unknown,
    postorder,
)
from netc.kernels.affine import collapse
from netc.kernels.factoring import (
    DEEPEST,
    Fixed,
    cost,
    depth,
    factored,
    improved,
    linear_in,
    with_common_factors,
    with_fused_slopes,
    with_scaled_seeds,
)
from netc.kernels.loops import Loop, is_costly

_KEPT_COST = 2  # what keeping a value costs in operations


@dataclass(slots=True, eq=False)
class Layer:
    """States ``states`` of ``loop`` (by their number in it), what they read of earlier layers, and their adjoint.

    ``seeds[k]`` stand for the adjoints of the next states; ``state_adjoints``, ``flow_adjoints`` and ``gradients``
    are what a step makes of them; ``kept`` is what these read of the way forward.
    """

    states: tuple[int, ...]
    lanes: int
    flows: tuple[Expr, ...]
    seeds: tuple[Unknown, ...]
    state_adjoints: tuple[Expr, ...]
    flow_adjoints: tuple[Expr, ...]
    gradients: dict[Expr, Expr]
    kept: tuple[Expr, ...]


@dataclass(slots=True, eq=False)
class FlowAdjoint:
    """What the adjoint of the flows of a layer (``seeds``) adds to adjoints of earlier states, and to gradients."""

    seeds: tuple[Unknown, ...]
    echoes: dict[State, Expr]
    gradients: dict[Expr, Expr]


@dataclass(slots=True, eq=False)
class Layers:
    """A loop as layers in order; the logits read states of layer ``output`` alone."""

    layers: tuple[Layer, ...]
    flow_adjoints: tuple[FlowAdjoint, ...]
    output: int
    output_seed: Unknown
    output_echoes: dict[State, Expr]
    exported: tuple[State, ...]  # states that others read
    parameters: tuple[Expr, ...]  # fixed values that only adjoints read


def layers(loop: Loop, wanted: Sequence[Expr]) -> Layers | None:
    """Return the layers of ``loop`` with gradients of the reads in ``wanted``; ``None`` where it has none."""
    if "fission" not in loop.passes or "collapse" not in loop.passes:
        return None
    if loop.outputs is None or loop.driven or depth(loop.updates) > DEEPEST:
        return None
    order = _components(loop)
    terms = _owned(loop, order)
    if terms is None:
        return None
    flows: list[tuple[Expr, ...]] = []
    for members in order:
        found = _flows(loop, members)
        if found is None:
            return None
        flows.append(found)
    owner = {loop.states[k]: number for number, members in enumerate(order) for k in members}
    read_by_loss = [leaf for leaf in postorder(loop.outputs) if isinstance(leaf, State) and leaf in owner]
    outputs = {owner[leaf] for leaf in read_by_loss}
    if len(outputs) != 1 or any(isinstance(x, State) and x in owner for f in flows[0] for x in postorder(f)):
        return None
    exported = {x for group in flows for f in group for x in postorder(f) if x in owner} | set(read_by_loss)
    made, between = [], []
    for number, (members, group) in enumerate(zip(order, flows, strict=True)):
        made.append(_layer(loop, members, group, wanted, terms[number]))
        adjoint = _flow_adjoint(loop, number, group, wanted, owner)
        if adjoint is None:
            return None
        between.append(adjoint)
    seed = Unknown("adjoint of the outputs", loop.outputs.size)
    if any(e in set(wanted) for e in postorder(loop.outputs)):
        return None
    echoes = adjoints({loop.outputs: seed}, read_by_loss)
    roots = [e for layer in made for e in (*layer.state_adjoints, *layer.flow_adjoints, *layer.gradients.values())]
    roots += [k for layer in made for k in layer.kept]
    roots += [e for f in between for e in (*f.echoes.values(), *f.gradients.values())] + list(echoes.values())
    given = {*loop.reads}
    read = frontier(roots, lambda e: not loop.rates.fixed(e) and e not in given)
    fixed = [e for e in read if loop.rates.fixed(e) and not (isinstance(e, Transpose) and e.matrix in given)]
    return Layers(
        tuple(made),
        tuple(between),
        outputs.pop(),
        seed,
        {leaf: e for leaf, e in echoes.items() if isinstance(leaf, State)},
        tuple(s for s in loop.states if s in exported),
        tuple(e for e in dict.fromkeys(fixed) if e not in given),
    )


def _components(loop: Loop) -> list[list[int]]:
    """Return sets of states that depend on each other, those that others depend on first."""
    place = {state: k for k, state in enumerate(loop.states)}
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(len(loop.states)))
    for k, update in enumerate(loop.updates):
        graph.add_edges_from((place[x], k) for x in postorder(update) if isinstance(x, State) and x in place)
    condensed = nx.condensation(graph)
    order = nx.lexicographical_topological_sort(condensed, key=lambda n: min(condensed.nodes[n]["members"]))
    return [sorted(condensed.nodes[n]["members"]) for n in order]


def _flows(loop: Loop, members: Sequence[int]) -> tuple[Expr, ...] | None:
    """Return what the updates of some states read of others, ``None`` where lanes read each other."""
    own = {loop.states[k] for k in members}
    lanes = {leaf.size for leaf in own}
    if len(lanes) != 1:
        return None
    shape = (lanes.pop(),)
    mine: set[Expr] = set()
    for node in postorder(*(loop.updates[k] for k in members)):
        if node in own or any(c in mine for c in node.children):
            mine.add(node)
    found: dict[Expr, None] = {}
    stack: list[Expr] = [loop.updates[k] for k in members]
    seen: set[Expr] = set()
    while stack:
        node = stack.pop()
        if node in seen or not loop.rates.moves(node) or node in own:
            continue
        seen.add(node)
        if isinstance(node, Unary | Binary | Select | Interpolate) and node.shape == shape:
            stack.extend(node.children)
        elif node not in mine and node.shape in (shape, (1,)):
            found[node] = None
        else:
            return None
    return tuple(found)


def _owned(loop: Loop, order: Sequence[Sequence[int]]) -> list[list[Expr]] | None:
    """Return the penalties of each layer, ``None`` where one reads lanes or states of others."""
    found: list[list[Expr]] = [[] for _ in order]
    layer_of = {loop.states[k]: number for number, members in enumerate(order) for k in members}
    for term in loop.penalties:
        moving = [x for x in postorder(term) if loop.rates.moves(x)]
        readers = {layer_of[x] for x in moving if isinstance(x, State)}
        if len(readers) != 1 or not all(isinstance(x, State | Unary | Binary | Select) for x in moving):
            return None
        number = readers.pop()
        if any(x.shape != (loop.states[order[number][0]].size,) for x in moving):
            return None
        found[number].append(term)
    return found


def _layer(
    loop: Loop, members: Sequence[int], flows: tuple[Expr, ...], wanted: Sequence[Expr], terms: Sequence[Expr]
) -> Layer:
    fixed = loop.rates.fixed
    own = [loop.states[k] for k in members]
    seeds = tuple(Unknown(f"adjoint of {leaf.name}", leaf.size) for leaf in own)
    updates = [loop.updates[k] for k in members]
    asked = [e for e in wanted if e not in loop.states]
    roots: dict[Expr, Expr] = dict(zip(updates, seeds, strict=True)) | dict.fromkeys(terms, ONE)
    found = adjoints(roots, [*own, *flows, *asked])
    gradients = {e: found[e] for e in asked if found[e] is not ZERO}
    results = with_fused_slopes([*(found[e] for e in (*own, *flows)), *gradients.values()])
    results = collapse(results, fixed)
    linear = [_jacobian(r, seeds, fixed) for r in results]
    if "factoring" in loop.passes:
        results = improved(results, lambda given: collapse(with_scaled_seeds(given, fixed), fixed), fixed)
        results = improved(results, lambda given: factored(given, fixed), fixed)
    costly = {node for node in postorder(*updates) if loop.rates.moves(node) and is_costly(node)} - set(flows)
    reverse = _kept(loop, results, costly, flows)
    forward, least = _least(loop, linear, seeds, costly, updates, flows)
    if least < _total(loop, results, reverse, updates, costly):
        results, reverse = linear, forward
    count = len(own)
    return Layer(
        tuple(members),
        own[0].size,
        flows,
        seeds,
        tuple(results[:count]),
        tuple(results[count : count + len(flows)]),
        dict(zip(gradients, results[count + len(flows) :], strict=True)),
        reverse,
    )


def _kept(loop: Loop, results: Sequence[Expr], candidates: set[Expr], flows: Sequence[Expr]) -> tuple[Expr, ...]:
    """Return what is kept of the way forward: candidates and, as they are replaced in place, own states."""
    leaves = {*candidates, *loop.reads, *loop.states, *flows}
    read = frontier(results, lambda e: e not in leaves and not loop.rates.fixed(e))
    return tuple(e for e in read if e in candidates or e in loop.states)


def _total(
    loop: Loop, results: Sequence[Expr], kept: Sequence[Expr], updates: Sequence[Expr], costly: set[Expr]
) -> int:
    """Return the operations of a step forward, which computes what is kept, and of its adjoint."""

    def below(roots: Sequence[Expr], leaves: set[Expr]) -> int:
        return cost(roots, lambda e: e in leaves or loop.rates.fixed(e))

    back = below(results, {*kept})
    there = below([*updates, *kept], {*costly})
    return there + back + _KEPT_COST * len(kept)


def _least(
    loop: Loop,
    linear: Sequence[Expr],
    seeds: Sequence[Unknown],
    costly: set[Expr],
    updates: Sequence[Expr],
    flows: Sequence[Expr],
) -> tuple[tuple[Expr, ...], int]:
    """Choose which entries of the Jacobian are kept, the others being computed again; return what is kept."""

    def tried(entries: set[Expr]) -> tuple[tuple[Expr, ...], int]:
        kept = _kept(loop, linear, costly | entries, flows)
        return kept, _total(loop, linear, kept, updates, costly)

    entries = {e for r in linear for e in _coefficients(r, seeds) if loop.rates.moves(e)} - set(loop.states)
    best = tried(entries)
    for entry in sorted(entries, key=lambda e: cost([e], loop.rates.fixed)):
        less = entries - {entry}
        found = tried(less)
        if found[1] < best[1]:
            entries, best = less, found
    return best


def _jacobian(result: Expr, seeds: Sequence[Unknown], fixed: Fixed) -> Expr:
    """Return ``result`` as a sum of seeds, each times what does not depend on any; itself where it is none."""
    entries: list[tuple[Expr, Unknown]] = []
    rest = result
    for seed in seeds:
        parts = linear_in(rest, seed)
        if parts is None:
            return result
        factor, rest = parts
        if factor is not ZERO:
            entries.append((factor, seed))
    if any(isinstance(node, Unknown) for node in postorder(rest, *(factor for factor, _ in entries))):
        return result
    factors: Sequence[Expr] = [factor for factor, _ in entries]
    for change in (with_common_factors, factored, collapse):
        factors = change(factors, fixed)
    total: Expr = rest
    for factor, (_, seed) in zip(factors, entries, strict=True):
        negative = isinstance(factor, Unary) and factor.op == "neg"
        total = sub(total, mul(factor.children[0], seed)) if negative else add(total, mul(factor, seed))
    return total


def _coefficients(result: Expr, seeds: Sequence[Unknown]) -> list[Expr]:
    found = []
    for node in postorder(result):
        if isinstance(node, Binary) and node.op == "mul" and (node.a in seeds or node.b in seeds):
            found.append(node.b if node.a in seeds else node.a)
    return found


def _flow_adjoint(
    loop: Loop, number: int, flows: tuple[Expr, ...], wanted: Sequence[Expr], owner: dict[State, int]
) -> FlowAdjoint | None:
    seeds = tuple(Unknown(f"adjoint of flow {k}", f.size) for k, f in enumerate(flows))
    sources = list(dict.fromkeys(x for f in flows for x in postorder(f) if isinstance(x, State) and x in owner))
    if any(owner[x] >= number for x in sources):
        return None
    asked = [e for e in wanted if e not in loop.states]
    roots: dict[Expr, Expr] = dict(zip(flows, seeds, strict=True))
    found = adjoints(roots, [*sources, *asked])
    moving = {Rate.STEP}
    for leaf in sources:
        # earlier layers run after this adjoint
        if any(isinstance(x, State) and loop.rates(x) in moving for x in postorder(found[leaf])):
            return None
    gradients = {e: found[e] for e in asked if found[e] is not ZERO}
    for gradient in gradients.values():
        if not all(a in owner and b in seeds for a, b in _factors(gradient)) or not _factors(gradient):
            return None
    return FlowAdjoint(seeds, {leaf: found[leaf] for leaf in sources}, gradients)


def _factors(gradient: Expr) -> list[tuple[Expr, Expr]]:
    """Return the factors of an outer product; none for anything else."""
    return [(gradient.a, gradient.b)] if isinstance(gradient, Outer) else []
