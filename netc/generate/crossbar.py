"""Cards of one crossbar: lines, their wires and parasitics, and the cells where they cross.

    driver -Rsource- w1_2 -Rwire- w1_2_1p -Rwire- w1_2_1m ...        word line 2, one node a crossing
                                     |
                               cell r1_2_1p (and its selector)
                                     |
    ... b1_1_1p -Rwire-          b1_2_1p -Rwire- ... b1_1p -Rsense-  bit line 1p, one node a crossing

Without wire resistance all crossings of a line are its one node ``w1_2`` or ``b1_1p``; of a passive network the bit
line ``b1_1`` is the membrane ``m1_1``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from netc.generate.cards import engineering
from netc.generate.design import Design

_SELECTOR_MODELS = {
    "none": "",
    # 1 / (KP W/L (Vgate - VTO)) is about 200 ohm at 3.3 V, a fifth of a synapse's least resistance
    "1t1r": ".model select nmos level=1 vto=0.7 kp=200u lambda=0.02",
    # a zero-bias Schottky diode: 270 ohm at 0 V, so that tens of millivolts read a cell
    "diode": ".model select d is=100u n=1.05",
}

_FEATURES = {"alpha": "data scale the gains", "frames": "data are the voltages of in<line>, 0 to 1 V"}


def selector_model(design: Design) -> Iterator[str]:
    """Yield the model card of the cells' selectors, if they have any."""
    if design.selector != "none":
        yield f"* the selectors, one in each cell ({design.selector})"
        yield _SELECTOR_MODELS[design.selector]


def word_lines(design: Design, crossbar: int) -> Iterator[str]:
    """Yield drivers and word lines of ``crossbar`` (from 0)."""
    number, first = crossbar + 1, crossbar == 0
    driven = first or not design.passive
    if not driven and design.selector != "1t1r":
        return
    yield f"* crossbar {number}: word lines" + (f", one a feature: {_FEATURES[design.drive]}" if first else "")
    resistance = design.resistance_of_sources
    for i in range(1, design.layers[crossbar] + 1):
        line = f"w{number}_{i}"
        if driven:
            driver = f"d{number}_{i}" if resistance else line
            yield from _driver(design, crossbar, i, driver)
            if resistance:
                yield f"rw{number}_{i} {driver} {line} {engineering(resistance)}"
            if design.line_capacitance and (resistance or design.wire_resistance):
                loaded = line if resistance else f"{line}_{design.columns(crossbar)[0]}"
                yield f"cw{number}_{i} {loaded} 0 {engineering(design.line_capacitance)} IC=0"
        if design.selector == "1t1r":
            yield f"vg{number}_{i} g{number}_{i} 0 {engineering(design.gate_voltage)}"


def _driver(design: Design, crossbar: int, i: int, node: str) -> Iterator[str]:
    """Yield what holds ``node``, where word line ``i`` of ``crossbar`` (from 0) begins."""
    if crossbar > 0 and design.buffers == "rectified":
        yield f"b{crossbar + 1}_{i} {node} 0 v=max(v(m{crossbar}_{i}),0)"
    elif crossbar > 0:
        yield f"e{crossbar + 1}_{i} {node} 0 m{crossbar}_{i} 0 1"
    elif design.drive == "frames":
        yield f"vin{i} in{i} 0 0"
        yield f"ein{i} {node} 0 in{i} 0 {engineering(design.amplitude)}"
    else:
        yield f"ein{i} {node} 0 alpha 0 1"


def cells(design: Design, crossbar: int, generator: np.random.Generator) -> Iterator[str]:
    """Yield the cells of ``crossbar`` (from 0) and the wires between them; ``generator`` draws the weights."""
    rows, neurons = design.layers[crossbar], design.layers[crossbar + 1]
    spread = min(1.0, design.init_scale / math.sqrt(rows))
    weight = generator.uniform(-spread, spread, (rows, neurons))
    synapses = _resistance(design, crossbar, 0.5 + weight / 2)
    if not design.passive:  # plus and minus line of each neuron side by side
        synapses = np.stack([synapses, _resistance(design, crossbar, 0.5 - weight / 2)], axis=2).reshape(rows, -1)
    number, columns = crossbar + 1, design.columns(crossbar)
    yield f"* crossbar {number}: synapses"
    for i, row in enumerate(synapses.tolist(), 1):
        yield from _row(design, number, i, columns, row)
    if design.wire_resistance:
        yield from _wires(design, crossbar, columns)


