"""How the time of a training step grows with one size, the others kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from netc.bench.measure import Figures, Notify, check_names, run
from netc.bench.plan import Plan
from netc.bench.problem import Task, resized
from netc.diagnostics import NetcError

AXES: dict[str, str] = {
    "T": "time steps",
    "B": "samples a step",
    "N": "hidden neurons",
    "synapses": "synapses",
}
"""What a sweep changes, and what its picture says."""

DEFAULT_LAYERED = ("netc-cpp", "handwritten", "torch-eager-hoisted")
DEFAULT_OTHER = ("netc-cpp", "torch-loop")
"""Those that take long to compile would do so at every size."""

_STEPS = (125, 250, 500, 1000, 2000)
_BATCHES = (16, 32, 64, 128, 256)
_NEURONS = (25, 50, 100, 200)
_INPUTS = (49, 196, 784)


@dataclass(slots=True)
class Sweep:
    """Figures over one size.

    Attributes:
        axis: of :data:`AXES`.
        title: the circuit, as it stands when nothing is changed.
        fixed: the other sizes, in words.
        values: sizes, growing.
        figures: by variant, one for each value.
        disagreements: of all runs.
    """

    axis: str
    title: str
    fixed: str
    values: list[int] = field(default_factory=list)
    figures: dict[str, list[Figures]] = field(default_factory=dict)
    disagreements: list[str] = field(default_factory=list)


def sweep_axes(plan: Plan, axis: str, names: Sequence[str], *, repeat: int, notify: Notify) -> list[Sweep]:
    """Run one sweep, or for ``all`` every one the circuit has sizes for.

    Args:
        plan: the circuit and the sizes that are kept.
        axis: of :data:`AXES`, or ``all``.
        names: of variants; a few when empty.
        repeat: how often each is timed at each size, in turn.
        notify: takes lines on what is going on.

    Raises:
        NetcError: the circuit has no such size.
    """
    check_names(names)
    if axis in ("N", "synapses") and not plan.sizes:
        raise NetcError(
            f"the circuit {plan.circuit} has one size only",
            hint="sweep T or B, or choose network, fig3-passive or 1t1r",
        )
    axes = [name for name in AXES if plan.sizes or name in ("T", "B")] if axis == "all" else [axis]
    chosen = tuple(names) or (DEFAULT_LAYERED if plan.layered else DEFAULT_OTHER)
    notify("generating and compiling the deck")
    base = plan.task()
    return [_sweep(plan, base, name, chosen, repeat, notify) for name in axes]


def _sweep(plan: Plan, base: Task, axis: str, names: tuple[str, ...], repeat: int, notify: Notify) -> Sweep:
    kept = {"T": f"batch {base.batch}", "B": f"{base.steps} steps"}
    found = Sweep(axis, base.title, kept.get(axis, f"batch {base.batch}, {base.steps} steps"))
    for value, task in _tasks(plan, base, axis, notify):
        notify(f"{AXES[axis]}: {value}")
        done = run(task, names, repeat=repeat, memory=False, peaks=False, notify=notify)
        found.values.append(value)
        for name, figures in done.variants.items():
            found.figures.setdefault(name, []).append(figures)
        found.disagreements += [f"{AXES[axis]} {value}: {line}" for line in done.disagreements]
    return found


def _tasks(plan: Plan, base: Task, axis: str, notify: Notify) -> Iterator[tuple[int, Task]]:
    """Yield sizes and training steps, each made when it is needed."""
    if axis == "T":
        yield from ((steps, resized(base, base.batch, steps)) for steps in _STEPS)
    elif axis == "B":
        yield from ((batch, resized(base, batch, base.steps)) for batch in _BATCHES)
    else:
        for layers in _layers(base.layers, axis):
            notify(f"generating and compiling {'-'.join(map(str, layers))}")
            synapses = sum(a * b for a, b in pairwise(layers))
            yield (sum(layers[1:-1]) if axis == "N" else synapses), plan.task(layers)


def _layers(layers: tuple[int, ...], axis: str) -> Iterator[tuple[int, ...]]:
    """Yield layer sizes; hidden layers alike for ``N``, other numbers of inputs for ``synapses``."""
    inputs, *hidden, outputs = layers
    if axis == "N":
        if not hidden:
            raise NetcError("a network without a hidden layer has no size N", hint="give three --layers or more")
        yield from ((inputs, *[size] * len(hidden), outputs) for size in _NEURONS)
    else:
        yield from ((size, *hidden, outputs) for size in _INPUTS)


def sweeps_as_json(sweeps: Sequence[Sweep], machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``{"sweeps": {axis: {"values": [...], "variants": {name: {"cpu_ms": [...]}}}}, "machine": ...}``."""
    return {
        "sweeps": {
            sweep.axis: {
                "circuit": sweep.title,
                "fixed": sweep.fixed,
                "values": sweep.values,
                "variants": {
                    name: {key: [getattr(f, key) for f in figures] for key in ("cpu_ms", "wall_ms", "missing")}
                    for name, figures in sweep.figures.items()
                },
            }
            for sweep in sweeps
        },
        "machine": dict(machine),
        "disagreements": [line for sweep in sweeps for line in sweep.disagreements],
    }


def sweeps_as_markdown(sweeps: Sequence[Sweep], machine: Mapping[str, Any]) -> str:
    """Return a table of CPU ms for each sweep."""
    lines = []
    for sweep in sweeps:
        lines += [
            f"{sweep.title}, {sweep.fixed}, CPU ms over {AXES[sweep.axis]}; load average {machine.get('load')}",
            "",
            f"| {AXES[sweep.axis]} | {' | '.join(map(str, sweep.values))} |",
            f"|---|{'---|' * len(sweep.values)}",
        ]
        for name, figures in sweep.figures.items():
            cells = [f"{f.cpu_ms:.4g}" if f.cpu_ms is not None else f.missing or "" for f in figures]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines += ["", *(f"disagreement: {line}" for line in sweep.disagreements)]
    return "\n".join(lines).rstrip() + "\n"
