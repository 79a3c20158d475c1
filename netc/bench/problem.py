"""What all variants compute: the same circuit, inputs and labels; of the layered network also its equations.

Source: MEMprop (P. Zhou et al., arXiv 2206.12992), Fig. 3, Tables I to III: layers of memristive integrate-and-fire
neurons between crossbars, loss from the output membranes at every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from netc.compiler import Compilation, compile_deck
from netc.diagnostics import Diagnostics
from netc.generate import Design, write
from netc.generate.network import deck
from netc.optimise import OPTIONAL
from netc.runtime.load import instantiate

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Neuron:
    """A MIF neuron in SI units, as variants that are not compiled from the deck need it; the deck is given the same."""

    capacitance: float = 100e-9
    reset: float = 0.0
    rest: float = 50e-3
    ron: float = 1e3
    roff: float = 100e3
    von: float = 110e-3
    voff: float = 5e-3
    thermal: float = 25e-3
    tau: float = 1e-3
    volatility: float = 0.6

    def of_the_deck(self) -> dict[str, float]:
        """Return the values by the names of ``models/mif_neuron.lib``."""
        return {
            "Ereset": self.reset,
            "Erest": self.rest,
            "Ron": self.ron,
            "Roff": self.roff,
            "Von": self.von,
            "Voff": self.voff,
            "VT": self.thermal,
            "tau": self.tau,
            "k": self.volatility,
        }


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Task:
    """One training step of one circuit.

    Attributes:
        title: the circuit and its size.
        layers: neurons per layer, inputs first; none of a circuit that is no layered network.
        batch: samples.
        steps: time steps.
        threads: CPU threads.
        dt: time step in seconds.
        logit_scale: multiplies output voltages before the softmax, 1/V.
        deck: the generated netlist.
        source: the emitted PyTorch module.
        amplitudes: ``(batch, features)`` in [0, 1].
        labels: ``(batch,)``.
        seed: what they were drawn from.
        disable: names of passes left out of programs and kernels, see :mod:`netc.optimise` and :mod:`netc.kernels`.
        compiled: the deck compiled already; left behind when a task goes to another process.
    """

    title: str
    layers: tuple[int, ...]
    batch: int
    steps: int
    threads: int
    dt: float
    logit_scale: float
    deck: Path
    source: str
    amplitudes: Array
    labels: NDArray[np.int64]
    seed: int = 0
    disable: tuple[str, ...] = ()
    compiled: Compilation | None = None

    def compilation(self) -> Compilation:
        """Return the compiled deck."""
        return self.compiled or compiled(self.deck, self.disable)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Problem(Task):
    """One training step of the layered network, with all that variants which are not compiled from the deck need.

    Attributes:
        neuron: of all layers.
        weights: a matrix a crossbar, ``(inputs, neurons)``, siemens; signed.
        slopes: siemens of weight per unit of trained position, by crossbar.
        wave: ``(steps + 1,)`` volts, the waveform common to all inputs.
    """

    neuron: Neuron
    weights: tuple[Array, ...]
    slopes: tuple[float, ...]
    wave: Array


def compiled(deck: Path, disable: Sequence[str]) -> Compilation:
    """Return the compiled deck, passes of programs named in ``disable`` left out; those of kernels are passed over."""
    return compile_deck(deck, disable=[name for name in disable if name in OPTIONAL])


def check_sizes(batch: int, steps: int, threads: int) -> None:
    """Refuse sizes below 1.

    Raises:
        NetcError: with one line for each.
    """
    found = Diagnostics()
    for name, value in (("batch", batch), ("steps", steps), ("threads", threads)):
        if value < 1:
            found.error(f"--{name} must be at least 1, not {value}")
    found.raise_if_failed()


def draw_samples(batch: int, features: int, classes: int, seed: int) -> tuple[Array, NDArray[np.int64]]:
    """Return amplitudes ``(batch, features)`` in [0, 1], a quarter of them not 0, and labels ``(batch,)``."""
    generator = np.random.default_rng(seed)
    drawn = generator.random((batch, features)) * (generator.random((batch, features)) < 0.25)
    return drawn.astype(np.float32), generator.integers(0, classes, batch)


def make_problem(
    folder: Path,
    *,
    layers: tuple[int, ...] = (784, 100, 10),
    batch: int = 128,
    steps: int = 1000,
    threads: int = 1,
    seed: int = 0,
    disable: tuple[str, ...] = (),
) -> Problem:
    """Generate and compile the deck of the layered network in ``folder`` and draw inputs.

    Raises:
        NetcError: for sizes that make no network.
    """
    check_sizes(batch, steps, threads)
    neuron = Neuron()
    design = Design(
        layers=layers, seed=seed, membrane_capacitance=neuron.capacitance, steps=steps, neuron=neuron.of_the_deck()
    )
    path = write(folder / "network.cir", deck(design))
    compilation = compiled(path, disable)
    source = compilation.source
    module: Any = instantiate(source)
    values = module.values()
    trained = [b for b in compilation.program.parameters if b.trained is not None]
    weights, slopes = [], []
    for crossbar, block in enumerate(trained):
        pairs = (1.0 / values[block.name].detach().double()).reshape(layers[crossbar], layers[crossbar + 1], 2)
        weights.append((design.gain(crossbar) * (pairs[..., 0] - pairs[..., 1])).to(torch.float32).numpy())
        ron, roff = design.resistances(crossbar)
        slopes.append(design.gain(crossbar) * (1 / ron - 1 / roff))
    amplitudes, labels = draw_samples(batch, layers[0], layers[-1], seed)
    return Problem(
        title="-".join(map(str, layers)),
        layers=layers,
        batch=batch,
        steps=steps,
        threads=threads,
        dt=design.step,
        logit_scale=40.0,
        neuron=neuron,
        deck=path,
        source=source,
        weights=tuple(weights),
        slopes=tuple(slopes),
        amplitudes=amplitudes,
        labels=labels,
        seed=seed,
        disable=disable,
        wave=_waveform(module, steps, design.step),
        compiled=compilation,
    )


def resized(task: Task, batch: int, steps: int) -> Task:
    """Return the same circuit with other samples and another number of time steps."""
    module: Any = instantiate(task.source)
    amplitudes, labels = draw_samples(batch, module.FEATURES, len(module.OUTPUTS), task.seed)
    changed = replace(task, batch=batch, steps=steps, amplitudes=amplitudes, labels=labels)
    if isinstance(changed, Problem):
        return replace(changed, wave=_waveform(module, steps, task.dt))
    return changed


def _waveform(module: Any, steps: int, dt: float) -> Array:
    """Return the waveform common to all inputs, ``(steps + 1,)`` volts."""
    with torch.no_grad():
        wave: Array = module(steps, dt, observe=("alpha",))[0][:, 0, 0].numpy()
    return wave
