"""Write a :class:`~netc.generate.design.Design` as a self-contained deck that ngspice runs as it stands.

Names: crossbars count from 1, so do lines and neurons.  ``w1_12`` is word line 12 of crossbar 1, ``b1_3p`` and
``b1_3m`` its bit lines for neuron 3, ``m1_3`` that neuron's membrane, ``r1_12_3p`` the synapse between them; more in
:mod:`netc.generate.crossbar`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path

import numpy as np

from netc.diagnostics import NetcError
from netc.generate.cards import engineering
from netc.generate.crossbar import bit_lines, cells, selector_model, word_lines
from netc.generate.design import Design

_STAGE_RESISTANCE = 10e3  # ohm, of both stages of the alpha filter; only the product with the capacitance matters


def generate(
    layers: Sequence[int] = (784, 100, 10),
    *,
    passive: bool = False,
    seed: int = 0,
    init_scale: float = 2.0,
    ron: float | None = None,
    roff: float | None = None,
    read_voltage: float | None = None,
    attenuation: Sequence[float] | None = None,
    input_current: float = 7e-6,
    transconductance: float = 1e-3,
    membrane_capacitance: float = 100e-9,
    line_capacitance: float = 0.0,
    line_resistance: float = 0.0,
    source_resistance: float | None = None,
    sense_resistance: float | None = None,
    wire_resistance: float = 0.0,
    crossing_capacitance: float = 0.0,
    selector: str = "none",
    gate_voltage: float = 3.3,
    neurons: bool = True,
    buffers: str = "linear",
    readout: str = "neurons",
    readout_resistance: float = 1e3,
    readout_capacitance: float = 3e-6,
    drive: str = "alpha",
    alpha_time: float = 0.64e-3,
    pulse_width: float = 0.1e-3,
    pulse_period: float = 1e-3,
    step: float = 10e-6,
    steps: int = 1000,
    neuron: Mapping[str, float] | None = None,
) -> str:
    """Return the text of a network's deck, directives included; the same arguments give the same text.

    The arguments are the attributes of :class:`~netc.generate.design.Design`, where units and defaults are.

    Raises:
        NetcError: for values that make no network, all of them at once.
    """
    design = Design(
        layers=tuple(layers),
        passive=passive,
        seed=seed,
        init_scale=init_scale,
        ron=ron,
        roff=roff,
        read_voltage=read_voltage,
        attenuation=None if attenuation is None else tuple(attenuation),
        input_current=input_current,
        transconductance=transconductance,
        membrane_capacitance=membrane_capacitance,
        line_capacitance=line_capacitance,
        line_resistance=line_resistance,
        source_resistance=source_resistance,
        sense_resistance=sense_resistance,
        wire_resistance=wire_resistance,
        crossing_capacitance=crossing_capacitance,
        selector=selector,
        gate_voltage=gate_voltage,
        neurons=neurons,
        buffers=buffers,
        readout=readout,
        readout_resistance=readout_resistance,
        readout_capacitance=readout_capacitance,
        drive=drive,
        alpha_time=alpha_time,
        pulse_width=pulse_width,
        pulse_period=pulse_period,
        step=step,
        steps=steps,
        neuron=dict(neuron or {}),
    )
    return deck(design)


def write(path: str | Path, text: str) -> Path:
    """Write a deck to ``path``, making its folder; return the path.

    Raises:
        NetcError: if it cannot be written.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise NetcError(f"cannot write {target}: {error.strerror or error}") from error
    return target


def deck(design: Design) -> str:
    """Return the deck of a design; see :func:`generate`."""
    design.check()
    lines = [*_header(design), "", *(_subcircuits() if design.neurons else ()), *selector_model(design), ""]
    lines += _alpha(design) if design.drive == "alpha" else ()
    generator = np.random.default_rng(design.seed)
    for crossbar in range(design.crossbars):
        lines += ["", *word_lines(design, crossbar), *cells(design, crossbar, generator)]
        lines += bit_lines(design, crossbar)
        if design.neurons:
            lines += _neurons(design, crossbar)
    lines += ["", *_directives(design), _tran(design), ".end", ""]
    return "\n".join(lines)


def _header(design: Design) -> list[str]:
    sizes = "-".join(map(str, design.layers))
    form = "passive" if design.passive else "buffered"
    lines = [
        f"{'Fully memristive spiking network' if design.neurons else 'Memristive crossbars'} {sizes}, {form}",
        f'* Written by netc generate, seed {design.seed}.  Source: "Gradient-based Neuromorphic Learning on Dynamical',
        '* RRAM Arrays" (MEMprop), 2022, Fig. 3 and Tables I to III.',
        "*",
        f"* Word lines w<crossbar>_<line>, {'membranes' if design.neurons else 'outputs'} m<crossbar>_<neuron>,"
        " synapses r<crossbar>_<line>_<neuron>.",
    ]
    if design.passive:
        lines += [
            "* A synapse joins a word line or membrane to the next membrane: I_j = sum_i G_ij (V_i - V_j).",
            f"* A full input is a word line at {engineering(design.amplitude)}V{_when(design)}.",
        ]
    else:
        lines += [
            "* A synapse is a pair of devices, to the plus bit line b.._..p and the minus bit line b.._..m; with",
            "* G = 1/R and D = 1/Ron - 1/Roff the weight is w = (G+ - G-) / D, within +-1.  Mirrors with gain s:",
            "*   I_j = s D sum_i w_ij V_i",
        ]
    if design.wire_resistance:
        lines.append(
            f"* Wires: {engineering(design.wire_resistance)} ohm from crossing to crossing, nodes"
            " w<crossbar>_<line>_<column> and b<crossbar>_<line>_<column>."
        )
    for crossbar in range(design.crossbars):
        lines.append(f"* Crossbar {crossbar + 1}: " + _arithmetic(design, crossbar))
    return lines


