"""What depends on what, quantity by quantity: the order of evaluation before anything is an array.

The quantities of a circuit are the voltage of every net, the current of every branch and, for every net,
the current that the branches outside the forest push into the part of the tree hanging from it (the
*injection*).  Strong components of this graph are what must be solved together; the longest path gives
the order.  With the states' own dependence added, its components are what must be stepped together
(time-loop fission) and its reach from the inputs is what differs between samples.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from netc.elaborate.circuit import Branch, Circuit
from netc.lower.topology import Forest

_MOST_PHASES = 16
"""More phases than this are not told apart: a chain of a thousand buffered stages stays one array."""


@dataclass(frozen=True, slots=True)
class Order:
    """Places in the order of dependence, one entry a quantity; see the index functions.

    ``level`` grows along every dependence within one time step; quantities of one ``cycle`` number >= 0
    must be solved together (-1: none).  ``phase`` counts the groups of states passed on the way, and
    ``sampled`` says whether the quantity differs between samples.
    """

    nets: int
    branches: int
    level: np.ndarray
    cycle: np.ndarray
    phase: np.ndarray
    sampled: np.ndarray

    def voltage(self, net: int) -> int:
        """Index of a net's voltage."""
        return net

    def current(self, branch: int) -> int:
        """Index of a branch's current."""
        return self.nets + branch

    def injection(self, net: int) -> int:
        """Index of a net's injection."""
        return self.nets + self.branches + net


def dependence_order(circuit: Circuit, forest: Forest) -> Order:
    """Return the order of all quantities of ``circuit``."""
    nets, count = len(circuit.nets), len(circuit.branches)
    size = 2 * nets + count
    algebraic, dynamic = _edges(circuit, forest)
    instant = np.array(algebraic, dtype=np.int64).reshape(-1, 2)
    whole = np.concatenate([instant, np.array(dynamic, dtype=np.int64).reshape(-1, 2)])

    component, members = _strong_components(size, instant)
    loops = np.zeros(size, bool)
    loops[instant[instant[:, 0] == instant[:, 1], 0]] = True
    cyclic = (members[component] > 1) | loops
    level = _longest_path(component, instant, np.ones(int(component.max()) + 1, np.int64))[component]

    component_all, _ = _strong_components(size, whole)
    has_state = np.zeros(int(component_all.max()) + 1, np.int64)
    for net in range(nets):
        if forest.branch[net] >= 0 and circuit.branches[forest.branch[net]].law.kind == "C":
            has_state[component_all[net]] = 1
    for number, branch in enumerate(circuit.branches):
        if branch.law.kind in ("L", "S") and not forest.in_tree[number]:
            has_state[component_all[nets + number]] = 1
    phase = _longest_path(component_all, whole, has_state)[component_all]
    if phase.max(initial=0) > _MOST_PHASES:
        phase = np.zeros_like(phase)

    sampled = np.zeros(size, bool)
    for driven in circuit.driven:
        sampled[nets + driven.branch] = True
        for net in circuit.branches[driven.branch].nets:
            if forest.branch[net] == driven.branch:
                sampled[net] = True
    reached = np.zeros(int(component_all.max()) + 1, np.int64)
    reached[component_all[sampled]] = 1
    sampled = _reach(component_all, whole, reached)[component_all].astype(bool)
    return Order(nets, count, level, np.where(cyclic, component, -1), phase, sampled)


def _edges(circuit: Circuit, forest: Forest) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Edges (from, to) within a step, and those through a state's derivative."""
    branches, nets = circuit.branches, len(circuit.nets)
    current, injection = nets, nets + len(branches)
    edges: list[tuple[int, int]] = []
    dynamic: list[tuple[int, int]] = []
    for net in range(1, nets):
        up, number = forest.parent[net], forest.branch[net]
        if up < 0:
            edges.append((injection + net, net))
            continue
        edges += [(up, net), (injection + net, injection + up), (injection + net, current + number)]
        if branches[number].law.kind == "C":
            dynamic.append((injection + net, net))
    for number, branch in enumerate(branches):
        first, second = branch.nets
        kind, here = branch.law.kind, current + number
        controls = [n for pair in branch.voltages for n in pair] + [current + c for c in branch.currents]
        if forest.in_tree[number]:
            child = first if forest.branch[first] == number else second
            if kind == "C":  # what a capacitance depends on counts in the rate of its voltage, not in the voltage
                others = [n for pair in branch.voltages for n in pair if {*pair} != {*branch.nets}]
                edges += [(c, injection + child) for c in (*others, *(current + c for c in branch.currents))]
            elif kind == "L":
                edges += [(c, child) for c in (*controls, *_cut_sources(circuit, forest, number))]
                edges.append((child, child))
            else:
                edges += [(c, child) for c in controls]
            continue
        edges += [(here, injection + first), (here, injection + second)]
        if kind in ("L", "S"):
            dynamic += [(c, here) for c in controls]
        else:
            edges += [(c, here) for c in controls]
        if kind in ("R", "V"):
            edges += [(first, here), (second, here)]
            if kind == "V":
                edges.append((here, here))
        elif kind == "C":  # closes a loop: its current is a combination of the loop's derivatives
            edges += [(injection + n, here) for n in derivative_sources(circuit, forest, branch.nets)]
        elif kind == "D":
            edges += [(n, here) for n in _rate_sources(circuit, forest, branch)]
        elif kind == "L":
            dynamic += [(first, here), (second, here)]
    return edges, dynamic


