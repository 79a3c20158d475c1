"""The operating point: the states at which nothing moves at time 0, what ``.tran`` without ``uic`` starts from.

Capacitors are open, inductors are shorts: in the states that is simply ``f(x, t=0) = 0``.  What Newton's method finds
inside ``f`` (nodes without capacitance, on circuits that are not linear) is followed from point to point.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from netc.diagnostics import Diagnostic, NetcError, Severity
from netc.ir import build
from netc.ir.implicit import Newton
from netc.ir.nodes import Const, Expr, Parameter, State, postorder
from netc.ir.program import ParameterBlock, Program
from netc.optimise.rewriting import rewritten
from netc.runtime.linearise import Linearisation, shortest_solution

Array = np.ndarray[Any, np.dtype[Any]]  # float64

LARGEST = 3000
"""Most states whose operating point is looked for: its Jacobian is a dense matrix."""

_NEWTON_STEPS = 60
_PSEUDO_STEPS = 400
_RELATIVE = 1e-9
_ABSOLUTE = 1e-12
_FIRST_FRACTION, _LEAST_FRACTION = 0.1, 1e-5


def operating_point(
    program: Program,
    *,
    held: Mapping[str, float] | None = None,
    guess: Mapping[str, float] | None = None,
    inputs: Any = None,
) -> dict[str, Array]:
    """Return the states at which ``f(x, t=0) = 0`` with the program's own parameters.

    Damped Newton from the initial values; where that fails, implicit Euler with a growing step follows the
    circuit to rest (pseudo-transient continuation, Kelley and Keyes 1998: what a conductance from every state to
    where it is, made smaller and smaller, is to other simulators), and Newton finishes; where that fails too, the
    sources are raised from nothing to their values, each point the start for the next.  Each Newton step is the
    shortest one, so a state that nothing moves or holds, such as the memory of an ideal device at zero volts, keeps
    its initial value.

    Args:
        program: without algebraic blocks.
        held: values of states by lane name (``.ic``), which stay as they are.
        guess: values of states and of what Newton's method finds, by lane name (``.nodeset``), from which the search
            starts; other names are passed over.
        inputs: value of each input or one number for all; ``None`` means 1, the deck's own sources.

    Returns:
        Arrays ``(lanes,)`` by name of state block, SI units; carried blocks have the values found there.

    Raises:
        NetcError: for a held name that is no state, more than :data:`LARGEST` states, or where no operating point
            is found.
        ValueError: for a program with algebraic blocks.
    """
    linear = Linearisation(program, inputs=1.0 if inputs is None else inputs)
    if linear.size > LARGEST:
        raise NetcError(
            f"the operating point of {linear.size:,} states is wanted, and up to {LARGEST:,} are supported",
            hint="add uic to .tran to start from the initial conditions",
        )
    start = linear.initial()
    free = np.ones(linear.size, dtype=bool)
    if guess:
        start = np.array([guess.get(name, value) for name, value in zip(linear.names, start.tolist(), strict=True)])
        linear.carry(_guessed(linear, guess))
    for name, value in (held or {}).items():
        places = [k for k, lane in enumerate(linear.names) if lane == name]
        if not places:
            raise NetcError(f"{name!r} is held by .ic but is no state", hint="give .ic to nodes with a capacitor")
        start[places] = value
        free[places] = False
    with np.errstate(all="ignore"):
        found, point = _newton(linear, start, free)
        if not found and free.any():
            found, point = _newton(linear, _relax(linear, start, free), free)
        if not found:
            found, point = _raise_sources(linear, start, free)
    if not found:
        raise _not_found(linear, point, free)
    return linear.split(point) | linear.carried(point)


def at_the_start(program: Program, *, guess: Mapping[str, float] | None = None, inputs: Any = None) -> Program:
    """Return ``program`` with what Newton's method finds consistent with the initial values of its states.

    Where that is found from a cold start, as a run does by itself, the program is left as it is.

    Args:
        program: without algebraic blocks.
        guess: values by lane name (``.nodeset``) from which the search starts.
        inputs: value of each input or one number for all; ``None`` means 1, the deck's own sources.

    Raises:
        NetcError: where no solution is found.
    """
    if not any(block.carried for block in program.states):
        return program
    linear = Linearisation(program, inputs=1.0 if inputs is None else inputs)
    start = linear.initial()
    known = _guessed(linear, guess or {})
    linear.carry(known)
    fixed = np.zeros(linear.size, dtype=bool)
    with np.errstate(all="ignore"):
        found, _ = _newton(linear, start, fixed)
        if found and not known:
            return program
        if not found and not _raise_sources(linear, start, fixed)[0]:
            raise _not_found(linear, start, fixed)
        return with_initial(program, linear.carried(start))


def iterates(program: Program) -> bool:
    """Whether Newton's method finds anything in ``program``."""
    roots = [block.derivative for block in program.states] + [o.value for o in program.observables]
    return any(isinstance(node, Newton) for node in postorder(*roots))


