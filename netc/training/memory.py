"""How much memory one update takes, and whether backpropagation must recompute instead of keep."""

from __future__ import annotations

import math
import os
from pathlib import Path

import torch
from torch import Tensor

from netc.diagnostics import NetcError
from netc.training.contract import CircuitModule
from netc.training.inputs import stretch
from netc.training.unroll import mean_log_probabilities

_PROBE_SAMPLES = 8
_PROBE_STEPS = (10, 20)  # whole blocks of compiled modules


def kept_bytes(module: CircuitModule, amplitudes: Tensor, steps: int, dt: float) -> int:
    """Return the bytes autograd keeps between the forward and the backward pass of one batch, as measured."""
    sizes: dict[int, int] = {}
    alive: list[Tensor] = []  # storage addresses are only unique as long as nothing is freed

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        mean_log_probabilities(module, stretch(amplitudes, 0, steps), steps=steps, dt=dt, logit_scale=1.0)
    return sum(sizes.values())


def bytes_per_step(module: CircuitModule, amplitudes: Tensor, batch: int, dt: float) -> float:
    """Return what one time step adds for a batch of ``batch`` samples.

    Measured on a few samples and steps; what is kept grows linearly in both.
    """
    probe = amplitudes[..., :_PROBE_SAMPLES, :]
    few, more = (kept_bytes(module, probe, steps, dt) for steps in _PROBE_STEPS)
    per_step = (more - few) / (_PROBE_STEPS[1] - _PROBE_STEPS[0])
    return max(0.0, per_step) * batch / probe.shape[-2]


def available_bytes(device: torch.device) -> int | None:
    """Return free memory in bytes, ``None`` where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    candidates = []
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            candidates.append(int(line.split()[1]) * 1024)
    limit, used = _lines("/sys/fs/cgroup/memory.max"), _lines("/sys/fs/cgroup/memory.current")
    if limit and used and limit[0].isdigit() and used[0].isdigit():
        candidates.append(int(limit[0]) - int(used[0]))
    if not candidates and "SC_AVPHYS_PAGES" in os.sysconf_names:
        candidates.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(candidates, default=None)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def choose_chunk(steps: int, per_step: float, available: int | None) -> int:
    """Return the number of time steps to keep at once; 0 keeps all.

    All steps are kept where they fit into half of the free memory, else about the square root of their
    number, which makes the stretches and the states between them take about the same.

    Raises:
        NetcError: not even that fits.
    """
    if available is None or steps * per_step <= available / 2:
        return 0
    chunk = math.isqrt(steps - 1) + 1
    if chunk * per_step > available / 2:
        raise NetcError(
            f"one update needs {megabytes(chunk * per_step)}, but only {megabytes(available)} are free",
            hint="pass a smaller --batch, or fewer --steps",
        )
    return chunk


def megabytes(size: float) -> str:
    """Return a size for people."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
