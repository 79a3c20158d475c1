"""The yardstick: ``benchmarks/handwritten.cpp``, a kernel written by hand for networks with one hidden layer."""

from __future__ import annotations

import ctypes
import math
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch

from netc.bench.problem import Neuron, Problem
from netc.bench.registry import Outcome, Step, Unavailable
from netc.kernels.library import FLAGS, compiler

SOURCE = Path(__file__).resolve().parents[3] / "benchmarks" / "handwritten.cpp"
_ALIGNMENT = 64  # bytes

_pointer, _float, _size = ctypes.c_void_p, ctypes.c_float, ctypes.c_ssize_t


class _Constants(ctypes.Structure):
    _fields_ = [
        (name, _float)
        for name in ("scale", "leak", "rest", "d", "e1", "e2", "b", "k", "vt", "on1", "off1", "on2", "off2")
    ]


class _Arguments(ctypes.Structure):
    _fields_ = [
        *((name, _size) for name in ("batch", "steps", "threads")),
        *((name, _pointer) for name in ("current", "wave", "coupling", "labels")),
        *((name, _Constants) for name in ("hidden", "output")),
        ("logit_scale", _float),
        *((name, _pointer) for name in ("current_gradient", "coupling_gradient", "scratch")),
        ("loss", ctypes.c_double),
    ]


def build(problem: Problem) -> Step:
    """Return the step, compiled by one call of the C++ compiler."""
    if len(problem.layers) != 3:
        raise Unavailable("written for networks with one hidden layer")
    if not SOURCE.is_file():
        raise Unavailable("benchmarks/handwritten.cpp comes with a checkout of netc, not with the package")
    _, hidden, classes = problem.layers
    library = _compiled(hidden, classes)
    library.scratch_bytes.restype, library.scratch_bytes.argtypes = _size, [_size]
    scratch = np.zeros(library.scratch_bytes(problem.steps) * problem.threads + _ALIGNMENT, dtype=np.uint8)
    scratch = scratch[-scratch.ctypes.data % _ALIGNMENT :]
    constants = _constants(problem.neuron, problem.dt)
    rate = problem.dt / problem.neuron.capacitance
    inputs, first = torch.from_numpy(problem.amplitudes), torch.from_numpy(problem.weights[0])
    coupling = np.ascontiguousarray(problem.weights[1] * np.float32(rate))
    wave = np.ascontiguousarray(problem.wave)
    labels = np.ascontiguousarray(problem.labels)

    def step() -> Outcome:
        current = (inputs @ first).mul_(rate)
        toward = torch.empty_like(current)
        coupled = np.empty_like(coupling)
        arguments = _Arguments(
            problem.batch,
            problem.steps,
            problem.threads,
            current.data_ptr(),
            wave.ctypes.data,
            coupling.ctypes.data,
            labels.ctypes.data,
            constants,
            constants,
            problem.logit_scale,
            toward.data_ptr(),
            coupled.ctypes.data,
            scratch.ctypes.data,
        )
        library.train(ctypes.byref(arguments))
        found = (inputs.T @ toward.mul_(rate)).numpy(), coupled * np.float32(rate)
        return Outcome(arguments.loss, lambda: found)

    return step


def _constants(neuron: Neuron, dt: float) -> _Constants:
    off, on = dt / neuron.capacitance / neuron.roff, dt / neuron.capacitance / neuron.ron
    vt = neuron.thermal
    return _Constants(
        math.log2(math.e) / vt,
        1 - 2 * off,
        off * (neuron.reset + neuron.rest),
        on - off,
        neuron.reset,
        neuron.rest,
        dt / neuron.tau,
        neuron.volatility,
        vt,
        math.exp((neuron.reset + neuron.von) / vt),
        math.exp((neuron.reset + neuron.voff) / vt),
        math.exp((neuron.rest - neuron.von) / vt),
        math.exp((neuron.rest - neuron.voff) / vt),
    )


def _compiled(hidden: int, classes: int) -> ctypes.CDLL:
    program = compiler()
    if program is None:
        raise Unavailable("no C++ compiler")
    with tempfile.TemporaryDirectory() as folder:
        target = os.path.join(folder, "handwritten.so")
        sizes = (f"-DHIDDEN={hidden}", f"-DCLASSES={classes}")
        command = [program, *FLAGS, *sizes, "-o", target, str(SOURCE)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode != 0:
            raise Unavailable(f"{Path(program).name} failed: {done.stderr.strip()[:200]}")
        return ctypes.CDLL(target)
