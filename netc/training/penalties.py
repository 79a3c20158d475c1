"""Terms of the loss that pull activity into a band and count dissipated energy.

Spikes.  For each hidden layer, with membranes v, the switching voltage Vth and w = 5 mV, all of it smooth:

    A    = mean over samples, steps and neurons of s((v - Vth) / w)            the share of time above threshold
    term = spike_weight ((A - HIGH)+^2 + (LOW - A)+^2)

Its gradient is dterm/dA dA/dv, back through every step of the circuit.  dterm/dA is taken at the running mean of A over
the batches before (a batch's own A is known only after it), dA/dv is that of the batch.

Energy.  Over all trained conductances g between nodes a and b, in joules a sample:

    E    = sum over steps of dt sum of g (va - vb)^2
    term = energy_weight mean over samples of E

One end of each has to be held at 0 V, as sensed bit lines are; the other may be a signal, or a word line in proportion
to a feature.  dA/dv and dE/dv are found in the same pass as the gradient of the outputs' loss: see
:class:`netc.ir.program.Penalty`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from netc.diagnostics import Diagnostic, NetcError, Severity
from netc.ir.nodes import Binary, Const, Expr, Gather, Index, Input, Parameter, ScatterAdd, State, Unary, postorder
from netc.ir.program import InputBlock, Observable, Penalty, Program
from netc.training.activity import layer_of
from netc.training.contract import CircuitModule
from netc.training.options import TrainingOptions
from netc.training.timing import Steps

if TYPE_CHECKING:
    from netc.elaborate.circuit import Circuit

WIDTH = 5e-3
"""V over which the smooth threshold rises."""

_RUNNING = 0.9  # share of the running mean that the batches before keep


@dataclass(frozen=True, slots=True)
class Term:
    """One penalty: ``layer`` names the layer of a spike term, and is empty for energy."""

    name: str
    layer: str
    lanes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WordLines:
    """Conductances between word lines that features drive and 0 V.

    Attributes:
        block: the trained resistances.
        lanes: which of them.
        line: for each, its word line's feature.
        nodes: the word lines' names, in feature order.
    """

    block: str
    lanes: Tensor
    line: Tensor
    nodes: tuple[str, ...]


@dataclass(slots=True, eq=False)
class Penalties:
    """All penalties of a run.

    Attributes:
        observed: the program with what penalties read as further observables.
        weighed: that with an input for the weights of each.
        terms: in the order of those inputs.
        options: of the run.
        steps: of the run.
        lines: crossbars whose energy follows from the features alone.
        running: activity by layer, the mean over the batches before; nothing before the first.
        energy: joules a sample in the last batch, of the terms that have weights.
    """

    observed: Program
    weighed: Program
    terms: tuple[Term, ...]
    options: TrainingOptions
    steps: Steps
    lines: tuple[WordLines, ...] = ()
    running: dict[str, float] = field(default_factory=dict)
    energy: float = 0.0
    _squares: list[Tensor] = field(default_factory=list)

    @property
    def signals(self) -> tuple[str, ...]:
        """Names of what is weighed, in the order of the weights."""
        return tuple(lane for term in self.terms for lane in term.lanes)

    def weights(self, samples: Tensor) -> Tensor:
        """Return the weights of the next batch ``(batch, lanes of all terms)``, which take its gradient."""
        parts = []
        for term in self.terms:
            weight = self._slope(term.layer) / len(term.lanes) if term.layer else self._joule
            parts.append(samples.new_full((len(samples), len(term.lanes)), weight))
        return torch.cat(parts, dim=1).requires_grad_()

    @property
    def _joule(self) -> float:
        return self.options.energy_weight * self.steps.count * self.steps.dt

    def _slope(self, layer: str) -> float:
        """Return the derivative of the layer's term by its activity."""
        if layer not in self.running:
            return 0.0
        low, high = self.options.spike_target
        now = self.running[layer]
        return 2 * self.options.spike_weight * (max(0.0, now - high) - max(0.0, low - now))

    def learnt(self, gradient: Tensor) -> None:
        """Take what the terms came to in a batch from the gradient of its weights."""
        first, energy = 0, 0.0
        for term in self.terms:
            found = float(gradient[:, first : first + len(term.lanes)].sum(dtype=torch.float64))
            first += len(term.lanes)
            if term.layer:
                now = found / len(term.lanes)
                self.running[term.layer] = _RUNNING * self.running.get(term.layer, now) + (1 - _RUNNING) * now
            else:
                energy += found * self.steps.count * self.steps.dt
        self.energy = energy

    def feature_energy(self, module: CircuitModule, samples: Tensor) -> Tensor:
        """Return the mean energy in joules of crossbars that features drive, differentiable by conductances."""
        total = torch.zeros((), dtype=torch.float64)
        if self.lines and not self._squares:
            self._squares = [self._measured(module, lines) for lines in self.lines]
        for lines, squares in zip(self.lines, self._squares, strict=True):
            conductance = 1 / module.values()[lines.block][lines.lanes].double()
            at_lines = torch.zeros(len(lines.nodes), dtype=torch.float64).index_add(0, lines.line, conductance)
            total = total + (samples.double().square().mean(0) * squares * at_lines).sum()
        return total

    def _measured(self, module: CircuitModule, lines: WordLines) -> Tensor:
        """Return the integral of the squared voltage of each word line at a feature of 1, V^2 s."""
        features = len(lines.nodes)
        drawn = torch.rand(1, features, generator=torch.Generator().manual_seed(0)) + 0.5
        dtype = next(iter(module.parameters())).dtype
        found = []
        for given in (torch.ones(1, features), drawn):
            with torch.no_grad():
                rows, _ = module(self.steps.count, self.steps.dt, given.to(dtype), observe=lines.nodes)
            found.append(rows[:-1, 0].double().square().sum(0) * self.steps.dt)
        if not torch.allclose(found[1], drawn[0].double().square() * found[0], rtol=1e-4):
            raise NetcError(
                "--energy-weight needs word lines whose voltage is in proportion to one feature each",
                hint="leave it out for this deck",
            )
        return found[0]

    def state(self) -> dict[str, float]:
        """Return what :meth:`restore` needs."""
        return dict(self.running)

    def restore(self, state: Mapping[str, float]) -> None:
        """Go back to where :meth:`state` was taken."""
        self.running = {name: float(value) for name, value in state.items()}


