"""What a kernel computes: the part of a program that changes with the step, cut off from all else.

The emitter's schedule says what runs once per parameter set, once per sample, once per time, or every step.  A
:class:`Loop` is the last of these: its updates, the values it reads from outside, and the adjoint of one step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from netc.emit.schedule import Schedule, frontier
from netc.ir.adjoint import adjoints
from netc.ir.build import ONE, ZERO, add, concat, div, gather, mul, widen
from netc.ir.implicit import Newton, shares_joined
from netc.ir.nodes import (
    Binary,
    Expr,
    Index,
    Input,
    Interpolate,
    MatVec,
    Rate,
    ScatterAdd,
    Solve,
    State,
    Time,
    TimeStep,
    Transpose,
    Unary,
    Unknown,
    postorder,
    substitute,
)
from netc.kernels import checkpoints
from netc.kernels.affine import AffineForms, collapse
from netc.kernels.exponentials import Group, groups
from netc.kernels.factoring import factored, improved, with_fused_slopes, with_scaled_seeds, with_signs_outside
from netc.kernels.passes import ALL
from netc.kernels.polynomials import regrouped
from netc.kernels.shifts import is_shifted_state, shifted

STEP_SIZE = TimeStep()
"""The time step in seconds, as an expression that is fixed while a kernel runs."""


class Unsupported(Exception):
    """A program holds something that the kernels do not cover; PyTorch runs it."""


class LoopRates:
    """Rates as one loop sees them: its own states and seeds are STEP, states of an earlier loop TIME."""

    def __init__(self, states: Iterable[State], waveforms: Iterable[Input]) -> None:
        self._moving: set[Expr] = {*states, *waveforms}
        self._known: dict[Expr, Rate] = {}

    def __call__(self, expr: Expr) -> Rate:
        """Return the rate of ``expr``."""
        if expr not in self._known:
            for node in postorder(expr, known=self._known):
                self._known[node] = self._rate(node)
        return self._known[expr]

    def _rate(self, node: Expr) -> Rate:
        if node in self._moving or isinstance(node, Unknown):
            return Rate.STEP
        if isinstance(node, State | Time):
            return Rate.TIME
        if isinstance(node, Input):
            return Rate.SAMPLE
        rate = Rate.PARAMETER
        for child in node.children:
            rate |= self._known[child]
        return rate

    def fixed(self, expr: Expr) -> bool:
        """Whether ``expr`` follows from parameters alone."""
        return self(expr) is Rate.PARAMETER

    def moves(self, expr: Expr) -> bool:
        """Whether ``expr`` has to be computed every step for every sample."""
        return self(expr) is Rate.STEP


@dataclass(slots=True, eq=False)
class Loop:
    """One time loop: ``states[n + 1] = updates(states[n], ...)``.

    ``reads`` are the values from outside, by rate; ``outputs`` the logits of the loss before scaling, ``None``
    where the loss does not read this loop.  All are expressions; a kernel is handed their values.  ``products`` are
    those of ``driven`` that are no inputs but matrices times inputs, multiplied for all steps at once.
    """

    rates: LoopRates
    states: tuple[State, ...]
    numbers: tuple[int, ...]  # of the state blocks in the program
    updates: tuple[Expr, ...]
    outputs: Expr | None
    passes: frozenset[str] = ALL
    penalties: tuple[Expr, ...] = ()  # terms of the loss at every step but the last: a weight times a value
    parameters: list[Expr] = field(default_factory=list)
    samples: list[Expr] = field(default_factory=list)
    times: list[Expr] = field(default_factory=list)
    driven: list[Expr] = field(default_factory=list)
    products: dict[Expr, Expr] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)

    def rate_of(self, expr: Expr) -> Rate:
        """Return how often ``expr`` changes in this loop."""
        return self.rates(expr)

    @property
    def reads(self) -> tuple[Expr, ...]:
        """Everything from outside that the loop can be differentiated by, in order."""
        return (*self.parameters, *self.samples, *self.times, *self.driven)


def loops(plan: Schedule, passes: frozenset[str] = ALL) -> tuple[Loop | None, Loop | None]:
    """Return the loop of the states common to all samples and the loop of the others.

    Args:
        plan: the schedule of the program.
        passes: names of those that run.
    """
    return _loop(plan, plan.common, passes), _loop(plan, plan.step, passes)


def _loop(plan: Schedule, numbers: Sequence[int], passes: frozenset[str]) -> Loop | None:
    if not numbers:
        return None
    states = tuple(plan.leaf(k) for k in numbers)
    waveforms = [Input(b.name, b.size) for b in plan.program.inputs if b.mode == "waveform"]
    rates = LoopRates(states, waveforms)
    roots: list[Expr] = [_stepped(state, plan.derivatives[k]) for state, k in zip(states, numbers, strict=True)]
    terms = [mul(weight, value) for weight, value in _penalties(plan) if rates.moves(value)]
    roots += terms
    outputs = _outputs(plan)
    if outputs is not None and rates.moves(outputs):
        roots.append(outputs)
    if "collapse" in passes:
        roots = collapse(roots, rates.fixed)
    if "shifts" in passes:
        roots = shifted(roots, rates.fixed, lambda e: not (rates.fixed(e) or rates.moves(e)))
        roots = collapse(roots, rates.fixed) if "collapse" in passes else roots
    if "factoring" in passes:
        roots = improved(roots, lambda given: factored(given, rates.fixed), rates.fixed)
        roots = regrouped(roots, rates.fixed)
    products: dict[Expr, Expr] = {}
    if "driven_products" in passes and waveforms:
        roots, products = _driven_products(roots, waveforms, rates)
        rates = LoopRates(states, [*waveforms, *(e for e in products if isinstance(e, Input))])
    ends = len(states) + len(terms)
    logits = roots[-1] if len(roots) > ends else None
    loop = Loop(
        rates, states, tuple(numbers), tuple(roots[: len(states)]), logits, passes, tuple(roots[len(states) : ends])
    )
    loop.products |= products
    for expr in frontier(roots, rates.moves):
        rate = rates(expr)
        if rate is Rate.STEP:
            if isinstance(expr, Input):
                loop.driven.append(expr)
        else:
            {Rate.PARAMETER: loop.parameters, Rate.SAMPLE: loop.samples, Rate.TIME: loop.times}[rate].append(expr)
    if "common_exponentials" in passes:
        moving = [node for node in postorder(*roots) if rates.moves(node)]
        loop.groups = groups(moving, AffineForms(rates.fixed), rates.fixed, rates.moves)
    return loop


def _driven_products(
    roots: Sequence[Expr], waveforms: Sequence[Input], rates: LoopRates
) -> tuple[list[Expr], dict[Expr, Expr]]:
    """Return roots that read matrices times waveforms as if those were inputs, and what each of these stands for."""
    given = set(waveforms)
    found: dict[Expr, Expr] = {}
    known: dict[Expr, Expr] = {}
    for node in postorder(*roots):
        if not (isinstance(node, MatVec) and rates.fixed(node.matrix) and rates.moves(node.x)):
            continue
        if all(leaf in given or rates.fixed(leaf) for leaf in frontier([node.x], rates.moves)):
            known[node] = Input(f"inputs times matrix {len(found)}", node.size)
            found[known[node]] = node
    done: dict[Expr, Expr] = {}
    return [substitute(root, known.get, done) for root in roots], found


def _stepped(state: State, slope: Expr) -> Expr:
    """Return the next state: where the slope is an increment over the step, what it leads to."""
    if isinstance(slope, Binary) and slope.op == "mul" and div(ONE, STEP_SIZE) in (slope.a, slope.b):
        increment = slope.b if slope.a is div(ONE, STEP_SIZE) else slope.a
        if isinstance(increment, Binary) and increment.op == "sub" and increment.b is state:
            return widen(increment.a, state.size)
    return add(state, mul(STEP_SIZE, slope))


def _outputs(plan: Schedule) -> Expr | None:
    """Return the logits, one lane a class, as one expression."""
    place = {name: (k, lane) for k, o in enumerate(plan.program.observables) for lane, name in enumerate(o.lanes)}
    parts: list[Expr] = []
    lanes: list[int] = []
    family = -1
    for name in (*plan.program.outputs, None):
        number, lane = place[name] if name is not None else (-1, 0)
        if number != family:
            if lanes:
                value = widen(plan.observed[family], len(plan.program.observables[family].lanes))
                parts.append(gather(value, Index(np.array(lanes))))
            family, lanes = number, []
        lanes.append(lane)
    return concat(parts) if parts else None


def _penalties(plan: Schedule) -> list[tuple[Expr, Expr]]:
    """Return weight and value of the terms of the loss beside that of the outputs."""
    place = {o.name: k for k, o in enumerate(plan.program.observables)}
    sizes = {block.name: block.size for block in plan.program.inputs}
    return [(Input(p.weight, sizes[p.weight]), plan.observed[place[p.observable]]) for p in plan.program.penalties]


_CHEAP_UNARY = frozenset({"neg", "abs", "sign", "floor", "ceil", "round", "not"})


def is_costly(node: Expr) -> bool:
    """Whether it is cheaper to keep the value for the backward pass than to compute it again."""
    if isinstance(node, Unary):
        return node.op not in _CHEAP_UNARY
    if isinstance(node, Binary):
        return node.op in ("div", "pow")
    return isinstance(node, MatVec | ScatterAdd | Interpolate | Newton | Solve) and not is_shifted_state(node)


@dataclass(slots=True, eq=False)
class Backward:
    """The adjoint of one step of a loop, for some of its reads.

    ``state_adjoints[k]`` maps the adjoints of the next states (``next_adjoints``) and of the logits
    (``output_adjoint``) to the adjoint of state ``k``; ``gradients`` are what one step of one sample adds to the
    gradient of a read.  ``kept`` are inner values of the forward step that they read.
    """

    loop: Loop
    next_adjoints: tuple[Unknown, ...]
    output_adjoint: Unknown | None
    state_adjoints: tuple[Expr, ...]
    gradients: dict[Expr, Expr]
    kept: tuple[Expr, ...]
    parameters: list[Expr]  # fixed values that only the adjoint reads


def backward(loop: Loop, wanted: Sequence[Expr]) -> Backward:
    """Return the adjoint of a step of ``loop``, with gradients of the reads in ``wanted``."""
    ahead = tuple(Unknown(f"adjoint of {state.name}", state.size) for state in loop.states)
    seeds: dict[Expr, Expr] = {}
    for update, seed in zip(loop.updates, ahead, strict=True):
        seeds[update] = add(seeds[update], seed) if update in seeds else seed
    for term in loop.penalties:
        seeds[term] = add(seeds[term], ONE) if term in seeds else ONE
    logits = None
    if loop.outputs is not None:
        logits = Unknown("adjoint of the outputs", loop.outputs.size)
        seeds[loop.outputs] = add(seeds[loop.outputs], logits) if loop.outputs in seeds else logits
    found = adjoints(seeds, [*loop.states, *wanted])
    fixed = loop.rates.fixed
    results = shares_joined([found[e] for e in (*loop.states, *wanted)])
    if "collapse" in loop.passes:
        results = collapse(with_fused_slopes(results), fixed)
    if "factoring" in loop.passes:
        results = with_signs_outside(results, fixed)
    if "shifts" in loop.passes:
        reads = {*loop.samples, *loop.times, *loop.driven}
        results = shifted(results, fixed, lambda e: e in reads)
    if "factoring" in loop.passes:
        results = improved(results, lambda given: collapse(with_scaled_seeds(given, fixed), fixed), fixed)
        results = improved(results, lambda given: factored(given, fixed), fixed)
    state_adjoints = tuple(results[: len(loop.states)])
    gradients = {e: g for e, g in zip(wanted, results[len(loop.states) :], strict=True) if g is not ZERO}
    forward = {node for node in postorder(*loop.updates) if loop.rates.moves(node)}
    light = {member.node for group in loop.groups if group.power for member in group.members}
    keep = {node for node in forward if is_costly(node)} - light
    if "checkpoints" in loop.passes and not checkpoints.are_stored(sum(node.size for node in keep)):
        keep = {node for node in keep if isinstance(node, MatVec | ScatterAdd | Newton | Solve)}
    leaves: set[Expr] = {*loop.states, *loop.reads, *keep}

    def inside(node: Expr) -> bool:
        return node not in leaves and not fixed(node)

    read = frontier(results, inside)
    given = {*loop.reads}
    return Backward(
        loop,
        ahead,
        logits,
        state_adjoints,
        gradients,
        tuple(e for e in read if e in keep),
        [e for e in read if e not in given and fixed(e) and not (isinstance(e, Transpose) and e.matrix in given)],
    )