def with_guesses(program: Program, guess: Mapping[str, float]) -> Program:
    """Return ``program`` with Newton's method starting from ``guess`` (by lane name) where nothing is carried."""

    def moved(node: Expr) -> Expr | None:
        if not isinstance(node, Newton) or not any(name in guess for name in node.names):
            return None
        if any(isinstance(inner, State) for inner in postorder(node.guess)):
            return None
        start = build.concat([Const(guess.get(name, 0.0)) for name in node.names])
        return Newton(node.step, node.systems, node.names, start, node.operands)

    return rewritten(program, moved) if guess else program


def _guessed(linear: Linearisation, guess: Mapping[str, float]) -> dict[str, Array]:
    """Values to start Newton's method from: those of blocks of which a lane is guessed."""
    found = {}
    for block in linear.program.states:
        if block.carried and any(lane in guess for lane in block.lanes):
            now = linear.carrying[block.name].tolist()
            found[block.name] = np.array([guess.get(lane, v) for lane, v in zip(block.lanes, now, strict=True)])
    return found


def with_initial(program: Program, point: Mapping[str, Any]) -> Program:
    """Return ``program`` with the states starting at ``point``, kept as parameter blocks of the role ``initial``.

    Args:
        program: any program.
        point: arrays ``(lanes,)`` by name of state block; states that are missing keep their initial value.

    Raises:
        ValueError: for a name that is no state block or a wrong shape.
    """
    unknown = set(point) - {block.name for block in program.states}
    if unknown:
        raise ValueError(f"there is no state block {min(unknown)!r}")
    taken = {block.name for block in program.parameters}
    blocks, states = [], []
    for state in program.states:
        if state.name not in point:
            states.append(state)
            continue
        values = np.array(point[state.name], dtype=np.float64)
        if values.shape != (state.size,):
            raise ValueError(f"state {state.name!r} has shape {(state.size,)}, not {values.shape}")
        name = f"initial_{state.name}"
        while name in taken:
            name += "_"
        taken.add(name)
        blocks.append(ParameterBlock(name, "initial", state.unit, values, state.lanes, state.spans))
        states.append(replace(state, initial=Parameter(name, state.size)))
    return replace(program, parameters=(*program.parameters, *blocks), states=tuple(states))


def _newton(linear: Linearisation, start: Array, free: Array) -> tuple[bool, Array]:
    """Damped Newton with least-norm steps: whether it converged, and where it ended."""
    x = start.copy()
    f = linear.rate_of_change(x)
    for _ in range(_NEWTON_STEPS):
        inner = linear.carried(x)
        if not free.any():
            return bool(all(np.isfinite(v).all() for v in (f, *inner.values()))), x
        linear.carry(inner)
        jacobian = linear.jacobian(x)[np.ix_(free, free)]
        if not (np.isfinite(f).all() and np.isfinite(jacobian).all()):
            return False, x
        rows = _row_scale(jacobian)
        step = np.zeros_like(x)
        step[free] = shortest_solution(jacobian, -f[free])
        size = np.abs(f[free] / rows)
        small = _RELATIVE * np.abs(x) + _ABSOLUTE
        at_rest = bool((size <= 1e3 * small[free]).all())
        if at_rest and (np.abs(step) <= small).all():
            return True, x
        damping = 1.0
        norm = np.linalg.norm(f[free] / rows)
        while damping > 1e-4:
            trial = x + damping * step
            f_trial = linear.rate_of_change(trial)
            if np.isfinite(f_trial).all() and np.linalg.norm(f_trial[free] / rows) <= (1 - 1e-4 * damping) * norm:
                break
            damping /= 2
        else:
            return at_rest, x
        x, f = trial, f_trial
    return False, x