def penalties(
    program: Program, circuit: Circuit | None, options: TrainingOptions, steps: Steps, nodes: Sequence[str]
) -> Penalties | None:
    """Return the penalties that ``options`` ask for; ``None`` where they ask for none.

    Args:
        program: the circuit's.
        circuit: what the program was made of; needed for energy.
        options: of the run.
        steps: of the run.
        nodes: the membranes whose spikes count.

    Raises:
        NetcError: the circuit has nothing of the kind, or one of a form that is not covered.
    """
    if not options.spike_target and not options.energy_weight:
        return None
    if any(block.mode != "amplitude" for block in program.inputs):
        raise NetcError(
            "--spike-target and --energy-weight need features that are amplitudes",
            hint="leave them out for decks with *.netc input mode=waveform",
        )
    observables: list[Observable] = []
    terms: list[Term] = []
    lines: tuple[WordLines, ...] = ()

    def add(name: str, layer: str, value: Expr) -> None:
        lanes = tuple(f"{name}: {k}" for k in range(value.size))
        observables.append(Observable(name, "", lanes, value))
        terms.append(Term(name, layer, lanes))

    if options.spike_target:
        for layer, value in _hidden(program, nodes).items():
            soft = Unary("sigmoid", Binary("div", _less(value, options.spike_threshold), Const(WIDTH)))
            add(f"share of time above threshold, {layer}", layer, soft)
    if options.energy_weight and circuit is not None:
        powers, lines = _crossbars(program, circuit)
        for name, value in powers.items():
            add(f"power, {name}", "", value)
    observed = replace(program, observables=(*program.observables, *observables))
    weighed = replace(
        observed,
        inputs=(*program.inputs, *(InputBlock(f"weight of {t.name}", "amplitude", t.lanes) for t in terms)),
        penalties=tuple(Penalty(f"weight of {t.name}", t.name) for t in terms),
    )
    return Penalties(observed, weighed, tuple(terms), options, steps, lines)


