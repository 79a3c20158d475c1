"""How ``auto`` takes steps of a given length: what each state's time constant asks for, then measured.

    far below the step for good   condensed to its algebraic limit     (netc.discretise.condense)
    below what Euler can follow   exponential on its own small block   (netc.discretise.exponential)
    else                          explicit Euler

The time constants are bounds that hold wherever the circuit can get (:mod:`netc.runtime.stability`); couplings are not
covered by them, so the steps are tried on the deck's own transient against a solution by variable steps.  Where the
cheap steps do not stand the trial, an implicit method takes over.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from netc.diagnostics import NetcError
from netc.discretise import INTEGRATORS, discretise
from netc.discretise.condense import condense
from netc.discretise.exponential import on
from netc.ir.interpret import Array, signal_names, simulate
from netc.ir.program import Program
from netc.optimise import optimise, solve_algebraic
from netc.runtime import transient
from netc.runtime.simulate import RUNAWAY, steps_for
from netc.runtime.stability import Stability, StateLimit, analyse, engineering

FAR_BELOW = 0.02
"""Share of the step that the time constant of a condensed state may have at most."""

GOOD = 0.01
"""Error in the trial at which cheap steps are good enough, root mean square over the range of the worst signal."""

_MOST_STEPS = 4000
_LARGEST = 1500  # most variables of a trial against variable steps
_NAMED = 3
_FALLBACKS = ("bdf2", "trapezoidal", "backward-euler")


@dataclass(frozen=True, slots=True)
class Plan:
    """The system that takes the steps, what was decided in words, and the error to expect (``None``: not known)."""

    system: Program
    lines: tuple[str, ...]
    error: float | None


def plan(dae: Program, dt: float, tstop: float) -> Plan:
    """Return how to take steps of ``dt`` seconds.

    Args:
        dae: the system at its start, with algebraic blocks or without.
        dt: step, seconds.
        tstop: length of the trial, seconds.

    Raises:
        NetcError: where no way to take the steps stays finite.
    """
    continuous = solve_algebraic.run(dae)
    stability = analyse(continuous, over_bounds=True)
    steps = min(steps_for(tstop, dt), _MOST_STEPS)
    truth = _truth(dae, np.arange(steps + 1) * dt)
    best: tuple[float, str, Program] | None = None
    tried: list[str] = []
    for name, system in _candidates(dae, stability, dt):
        try:
            error = _trial(system, dt, steps, truth)
        except NetcError:  # the circuit's equations without these states have no solution
            continue
        if math.isfinite(error) and (best is None or error < best[0]):
            best = error, name, system
        if error <= GOOD:
            break
        tried.append(f"{name} is off by {error:.2g}" if math.isfinite(error) else f"{name} diverges")
    if best is None:
        raise NetcError(
            f"no way to take steps of {engineering(dt, 's')} stays finite: {'; '.join(tried) or 'nothing applies'}",
            hint="use a smaller --dt",
        )
    error, name, system = best
    lines = [f"auto: {name}; expected error {error:.2g} of a signal's range at dt = {engineering(dt, 's')}"]
    others = [line for line in tried if not line.startswith(name)]
    if others:
        lines.append(f"auto: passed over: {'; '.join(others)}")
    return Plan(system, tuple(lines), error)


def _candidates(dae: Program, stability: Stability, dt: float) -> Iterator[tuple[str, Program]]:
    """Yield ways to step, the cheapest first, with their names."""
    limits = _by_place(dae, stability)
    stiff = {place: limit for place, limit in limits.items() if limit.euler_limit < dt}
    if not stiff:
        yield "explicit Euler", dae
    else:
        quick = {place: limit for place, limit in stiff.items() if limit.slowest <= FAR_BELOW * dt}
        for condensed in (quick, {}) if quick else ({},):
            rest = {place: limit for place, limit in stiff.items() if place not in condensed}
            try:
                yield _mixed_name(condensed, rest, len(limits)), _mixed(dae, condensed, rest)
            except NetcError:  # what is left has no solution without the condensed states
                continue
    for name in _FALLBACKS:
        yield INTEGRATORS[name].name, discretise(dae, name)


_Limits = dict[tuple[int, int], StateLimit]


def _by_place(dae: Program, stability: Stability) -> _Limits:
    places = [(number, lane) for number, block in enumerate(dae.states) for lane in range(block.size)]
    return dict(zip(places, stability.states, strict=True))


def _mixed(dae: Program, condensed: _Limits, rest: _Limits) -> Program:
    if not condensed:
        return on(dae, set(rest))
    names = {place: dae.states[place[0]].lanes[place[1]] for place in rest}
    left = condense(dae, set(condensed))
    wanted = {(dae.states[number].name, names[number, lane]) for number, lane in rest}
    places = {
        (number, lane)
        for number, block in enumerate(left.dynamic)
        for lane, name in enumerate(block.lanes)
        if (block.name, name) in wanted
    }
    return on(left, places)


def _mixed_name(condensed: _Limits, rest: _Limits, count: int) -> str:
    parts = []
    if condensed:
        parts.append(f"{_listed(condensed)} condensed to the algebraic limit")
    if rest:
        parts.append(f"exponential steps for {_listed(rest)}")
    explicit = count - len(condensed) - len(rest)
    if explicit:
        parts.append(f"explicit Euler for the other {explicit}")
    return ", ".join(parts)


def _listed(limits: _Limits) -> str:
    ordered = sorted(limits.values(), key=lambda limit: limit.time_constant)
    names = ", ".join(limit.name for limit in ordered[:_NAMED])
    more = f" and {len(ordered) - _NAMED} more" if len(ordered) > _NAMED else ""
    fastest = engineering(ordered[0].time_constant, "s")
    return f"{names}{more} (time constant down to {fastest})"


def _truth(dae: Program, times: Array) -> tuple[Array, tuple[str, ...]] | None:
    """Return the signals by variable steps, ``None`` where that is not possible."""
    if any(block.mode == "waveform" for block in dae.inputs):
        return None
    unknowns = sum(u.size for block in dae.algebraic if block.explicit is None for u in block.unknowns)
    if unknowns + sum(block.size for block in dae.states) > _LARGEST:
        return None
    names = signal_names(dae)
    try:
        return transient.solve(dae, times, names, wanted=GOOD / 10).values, names
    except NetcError:
        return None


def _trial(system: Program, dt: float, steps: int, truth: tuple[Array, tuple[str, ...]] | None) -> float:
    """Return the error of the worst signal, infinite where the run diverges.

    Without a truth the step is compared with its half, on inputs of 1 throughout where whole waveforms drive.
    """
    program = optimise(system)

    def run(parts: int) -> Array:
        count = steps * parts
        features = sum(block.size for block in program.inputs)
        held = any(block.mode == "waveform" for block in program.inputs)
        drive = np.ones((count, 1, features)) if held else None
        rows, _ = simulate(program, count, dt / parts, drive, observe=truth[1] if truth else None)
        return np.asarray(rows[::parts, 0])

    rows = run(1)
    if not np.isfinite(rows).all() or np.abs(rows).max(initial=0.0) > RUNAWAY:
        return math.inf
    if truth is not None:
        return transient.difference(truth[0], rows)
    finer = run(2)
    return 2.0 * transient.difference(finer, rows) if np.isfinite(finer).all() else math.inf