def _arithmetic(design: Design, crossbar: int) -> str:
    ron, roff = design.resistances(crossbar)
    bounds = f"Ron = {engineering(ron)}, Roff = {engineering(roff)} ohm"
    if design.passive:
        total = design.layers[crossbar] * (1 / ron + 1 / roff) / 2
        return f"{bounds}; the synapses of a membrane add up to about {engineering(total)}S."
    full, gain = 1 / ron - 1 / roff, design.gain(crossbar)
    s = f"s = {engineering(gain)}"
    if crossbar == 0:
        volts = design.amplitude
        current = engineering(gain * full * volts)
        peak = "the alpha peak of " if design.drive == "alpha" else ""
        return f"{bounds}, {s}; w = +1 at {peak}{engineering(volts)}V: s D V = {current}A."
    return f"{bounds}, {s}; w = +1: s D = {engineering(gain * full)}S from membrane to membrane."


def _when(design: Design) -> str:
    return " at the peak of one alpha pulse" if design.drive == "alpha" else ""


def _subcircuits() -> Iterator[str]:
    folder = resources.files("netc.models")
    yield "* the neuron: models/mif_memristor.lib and models/mif_neuron.lib, where equations and sources are"
    for name in ("mif_memristor.lib", "mif_neuron.lib"):
        for line in (folder / name).read_text(encoding="utf-8").splitlines():
            if line.strip() and not line.startswith("*") and not line.lower().startswith(".include"):
                yield line


def _alpha(design: Design) -> Iterator[str]:
    capacitance = engineering(design.alpha_time / _STAGE_RESISTANCE)
    resistance = engineering(_STAGE_RESISTANCE)
    # edges end on a step, so that an explicit step sees what ngspice integrates, and are so short that their own area
    # does not count: else a shift would remain that no smaller step removes
    edge = design.step / 10_000
    pulse = (design.step - edge, edge, edge, design.pulse_width - edge, design.pulse_period)
    # a unit pulse of width T through both stages peaks at T / (e tau)
    gain = design.amplitude * math.e * design.alpha_time / design.pulse_width
    yield "* alpha waveform, shared by all inputs: a pulse through two stages, with a buffer so that they are separate;"
    yield f"* e tau / width normalises the peak of one pulse to {engineering(design.amplitude)}V"
    yield f"valpha pulse 0 PULSE(0 1 {' '.join(map(engineering, pulse))})"
    yield f"ralpha1 pulse a1 {resistance}"
    yield f"calpha1 a1 0 {capacitance} IC=0"
    yield "ebuf a1b 0 a1 0 1"
    yield f"ralpha2 a1b a2 {resistance}"
    yield f"calpha2 a2 0 {capacitance} IC=0"
    yield f"ealpha alpha 0 a2 0 {engineering(gain)}"


def _neurons(design: Design, crossbar: int) -> Iterator[str]:
    number = crossbar + 1
    if design.readout == "integrators" and number == design.crossbars:
        resistance, capacitance = engineering(design.readout_resistance), engineering(design.readout_capacitance)
        yield f"* crossbar {number}: integrators, which forget after R C"
        for j in range(1, design.layers[number] + 1):
            yield f"cm{number}_{j} m{number}_{j} 0 {capacitance} IC=0"
            yield f"rm{number}_{j} m{number}_{j} 0 {resistance}"
        return
    parameters = "".join(f" {name}={engineering(value)}" for name, value in design.neuron.items())
    yield f"* crossbar {number}: neurons"
    for j in range(1, design.layers[number] + 1):
        yield f"xn{number}_{j} m{number}_{j} mif_neuron Cmem={engineering(design.membrane_capacitance)}{parameters}"


def _directives(design: Design) -> Iterator[str]:
    yield "*.netc input ein*" if design.drive == "alpha" else "*.netc input vin* mode=waveform"
    yield f"*.netc output m{design.crossbars}_*"
    for crossbar in range(design.crossbars):
        ron, roff = map(engineering, design.resistances(crossbar))
        yield f"*.netc train r{crossbar + 1}_* min={ron} max={roff}"


def _tran(design: Design) -> str:
    return f".tran {engineering(design.step)} {engineering(design.step * design.steps)} uic"
