"""Whether netc and ngspice agree on a deck, and what the error is made of: the model's, the time step's, the task's.

The deck runs in both; :func:`netc.ngspice.compare.compare` gives the agreement at netc's step ``dt``.  A method of
order p has a global error proportional to ``dt^p``, so netc then runs at ``dt``, ``dt/2`` and ``dt/4`` against one
reference and the slope of log(error) over log(dt) is the measured order: near p (1 for Euler) where the difference is
the step's, near 0 where the two compute different circuits (Hairer, Norsett, Wanner, Solving Ordinary Differential
Equations I, section II.3).

The reference is ngspice with tolerances of 1e-6 and a maximum step of ``dt/8``; its own error is estimated by halving
(the trapezoidal rule has order 2: a third of the difference between ``dt/4`` and ``dt/8``).  A step whose error is not
ten times that says nothing about netc and is left out.

The model's own error is what is left when both integrate alike (:mod:`netc.ngspice.grid`), the task's what it does to
the classes and spikes of a data set (:mod:`netc.ngspice.task`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from netc.diagnostics import NetcError
from netc.ir.program import Timing
from netc.ngspice.bridge import DEFAULT_TIMEOUT, Waveforms, run
from netc.ngspice.compare import NodeAgreement, compare, is_constant, shared_rows, signal_scale
from netc.ngspice.grid import ModelError, OnGrid, model_error
from netc.ngspice.locate import find_ngspice
from netc.ngspice.netlist import ngspice_text
from netc.parse.ast import Deck

Simulate = Callable[[float, int], tuple[np.ndarray, Sequence[str], np.ndarray]]
"""``simulate(dt, steps)`` gives times ``(steps + 1,)``, names, and values ``(steps + 1, len(names))``."""

DEFAULT_TOLERANCE = 0.01
ORDER_BUDGET = 120.0

_REFINEMENTS = (1, 2, 4)
_REFERENCE_REFINEMENT = 8
_ABOVE_NOISE = 10.0
_CONSISTENT = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Validation:
    """The outcome of :func:`validate`.

    Attributes:
        nodes: agreement by signal, at ``dt``.
        worst_nrmse: the largest NRMSE of them.
        order: measured order of convergence in ``dt``, ``None`` where it cannot be measured.
        order_reason: why there is no order; empty otherwise.
        dt: netc's step, seconds.
        tolerance: what ``worst_nrmse`` may not exceed.
        errors: (step in seconds, error) for each refinement that ran; the error is the root mean square over nodes of
            the NRMSE on the grid of ``dt``.
        reference_error: ngspice's own error in the same measure; ``None`` where it was not estimated.
        times, values: netc's waveforms at ``dt``: ``(rows,)`` and by signal ``(rows,)``.
        waveforms: ngspice's.
        notes: what the user should know of the runs.
        model: the error of the model alone, ``None`` where it was not asked for.
    """

    nodes: dict[str, NodeAgreement]
    worst_nrmse: float
    order: float | None
    order_reason: str
    dt: float
    tolerance: float
    errors: tuple[tuple[float, float], ...]
    reference_error: float | None
    times: np.ndarray
    values: dict[str, np.ndarray]
    waveforms: Waveforms
    notes: tuple[str, ...] = field(default=())
    model: ModelError | None = None

    @property
    def worst_node(self) -> str:
        """The signal with the largest NRMSE."""
        return max(self.nodes, key=lambda name: _or_infinite(self.nodes[name].nrmse))

    @property
    def passed(self) -> bool:
        """Whether the worst NRMSE is within the tolerance."""
        return self.worst_nrmse <= self.tolerance

    def to_json(self) -> dict[str, object]:
        """Return the report as plain data: nodes, worst_nrmse, order, dt."""
        return {
            "nodes": {
                name: {
                    "nrmse": node.nrmse,
                    "max_abs": node.max_abs,
                    "spikes": list(node.spikes),
                    "spike_shift_s": node.spike_shift_s,
                }
                for name, node in self.nodes.items()
            },
            "worst_nrmse": self.worst_nrmse,
            "order": self.order,
            "dt": self.dt,
            "model_nrmse": self.model.nrmse if self.model else None,
        }


def validate(
    deck: Deck,
    simulate: Simulate,
    timing: Timing,
    *,
    dt: float | None = None,
    tstop: float | None = None,
    tolerance: float = DEFAULT_TOLERANCE,
    engine: str = "auto",
    timeout: float = DEFAULT_TIMEOUT,
    order_budget: float = ORDER_BUDGET,
    on_grid: OnGrid | None = None,
    steps_by_error: bool = False,
) -> Validation:
    """Run ``deck`` in netc and in ngspice and compare.

    Args:
        deck: the parsed deck; ngspice runs its own lines.
        simulate: netc's side; its initial state is the deck's.
        timing: the deck's transient analysis, seconds.
        dt: netc's step, seconds; the deck's maximum step when ``None``, else its step.
        tstop: where to stop, seconds; the deck's when ``None``.
        tolerance: largest NRMSE that passes.
        engine: see :func:`netc.ngspice.bridge.run`.
        timeout: seconds for each run of ngspice.
        order_budget: the order is not measured where ngspice would need more seconds than this for it.
        on_grid: netc's backward Euler on given points, for the error of the model; ``None`` leaves that out.
        steps_by_error: netc's steps do not follow from ``dt``, which is only the distance of its rows: no order.

    Raises:
        NetcError: ngspice is absent or fails, the step is longer than the analysis, or the two share no signal.
    """
    # ngspice keeps what lies after TSTART, and so does this comparison
    dt = dt if dt is not None else timing.tmax or timing.tstep
    tstop = timing.tstop if tstop is None else tstop
    steps = math.floor(tstop / dt * (1 + 1e-9)) if dt > 0 else 0
    if not (math.isfinite(dt) and math.isfinite(tstop) and steps >= 1):
        raise NetcError(f"a step of {dt:g} s does not fit into an analysis of {tstop:g} s")
    if timing.tstart >= tstop:
        raise NetcError(f"the deck's .tran starts to save at {timing.tstart:g} s, and the run stops at {tstop:g} s")
    times, names, table = simulate(dt, steps)
    values = {name: table[:, column] for column, name in enumerate(names)}
    installation = find_ngspice()

    def reference(max_step: float) -> Waveforms:
        asked = replace(timing, tstop=tstop, tstart=0.0, tmax=max_step)
        text = ngspice_text(deck, asked, nodes=names)
        return run(text, nodes=names, timeout=timeout, engine=engine, installation=installation)

    first = reference(dt)
    measured = _Order((), None, None, "")
    waveforms = first
    # The time goes with the points: 4 times as many, then 8 times.
    if first.seconds * (_REFERENCE_REFINEMENT + _REFERENCE_REFINEMENT // 2) > order_budget:
        measured = replace(measured, reason=f"a reference for it would take ngspice more than {order_budget:g} s")
    else:
        coarse, waveforms = (reference(dt / r) for r in (_REFERENCE_REFINEMENT // 2, _REFERENCE_REFINEMENT))
    if steps_by_error:
        measured = replace(measured, reason="the steps are chosen by their error")
    elif not measured.reason:
        measured = _measure_order(simulate, dt, steps, (times, values), coarse, waveforms, timing.tstart)
    model = None
    if on_grid is not None:
        model = model_error(deck, on_grid, timing, names, dt=dt, tstop=tstop, engine=engine, timeout=timeout)
    kept = times >= timing.tstart * (1 - 1e-9)
    times, values = times[kept], {name: signal[kept] for name, signal in values.items()}
    waveforms = _since(waveforms, timing.tstart)
    nodes = compare(times, values, waveforms)
    return Validation(
        nodes=nodes,
        worst_nrmse=max(_or_infinite(node.nrmse) for node in nodes.values()),
        order=measured.order,
        order_reason=measured.reason,
        dt=dt,
        tolerance=tolerance,
        errors=measured.errors,
        reference_error=measured.reference_error,
        times=times,
        values=values,
        waveforms=waveforms,
        notes=waveforms.notes,
        model=model,
    )


@dataclass(frozen=True, slots=True)
class _Order:
    errors: tuple[tuple[float, float], ...]
    reference_error: float | None
    order: float | None
    reason: str


def _measure_order(
    simulate: Simulate,
    dt: float,
    steps: int,
    first: tuple[np.ndarray, dict[str, np.ndarray]],
    coarse: Waveforms,
    fine: Waveforms,
    start: float,
) -> _Order:
    times, values = first
    rows = shared_rows(times, fine) & shared_rows(times, coarse) & (times >= start * (1 - 1e-9))
    grid = times[rows]
    reference, own_error = {}, []
    for name in values:
        truth = np.interp(grid, fine.times, fine.values[name])
        if is_constant(truth):
            continue
        reference[name] = truth
        rough = np.interp(grid, coarse.times, coarse.values[name])
        own_error.append(_rms(rough - truth) / signal_scale(truth) / 3)
    if not reference:
        return _Order((), None, None, "no signal changes with time")
    noise = _rms(np.array(own_error))

    errors = []
    for refinement in _REFINEMENTS:
        if refinement > 1:
            _, names, table = simulate(dt / refinement, steps * refinement)
            columns = {name: column for column, name in enumerate(names)}
            values = {name: table[::refinement, columns[name]] for name in reference}
        per_node = [_rms(values[name][rows] - truth) / signal_scale(truth) for name, truth in reference.items()]
        errors.append((dt / refinement, _rms(np.array(per_node))))

    if not all(math.isfinite(error) for _, error in errors):
        return _Order(tuple(errors), noise, None, "netc's waveforms are not finite")
    clear = [(step, error) for step, error in errors if error > _ABOVE_NOISE * noise]
    if len(clear) < 2:
        return _Order(
            tuple(errors), noise, None, f"netc's error is no larger than ten times that of ngspice, {noise:.1e}"
        )
    logs = np.log(np.array(clear))
    slopes = np.diff(logs[:, 1]) / np.diff(logs[:, 0])
    if np.ptp(slopes) > _CONSISTENT:
        told = ", then ".join(f"{slope:.2f}" for slope in slopes)
        reason = (
            f"the error does not follow a power of the step (slope {told}): an edge between steps, or a step too long"
        )
        return _Order(tuple(errors), noise, None, reason)
    return _Order(tuple(errors), noise, float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0]), "")


def _since(waveforms: Waveforms, start: float) -> Waveforms:
    """Return what ngspice computed from ``start`` seconds on, and the point before."""
    first = max(0, int(np.searchsorted(waveforms.times, start, side="right")) - 1)
    values = {name: signal[first:] for name, signal in waveforms.values.items()}
    return replace(waveforms, times=waveforms.times[first:], values=values)


def _rms(values: np.ndarray) -> float:
    with np.errstate(over="ignore", invalid="ignore"):  # of a run that diverged
        return float(np.sqrt(np.mean(np.square(values))))


def _or_infinite(value: float) -> float:
    return value if math.isfinite(value) else math.inf
