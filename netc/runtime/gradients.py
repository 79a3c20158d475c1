"""Check the gradients of an emitted module against central differences, in float64."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from netc.diagnostics import NetcError
from netc.ir.program import Program
from netc.runtime.load import instantiate

_STEP = 1e-3
"""Relative step of the coarser difference; the extrapolated error is of order step**4."""


@dataclass(frozen=True, slots=True)
class GradientRow:
    """One lane: both derivatives of the test scalar with respect to the physical value, and how far they differ."""

    block: str
    role: str
    lane: str
    autograd: float
    difference: float
    error: float


@dataclass(frozen=True, slots=True)
class GradientReport:
    """All checked lanes."""

    rows: tuple[GradientRow, ...]

    @property
    def worst(self) -> GradientRow | None:
        """Return the lane with the largest relative error, ``None`` if there was nothing to check."""
        return max(self.rows, key=lambda row: row.error, default=None)

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
    central with relative steps h and h/2, extrapolated to order h**4 (Richardson 1911).  The relative error of a
    lane is ``|autograd - difference| * |value|`` over the largest ``|gradient * value|`` of its block: how much of
    the effect that a relative change of this block can have is missed.  A value of 0 counts as 1.

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
    # Each signal counts by its own range, so that amperes weigh as much as volts.
    span = rows.abs().amax((0, 1))
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

    def difference(name: str, lane: int, step: float) -> float:
        ends = []
        for sign in (1.0, -1.0):
            moved = values[name].clone()
            moved[lane] += sign * step
            with torch.no_grad():
                ends.append(float(scalar({**values, name: moved})))
        return (ends[0] - ends[1]) / (2.0 * step)

    report: list[GradientRow] = []
    for block in program.parameters:
        if roles is not None and block.role not in roles:
            continue
        gradient = leaves[block.name].grad
        exact = np.zeros(len(block.values)) if gradient is None else gradient.numpy()
        if not np.isfinite(exact).all():
            raise NetcError(f"the gradient of {block.lanes[int(np.argmin(np.isfinite(exact)))]} is not finite")
        scale = np.where(block.values == 0.0, 1.0, np.abs(block.values))
        lanes = np.arange(len(block.values))
        if len(lanes) > per_class:
            lanes = np.sort(random.choice(lanes, per_class, replace=False))
        measured = {}
        for lane in lanes.tolist():
            coarse, fine = (difference(block.name, lane, _STEP * scale[lane] * f) for f in (1.0, 0.5))
            measured[lane] = (4.0 * fine - coarse) / 3.0
        largest = max(float(np.max(np.abs(exact * scale))), *(abs(d) * scale[k] for k, d in measured.items()))
        for lane, approximate in measured.items():
            error = abs(exact[lane] - approximate) * scale[lane] / largest if largest > 0.0 else 0.0
            name = block.lanes[lane] if lane < len(block.lanes) else block.name
            report.append(GradientRow(block.name, block.role, name, float(exact[lane]), approximate, float(error)))
    return GradientReport(tuple(report))