def _less(value: Expr, amount: float) -> Expr:
    return Binary("sub", value, Const(amount))


def _hidden(program: Program, nodes: Sequence[str]) -> dict[str, Expr]:
    """Return the membranes of each layer without outputs.

    Raises:
        NetcError: there is none, or one that is only a part of a family of nodes.
    """
    last = {layer_of(node) for node in program.outputs}
    wanted = dict.fromkeys(layer_of(node) for node in nodes if layer_of(node) not in last)
    found: dict[str, Expr] = {}
    for layer in wanted:
        mine = {node for node in nodes if layer_of(node) == layer}
        for observable in program.observables:
            if set(observable.lanes) == mine and isinstance(observable.value, State):
                found[layer] = observable.value
    if not found or len(found) < len(wanted):
        raise NetcError(
            "--spike-target needs hidden layers whose membranes are states of one family each",
            hint="netc generate makes such networks; leave it out for this deck",
        )
    return found


def _crossbars(program: Program, circuit: Circuit) -> tuple[dict[str, Expr], tuple[WordLines, ...]]:
    """Return the power of trained conductances that states drive, by name, and those that features drive.

    Raises:
        NetcError: for trained conductances with neither end at 0 V.
    """
    ends = {b.name: (circuit.nets[b.nets[0]], circuit.nets[b.nets[1]], b.span) for b in circuit.branches}
    place = {lane: (o, k) for o in program.observables for k, lane in enumerate(o.lanes)}
    features = {x for block in program.inputs for x in [Input(block.name, block.size)]}
    powers: dict[str, Expr] = {}
    lines: list[WordLines] = []
    for block in program.parameters:
        if block.trained is None or block.role != "R":
            continue
        groups: dict[str, list[tuple[int, int]]] = {}
        for number, lane in enumerate(block.lanes):
            driven = [node for node in ends[lane][:2] if not _is_ground(node, place)]
            if len(driven) != 1:
                problem = Diagnostic(
                    Severity.ERROR,
                    f"--energy-weight covers conductances with one end held at 0 V, and {lane} has none",
                    ends[lane][2],
                    "leave it out for this deck",
                )
                raise NetcError([problem], circuit.sources)
            observable, at = place[driven[0]]
            groups.setdefault(observable.name, []).append((number, at))
        for name, members in groups.items():
            observable = next(o for o in program.observables if o.name == name)
            numbers, at_lines = np.array(members).T
            leaves = set(postorder(observable.value))
            if leaves & features:
                lines.append(WordLines(block.name, torch.tensor(numbers), torch.tensor(at_lines), observable.lanes))
                continue
            resistance = Parameter(block.name, len(block.values))
            each = Binary("div", Const(1.0), resistance)
            whole = len(numbers) == len(block.values)
            picked = each if whole and (numbers == np.arange(len(numbers))).all() else _picked(each, numbers)
            total = ScatterAdd(picked, Index(at_lines), len(observable.lanes))
            powers[f"{block.name} at {name}"] = Binary("mul", Binary("mul", observable.value, observable.value), total)
    return powers, tuple(lines)


def _picked(value: Expr, numbers: Any) -> Expr:
    return Gather(value, Index(numbers))


def _is_ground(node: str, place: Mapping[str, tuple[Observable, int]]) -> bool:
    if node == "0":
        return True
    value = place[node][0].value
    return isinstance(value, Const) and value.value == 0.0
