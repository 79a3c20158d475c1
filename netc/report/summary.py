"""What a deck holds, in words: the text of ``netc info``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from netc.elaborate.circuit import Circuit
from netc.ir.nodes import Assemble, Expr, MatVec, Rate, Solve, postorder
from netc.ir.program import Program
from netc.ir.rates import Rates
from netc.report.style import safe as shorten
from netc.runtime.stability import Stability, StateLimit, engineering, report


def summarise(circuit: Circuit, dae: Program, program: Program, stability: Stability) -> str:
    """Return the summary of a compiled deck: counts, states, unknowns, lanes, couplings, time constants.

    Args:
        circuit: the elaborated deck.
        dae: its differential-algebraic system.
        program: the optimised program.
        stability: from :func:`netc.runtime.stability.analyse`.
    """
    sections = [
        ("circuit", _circuit(circuit)),
        ("states", _states(dae)),
        ("algebraic unknowns", _algebraic(dae)),
        ("couplings", _couplings(program)),
        ("time constants", _time_constants(program, stability)),
        ("transient", _transient(circuit, stability)),
        ("directives", _directives(program)),
    ]
    lines = [shorten(circuit.title, 100)]
    for name, entries in sections:
        found = list(entries)
        if found:
            lines += ["", f"{name}:", *(f"  {entry}" for entry in found)]
    return "\n".join(lines) + "\n"


def _circuit(circuit: Circuit) -> Iterator[str]:
    letters = Counter(b.law.letter for b in circuit.branches)
    counts = ", ".join(f"{count:,} {letter}" for letter, count in sorted(letters.items()))
    nets, elements = counted(len(circuit.nets), "net"), counted(len(circuit.branches), "element")
    yield f"{nets} with ground, {elements}: {counts}"
    for name, paths in sorted(circuit.instances.items()):
        yield f"{len(paths):,} x {shorten(name, 40)}"


def _states(dae: Program) -> Iterator[str]:
    yield f"{sum(s.size for s in dae.states):,} in {counted(len(dae.states), 'array')}"
    for block in dae.states:
        yield f"{block.name:16s} {block.size:6,d} x {block.unit}   {_names(block.lanes)}   {block.spans[0]}"


def _algebraic(dae: Program) -> Iterator[str]:
    for block in dae.algebraic:
        how = "given outright" if block.explicit is not None else "solved together"
        for unknown, lanes in zip(block.unknowns, block.lanes, strict=True):
            name: str = unknown.name  # type: ignore[attr-defined]  # unknowns are leaves
            yield f"{name:16s} {len(lanes):6,d}   {_names(lanes)}   {how}"


_HOW_OFTEN = {
    Rate.PARAMETER: "once per parameter set",
    Rate.SAMPLE: "once per sample",
    Rate.TIME: "every step, for all samples at once",
    Rate.STEP: "every step",
}


def _couplings(program: Program) -> Iterator[str]:
    """Matrices: what a bank of elements between two families became."""
    rates = Rates(program)
    roots: list[Expr] = [s.derivative for s in program.states] + [o.value for o in program.observables]
    seen: set[tuple[str, tuple[int, ...], Rate]] = set()
    for node in postorder(*roots):
        if isinstance(node, MatVec):
            fill = next((n for n in postorder(node.matrix) if isinstance(n, Assemble)), None)
            elements = f"{counted(len(fill.rows), 'element')}, " if fill is not None else ""
            rows, columns = node.matrix.shape
            entry = ("product", node.matrix.shape, rates(node))
            text = f"dense {rows} x {columns} matrix ({elements}product {_HOW_OFTEN[rates(node)]})"
        elif isinstance(node, Solve):
            entry = ("solve", node.matrix.shape, rates(node.matrix))
            text = f"linear system of {node.matrix.shape[0]} (factored {_HOW_OFTEN[rates(node.matrix)]})"
        else:
            continue
        if entry not in seen:
            seen.add(entry)
            yield text


def _time_constants(program: Program, stability: Stability) -> Iterator[str]:
    """The fastest lane of each array of states, fastest array first."""
    first, worst = 0, []
    for block in program.dynamic:
        lanes = stability.states[first : first + block.size]
        worst.append((min(lanes, key=lambda s: (s.euler_limit, s.time_constant)), block.size))
        first += block.size
    for state, size in sorted(worst, key=lambda entry: (entry[0].euler_limit, entry[0].time_constant)):
        limit = "no limit"
        if np.isfinite(state.euler_limit):
            limit = f"Euler needs dt <= {engineering(state.euler_limit, 's')}"
        constant = engineering(state.time_constant, "s") if np.isfinite(state.time_constant) else "none"
        among = f"   (worst of {size:,})" if size > 1 else ""
        yield f"{shorten(state.name, 40):24s} {constant:>8s}   {limit}" + _basis(state) + among
    yield from stability.notes


def _basis(state: StateLimit) -> str:
    if state.eigenvalue:
        return "   (eigenvalue of the coupled system)"
    return "   (estimate)" if state.estimate else "   (at worst)" if state.bound else ""


def _transient(circuit: Circuit, stability: Stability) -> Iterator[str]:
    timing = circuit.timing
    if timing is None:
        yield "none: the deck has no .tran"
        return
    dt = timing.tmax or timing.tstep
    start = "from the given initial conditions (uic)" if timing.uic else "from the operating point"
    steps = counted(round(timing.tstop / dt), "step")
    yield f"{engineering(timing.tstop, 's')} at dt = {engineering(dt, 's')}, {steps}, {start}"
    for line in report(stability, dt)[:1]:
        yield f"{line}; simulate takes sub-steps, train refuses"


def _directives(program: Program) -> Iterator[str]:
    for features in program.inputs:
        yield f"input   {counted(features.size, 'feature')} ({features.mode}): {_names(features.lanes)}"
    if program.outputs:
        yield f"output  {counted(len(program.outputs), 'node')}: {_names(program.outputs)}"
    for block in program.parameters:
        if block.trained:
            low, high = block.trained.minimum, block.trained.maximum
            unit = block.unit.replace("Ohm", "ohm")
            yield (
                f"train   {counted(len(block.values), 'value')} {_names(block.lanes)} "
                f"within {engineering(low, unit)} .. {engineering(high, unit)}"
            )


def counted(number: int, noun: str) -> str:
    """Return ``1 node``, ``2 nodes``, ``1,000 nodes``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _names(lanes: Sequence[str]) -> str:
    shown = [shorten(n, 24) for n in (lanes if len(lanes) <= 3 else (lanes[0], lanes[1], "...", lanes[-1]))]
    return ", ".join(shown)