def bit_lines(design: Design, crossbar: int) -> Iterator[str]:
    """Yield what ends the bit lines of ``crossbar`` (from 0)."""
    number, neurons = crossbar + 1, range(1, design.layers[crossbar + 1] + 1)
    capacitance, resistance = engineering(design.line_capacitance), engineering(design.resistance_of_senses)
    if design.passive:
        if design.line_capacitance:
            yield f"* crossbar {number}: parasitic capacitance of the bit lines, which are the membranes"
            for j in neurons:
                yield f"cb{number}_{j} {_end(design, number, str(j))} 0 {capacitance}"
        if design.resistance_of_senses:
            yield f"* crossbar {number}: sense paths"
            for j in neurons:
                ends = f"b{number}_{j} m{number}_{j}" if design.neurons else f"m{number}_{j} 0"
                yield f"rb{number}_{j} {ends} {resistance}"
        return
    yield f"* crossbar {number}: bit lines, held and sensed by 0 V sources; mirrors, the plus line excites"
    gain = engineering(design.gain(crossbar))
    for j in neurons:
        for sign, pins in (("p", f"0 m{number}_{j}"), ("m", f"m{number}_{j} 0")):
            line, held = f"{number}_{j}{sign}", f"b{number}_{j}{sign}"
            if design.resistance_of_senses:
                held = f"s{line}"
                yield f"rb{line} b{line} {held} {resistance}"
            if design.line_capacitance and (design.resistance_of_senses or design.wire_resistance):
                loaded = f"b{line}" if design.resistance_of_senses else f"b{number}_{design.layers[crossbar]}_{j}{sign}"
                yield f"cb{line} {loaded} 0 {capacitance} IC=0"
            yield f"vb{line} {held} 0 0"
            yield f"f{line} {pins} vb{line} {gain}"


def _row(design: Design, number: int, i: int, columns: Sequence[str], values: Sequence[float]) -> Iterator[str]:
    """Yield the cells of word line ``i``."""
    wired, selector = bool(design.wire_resistance), design.selector
    word = _word(design, number, i)
    capacitance = engineering(design.crossing_capacitance) if design.crossing_capacitance else None
    for column, value in zip(columns, values, strict=True):
        place = f"{number}_{i}_{column}"
        top = f"w{place}" if wired else word
        bottom = f"b{place}" if wired else _end(design, number, column)
        if selector == "none":
            yield f"r{place} {top} {bottom} {value:.6g}"
        else:
            yield f"r{place} {top} x{place} {value:.6g}"
            if selector == "1t1r":
                yield f"ms{place} x{place} g{number}_{i} {bottom} 0 select w=10u l=1u"
            else:
                yield f"ds{place} x{place} {bottom} select"
        if capacitance:
            yield f"cx{place} {top} {bottom} {capacitance} IC=0"


def _wires(design: Design, crossbar: int, columns: Sequence[str]) -> Iterator[str]:
    """Yield one segment before each crossing of a word line, and one after each of a bit line."""
    number, rows, segment = crossbar + 1, design.layers[crossbar], engineering(design.wire_resistance)
    yield f"* crossbar {number}: wires"
    for i in range(1, rows + 1):
        before = _word(design, number, i)
        for column in columns:
            place = f"{number}_{i}_{column}"
            yield f"rww{place} {before} w{place} {segment}"
            after = f"b{number}_{i + 1}_{column}" if i < rows else _end(design, number, column)
            yield f"rbw{place} b{place} {after} {segment}"
            before = f"w{place}"


def _word(design: Design, number: int, i: int) -> str:
    """Return the driven end of word line ``i``."""
    return f"m{number - 1}_{i}" if design.passive and number > 1 else f"w{number}_{i}"


def _end(design: Design, number: int, column: str) -> str:
    """Return the sensed end of a bit line: a passive network's is the membrane unless a sense path is between them."""
    joined = design.passive and not (design.neurons and design.resistance_of_senses)
    return f"{'m' if joined else 'b'}{number}_{column}"


def _resistance(design: Design, crossbar: int, position: np.ndarray) -> np.ndarray:
    """Return resistances, ohm, for positions in 0..1 between the conductances 1/Roff and 1/Ron; same shape."""
    ron, roff = design.resistances(crossbar)
    found: np.ndarray = 1 / (1 / roff + position * (1 / ron - 1 / roff))
    return found
