"""Run an emitted module through time: choice of the step, sub-steps, divergence, memory for training."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from netc.diagnostics import NetcError
from netc.emit.schedule import schedule
from netc.ir.nodes import Binary, Const, Expr, Input, MatVec, Parameter, Rate, State, Unary, postorder
from netc.ir.program import Program, Timing
from netc.runtime.load import instantiate

RUNAWAY = 1e12
"""A signal beyond this magnitude (V or A) has diverged."""

_TOLERANCE = 1e-9
_MOST_STEPS = 1e15


@dataclass(frozen=True, slots=True)
class Trajectory:
    """Signals over time: ``values`` ``(rows, batch, names)`` at ``times`` ``(rows,)``, seconds in float64."""

    times: np.ndarray[Any, np.dtype[np.float64]]
    names: tuple[str, ...]
    values: torch.Tensor

    def signal(self, name: str, sample: int = 0) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return one signal of one sample, shape ``(rows,)``; ``KeyError`` for a name that was not observed."""
        if name not in self.names:
            raise KeyError(name)
        return self.values[:, sample, self.names.index(name)].double().numpy()

    def since(self, start: float) -> Trajectory:
        """Return the rows from ``start`` seconds on, as ``.tran`` with a start time keeps them."""
        first = int(np.searchsorted(self.times, start * (1 - _TOLERANCE)))
        return Trajectory(self.times[first:], self.names, self.values[first:])

    def only(self, names: Sequence[str]) -> Trajectory:
        """Return the signals called ``names``, in that order."""
        if tuple(names) == self.names:
            return self
        return Trajectory(self.times, tuple(names), self.values[:, :, [self.names.index(name) for name in names]])


def steps_for(tstop: float, dt: float) -> int:
    """Return the whole number of steps of ``dt`` seconds in ``tstop``: 0.01 s of 10 us are 1000, never 1001.

    A remainder of less than 1e-9 of a step is rounding; a larger one adds a step, so that ``tstop`` is reached.

    Raises:
        NetcError: where a time is not positive or ``dt`` is longer than ``tstop``.
    """
    if not (0.0 < dt < math.inf and 0.0 < tstop < math.inf):
        raise NetcError(
            f"a simulation needs a positive step and a positive end, not dt = {dt:g} s, tstop = {tstop:g} s"
        )
    ratio = tstop / dt
    if ratio < 1.0 - _TOLERANCE:
        raise NetcError(
            f"the step of {dt:g} s is longer than the whole simulation of {tstop:g} s", hint="use a smaller --dt"
        )
    if not ratio < _MOST_STEPS:
        raise NetcError(f"{ratio:.3g} steps are more than any machine takes", hint="use a larger --dt")
    nearest = round(ratio)
    return nearest if abs(ratio - nearest) <= _TOLERANCE * max(1.0, ratio) else math.ceil(ratio)


def step_from_timing(timing: Timing | None, dt: float | None = None, tstop: float | None = None) -> tuple[float, float]:
    """Return ``(dt, tstop)`` in seconds: what is given, else the deck's ``.tran``.

    The step is ``dt``, else the deck's maximum step, else its print step, else a thousandth of the end.

    Raises:
        NetcError: where neither says how long to run, or a number is not positive.
    """
    end = tstop if tstop is not None else timing.tstop if timing is not None else None
    if end is None:
        raise NetcError(
            "the deck has no .tran, so it does not say how long to simulate",
            hint="add .tran TSTEP TSTOP, or pass --tstop",
        )
    step = dt
    if step is None and timing is not None:
        step = timing.tmax or timing.tstep or None
    if step is None:
        step = end / 1000
    steps_for(end, step)
    return step, end


def simulate(
    circuit: nn.Module | Program,
    *,
    dt: float,
    tstop: float | None = None,
    steps: int | None = None,
    dtype: torch.dtype | None = None,
    inputs: Any = None,
    observe: Sequence[str] | None = None,
    substeps: int = 1,
    chunk: int = 1000,
    advice: str | None = None,
) -> Trajectory:
    """Integrate without gradients, in chunks, and stop with a reason where the run diverges.

    Args:
        circuit: an emitted ``Circuit``, which is left as it is, or a program.
        dt: time between rows, seconds.
        tstop: end, seconds; or ``steps``, the number of rows after the first.
        dtype: floating type of the states; that of the circuit, float64 for a program, when ``None``.
        inputs: amplitudes ``(batch, features)``, or waveforms ``(steps, batch, features)``, held over sub-steps.
        observe: names of signals; all when ``None``.
        substeps: internal Euler steps of ``dt / substeps`` between two rows.
        chunk: rows per call of the module, which bounds memory and the work lost to a divergence.
        advice: what to say of the step where the run diverges, see :func:`netc.runtime.stability.remedy`.

    Raises:
        NetcError: where a signal becomes infinite, not a number, or larger than :data:`RUNAWAY`.
        ValueError: for inputs or names the circuit does not have.
    """
    if (tstop is None) == (steps is None):
        raise ValueError("give tstop or steps, one of them")
    total = steps if steps is not None else steps_for(float(tstop or 0.0), dt)
    if total < 1 or substeps < 1 or chunk < 1:
        raise ValueError("steps, substeps and chunk must be at least 1")
    module = _in_type(circuit, dtype)
    names = tuple(module.NODES if observe is None else observe)
    given = None if inputs is None else torch.as_tensor(inputs)
    state: tuple[torch.Tensor, ...] | None = None
    rows: list[torch.Tensor] = []
    with torch.no_grad():
        for start in range(0, total, chunk):
            count = min(chunk, total - start)
            part = given
            if given is not None and given.ndim == 3:
                part = given[start : start + count].repeat_interleave(substeps, 0)
            found, state = module(
                count * substeps, dt / substeps, part, observe=names, state=state, first_step=start * substeps
            )
            _check(found, state, names, module, start * substeps, dt / substeps, advice)
            kept = found[::substeps]
            rows.append(kept if start + count == total else kept[:-1])
    times = np.arange(total + 1, dtype=np.float64) * dt
    return Trajectory(times, names, torch.cat(rows))


