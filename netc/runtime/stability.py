"""What explicit Euler needs of the time step, state by state, before a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from netc.ir.derivative import tangent
from netc.ir.interval import Interval, bounds, environment_of
from netc.ir.invariant import state_box
from netc.ir.nodes import Expr, State, Unknown
from netc.ir.program import Program
from netc.ir.sparsity import dependence, diagonal_groups
from netc.runtime.linearise import Linearisation

LARGEST_JACOBIAN = 400
"""Most states for which the eigenvalues of the full Jacobian are computed."""

STEP_FRACTION = 0.5
"""Share of the Euler limit a sub-step may take: half of it is the time constant, where a decay does not ring."""

ALLOWED_GROWTH = 0.01
"""Growth of an undamped oscillation over the whole run that passes without a note."""

_UNDAMPED = 1e-9


@dataclass(frozen=True, slots=True)
class StateLimit:
    """What one state asks of an explicit Euler step.

    Attributes:
        name: the signal as a user writes it, ``v(mem)`` for the voltage of a node.
        fastest_rate: largest ``|d f / d x|`` of the state by itself, 1/s.
        time_constant: ``1 / fastest_rate``, s; infinite where the state does not act on itself.
        euler_limit: largest stable step, s; infinite where nothing pulls the state back.
        estimate: whether the rate could not be bounded and is that at the initial state.
        eigenvalue: whether the limit comes from an eigenvalue of the coupled system at the initial state.
        bound: whether the limit is that of the worst the circuit could do and not that at the initial state: a run
            that keeps away from it may do with a longer step.
        slowest: the longest its time constant can be, s; infinite where there is no bound.
    """

    name: str
    fastest_rate: float
    time_constant: float
    euler_limit: float
    estimate: bool = False
    eigenvalue: bool = False
    bound: bool = False
    slowest: float = math.inf


@dataclass(frozen=True, slots=True)
class Stability:
    """Limits of all states, in the order of the program's states, and remarks on undamped oscillations."""

    states: tuple[StateLimit, ...]
    notes: tuple[str, ...] = ()

    @property
    def limit(self) -> float:
        """The largest step in seconds at which every state is stable."""
        return min((s.euler_limit for s in self.states), default=math.inf)

    def reaching(self, factor: float) -> Stability:
        """Return the limits of an integrator that is stable for steps ``factor`` times those of explicit Euler."""
        if factor == 1.0:
            return self
        return Stability(tuple(replace(s, euler_limit=s.euler_limit * factor) for s in self.states), self.notes)

    def worst(self, count: int = 3) -> tuple[StateLimit, ...]:
        """Return the ``count`` states that need the smallest step, worst first."""
        return tuple(sorted(self.states, key=lambda s: s.euler_limit)[:count])

    def broken(self, dt: float) -> tuple[StateLimit, ...]:
        """Return the states that a step of ``dt`` seconds makes unstable, worst first."""
        return self.worst(sum(s.euler_limit < dt for s in self.states))


