"""A fused kernel in the place of the emitted module, and whether there is to be one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from netc.diagnostics import NetcError
from netc.ir.program import Program
from netc.kernels import library
from netc.kernels.kernel import Kernel, build

BACKENDS = ("auto", "torch", "cpp")
"""A kernel where there can be one, the emitted module, or a kernel and nothing else."""


def kernel_for(
    backend: str,
    program: Program,
    dtype: torch.dtype,
    *,
    notify: library.Notify,
    loss: bool = False,
    device: str = "cpu",
    disable: Collection[str] = (),
) -> Kernel | None:
    """Return the kernel ``backend`` asks for; ``None`` where the emitted module is to run, after a notice for ``auto``.

    Args:
        backend: one of :data:`BACKENDS`.
        program: without algebraic blocks.
        dtype: float32 or float64.
        notify: takes the notice.
        loss: whether the kernel has to compute the loss.
        device: where the module would run.
        disable: names of :data:`~netc.kernels.passes.PASSES` to leave out.

    Raises:
        NetcError: for ``cpp`` where there can be no kernel.
    """
    if backend == "torch":
        return None
    told: list[str] = []
    if torch.device(device).type != "cpu":
        told = ["a kernel runs on the CPU only"] if backend == "cpp" else []
    else:
        kernel = build(program, dtype, notify=told.append, disable=disable)
        if kernel is not None and (kernel.has_loss or not loss):
            return kernel
        if kernel is not None:
            told.append("no fused kernel for this circuit: its outputs do not depend on its inputs")
    if backend == "cpp":
        reason = told[0].partition("; PyTorch runs")[0] if told else "this circuit cannot have one"
        raise NetcError(f"there is no fused kernel: {reason}", hint="use --backend auto or torch")
    for line in told:
        notify(line)
    return None


class KernelCircuit:
    """Called like the emitted module, without gradients: runs a kernel with the module's values."""

    def __init__(self, module: Any, kernel: Kernel) -> None:
        self.NODES: tuple[str, ...] = module.NODES
        self.STATES: Any = module.STATES
        self.ITERATED: tuple[str, ...] = getattr(module, "ITERATED", ())
        self.precision: Any = module.precision
        self._module = module
        self._kernel = kernel

    def __call__(
        self,
        steps: int,
        dt: float,
        inputs: Any = None,
        *,
        observe: Sequence[str] | None = None,
        state: Sequence[Tensor] | None = None,
        first_step: int = 0,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return signals ``(steps + 1, batch, len(observe))`` and the state at the end."""
        with torch.no_grad():
            return self._kernel.run(
                self._module, steps, dt, inputs, observe=observe, state=state, first_step=first_step
            )