def _in_type(circuit: nn.Module | Program, dtype: torch.dtype | None) -> Any:
    if isinstance(circuit, Program):
        return instantiate(circuit, dtype or torch.float64)
    module: Any = circuit
    return module if dtype in (None, module.precision.dtype) else copy.deepcopy(module).to(dtype)


def _check(
    found: torch.Tensor,
    state: Sequence[torch.Tensor],
    names: Sequence[str],
    module: Any,
    first: int,
    dt: float,
    advice: str | None,
) -> None:
    fine = found.abs() <= RUNAWAY
    if not bool(fine.all()):
        row = int((~fine).flatten(1).any(1).nonzero()[0])
        name = names[int((~fine[row]).any(0).nonzero()[0])]
    else:
        bad = [
            (lanes, ~(block.abs() <= RUNAWAY).all(0))
            for block, (_, lanes) in zip(state, module.STATES.values(), strict=True)
            if not bool((block.abs() <= RUNAWAY).all())
        ]
        if not bad:
            return
        lanes, where = bad[0]
        row, name = len(found) - 1, lanes[int(where.nonzero()[0])]
    step = first + row
    lost = found[row].isnan().any(0)
    iterated = getattr(module, "ITERATED", ())
    # what grows beyond all bounds is large before it is no number; what has no solution is none at once
    if iterated and bool(lost.any()) and bool((lost | fine[row].all(0)).all()):
        missing = [n for n, gone in zip(names, lost.tolist(), strict=True) if gone and n in iterated] or list(iterated)
        listed = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise NetcError(
            f"Newton's method does not converge at step {step} (t = {step * dt:g} s) for {listed}",
            hint="use a smaller --dt, so that less changes in a step, or give these nodes a capacitor to ground",
        )
    raise NetcError(
        f"the simulation diverges at step {step} (t = {step * dt:g} s) at node {name}",
        hint=(f"{advice}; " if advice else "")
        + f"use a smaller --dt, such as {dt / 10:g}; if that diverges too, the circuit itself does",
    )


def checkpointed(
    module: nn.Module,
    steps: int,
    dt: float,
    inputs: torch.Tensor | None = None,
    *,
    observe: Sequence[str] | None = None,
    chunk: int = 100,
    values: dict[str, torch.Tensor] | None = None,
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """Return what ``module(steps, dt, inputs)`` returns, to the last bit, keeping only every chunk-th state.

    The backward pass runs each chunk again, so memory falls from ``steps`` to about ``steps / chunk + chunk``
    steps for one more forward pass of time (Chen et al. 2016, arXiv 1604.06174).
    """
    if chunk < 1:
        raise ValueError("chunk must be at least 1")
    state: tuple[torch.Tensor, ...] | None = None
    parts: list[torch.Tensor] = []
    for start in range(0, steps, chunk):
        count = min(chunk, steps - start)
        part = inputs[start : start + count] if inputs is not None and inputs.ndim == 3 else inputs

        def run(
            previous: tuple[torch.Tensor, ...] | None, count: int = count, start: int = start, part: Any = part
        ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
            found, after = module(count, dt, part, observe=observe, state=previous, first_step=start, values=values)
            return found, after

        found, state = checkpoint(run, state, use_reentrant=False)
        parts.append(found if start + count == steps else found[:-1])
    return torch.cat(parts), state or ()


def memory_estimate(program: Program, steps: int, batch: int, dtype: torch.dtype = torch.float32) -> int:
    """Return roughly how many bytes back-propagation through ``steps`` steps keeps.

    Counts, for every expression of rate STEP below the derivatives, the tensors autograd saves, and adds states
    and waveforms over time.  Within a factor of 2 of the measured peak for a bank of MIF cells.
    """
    plan = schedule(program)
    size = torch.empty((), dtype=dtype).element_size()
    roots = [plan.derivatives[k] for k in plan.step or plan.common]
    rate = Rate.STEP if plan.step else Rate.TIME
    saved: dict[Expr, int] = {}
    lanes = 0
    for node in postorder(*roots):
        if plan.rates(node) is not rate or isinstance(node, State | Input):
            continue
        lanes += sum(saved.setdefault(e, e.size) for e in _saved(node) if plan.rates(e) is rate and e not in saved)
        if not isinstance(node, Unary | Binary | MatVec):
            lanes += node.size
    states = sum(plan.leaf(k).size for k in plan.step or plan.common)
    samples = batch if plan.step else 1
    return int(size * steps * samples * (lanes + states))


def _saved(node: Expr) -> tuple[Expr, ...]:
    """Return the values autograd keeps for the gradient of one operation."""
    if isinstance(node, Unary):
        if node.op in ("neg", "floor", "ceil", "round", "sign", "not"):
            return ()
        return (node,) if node.op in ("exp", "sigmoid", "tanh", "sqrt") else (node.x,)
    if isinstance(node, Binary) and node.op in ("mul", "div", "pow", "min", "max"):
        if isinstance(node.a, Const | Parameter):
            return (node.b,) if isinstance(node.a, Parameter) or node.op != "mul" else ()
        if isinstance(node.b, Const):
            return (node.a,) if node.op not in ("mul", "div") else ()
        return (node.a, node.b)
    return (node.x,) if isinstance(node, MatVec) else ()
