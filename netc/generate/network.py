"""Write a :class:`~netc.generate.design.Design` as a self-contained deck that ngspice runs as it stands.

Names: crossbars count from 1, so do lines and neurons.  ``w1_12`` is word line 12 of crossbar 1, ``b1_3p`` and
``b1_3m`` its bit lines for neuron 3, ``m1_3`` that neuron's membrane, ``r1_12_3p`` the synapse between them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path

import numpy as np

from netc.diagnostics import NetcError
from netc.generate.design import Design

_SUFFIXES = {2: "meg", 1: "k", 0: "", -1: "m", -2: "u", -3: "n", -4: "p", -5: "f"}  # by power of 1000; M is milli
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
    lines = [*_header(design), "", *_subcircuits(), "", *_inputs(design)]
    generator = np.random.default_rng(design.seed)
    for crossbar in range(design.crossbars):
        lines += ["", *_word_lines(design, crossbar), *_synapses(design, crossbar, generator)]
        lines += [*_bit_lines(design, crossbar), *_neurons(design, crossbar)]
    lines += ["", *_directives(design), _tran(design), ".end", ""]
    return "\n".join(lines)


def engineering(value: float) -> str:
    """Return ``value`` with a SPICE suffix, to 7 digits: ``1e-7`` is ``100n``."""
    if value == 0 or not 1e-15 <= abs(value) < 1e9:
        return f"{value:.7g}"
    power = math.floor(math.log10(abs(value)) / 3 + 1e-12)
    digits = f"{value / 1000.0**power:.7g}"
    return digits + _SUFFIXES[power]


def _header(design: Design) -> list[str]:
    sizes = "-".join(map(str, design.layers))
    form = "passive" if design.passive else "buffered"
    lines = [
        f"Fully memristive spiking network {sizes}, {form}",
        f'* Written by netc generate, seed {design.seed}.  Source: "Gradient-based Neuromorphic Learning on Dynamical',
        '* RRAM Arrays" (MEMprop), 2022, Fig. 3 and Tables I to III.',
        "*",
        "* Word lines w<crossbar>_<line>, membranes m<crossbar>_<neuron>, synapses r<crossbar>_<line>_<neuron>.",
    ]
    if design.passive:
        lines += [
            "* A synapse joins a word line or membrane to the next membrane: I_j = sum_i G_ij (V_i - V_j).",
            f"* A full input is a word line at {engineering(design.amplitude)}V at the peak of one alpha pulse.",
        ]
    else:
        lines += [
            "* A synapse is a pair of devices, to the plus bit line b.._..p and the minus bit line b.._..m; with",
            "* G = 1/R and D = 1/Ron - 1/Roff the weight is w = (G+ - G-) / D, within +-1.  Mirrors with gain s:",
            "*   I_j = s D sum_i w_ij V_i",
        ]
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
        return f"{bounds}, {s}; w = +1 at the alpha peak of {engineering(volts)}V: s D V = {current}A."
    return f"{bounds}, {s}; w = +1: s D = {engineering(gain * full)}S from membrane to membrane."


def _subcircuits() -> Iterator[str]:
    folder = resources.files("netc.models")
    yield "* the neuron: models/mif_memristor.lib and models/mif_neuron.lib, where equations and sources are"
    for name in ("mif_memristor.lib", "mif_neuron.lib"):
        for line in (folder / name).read_text(encoding="utf-8").splitlines():
            if line.strip() and not line.startswith("*") and not line.lower().startswith(".include"):
                yield line


def _inputs(design: Design) -> Iterator[str]:
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


def _word_lines(design: Design, crossbar: int) -> Iterator[str]:
    number, first = crossbar + 1, crossbar == 0
    if design.passive and not first:
        return
    yield f"* crossbar {number}: word lines" + (", one a feature: data scale the gains" if first else "")
    resistive = design.line_resistance > 0
    for i in range(1, design.layers[crossbar] + 1):
        driven = f"d{number}_{i}" if resistive else f"w{number}_{i}"
        if first:
            yield f"ein{i} {driven} 0 alpha 0 1"
        else:
            yield f"e{number}_{i} {driven} 0 m{crossbar}_{i} 0 1"
        if resistive:
            yield f"rw{number}_{i} {driven} w{number}_{i} {engineering(design.line_resistance)}"
            if design.line_capacitance > 0:
                yield f"cw{number}_{i} w{number}_{i} 0 {engineering(design.line_capacitance)} IC=0"


def _synapses(design: Design, crossbar: int, generator: np.random.Generator) -> Iterator[str]:
    rows, columns = design.layers[crossbar], design.layers[crossbar + 1]
    spread = min(1.0, design.init_scale / math.sqrt(rows))
    weight = generator.uniform(-spread, spread, (rows, columns))
    plus = _resistance(design, crossbar, 0.5 + weight / 2)
    number = crossbar + 1
    yield f"* crossbar {number}: synapses"
    if design.passive:
        word, bit = ("w1" if crossbar == 0 else f"m{crossbar}"), f"m{number}"
        for i in range(rows):
            head, line = f"r{number}_{i + 1}_", f" {word}_{i + 1} {bit}_"
            for j, value in enumerate(plus[i], 1):
                yield f"{head}{j}{line}{j} {value:.6g}"
        return
    minus = _resistance(design, crossbar, 0.5 - weight / 2)
    for i in range(rows):
        head, line = f"r{number}_{i + 1}_", f" w{number}_{i + 1} b{number}_"
        for j, (p, m) in enumerate(zip(plus[i], minus[i], strict=True), 1):
            yield f"{head}{j}p{line}{j}p {p:.6g}"
            yield f"{head}{j}m{line}{j}m {m:.6g}"


def _resistance(design: Design, crossbar: int, position: np.ndarray) -> list[list[float]]:
    """Return resistances, ohm, for positions in 0..1 between the conductances 1/Roff and 1/Ron; same shape."""
    ron, roff = design.resistances(crossbar)
    values: list[list[float]] = (1 / (1 / roff + position * (1 / ron - 1 / roff))).tolist()
    return values


def _bit_lines(design: Design, crossbar: int) -> Iterator[str]:
    number = crossbar + 1
    neurons = range(1, design.layers[crossbar + 1] + 1)
    if design.passive:
        if design.line_capacitance > 0:
            yield f"* crossbar {number}: parasitic capacitance of the bit lines, which are the membranes"
            for j in neurons:
                yield f"cb{number}_{j} m{number}_{j} 0 {engineering(design.line_capacitance)}"
        return
    yield f"* crossbar {number}: bit lines, held and sensed by 0 V sources; mirrors, the plus line excites"
    gain = engineering(design.gain(crossbar))
    for j in neurons:
        for sign, pins in (("p", f"0 m{number}_{j}"), ("m", f"m{number}_{j} 0")):
            line, held = f"{number}_{j}{sign}", f"b{number}_{j}{sign}"
            if design.line_resistance > 0:
                held = f"s{line}"
                yield f"rb{line} b{line} {held} {engineering(design.line_resistance)}"
                if design.line_capacitance > 0:
                    yield f"cb{line} b{line} 0 {engineering(design.line_capacitance)} IC=0"
            yield f"vb{line} {held} 0 0"
            yield f"f{line} {pins} vb{line} {gain}"


def _neurons(design: Design, crossbar: int) -> Iterator[str]:
    number = crossbar + 1
    parameters = "".join(f" {name}={engineering(value)}" for name, value in design.neuron.items())
    yield f"* crossbar {number}: neurons"
    for j in range(1, design.layers[number] + 1):
        yield f"xn{number}_{j} m{number}_{j} mif_neuron Cmem={engineering(design.membrane_capacitance)}{parameters}"


def _directives(design: Design) -> Iterator[str]:
    yield "*.netc input ein*"
    yield f"*.netc output m{design.crossbars}_*"
    for crossbar in range(design.crossbars):
        ron, roff = map(engineering, design.resistances(crossbar))
        yield f"*.netc train r{crossbar + 1}_* min={ron} max={roff}"


def _tran(design: Design) -> str:
    return f".tran {engineering(design.step)} {engineering(design.step * design.steps)} uic"
