"""Circuits unlike the layered network: no equations are written by hand, every variant starts from the deck.

Each has a deck made here, the step it is stable at, and outputs that the loss reads as classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from netc.bench.problem import Task, check_sizes, compiled, draw_samples
from netc.generate import generate, write
from netc.runtime.load import instantiate

LAYERED = "network"
"""The name of the layered network; see :func:`netc.bench.problem.make_problem`."""

_SECTIONS = 200
_TAPS = 10
_LINES = 64


@dataclass(frozen=True, slots=True)
class Circuit:
    """A circuit, its usual size, and how to write its deck.

    Attributes:
        title: what it is.
        write: makes the deck's text from layer sizes, steps and ``dt``.
        dt: seconds, at which explicit Euler is stable.
        batch: samples, by default.
        steps: time steps, by default; as many as PyTorch keeps trajectories of in a few gigabytes.
        logit_scale: multiplies output voltages before the softmax, 1/V.
        layers: default sizes of a layered circuit.
    """

    title: str
    write: Callable[[tuple[int, ...], int, float], str]
    dt: float
    batch: int
    steps: int
    logit_scale: float
    layers: tuple[int, ...] = ()


def make_task(
    name: str,
    folder: Path,
    *,
    layers: tuple[int, ...] | None = None,
    batch: int | None = None,
    steps: int | None = None,
    threads: int = 1,
    seed: int = 0,
    disable: tuple[str, ...] = (),
) -> Task:
    """Write and compile the deck of the circuit ``name`` of :data:`CIRCUITS` in ``folder`` and draw inputs.

    Args:
        name: of the circuit.
        folder: where the deck is written.
        layers: sizes of a layered circuit; the circuit's own when ``None``, as ``batch`` and ``steps``.
        batch: samples.
        steps: time steps.
        threads: CPU threads.
        seed: of inputs and labels.
        disable: names of passes to leave out.

    Raises:
        NetcError: for sizes that make no circuit.
    """
    circuit = CIRCUITS[name]
    batch = circuit.batch if batch is None else batch
    steps = circuit.steps if steps is None else steps
    sizes = circuit.layers if layers is None else layers
    check_sizes(batch, steps, threads)
    path = write(folder / f"{name}.cir", circuit.write(sizes, steps, circuit.dt))
    compilation = compiled(path, disable)
    module: Any = instantiate(compilation.source)
    amplitudes, labels = draw_samples(batch, module.FEATURES, len(module.OUTPUTS), seed)
    return Task(
        title=f"{name} {'-'.join(map(str, sizes))}".strip(),
        layers=sizes,
        batch=batch,
        steps=steps,
        threads=threads,
        dt=circuit.dt,
        logit_scale=circuit.logit_scale,
        deck=path,
        source=compilation.source,
        amplitudes=amplitudes,
        labels=labels,
        seed=seed,
        disable=disable,
        compiled=compilation,
    )


def _passive(layers: tuple[int, ...], steps: int, dt: float) -> str:
    """Return the passive network of MEMprop's Fig. 3: I_j = sum_i G_ij (V_i - V_j), so that layers load each other."""
    return generate(layers, passive=True, steps=steps, step=dt)


def _ladder(layers: tuple[int, ...], steps: int, dt: float) -> str:
    """Return a line of RLC sections, current sources along it, a tap some sections after each.

    A section has natural frequency 10 krad/s and damping 0.1; explicit Euler is stable below R C / 4 = 5 us.
    """
    return "\n".join([f"RLC ladder of {_SECTIONS} sections", *_ladder_lines(steps, dt)]) + "\n"


def _ladder_lines(steps: int, dt: float) -> Iterator[str]:
    spacing = _SECTIONS // _TAPS
    yield "v0 n0 0 0"
    for k in range(1, _SECTIONS + 1):
        yield f"r{k} n{k - 1} a{k} 20"
        yield f"l{k} a{k} n{k} 10m IC=0"
        yield f"c{k} n{k} 0 1u IC=0"
    yield f"rload n{_SECTIONS} 0 50"
    # pulses begin and end between steps, so that every step sees them whole
    pulse = f"PULSE(0 10m {4.5 * dt:g} {dt / 1e3:g} {dt / 1e3:g} {100 * dt:g} {500 * dt:g})"
    for k in range(_TAPS):
        yield f"i{k + 1} 0 n{k * spacing + 10} {pulse}"
    yield "*.netc input i*"
    yield "*.netc output " + " ".join(f"n{k * spacing + 15}" for k in range(_TAPS))
    yield "*.netc train r* min=5 max=80"
    yield f".tran {dt:g} {steps * dt:g} 0 {dt:g} uic"
    yield ".end"


def _crossbar(layers: tuple[int, ...], steps: int, dt: float) -> str:
    """Return a crossbar of Knowm devices driven beyond their thresholds, drivers and capacitance on every line.

    Source: T. W. Molter and M. A. Nugent, "The Generalized Metastable Switch Memristor Model", CNNA 2016.
    """
    return "\n".join([f"{_LINES} x {_LINES} crossbar of M-MSS memristors", *_crossbar_lines(steps, dt)]) + "\n"


def _crossbar_lines(steps: int, dt: float) -> Iterator[str]:
    library = (resources.files("netc.models") / "knowm_mss.lib").read_text(encoding="utf-8")
    yield from (line for line in library.splitlines() if line.strip() and not line.startswith("*"))
    start = np.random.default_rng(0).uniform(0.2, 0.8, (_LINES, _LINES))
    for i in range(1, _LINES + 1):
        yield f"v{i} d{i} 0 SIN(0 1 2k)"
        yield f"rd{i} d{i} w{i} 5"
        yield f"cw{i} w{i} 0 1u IC=0"
        for j in range(1, _LINES + 1):
            yield f"x{i}_{j} w{i} b{j} knowm_mss x0={start[i - 1, j - 1]:.4f}"
        yield f"cb{i} b{i} 0 1u IC=0"
        yield f"rs{i} b{i} 0 10"
    yield "*.netc input v*"
    yield "*.netc output b*"
    yield "*.netc train rd* rs* min=1 max=50"
    yield "*.netc train knowm_mss.ron min=100 max=1000"
    yield "*.netc train knowm_mss.roff min=1200 max=5000"
    yield f".tran {dt:g} {steps * dt:g} 0 {dt:g} uic"
    yield ".end"


def _cells(layers: tuple[int, ...], steps: int, dt: float) -> str:
    """Return a network with a transistor in series with each synapse: Newton's method finds a node of each cell."""
    return generate(layers, selector="1t1r", steps=steps, step=dt)


CIRCUITS: dict[str, Circuit] = {
    "fig3-passive": Circuit(
        "the passive network of Fig. 3, every membrane loaded by the layers beside it",
        _passive,
        dt=10e-6,
        batch=128,
        steps=1000,
        logit_scale=40.0,
        layers=(784, 100, 10),
    ),
    "rlc-ladder": Circuit(
        f"a line of {_SECTIONS} RLC sections", _ladder, dt=2e-6, batch=128, steps=1000, logit_scale=4.0
    ),
    "mss-crossbar": Circuit(
        f"a {_LINES} x {_LINES} crossbar of Knowm M-MSS memristors whose states move",
        _crossbar,
        dt=1e-6,
        batch=16,
        steps=500,
        logit_scale=40.0,
    ),
    "1t1r": Circuit(
        "a network whose synapses are in series with transistors, a node of each cell found by Newton's method",
        _cells,
        dt=10e-6,
        batch=16,
        steps=200,
        logit_scale=40.0,
        layers=(6, 4, 3),
    ),
}