def analyse(
    program: Program,
    values: Mapping[str, Any] | None = None,
    *,
    over_bounds: bool = False,
    inputs: tuple[float, float] = (0.0, 1.0),
) -> Stability:
    """Return what explicit Euler needs of the step.

    The rate of a state by itself, ``|d f_k / d x_k|``, is bounded by interval arithmetic over the box in which
    the states provably stay, all times and all inputs; the step has to be below 2 over it where it pulls back.
    Where no finite bound is found, its value at the initial state is taken and marked as an estimate.  Up to
    :data:`LARGEST_JACOBIAN` states, every eigenvalue ``l`` of the Jacobian at the initial state with a negative
    real part adds the limit ``2 |Re l| / |l|^2``, on the account of the state that has most of its eigenvector.

    Args:
        program: without algebraic blocks.
        values: physical values by parameter block that replace the program's own.
        over_bounds: let trained values be anywhere in their bounds (the worst case of a training run).
        inputs: bounds of every input.

    Raises:
        ValueError: for a program with algebraic blocks.
    """
    linear = Linearisation(program, inputs=inputs[1], values=values)
    around = environment_of(program, values=values, over_bounds=over_bounds, inputs=inputs)
    box = state_box(program, around)
    leaves = {block.name: State(block.name, block.size) for block in program.dynamic}
    around |= {leaf: box[name] for name, leaf in leaves.items()}
    start = linear.initial()
    point = dict(environment_of(program, values=values, inputs=(inputs[1], inputs[1])))
    point |= {leaves[name]: (part, part) for name, part in linear.split(start).items()}
    point |= {node: (found, found) for node, found in linear.solutions(start).items()}

    slopes = [_diagonal_bounds(block.derivative, leaves[block.name], around) for block in program.dynamic]
    nominal = [_diagonal_bounds(block.derivative, leaves[block.name], point) for block in program.dynamic]
    low, high = (np.concatenate([np.zeros(0), *(s[k] for s in slopes)]) for k in (0, 1))
    start_low, start_high = (np.concatenate([np.zeros(0), *(s[k] for s in nominal)]) for k in (0, 1))
    estimate = ~(np.isfinite(low) & np.isfinite(high))
    low, high = np.where(estimate, start_low, low), np.where(estimate, start_high, high)
    low, high = np.nan_to_num(low, neginf=0.0), np.nan_to_num(high, posinf=0.0)
    rate = np.maximum(np.abs(low), np.abs(high))
    with np.errstate(divide="ignore"):
        limit = np.where(low < 0, 2.0 / -np.minimum(low, 0.0), np.inf)
        constant = 1.0 / rate
        slowest = np.where((high < 0) & ~estimate, -1.0 / np.minimum(high, -1e-300), np.inf)
    coupled = np.full(linear.size, np.inf)
    notes: tuple[str, ...] = ()
    names = _signals(program)
    if 0 < linear.size <= LARGEST_JACOBIAN:
        coupled, notes = _eigenvalue_limits(linear.jacobian(start), names, program)
    states = tuple(
        StateLimit(
            name=names[k],
            fastest_rate=float(rate[k]),
            time_constant=float(constant[k]),
            euler_limit=float(min(limit[k], coupled[k])),
            estimate=bool(estimate[k]) and not coupled[k] < limit[k],
            eigenvalue=bool(coupled[k] < limit[k] * (1 - 1e-9)),
            bound=bool(low[k] < min(start_low[k], 0.0) * (1 + 1e-6)) and not coupled[k] < limit[k],
            slowest=float(slowest[k]),
        )
        for k in range(linear.size)
    )
    return Stability(states, notes)


def substeps(stability: Stability, dt: float) -> int:
    """Return into how many equal sub-steps a step of ``dt`` seconds has to be cut.

    1 where ``dt`` keeps within the limit of every state: only stability is required, though an error below 10 %
    wants ``dt`` below a tenth of a time constant.  Otherwise the smallest number of sub-steps that are at most
    :data:`STEP_FRACTION` of the limit.
    """
    limit = stability.limit
    if dt <= limit:
        return 1
    return math.ceil(dt / (STEP_FRACTION * limit) * (1 - 1e-12))


def report(stability: Stability, dt: float, count: int = 3) -> list[str]:
    """Return what there is to say about a step of ``dt`` seconds, as sentences; none where all is well."""
    lines = []
    broken = stability.broken(dt)
    if broken:
        needs = [f"{_need(s)} ({_times_smaller(dt / s.euler_limit)} x smaller{_basis(s)})" for s in broken[:count]]
        more = [f"and {len(broken) - count} more"] if len(broken) > count else []
        noun = "state" if len(broken) == 1 else "states"
        lines.append(
            f"dt = {engineering(dt, 's')} breaks the Euler limit of {len(broken)} {noun}: {'; '.join(needs + more)}"
        )
    return [*lines, *stability.notes]


def remedy(stability: Stability, dt: float) -> str | None:
    """Return which state needs the smallest step, and how small, for a run with steps of ``dt`` that diverged.

    ``None`` where no state is known to need less than ``dt``.
    """
    worst = next(iter(stability.worst(1)), None)
    if worst is None or not worst.euler_limit < dt:
        return None
    return f"the state {_need(worst)}{_basis(worst)}"


