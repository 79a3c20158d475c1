"""Calls of compiled loops, and their place in torch's graph."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from netc.kernels.checkpoints import Plan
from netc.kernels.loss import smoothed

Pointers = ctypes.c_void_p


class Arguments(ctypes.Structure):
    """What the compiled functions take; the same as ``struct Arguments`` of ``templates/vector.h.j2``."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("batch", "steps", "threads", "segment")),
        *((name, Pointers) for name in ("parameters", "samples", "times", "driven", "initial")),
        *(
            (name, Pointers)
            for name in ("trajectories", "lanes", "lane_counts", "finals", "log_probabilities", "labels")
        ),
        *((name, ctypes.c_double) for name in ("logit_scale", "weight", "smoothing")),
        *((name, Pointers) for name in ("trajectory_seeds", "final_seeds")),
        *((f"{name}_gradients", Pointers) for name in ("parameter", "sample", "time", "driven", "initial")),
        ("scratch", Pointers),
        ("thread_bytes", ctypes.c_int64),
    ]


@dataclass(slots=True, eq=False)
class Compiled:
    """One loop of a loaded library; ``wanted[rate]`` are numbers of the reads it has gradients of."""

    library: ctypes.CDLL
    name: str
    state_lanes: tuple[int, ...]
    classes: int
    adjoint: bool
    threads: int = 1
    plan: Plan | None = None  # all states are stored where there is none
    written: Mapping[str, frozenset[int]] = field(default_factory=dict)  # numbers of reads whose gradients it writes
    _pool: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        for suffix in ("_forward_bytes", *(("_backward_bytes", "_shared_bytes") if self.adjoint else ())):
            getattr(self.library, self.name + suffix).restype = ctypes.c_int64

    def forward(self, arguments: Arguments) -> None:
        """Run the loop."""
        run = getattr(self.library, f"{self.name}_forward")
        self._run(run, arguments, getattr(self.library, f"{self.name}_forward_bytes")(), 0)

    def backward(self, arguments: Arguments, run: Callable[[Any], None] | None = None) -> None:
        """Run the loop and its adjoint, or ``run``, which is given the arguments and does so."""
        arguments.segment = self.plan.segment(arguments.steps) if self.plan else arguments.steps + 1
        steps, batch, segment = (ctypes.c_int64(x) for x in (arguments.steps, arguments.batch, arguments.segment))
        size = getattr(self.library, f"{self.name}_backward_bytes")(steps, segment)
        shared = getattr(self.library, f"{self.name}_shared_bytes")(steps, batch)
        self._run(run or getattr(self.library, f"{self.name}_backward"), arguments, size, shared)

    def _run(self, run: Callable[[Any], None], arguments: Arguments, thread_bytes: int, shared_bytes: int) -> None:
        arguments.threads = self.threads
        arguments.thread_bytes = -(-thread_bytes // 4096) * 4096 + 128  # threads start in different cache sets
        needed = arguments.thread_bytes * self.threads + shared_bytes + 64
        scratch = self._pool.pop() if self._pool else torch.empty(0, dtype=torch.uint8)
        if scratch.numel() < needed:
            scratch = torch.empty(needed, dtype=torch.uint8)
        arguments.scratch = -(-scratch.data_ptr() // 64) * 64
        run(ctypes.byref(arguments))
        self._pool.append(scratch)


@dataclass(slots=True, eq=False)
class Reads:
    """Values a loop reads, contiguous and of the kernel's type, by rate.

    ``parameters`` (lanes) or matrices, ``samples`` and ``initial`` (batch, lanes), ``times`` (steps + 1, lanes),
    ``driven`` (steps, batch, lanes).  ``exact`` are the parameters before rounding, where gradients
    flow to; ``more`` are fixed values that none flows to.
    """

    exact: list[Tensor]
    parameters: list[Tensor]
    more: list[Tensor]
    samples: list[Tensor]
    times: list[Tensor]
    driven: list[Tensor]
    initial: list[Tensor]

    def tensors(self) -> list[Tensor]:
        """Return what gradients flow to, in order."""
        return [*self.exact, *self.samples, *self.times, *self.driven, *self.initial]

    def split(self, values: Sequence[Any]) -> list[list[Any]]:
        """Split a list in the order of :meth:`tensors` by rate."""
        result, start = [], 0
        for group in (self.exact, self.samples, self.times, self.driven, self.initial):
            result.append(list(values[start : start + len(group)]))
            start += len(group)
        return result


def _pointers(tensors: Sequence[Tensor | None]) -> Any:
    return (ctypes.c_void_p * max(1, len(tensors)))(*(None if t is None else t.data_ptr() for t in tensors))


def _address(array: Any) -> int:
    return ctypes.addressof(array)


class Frame:
    """Arguments of one call and everything they point to."""

    def __init__(self, loop: Compiled, reads: Reads, batch: int, steps: int, lanes: Sequence[Tensor | None]) -> None:
        self._kept: list[Any] = [reads]
        self.arguments = Arguments(batch=batch, steps=steps, weight=1.0, segment=1)
        blank: list[Tensor | None] = [None] * len(loop.state_lanes)
        self.point("parameters", [*reads.parameters, *reads.more])
        for name in ("samples", "times", "driven", "initial"):
            self.point(name, getattr(reads, name))
        self.point("lanes", lanes)
        counts = torch.tensor([0 if x is None else x.numel() for x in lanes], dtype=torch.int64)
        self.set("lane_counts", counts)
        for name in ("trajectories", "finals", "trajectory_seeds", "final_seeds", "initial_gradients"):
            self.point(name, blank)
        for name in ("parameter_gradients", "sample_gradients", "time_gradients", "driven_gradients"):
            self.point(name, [])

    def point(self, name: str, tensors: Sequence[Tensor | None]) -> None:
        """Set an array of pointers."""
        array = _pointers(tensors)
        self._kept += [array, *tensors]
        setattr(self.arguments, name, _address(array))

    def set(self, name: str, tensor: Tensor) -> None:
        """Set one pointer."""
        self._kept.append(tensor)
        setattr(self.arguments, name, tensor.data_ptr())


@dataclass(slots=True)
class Room:
    """Room for the gradients of one call.

    The kernel writes all gradients it was built for, also those that a call does not need.
    """

    reads: Reads
    needs: Sequence[bool]
    rows: list[list[Tensor | None]]

    def result(self) -> list[Tensor | None]:
        """Return the gradients in the order of :meth:`Reads.tensors`, ``None`` where none is needed."""
        parameters, samples, times, driven, initial = self.rows
        rounded = [None if g is None else g.to(t.dtype) for g, t in zip(parameters, self.reads.exact, strict=True)]
        # the last row of a waveform also holds after the last step
        shorter = [None if g is None else torch.cat((g[:-2], g[-2:].sum(0, keepdim=True))) for g in driven]
        found = [*rounded, *samples, *times, *shorter, *initial]
        return [g if need else None for g, need in zip(found, self.needs, strict=True)]


def room(frame: Frame, loop: Compiled, reads: Reads, needs: Sequence[bool], steps: int) -> Room:
    """Return room for gradients and have the kernel write to it; ``needs`` is in the order of :meth:`Reads.tensors`."""
    needed = reads.split(needs)
    shapes = [[t.shape for t in group] for group in (reads.exact, reads.samples, reads.times)]
    shapes.append([torch.Size((steps + 1, *t.shape[1:])) for t in reads.driven])
    rows: list[list[Tensor | None]] = []
    for kind, group, need in zip(("parameter", "sample", "time", "driven"), shapes, needed[:-1], strict=True):
        written = loop.written.get(f"{kind}_gradients", frozenset())
        dtype = torch.float64 if kind == "parameter" else reads.initial[0].dtype
        found = [n or k in written for k, n in enumerate(need)]
        rows.append([torch.zeros(s, dtype=dtype) if f else None for s, f in zip(group, found, strict=True)])
        frame.point(f"{kind}_gradients", rows[-1])
    rows.append([torch.zeros_like(t) if n else None for t, n in zip(reads.initial, needed[-1], strict=True)])
    frame.point("initial_gradients", rows[-1])
    return Room(reads, needs, rows)


class Trajectories(torch.autograd.Function):
    """States over time: ``lanes[k]`` of block ``k``, and all states at the end."""

    @staticmethod
    def forward(
        ctx: Any, loop: Compiled, reads: Reads, batch: int, steps: int, lanes: Sequence[Tensor | None], *tensors: Tensor
    ) -> Any:
        """Return a trajectory ``(steps + 1, batch, lanes)`` a block that has lanes, then the final states."""
        frame = Frame(loop, reads, batch, steps, lanes)
        like = reads.initial[0]
        rows = [None if x is None else like.new_empty(steps + 1, batch, x.numel()) for x in lanes]
        ends = [like.new_empty(batch, n) for n in loop.state_lanes]
        frame.point("trajectories", rows)
        frame.point("finals", ends)
        loop.forward(frame.arguments)
        ctx.call = loop, reads, batch, steps, lanes
        return (*(r for r in rows if r is not None), *ends)

    @staticmethod
    def backward(ctx: Any, *seeds: Tensor) -> Any:
        """Return gradients of the reads."""
        loop, reads, batch, steps, lanes = ctx.call
        frame = Frame(loop, reads, batch, steps, lanes)
        given = iter(s.contiguous() for s in seeds)
        frame.point("trajectory_seeds", [None if x is None else next(given) for x in lanes])
        frame.point("final_seeds", list(given))
        made = room(frame, loop, reads, ctx.needs_input_grad[5:], steps)
        loop.backward(frame.arguments)
        return (None, None, None, None, None, *made.result())


def scored(loop: Compiled, reads: Reads, batch: int, steps: int, logit_scale: float) -> tuple[Tensor, list[Tensor]]:
    """Return the mean log-probabilities ``(batch, classes)`` and all states at the end, without gradients."""
    frame = Frame(loop, reads, batch, steps, [None] * len(loop.state_lanes))
    found = torch.empty(batch, loop.classes, dtype=torch.float64)
    ends = [reads.initial[0].new_empty(batch, n) for n in loop.state_lanes]
    frame.set("log_probabilities", found)
    frame.point("finals", ends)
    frame.arguments.logit_scale = logit_scale
    loop.forward(frame.arguments)
    return found, ends


class Loss(torch.autograd.Function):
    """Mean over batch and steps of the negative log-likelihood; gradients are found in the same pass."""

    @staticmethod
    def forward(
        ctx: Any,
        loop: Compiled,
        reads: Reads,
        labels: Tensor,
        steps: int,
        logit_scale: float,
        smoothing: float,
        needs: Sequence[bool],
        *tensors: Tensor,
    ) -> Any:
        """Return the loss and the mean log-probabilities ``(batch, classes)``, both float64.

        ``needs`` says which of ``reads.tensors()`` gradients are asked of; ``tensors`` are those.
        """
        batch = labels.numel()
        frame = Frame(loop, reads, batch, steps, [None] * len(loop.state_lanes))
        found = torch.empty(batch, loop.classes, dtype=torch.float64)
        frame.set("log_probabilities", found)
        frame.arguments.logit_scale = logit_scale
        if tensors:
            frame.set("labels", labels)
            frame.arguments.weight, frame.arguments.smoothing = 1.0 / (batch * steps), smoothing
            made = room(frame, loop, reads, needs, steps)
            loop.backward(frame.arguments)
            ctx.made = [g for g, need in zip(made.result(), needs, strict=True) if need]
        else:
            loop.forward(frame.arguments)
        loss = smoothed(found, labels, smoothing)
        ctx.mark_non_differentiable(found)
        return loss, found

    @staticmethod
    def backward(ctx: Any, seed: Tensor, _: Tensor) -> Any:
        """Scale the gradients by what the loss counts for."""
        return (*(None,) * 7, *(None if g is None else g * seed.to(g.dtype) for g in ctx.made))
