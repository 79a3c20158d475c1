"""How near a run is to what the processor can do for the same arithmetic.

The floor of a training step is its flops at the measured peak rate of multiply-adds (two flops each) plus its
exponentials at the measured rate of a polynomial such as fused kernels use, one thread.  Not in the floor: loads and
stores, what checkpointing runs twice, and that a lone addition or a division costs more than half a multiply-add.
"""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from netc.bench.count import Cost, training_cost
from netc.bench.problem import Task
from netc.bench.registry import Unavailable
from netc.kernels.library import FLAGS, compiler

_SOURCE = Path(__file__).parent / "templates" / "peaks.cpp.j2"
_CHAINS = 12
_ROUNDS = 3_000_000
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Peaks:
    """Measured rates of one thread, per second."""

    flops: float
    exponentials: float


@dataclass(frozen=True, slots=True)
class Roofline:
    """Peaks of the processor, the cost of a training step, and its floor."""

    peaks: Peaks
    cost: Cost
    flops_per_step: float
    exponentials_per_step: float
    floor_ms: float

    def percent(self, cpu_ms: float) -> float:
        """Return how much of the floor's rate a measured step reaches."""
        return 100.0 * self.floor_ms / cpu_ms


def roofline(task: Task) -> Roofline:
    """Count and measure.

    Raises:
        Unavailable: there is no C++ compiler.
    """
    peaks, cost = measure_peaks(), training_cost(task.compilation().program)
    runs = task.batch * task.steps
    # of the inputs with the first crossbar, and its adjoint: once
    product = 4.0 * task.batch * task.layers[0] * task.layers[1] if task.layers else 0.0
    flops, exponentials = cost.flops * runs + product, cost.exponentials * runs
    floor = 1e3 * (flops / peaks.flops + exponentials / peaks.exponentials)
    return Roofline(peaks, cost, flops, exponentials, floor)


def measure_peaks() -> Peaks:
    """Return the best of a few tries, so that what else runs on the machine counts little.

    Raises:
        Unavailable: there is no C++ compiler, or it failed.
    """
    program = compiler()
    if program is None:
        raise Unavailable("no C++ compiler")
    with tempfile.TemporaryDirectory() as folder:
        target = str(Path(folder) / "peaks.so")
        command = [program, *FLAGS, "-x", "c++", str(_SOURCE), "-o", target]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode != 0:
            raise Unavailable(f"{Path(program).name} failed: {done.stderr.strip()[:200]}")
        library = ctypes.CDLL(target)
    for function, arguments in (("multiply_add", [ctypes.c_float] * 2), ("exponentials", [])):
        getattr(library, function).argtypes = [ctypes.c_long, *arguments]
        getattr(library, function).restype = ctypes.c_float
    values = library.lanes() * _CHAINS
    adds = _rate(lambda rounds: library.multiply_add(rounds, 0.999, 0.001))
    exponentials = _rate(lambda rounds: library.exponentials(rounds))
    return Peaks(2.0 * values * adds, values * exponentials)


def _rate(work: Callable[[int], object]) -> float:
    """Return rounds per second of processor time."""
    best = 0.0
    for _ in range(_TRIES):
        start = time.process_time()
        work(_ROUNDS)
        best = max(best, _ROUNDS / (time.process_time() - start))
    return best
