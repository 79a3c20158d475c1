"""Decides where in the emitted module each expression is computed.

prepare    rate PARAMETER: once per forward, float64
waveforms  rate TIME without states: all steps at once, float64
samples    rate SAMPLE: once per forward and sample
common     states of rate TIME: a loop of their own without a batch axis
sequences  rate TIME, read from the histories of those states: all steps at once
step       what is left of the derivatives: the time loop
observe    what only the observed signals need: after the loop, all steps at once
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from netc.emit.rewrite import Rewriter
from netc.ir.nodes import Const, Expr, Input, Parameter, Rate, State, Time, postorder
from netc.ir.program import Program
from netc.ir.rates import Rates


@dataclass(slots=True)
class Schedule:
    """The stages of one program; lists keep the order in which expressions are first needed."""

    program: Program
    rates: Rates
    initials: list[Expr]
    derivatives: list[Expr]
    observed: list[Expr]
    common: list[int] = field(default_factory=list)  # numbers of state blocks
    step: list[int] = field(default_factory=list)
    parameters: list[Expr] = field(default_factory=list)
    exact: list[Expr] = field(default_factory=list)  # parameters that waveforms read in float64
    waveforms: list[Expr] = field(default_factory=list)
    samples: list[Expr] = field(default_factory=list)
    sequences: list[Expr] = field(default_factory=list)
    common_reads: list[Expr] = field(default_factory=list)  # waveforms read by the loop of common states
    step_reads: list[Expr] = field(default_factory=list)  # waveforms, sequences and driven inputs the loop reads
    sequence_states: set[Expr] = field(default_factory=set)  # common states whose history sequences need

    def leaf(self, number: int) -> State:
        """Return the state leaf of block ``number``."""
        block = self.program.states[number]
        return State(block.name, block.size)


def schedule(program: Program) -> Schedule:
    """Place every expression of ``program``."""
    rates = Rates(program)
    rewrite = Rewriter(rates, [state.derivative for state in program.states])
    plan = Schedule(
        program,
        rates,
        [rewrite(s.initial) for s in program.states],
        [rewrite(s.derivative) for s in program.states],
        [rewrite(o.value) for o in program.observables],
    )
    stateful = _stateful([*plan.initials, *plan.derivatives, *plan.observed])
    for number in range(len(program.states)):
        (plan.step if rates(plan.leaf(number)) & Rate.SAMPLE else plan.common).append(number)

    def is_waveform(e: Expr) -> bool:
        return rates(e) is Rate.TIME and e not in stateful

    common = frontier([plan.derivatives[k] for k in plan.common], lambda e: rates(e) is Rate.TIME and e in stateful)
    step = frontier([plan.derivatives[k] for k in plan.step], lambda e: rates(e) is Rate.STEP)
    plan.sequences = [e for e in step if rates(e) is Rate.TIME and e in stateful]
    sequence = frontier(plan.sequences, lambda e: rates(e) is Rate.TIME and e in stateful)
    plan.sequence_states = {e for e in sequence if isinstance(e, State)}
    initial = frontier(plan.initials, lambda e: bool(rates(e) & Rate.TIME))
    plan.samples = _unique(e for e in [*step, *initial] if rates(e) is Rate.SAMPLE)
    sample = frontier(plan.samples, lambda e: rates(e) is Rate.SAMPLE)
    computed = {*plan.samples, *plan.sequences}
    observe = frontier(
        plan.observed, lambda e: rates(e) is not Rate.PARAMETER and not is_waveform(e) and e not in computed
    )
    plan.waveforms = _unique(e for e in [*common, *step, *sequence, *observe] if is_waveform(e))
    waveform = frontier(plan.waveforms, is_waveform)
    plan.common_reads = [e for e in common if is_waveform(e)]
    plan.step_reads = [e for e in step if rates(e) & Rate.TIME and not (isinstance(e, State) and rates(e) is Rate.STEP)]

    def parameters(found: Iterable[Expr]) -> list[Expr]:
        return _unique(e for e in found if rates(e) is Rate.PARAMETER)

    plan.exact = parameters(waveform)
    others = parameters([*common, *step, *sequence, *initial, *sample, *observe])
    plan.parameters = _unique([*others, *plan.exact])
    return plan


def frontier(roots: Iterable[Expr], inside: Callable[[Expr], bool]) -> list[Expr]:
    """Return what the ``inside`` part below ``roots`` reads: the first expressions outside it, and its leaves."""
    found: list[Expr] = []
    seen: set[Expr] = set()
    stack = list(roots)[::-1]
    while stack:
        node = stack.pop()
        if node in seen or isinstance(node, Const):
            continue
        seen.add(node)
        if inside(node) and not isinstance(node, State | Input | Time | Parameter):
            stack.extend(reversed(node.children))
        else:
            found.append(node)
    return found


def _stateful(roots: list[Expr]) -> set[Expr]:
    found: set[Expr] = set()
    for node in postorder(*roots):
        if isinstance(node, State) or any(c in found for c in node.children):
            found.add(node)
    return found


def _unique(nodes: Iterable[Expr]) -> list[Expr]:
    return list(dict.fromkeys(nodes))
