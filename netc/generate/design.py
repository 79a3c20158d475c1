"""What a generated network is made of, checked, with every default worked out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from netc.diagnostics import Diagnostics

MAXIMUM_SYNAPSES = 20_000_000
SELECTORS = ("none", "1t1r", "diode")
DRIVES = ("alpha", "frames")
BUFFERS = ("linear", "rectified")
READOUTS = ("neurons", "integrators")
NEURON_PARAMETERS = ("Ereset", "Erest", "Ron", "Roff", "Von", "Voff", "VT", "tau", "k", "v0", "x10", "x20")

_SIZE_HINT = "give at least two layer sizes, for example 784,100,10"


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """Sizes and values of a network, in SI units.

    Two forms.  *Buffered*: a synapse is a pair of devices to a plus and a minus bit line, 0 V sources hold and sense
    the bit lines, mirrors carry their currents, times the attenuation, into the membrane, and a buffer drives the next
    word line.  *Passive*: a synapse is one device from membrane to membrane; the bit line is the membrane,
    I_j = sum_i G_ij (V_i - V_j).  A passive one without neurons is a stack of crossbars that sense resistors end.

    Attributes:
        layers: neurons per layer, inputs first.
        passive: which of the two forms.
        seed: of the initial conductances.
        init_scale: initial weights are uniform in +-init_scale / sqrt(fan-in), weights being within +-1.
        ron: least resistance of a synapse, ohm; buffered 1 kohm; passive 250 ohm times the fan-in of the layer, so that
            the synapses of a membrane add up to about 2 mS whatever its fan-in.
        roff: greatest resistance of a synapse, ohm; 100 times ``ron``.
        read_voltage: amplitude of an input word line, V, for a feature of 1 (at the peak of one alpha pulse);
            buffered 50 mV, passive 500 mV.
        attenuation: gain of the mirrors of each layer (buffered only); ``None``: a weight of +1 gives ``input_current``
            at the peak of the first layer, and ``transconductance`` in the others.
        input_current: A, into a membrane of the first layer, of a full input through a weight of +1.
        transconductance: S, from a membrane to one of the next layer, through a weight of +1.
        membrane_capacitance: F.
        line_capacitance: F, parasitic, to ground at the driven end of each word line and at the sensed end of each bit
            line (passive: of input lines and bit lines).
        line_resistance: ohm, of the driver of each word line and of each bit line's sense path (passive: of the
            drivers of the input lines only).
        source_resistance: ohm, of the driver of each word line; ``line_resistance``.
        sense_resistance: ohm, from the end of each bit line to what holds it: the 0 V source, a passive network's
            membrane, or ground where there are no neurons; ``line_resistance``, passive none.
        wire_resistance: ohm, of each segment of a line from crossing to crossing, and to its driven or sensed end.
        crossing_capacitance: F, between word line and bit line at each crossing.
        selector: in series with each synapse: ``none``, ``1t1r`` (an nMOS transistor whose gate line is on) or
            ``diode``.
        gate_voltage: V, of the gate lines of ``1t1r``.
        neurons: whether bit lines charge neurons.
        buffers: what drives the word lines of later layers (buffered only): ``linear``, the membrane's voltage, or
            ``rectified``, that voltage where it is positive and else 0 V.
        readout: what the last crossbar's bit lines charge: ``neurons`` like all others, or ``integrators``, a capacitor
            and a resistor each, whose voltages follow what the hidden layer says and never spike (buffered only).
        readout_resistance: ohm, of an integrator.
        readout_capacitance: F, of an integrator.
        drive: what drives the input word lines: ``alpha``, a current common to all that features scale, or ``frames``,
            features that change over time (event data); a full one is a word line at ``read_voltage``.
        alpha_time: s, time constant of both stages of the alpha current.
        pulse_width: s, of the pulse that starts an alpha current.
        pulse_period: s.
        step: s, the deck's time step.
        steps: how many steps the deck's ``.tran`` covers.
        neuron: parameters of ``models/mif_neuron.lib`` other than ``Cmem`` to set, by name.
    """

    layers: Sequence[int] = (784, 100, 10)
    passive: bool = False
    seed: int = 0
    init_scale: float = 2.0
    ron: float | None = None
    roff: float | None = None
    read_voltage: float | None = None
    attenuation: Sequence[float] | None = None
    input_current: float = 7e-6
    transconductance: float = 1e-3
    membrane_capacitance: float = 100e-9
    line_capacitance: float = 0.0
    line_resistance: float = 0.0
    source_resistance: float | None = None
    sense_resistance: float | None = None
    wire_resistance: float = 0.0
    crossing_capacitance: float = 0.0
    selector: str = "none"
    gate_voltage: float = 3.3
    neurons: bool = True
    buffers: str = "linear"
    readout: str = "neurons"
    readout_resistance: float = 1e3
    readout_capacitance: float = 3e-6
    drive: str = "alpha"
    alpha_time: float = 0.64e-3
    pulse_width: float = 0.1e-3
    pulse_period: float = 1e-3
    step: float = 10e-6
    steps: int = 1000
    neuron: Mapping[str, float] = field(default_factory=dict)

    def check(self) -> None:
        """Raise one ``NetcError`` with all that is wrong with the values."""
        diagnostics = Diagnostics()
        self._check_layers(diagnostics)
        self._check_values(diagnostics)
        diagnostics.raise_if_failed()
        self._check_relations(diagnostics)
        diagnostics.raise_if_failed()

    @property
    def crossbars(self) -> int:
        """Number of crossbars, one less than layers."""
        return len(self.layers) - 1

    @property
    def amplitude(self) -> float:
        """Amplitude of an input word line at the peak of one alpha pulse, V."""
        if self.read_voltage is not None:
            return self.read_voltage
        return 0.5 if self.passive else 50e-3

    @property
    def resistance_of_sources(self) -> float:
        """Resistance of the driver of each word line, ohm."""
        return self.line_resistance if self.source_resistance is None else self.source_resistance

    @property
    def resistance_of_senses(self) -> float:
        """Resistance of the sense path of each bit line, ohm."""
        if self.sense_resistance is not None:
            return self.sense_resistance
        return 0.0 if self.passive else self.line_resistance

    def columns(self, crossbar: int) -> list[str]:
        """Return the names of the bit lines of ``crossbar`` (from 0) in order: ``1p``, ``1m``, ``2p`` or ``1``."""
        neurons = range(1, self.layers[crossbar + 1] + 1)
        return [f"{j}{sign}" for j in neurons for sign in ([""] if self.passive else ["p", "m"])]

    def resistances(self, crossbar: int) -> tuple[float, float]:
        """Return least and greatest resistance of a synapse of ``crossbar`` (from 0), ohm."""
        ron = self.ron if self.ron is not None else (250.0 * self.layers[crossbar] if self.passive else 1e3)
        return ron, self.roff if self.roff is not None else 100.0 * ron

    def gain(self, crossbar: int) -> float:
        """Return the mirror gain of ``crossbar`` (from 0)."""
        if self.attenuation is not None:
            return self.attenuation[crossbar]
        ron, roff = self.resistances(crossbar)
        full = 1 / ron - 1 / roff
        return self.input_current / (self.amplitude * full) if crossbar == 0 else self.transconductance / full

    def _check_layers(self, diagnostics: Diagnostics) -> None:
        if len(self.layers) < 2:
            diagnostics.error(f"a network needs two layers or more, not {len(self.layers)}", hint=_SIZE_HINT)
            return
        for size in self.layers:
            if not _is_count(size, 1):
                diagnostics.error(f"a layer size is a whole number from 1, not {size!r}", hint=_SIZE_HINT)
                return
        synapses = sum(a * b for a, b in zip(self.layers, self.layers[1:], strict=False)) * (1 if self.passive else 2)
        if synapses > MAXIMUM_SYNAPSES:
            diagnostics.error(
                f"layers {','.join(map(str, self.layers))} need {synapses:,} devices, more than {MAXIMUM_SYNAPSES:,}",
                hint="choose smaller layers",
            )

    def _check_values(self, diagnostics: Diagnostics) -> None:
        positive = {
            "ron": self.ron,
            "roff": self.roff,
            "read_voltage": self.read_voltage,
            "input_current": self.input_current,
            "transconductance": self.transconductance,
            "membrane_capacitance": self.membrane_capacitance,
            "readout_resistance": self.readout_resistance,
            "readout_capacitance": self.readout_capacitance,
            "alpha_time": self.alpha_time,
            "pulse_width": self.pulse_width,
            "pulse_period": self.pulse_period,
            "step": self.step,
            "gate_voltage": self.gate_voltage,
        }
        for name, value in positive.items():
            if value is not None and not (math.isfinite(value) and value > 0):
                diagnostics.error(f"{name} must be a positive number, not {value!r}")
        at_least_zero = {
            "init_scale": self.init_scale,
            "line_capacitance": self.line_capacitance,
            "line_resistance": self.line_resistance,
            "source_resistance": self.source_resistance,
            "sense_resistance": self.sense_resistance,
            "wire_resistance": self.wire_resistance,
            "crossing_capacitance": self.crossing_capacitance,
        }
        for name, value in at_least_zero.items():
            if value is not None and not (math.isfinite(value) and value >= 0):
                diagnostics.error(f"{name} must be zero or a positive number, not {value!r}")
        for name, count, least in (("steps", self.steps, 1), ("seed", self.seed, 0)):
            if not _is_count(count, least):
                diagnostics.error(f"{name} must be a whole number from {least}, not {count!r}")
        if self.selector not in SELECTORS:
            diagnostics.error(f"selector must be one of {', '.join(SELECTORS)}, not {self.selector!r}")
        if self.drive not in DRIVES:
            diagnostics.error(f"drive must be one of {', '.join(DRIVES)}, not {self.drive!r}")
        if self.buffers not in BUFFERS:
            diagnostics.error(f"buffers must be one of {', '.join(BUFFERS)}, not {self.buffers!r}")
        if self.readout not in READOUTS:
            diagnostics.error(f"readout must be one of {', '.join(READOUTS)}, not {self.readout!r}")
        for name, value in self.neuron.items():
            if name not in NEURON_PARAMETERS:
                diagnostics.error(
                    f"the neuron has no parameter {name!r}", hint=f"it has {', '.join(NEURON_PARAMETERS)}"
                )
            elif not math.isfinite(value):
                diagnostics.error(f"the neuron's {name} must be a number, not {value!r}")

    def _check_relations(self, diagnostics: Diagnostics) -> None:
        ron, roff = self.resistances(0)
        if roff <= ron:
            diagnostics.error(f"roff ({roff:g} ohm) must be greater than ron ({ron:g} ohm)")
        if self.attenuation is not None:
            if self.passive:
                diagnostics.error(
                    "a passive network has no mirrors, so no attenuation", hint="leave attenuation out, or passive"
                )
            elif len(self.attenuation) != self.crossbars or not all(
                math.isfinite(a) and a > 0 for a in self.attenuation
            ):
                plural = "s" if self.crossbars > 1 else ""
                diagnostics.error(
                    f"attenuation must be {self.crossbars} positive number{plural}, one for each crossbar"
                )
        if self.buffers != "linear" and self.passive:
            diagnostics.error("a passive network has no buffers", hint="leave buffers out, or passive")
        if self.readout == "integrators" and (self.passive or not self.neurons):
            diagnostics.error(
                "readout integrators are for buffered networks with neurons", hint="leave readout out, or passive"
            )
        self._check_lines(diagnostics)
        if self.pulse_width < 2 * self.step:
            diagnostics.error(
                f"pulse_width ({self.pulse_width:g} s) must be two steps ({self.step:g} s) or more",
                hint="a pulse shorter than that is not seen by every step",
            )
        if self.pulse_period < self.pulse_width + self.step:
            diagnostics.error(f"pulse_period ({self.pulse_period:g} s) is too short for pulse_width")

    def _check_lines(self, diagnostics: Diagnostics) -> None:
        ends = {"source_resistance": self.resistance_of_sources, "sense_resistance": self.resistance_of_senses}
        held = [name for name, value in ends.items() if not value and not self.wire_resistance]
        if self.line_capacitance > 0 and held and not self.passive:
            diagnostics.error(
                "line_capacitance has no effect on lines that ideal sources hold",
                hint=f"set {' and '.join(held)} too, for example 100 ohm",
            )
        if self.crossing_capacitance > 0 and len(held) == 2 and not self.passive:
            diagnostics.error(
                "crossing_capacitance has no effect on lines that ideal sources hold",
                hint="set wire_resistance or sense_resistance too, for example 10 ohm",
            )
        if self.neurons:
            return
        if not self.passive:
            diagnostics.error("a network without neurons must be passive", hint="add passive")
        if not self.resistance_of_senses:
            diagnostics.error(
                "a network without neurons needs a sense_resistance", hint="set it, for example to 100 ohm"
            )


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