def _need(state: StateLimit) -> str:
    return f"{state.name} needs dt <= {engineering(state.euler_limit, 's')}"


def _basis(state: StateLimit) -> str:
    if state.eigenvalue:
        return ", an eigenvalue of the coupled system"
    if state.estimate:
        return ", estimated at the initial state"
    return ", at worst" if state.bound else ""


_PREFIXES = {-15: "f", -12: "p", -9: "n", -6: "u", -3: "m", 0: "", 3: "k", 6: "M", 9: "G"}


def engineering(value: float, unit: str) -> str:
    """Return ``value`` with two digits and an SI prefix, rounded down so that a limit stays one: ``99 us``."""
    if abs(value) < 1e-16 or not math.isfinite(value):
        return f"{value:g} {unit}"
    exponent = max(-15, min(9, 3 * math.floor(math.log10(abs(value)) / 3 + 1e-12)))
    scaled = value / 10.0**exponent
    digits = 1 if abs(scaled) < 10 else 0
    shown = math.floor(scaled * 10**digits + 1e-9) / 10**digits
    return f"{shown:g} {_PREFIXES[exponent]}{unit}"


def _times_smaller(factor: float) -> str:
    return f"{factor:.0f}" if 10 <= factor < 1e6 else f"{factor:.2g}"


def _diagonal_bounds(derivative: Expr, leaf: State, environment: Mapping[Expr, Any]) -> Interval:
    """Bounds of ``d derivative[k] / d leaf[k]``: one pass for each set of lanes that do not read each other."""
    low, high = np.zeros(leaf.size), np.zeros(leaf.size)
    pattern = dependence(derivative, leaf)
    if pattern is None:
        return low, high
    if pattern.shape[0] != leaf.size:
        pattern = pattern[np.zeros(leaf.size, dtype=int)]
    seed = Unknown(f"seed of {leaf.name}", leaf.size)
    moved = tangent(derivative, {leaf: seed})
    for lanes in diagonal_groups(pattern):
        mask = np.zeros(leaf.size)
        mask[lanes] = 1.0
        found = bounds(moved, {**environment, seed: (mask, mask)})
        for total, part in zip((low, high), found, strict=True):
            total[lanes] = np.broadcast_to(part, (leaf.size,))[lanes]
    return low, high


def _eigenvalue_limits(jacobian: Any, names: tuple[str, ...], program: Program) -> tuple[Any, tuple[str, ...]]:
    """Euler limit by state from the eigenvalues of the coupled system, and notes on undamped oscillations."""
    limit = np.full(len(names), np.inf)
    if not np.isfinite(jacobian).all():
        return limit, ("the Jacobian at the initial state is not finite: coupled time constants are not known",)
    values, vectors = np.linalg.eig(jacobian)
    notes = []
    for value, vector in zip(values, vectors.T, strict=True):
        size = abs(value)
        owner = int(np.argmax(np.abs(vector)))
        if size > 0 and abs(value.real) <= _UNDAMPED * size:
            if value.imag > 0 and program.timing:
                step = 2 * math.log1p(ALLOWED_GROWTH) / (size**2 * program.timing.tstop)
                notes.append(
                    f"{names[owner]} oscillates undamped at {engineering(size / (2 * math.pi), 'Hz')}: explicit Euler "
                    f"lets it grow, by less than 1 % over {engineering(program.timing.tstop, 's')} only if "
                    f"dt <= {engineering(step, 's')}"
                )
        elif value.real < 0:
            limit[owner] = min(limit[owner], 2 * -value.real / size**2)
    return limit, tuple(notes)


def _signals(program: Program) -> tuple[str, ...]:
    nodes = {lane for block in program.observables if block.unit == "V" for lane in block.lanes}
    return tuple(f"v({lane})" if lane in nodes else lane for block in program.dynamic for lane in block.lanes)
