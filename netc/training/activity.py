"""How busy a circuit is: spikes per neuron and the share of time membranes are above threshold.

A spike is an upward crossing of the threshold between two steps; the time above it is counted on steps 1 to the last.
Where a fused kernel runs, the counts are states of their own beside the membranes, so that nothing over time is stored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from netc.ir.nodes import Binary, Const, Expr, State, TimeStep, Unary
from netc.ir.program import Program, StateBlock

_PREFIX = "count of"


@dataclass(frozen=True, slots=True)
class Activity:
    """Means over samples, for each membrane.

    Attributes:
        spikes: upward crossings of the threshold during one sample ``(nodes,)``.
        share: share of time steps above the threshold ``(nodes,)``.
        nodes: their names.
    """

    spikes: Tensor
    share: Tensor
    nodes: tuple[str, ...]

    @property
    def spikes_per_neuron(self) -> float:
        """Mean over all membranes."""
        return float(self.spikes.mean())

    @property
    def share_of_time(self) -> float:
        """Mean over all membranes."""
        return float(self.share.mean())

    def by_layer(self) -> tuple[dict[str, float], dict[str, float]]:
        """Return spikes per neuron and share of time above threshold of each layer, in the order of the nodes."""
        places: dict[str, list[int]] = {}
        for place, node in enumerate(self.nodes):
            places.setdefault(layer_of(node), []).append(place)
        return (
            {name: float(self.spikes[found].mean()) for name, found in places.items()},
            {name: float(self.share[found].mean()) for name, found in places.items()},
        )


def layer_of(node: str) -> str:
    """Return the layer of a membrane: its name without the last number, ``m1`` for ``m1_42``."""
    return re.sub(r"[_.]?\d+$", "", node) or node


def hidden_mean(by_layer: Mapping[str, float], nodes: Sequence[str], outputs: Sequence[str]) -> float:
    """Return the mean over the membranes of all layers that hold no output; over all where every layer does."""
    last = {layer_of(node) for node in outputs}
    counted = [layer_of(node) for node in nodes if layer_of(node) not in last] or [layer_of(node) for node in nodes]
    return sum(by_layer[name] for name in counted) / len(counted)


@dataclass(slots=True)
class Counts:
    """Spikes and steps above threshold, added up over samples.

    Attributes:
        spikes: ``(nodes,)``.
        above: ``(nodes,)``.
        samples: how many.
    """

    spikes: Tensor
    above: Tensor
    samples: int

    @classmethod
    def none(cls, nodes: int) -> Counts:
        """Nothing counted yet."""
        return cls(torch.zeros(nodes, dtype=torch.float64), torch.zeros(nodes, dtype=torch.float64), 0)

    def add(self, other: Counts) -> None:
        """Add those of further samples."""
        self.spikes += other.spikes
        self.above += other.above
        self.samples += other.samples

    def mean(self, steps: int, nodes: Sequence[str]) -> Activity:
        """Return means over samples, and over ``steps`` for the time above threshold."""
        return Activity(self.spikes / self.samples, self.above / (self.samples * steps), tuple(nodes))


def count(voltages: Tensor, threshold: float) -> Counts:
    """Count in ``(steps + 1, batch, nodes)`` volts; the first row only says where the second one comes from."""
    above = voltages > threshold
    rising = above[1:] & ~above[:-1]
    return Counts(
        rising.sum(dim=(0, 1)).to(torch.float64).cpu(),
        above[1:].sum(dim=(0, 1)).to(torch.float64).cpu(),
        voltages.shape[1],
    )


@dataclass(frozen=True, slots=True)
class Counter:
    """A program that counts, and where its counts are.

    Attributes:
        program: the circuit and three states for each membrane: whether it was above at the last step, spikes, steps
            above.
        places: for each node, its state block and its lane there.
        threshold: V.
    """

    program: Program
    places: tuple[tuple[str, int], ...]
    threshold: float

    def counts(self, finals: Mapping[str, Tensor]) -> Counts:
        """Return what the states at the end, ``(batch, lanes)`` by block, say."""
        spikes, above = {}, {}
        batch = 0
        for name in {name for name, _ in self.places}:
            # the states have seen rows 0 to the last but one; none is above at the start (with_counters sees to it)
            now = finals[name] > self.threshold
            before = finals[f"{_PREFIX} {name}: above"] > 0.5
            spikes[name] = finals[f"{_PREFIX} {name}: spikes"].double().round().sum(0) + (now & ~before).sum(0)
            above[name] = finals[f"{_PREFIX} {name}: steps"].double().round().sum(0) + now.sum(0)
            batch = len(now)
        return Counts(
            torch.stack([spikes[name][lane] for name, lane in self.places]),
            torch.stack([above[name][lane] for name, lane in self.places]),
            batch,
        )


def with_counters(program: Program, nodes: Sequence[str], threshold: float) -> Counter | None:
    """Return ``program`` with states that count spikes; ``None`` where a node is no state or starts above threshold."""
    owner = {
        lane: (observable.value.name, place)
        for observable in program.observables
        if isinstance(observable.value, State)
        for place, lane in enumerate(observable.lanes)
    }
    if any(node not in owner for node in nodes):
        return None
    blocks = {block.name: block for block in program.states}
    known = {p.name: p.values for p in program.parameters}
    more: list[StateBlock] = []
    for name in dict.fromkeys(owner[node][0] for node in nodes):
        block = blocks[name]
        start = (
            block.initial.value if isinstance(block.initial, Const) else known.get(getattr(block.initial, "name", ""))
        )
        if start is None or bool((torch.as_tensor(start) > threshold).any()):
            return None
        more += _counters(block, threshold)
    extended = replace(program, states=(*program.states, *more))
    return Counter(extended, tuple(owner[node] for node in nodes), threshold)


def _counters(block: StateBlock, threshold: float) -> list[StateBlock]:
    above = Binary("gt", State(block.name, block.size), Const(threshold))
    before = State(f"{_PREFIX} {block.name}: above", block.size)
    steps = State(f"{_PREFIX} {block.name}: steps", block.size)
    rising = Binary("and", above, Unary("not", before))
    found: list[tuple[str, Expr]] = [
        (before.name, Binary("sub", above, before)),
        (f"{_PREFIX} {block.name}: spikes", rising),
        (steps.name, above),
    ]
    return [
        StateBlock(name, "", tuple(f"{name} {lane}" for lane in block.lanes), Const(0.0), _per_step(expr), block.spans)
        for name, expr in found
    ]


def _per_step(increment: Expr) -> Expr:
    """Return the derivative that adds ``increment`` in one step of explicit Euler."""
    return Binary("div", increment, TimeStep())