def _raise_sources(linear: Linearisation, start: Array, free: Array) -> tuple[bool, Array]:
    """Newton at a growing fraction of the sources' values: whether it came to the whole, and where it ended."""
    x, inner = start.copy(), linear.carrying
    reached, step = 0.0, _FIRST_FRACTION
    linear.drive(0.0)
    linear.carry({name: np.zeros_like(value) for name, value in inner.items()})
    found, point = _newton(linear, start, free)
    if found:
        x, inner = point, linear.carried(point)
    while found and reached < 1.0:
        fraction = min(1.0, reached + step)
        linear.drive(fraction)
        linear.carry(inner)
        done, point = _newton(linear, x, free)
        if done:
            x, inner, reached, step = point, linear.carried(point), fraction, 2.0 * step
        else:
            step /= 4.0
            found = step >= _LEAST_FRACTION
    linear.drive(1.0)
    linear.carry(inner)
    return found, x


def _relax(linear: Linearisation, start: Array, free: Array) -> Array:
    """Follow the circuit towards rest by implicit Euler, one Newton step each, the step growing while all is well."""
    x = start.copy()
    f = linear.rate_of_change(x)
    scale = np.maximum(np.abs(x), 1e-3)
    fastest = float(np.max(np.abs(f[free]) / scale[free], initial=0.0))
    h = 0.1 / fastest if 0 < fastest < np.inf else 1e-9
    longest = 1e6 * max(h, _span(linear))
    for _ in range(_PSEUDO_STEPS):
        jacobian = linear.jacobian(x)[np.ix_(free, free)]
        if not np.isfinite(jacobian).all():
            break
        step = np.zeros_like(x)
        step[free] = shortest_solution(np.eye(int(free.sum())) / h - jacobian, f[free])
        trial = x + step
        f_trial = linear.rate_of_change(trial)
        # the corrector's defect: how far one Newton step is from the implicit step itself
        defect = np.abs(step - h * f_trial)[free] / (np.abs(x) + np.abs(step) + 1e-3)[free]
        if np.isfinite(f_trial).all() and np.max(np.minimum(defect, np.abs(step)[free] / scale[free])) < 0.5:
            x, f, scale = trial, f_trial, np.maximum(np.abs(trial), 1e-3)
            h *= 1.5
        else:
            h /= 4
        if h > longest or h < 1e-30:
            break
    return x


def _span(linear: Linearisation) -> float:
    """Return the stop time of the linearised program in seconds, 1 where it has none."""
    timing = linear.program.timing
    return timing.tstop if timing else 1.0


def _row_scale(jacobian: Array) -> Array:
    """What turns a rate of change into a distance: the largest slope of each row, 1 for an empty row."""
    largest = np.abs(jacobian).max(axis=1, initial=0.0)
    return np.where(largest > 0, largest, 1.0)


def _not_found(linear: Linearisation, point: Array, free: Array) -> NetcError:
    lost = [n for node, v in linear.solutions(point).items() for n, x in zip(node.names, v, strict=True) if np.isnan(x)]
    if lost:
        places = [
            (lane, b.spans[min(k, len(b.spans) - 1)])
            for b in linear.program.states
            if b.carried and b.spans
            for k, lane in enumerate(b.lanes)
        ]
        message = f"no operating point was found: the equations of {_listed(lost)} have no solution near the start"
        hint = "give .nodeset or .ic for these nodes, or a capacitor to ground"
        return NetcError([Diagnostic(Severity.ERROR, message, dict(places).get(lost[0]), hint)])
    f = np.where(free, np.abs(linear.rate_of_change(point)), 0.0)
    worst = int(np.argmax(np.where(np.isnan(f), np.inf, f / np.maximum(np.abs(point), 1e-3))))
    blocks = [(block, lane) for block in linear.blocks for lane in range(block.size)]
    block, lane = blocks[worst]
    span = block.spans[lane] if lane < len(block.spans) else None
    return NetcError(
        [
            Diagnostic(
                Severity.ERROR,
                f"no operating point was found: {linear.names[worst]} still moves at {f[worst]:.3g} {block.unit}/s",
                span,
                "add uic to .tran to start from the initial conditions, or fix the node with .ic",
            )
        ]
    )


def _listed(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