def _cut_sources(circuit: Circuit, forest: Forest, number: int) -> list[int]:
    """Quantities that the voltage of an inductor in the forest comes from: how fast the others' currents change."""
    partners = {n for c in circuit.couplings for n in c.inductors} if circuit.couplings else set()
    found: list[int] = []
    for other in (number, *(n for n, _ in forest.cuts[number])):
        branch = circuit.branches[other]
        if branch.law.kind != "L":
            found += _rate_sources(circuit, forest, branch)
        elif other in partners:
            found += [net for n in partners for net in circuit.branches[n].nets]
        elif other != number:
            found += branch.nets
    return found


def _rate_sources(circuit: Circuit, forest: Forest, branch: Branch) -> list[int]:
    """Quantities that the time derivative of what a branch reads comes from."""
    current, injection = len(circuit.nets), len(circuit.nets) + len(circuit.branches)
    found: list[int] = []
    ends: list[int] = []
    seen: set[int] = set()
    stack = [branch]
    while stack:
        reader = stack.pop()
        ends += [n for pair in reader.voltages for n in pair]
        for number in reader.currents:
            control = circuit.branches[number]
            kind = control.law.kind
            if number in seen:
                continue
            seen.add(number)
            if kind == "L":
                found += control.nets
            elif kind == "S":
                found += [n for pair in control.voltages for n in pair] + [current + c for c in control.currents]
            else:
                ends += control.nets
                stack.append(control)
    return found + [injection + n for n in derivative_sources(circuit, forest, ends)]


def derivative_sources(circuit: Circuit, forest: Forest, ends: Iterable[int]) -> list[int]:
    """Nets whose tree capacitors the time derivative of the voltages at ``ends`` comes from."""
    found, seen, stack = [], set(), list(ends)
    while stack:
        for net in forest.path_to_root(stack.pop()):
            if net in seen:
                continue
            seen.add(net)
            branch = circuit.branches[forest.branch[net]]
            if branch.law.kind == "C":
                found.append(net)
            else:
                stack += [n for pair in branch.voltages for n in pair]
    return found


def _strong_components(size: int, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    graph = coo_array((np.ones(len(edges), np.int8), (edges[:, 0], edges[:, 1])), shape=(size, size))
    _, component = connected_components(graph, directed=True, connection="strong")
    return component.astype(np.int64), np.bincount(component)


def _between(component: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Distinct edges between different components."""
    pairs = component[edges]
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    # one number a pair, and sorted here: np.unique takes many times as long over rows, and over numbers as well
    count = int(component.max(initial=0)) + 1
    numbers = np.sort(pairs[:, 0] * count + pairs[:, 1])
    first = np.ones(len(numbers), bool)
    first[1:] = numbers[1:] != numbers[:-1]
    return np.stack(np.divmod(numbers[first], count), axis=1)


def _longest_path(component: np.ndarray, edges: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Largest sum of weights over paths that end in each component (its own included)."""
    pairs = _between(component, edges)
    length = weight.copy()
    if not len(pairs):
        return length
    out = _Outgoing(pairs, len(weight))
    waiting = np.bincount(pairs[:, 1], minlength=len(weight))
    ready = np.flatnonzero(waiting == 0)
    while len(ready):  # each edge is followed once, when all that leads to its start is known
        sources, targets = out.of(ready)
        np.maximum.at(length, targets, length[sources] + weight[targets])
        np.subtract.at(waiting, targets, 1)
        ready = np.unique(targets[waiting[targets] == 0])
    return length


def _reach(component: np.ndarray, edges: np.ndarray, mark: np.ndarray) -> np.ndarray:
    """Spread marks along the edges."""
    pairs = _between(component, edges)
    reached = mark.copy()
    if not len(pairs):
        return reached
    out = _Outgoing(pairs, len(mark))
    fresh = np.flatnonzero(mark)
    while len(fresh):
        targets = out.of(fresh)[1]
        fresh = np.unique(targets[reached[targets] == 0])
        reached[fresh] = 1
    return reached


class _Outgoing:
    """The edges of a graph by where they start."""

    def __init__(self, pairs: np.ndarray, size: int) -> None:
        self._target = pairs[np.argsort(pairs[:, 0], kind="stable"), 1]
        self._count = np.bincount(pairs[:, 0], minlength=size)
        self._first = np.cumsum(self._count) - self._count

    def of(self, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return sources and targets of all edges that start at ``nodes``."""
        count = self._count[nodes]
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        return np.repeat(nodes, count), self._target[np.repeat(self._first[nodes], count) + within]
