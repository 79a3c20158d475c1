"""Check the gradients of an emitted module against central differences, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from netc.diagnostics import NetcError
from netc.ir.program import Program
from netc.runtime.load import instantiate

_STEPS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
"""Relative steps, tried in turn until one agrees: the first has least rounding, the last least truncation."""

_AGREES = 1e-7
_KINK_STEP = 1e-8
_KINK = 1e-3
_FLOOR = 1e-6
_REST = 1e-12
"""A signal below this share of the largest of its unit is at rest."""


@dataclass(frozen=True, slots=True)
class GradientRow:
    """One lane: both derivatives of the test scalar with respect to the physical value, and how far they differ.

    ``kink`` says that the scalar has two different one-sided derivatives here, as where the edge of a pulse falls
    on a step.  There is no derivative to agree with then, and ``error`` is 0.
    """

    block: str
    role: str
    lane: str
    autograd: float
    difference: float
    error: float
    kink: bool = False


@dataclass(frozen=True, slots=True)
class GradientReport:
    """All checked lanes."""

    rows: tuple[GradientRow, ...]

    @property
    def worst(self) -> GradientRow | None:
        """Return the lane with the largest relative error, ``None`` if there was nothing to check."""
        return max(self.rows, key=lambda row: row.error, default=None)

    @property
    def kinks(self) -> tuple[GradientRow, ...]:
        """Return the lanes that have no derivative and were not compared."""
        return tuple(row for row in self.rows if row.kink)

    def by_role(self) -> dict[str, float]:
        """Return the worst relative error of every role."""
        found: dict[str, float] = {}
        for row in self.rows:
            found[row.role] = max(found.get(row.role, 0.0), row.error)
        return found


def check_gradients(
    program: Program,
    *,
    steps: int,
    dt: float,
    seed: int = 0,
    roles: Collection[str] | None = None,
    per_class: int = 6,
    inputs: Any = None,
) -> GradientReport:
    """Compare back-propagation through the emitted module with central differences of a fixed scalar.

    The scalar is a sum of all signals at all steps with weights drawn once from ``seed``.  Differences are
    central with relative steps h and h/2, extrapolated to order h**4 (Richardson 1911), h from 1e-3 down to 1e-7
    until they agree.  The relative error of a lane is ``|autograd - difference| * |value|`` over the largest
    ``|gradient * value|`` of its block: how much of the effect that a relative change of this block can have is
    missed.  A value of 0 counts as the largest of its block, else as 1, or as ``dt`` if it is a time.  Effects
    below 1e-6 of the scalar's own size drown in the rounding of the differences; they are measured against that.

    Args:
        program: without algebraic blocks.
        steps: number of steps of ``dt`` seconds.
        seed: of the weights, of the lanes picked, and of the inputs if the circuit has some and none are given.
        roles: only blocks with these roles (``R C L gain source model initial``); all when ``None``.
        per_class: lanes checked in each block, picked at random where it has more.
        inputs: amplitudes or waveforms.

    Raises:
        NetcError: where the scalar or a gradient is not finite.
    """
    random = np.random.default_rng(seed)
    circuit: Any = instantiate(program, torch.float64)
    if inputs is None and circuit.FEATURES:
        waveform = program.inputs[0].mode == "waveform"
        inputs = random.uniform(0.2, 1.0, (steps, 2, circuit.FEATURES) if waveform else (2, circuit.FEATURES))
    drive = None if inputs is None else torch.as_tensor(inputs, dtype=torch.float64)
    values = {block.name: torch.tensor(block.values, dtype=torch.float64) for block in program.parameters}
    with torch.no_grad():
        rows = circuit(steps, dt, drive, values=values)[0]
    # Each signal counts by its own range, so that amperes weigh as much as volts; one that is at rest by the
    # range of others, because what moves in it is rounding.
    span = rows.abs().amax((0, 1))
    units = [observable.unit for observable in program.observables for _ in observable.lanes]
    for unit in set(units):
        same = torch.tensor([other == unit for other in units])
        most = span[same].max()
        span[same] = torch.where(span[same] > _REST * most, span[same], most)
    span = torch.where(span > 0.0, span, 1.0)
    weights = torch.as_tensor(random.standard_normal(rows.shape)) / span

    def scalar(current: dict[str, torch.Tensor]) -> torch.Tensor:
        result: torch.Tensor = (circuit(steps, dt, drive, values=current)[0] * weights).sum()
        return result

    leaves = {name: value.clone().requires_grad_() for name, value in values.items()}
    total = scalar(leaves)
    if not bool(torch.isfinite(total)):
        raise NetcError("the circuit diverges, so its gradients cannot be checked", hint="use a smaller --dt")
    total.backward()  # type: ignore[no-untyped-call]  # torch has no annotation for it
    floor = _FLOOR * float((rows * weights).square().sum().sqrt())

    def moved(name: str, lane: int, by: float) -> float:
        value = values[name].clone()
        value[lane] += by
        with torch.no_grad():
            return float(scalar({**values, name: value}))

    report: list[GradientRow] = []
    for block in program.parameters:
        if roles is not None and block.role not in roles:
            continue
        gradient = leaves[block.name].grad
        exact = np.zeros(len(block.values)) if gradient is None else gradient.numpy()
        if not np.isfinite(exact).all():
            raise NetcError(f"the gradient of {block.lanes[int(np.argmin(np.isfinite(exact)))]} is not finite")
        typical = float(np.max(np.abs(block.values), initial=0.0)) or (dt if block.unit == "s" else 1.0)
        scale = np.where(block.values == 0.0, typical, np.abs(block.values))
        lanes = np.arange(len(block.values))
        if len(lanes) > per_class:
            lanes = np.sort(random.choice(lanes, per_class, replace=False))
        largest = max(float(np.max(np.abs(exact * scale))), floor)
        for lane in lanes.tolist():
            found = _compare(
                lambda by, name=block.name, lane=lane: moved(name, lane, by),  # type: ignore[misc]  # bound defaults
                float(exact[lane]),
                float(scale[lane]),
                largest,
            )
            name = block.lanes[lane] if lane < len(block.lanes) else block.name
            report.append(GradientRow(block.name, block.role, name, float(exact[lane]), *found))
    return GradientReport(tuple(report))


def _compare(scalar: Callable[[float], float], exact: float, scale: float, largest: float) -> tuple[float, float, bool]:
    """Return the difference quotient that agrees best, the error, and whether there is a kink.

    ``scalar`` is the test scalar as a function of a change of the value.  The error is relative to ``largest``,
    or to the gradient found where that is larger: a gradient missing altogether has error 1.
    """

    def error(difference: float) -> float:
        size = max(largest, abs(difference) * scale)
        return abs(exact - difference) * scale / size if size > 0.0 else 0.0

    def central(step: float) -> float:
        return (scalar(step) - scalar(-step)) / (2.0 * step)

    best = math.inf, math.nan
    for relative in _STEPS:
        step = relative * scale
        difference = (4.0 * central(step / 2.0) - central(step)) / 3.0
        best = min(best, (error(difference), difference))
        if best[0] <= _AGREES:
            return best[1], best[0], False
    step, here = _KINK_STEP * scale, scalar(0.0)
    sides = sorted(((here - scalar(-step)) / step, (scalar(step) - here) / step))
    if (sides[1] - sides[0]) * scale > _KINK * max(largest, scale * max(map(abs, sides))):
        return central(step), 0.0, True
    return best[1], best[0], False
