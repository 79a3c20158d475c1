"""How far the voltages of a device may move in one Newton step, and where they start: the rules of SPICE3.

Which of several operating points Newton's method ends at depends on them, so they are those of ngspice 39
(T. L. Quarles, Analysis of performance and convergence issues for circuit simulation, ERL-M89/42, 1989; W. Nagel,
SPICE2, ERL-M520, 1975; the limits of negative voltages are A. Gillespie's).
"""

from __future__ import annotations

import math

from netc.elaborate.circuit import Limited

Voltages = dict[tuple[int, int], float]
"""Volts by pair of nets."""


def junction_step(new: float, old: float, scale: float, critical: float) -> tuple[float, bool]:
    """Return the voltage a junction may take on the way from ``old`` to ``new``, and whether it was held back.

    Args:
        new: what the last solution gives, V.
        old: where the junction was linearised, V.
        scale: emission coefficient times k T / q, V.
        critical: where the exponential begins to bend most, V.
    """
    if new > critical and abs(new - old) > 2.0 * scale:
        if old <= 0.0:
            return scale * math.log(new / scale), True
        ratio = (new - old) / scale
        if ratio > 0.0:
            return old + scale * (2.0 + math.log(ratio - 2.0)), True
        return old - scale * (2.0 + math.log(2.0 - ratio)), True
    if new < 0.0:
        least = -old - 1.0 if old > 0.0 else 2.0 * old - 1.0
        if new < least:
            return least, True
    return new, False


def gate_step(new: float, old: float, threshold: float) -> float:
    """Return the gate voltage a field-effect transistor may take on the way from ``old`` to ``new``, V."""
    far, near = abs(2.0 * (old - threshold)) + 2.0, abs(old - threshold) + 1.0
    rising = new > old
    if old < threshold:
        if not rising:
            return max(new, old - far)
        return min(new, old + near) if new <= threshold + 0.5 else threshold + 0.5
    if old < threshold + 3.5:
        return min(new, threshold + 4.0) if rising else max(new, threshold - 0.5)
    if rising:
        return min(new, old + far)
    return max(new, old - near) if new >= threshold + 3.5 else max(new, threshold + 2.0)


def drain_step(new: float, old: float) -> float:
    """Return the drain voltage a field-effect transistor may take on the way from ``old`` to ``new``, V."""
    if old >= 3.5:
        if new > old:
            return min(new, 3.0 * old + 2.0)
        return max(new, 2.0) if new < 3.5 else new
    return min(new, 4.0) if new > old else max(new, -0.5)


class Limiter:
    """The voltages at which one device is linearised, step after step."""

    def __init__(self, device: Limited) -> None:
        self.device = device
        self.at: Voltages = {}

    def start(self, *, on: bool = True) -> None:
        """Put the device where ngspice linearises it first; a device written ``off``, or not ``on``, at 0 V."""
        kind, x = self.device.kind, self.device.numbers
        on = on and not self.device.off
        if kind == "D":
            self._set_diode(x[1] if on else 0.0)
        elif kind == "Q":
            self._set_bipolar(x[2] if on else 0.0, 0.0)
        elif kind == "J":
            self._set_jfet(-1.0 if on else 0.0, -1.0 if on else 0.0)
        else:
            self._set_mos(x[0] * x[4] if on else 0.0, 0.0, -1.0 if on else 0.0)

    def place(self, volts: list[float]) -> None:
        """Put the device where the nets are, or near it where that is beyond its junctions' critical voltage."""
        self.start(on=False)
        self.follow(volts)

    def follow(self, volts: list[float]) -> bool:
        """Move towards the voltages of the nets; whether a junction was held back.

        Args:
            volts: by net number.
        """
        return {"D": self._diode, "Q": self._bipolar, "J": self._jfet, "M": self._mos}[self.device.kind](volts)

    def _set_diode(self, v: float) -> None:
        anode, cathode = self.device.nets
        self.at = {(anode, cathode): v}

    def _diode(self, volts: list[float]) -> bool:
        scale, critical, breakdown_scale, breakdown = self.device.numbers
        anode, cathode = self.device.nets
        new, old = volts[anode] - volts[cathode], self.at[anode, cathode]
        if new < min(0.0, -breakdown + 10.0 * breakdown_scale):
            found, held = junction_step(-(new + breakdown), -(old + breakdown), breakdown_scale, critical)
            found = -(found + breakdown)
        else:
            found, held = junction_step(new, old, scale, critical)
        self._set_diode(found)
        return held

    def _set_bipolar(self, base_emitter: float, base_collector: float) -> None:
        collector, base, emitter = self.device.nets
        sign = self.device.numbers[0]
        self.at = {(base, collector): sign * base_collector, (base, emitter): sign * base_emitter}

    def _bipolar(self, volts: list[float]) -> bool:
        collector, base, emitter = self.device.nets
        sign, scale, critical = self.device.numbers
        old = (sign * self.at[base, emitter], sign * self.at[base, collector])
        first, held = junction_step(sign * (volts[base] - volts[emitter]), old[0], scale, critical)
        second, also = junction_step(sign * (volts[base] - volts[collector]), old[1], scale, critical)
        self._set_bipolar(first, second)
        return held or also

    def _set_jfet(self, gate_source: float, gate_drain: float) -> None:
        drain, gate, source = self.device.nets
        sign = self.device.numbers[0]
        self.at = {
            (drain, source): sign * (gate_source - gate_drain),
            (gate, drain): sign * gate_drain,
            (gate, source): sign * gate_source,
        }

    def _jfet(self, volts: list[float]) -> bool:
        drain, gate, source = self.device.nets
        sign, scale, critical, threshold = self.device.numbers
        moved, held = [], False
        for end in (source, drain):
            old = sign * self.at[gate, end]
            new, stopped = junction_step(sign * (volts[gate] - volts[end]), old, scale, critical)
            moved.append(gate_step(new, old, threshold))
            held = held or stopped
        self._set_jfet(*moved)
        return held

    def _set_mos(self, gate_source: float, drain_source: float, bulk_source: float) -> None:
        drain, gate, source, bulk = self.device.nets
        sign = self.device.numbers[0]
        self.at = {
            (bulk, drain): sign * (bulk_source - drain_source),
            (bulk, source): sign * bulk_source,
            (gate, drain): sign * (gate_source - drain_source),
            (drain, source): sign * drain_source,
            (gate, source): sign * gate_source,
        }

    def _turn_on(self) -> float:
        """Return the gate voltage at which the channel opened where the device was linearised last."""
        drain, _, source, bulk = self.device.nets
        sign, _, _, _, _, built_in, gamma, phi = self.device.numbers
        reverse = sign * self.at[bulk, source if sign * self.at[drain, source] >= 0.0 else drain]
        root = math.sqrt(phi - min(reverse, 0.0))
        return built_in + gamma * max(root - max(reverse, 0.0) / (2.0 * root), 0.0)

    def _mos(self, volts: list[float]) -> bool:
        drain, gate, source, bulk = self.device.nets
        sign, scale, at_source, at_drain, *_ = self.device.numbers
        gate_source, drain_source, bulk_source = (
            sign * (volts[a] - volts[b]) for a, b in ((gate, source), (drain, source), (bulk, source))
        )
        gate_drain = gate_source - drain_source
        old_gate, old_drain, old_bulk = (sign * self.at[p] for p in ((gate, source), (drain, source), (bulk, source)))
        threshold = self._turn_on()
        if old_drain >= 0.0:
            gate_source = gate_step(gate_source, old_gate, threshold)
            drain_source = drain_step(gate_source - gate_drain, old_drain)
        else:
            gate_drain = gate_step(gate_drain, old_gate - old_drain, threshold)
            drain_source = -drain_step(-(gate_source - gate_drain), -old_drain)
            gate_source = gate_drain + drain_source
        if drain_source >= 0.0:
            bulk_source, held = junction_step(bulk_source, old_bulk, scale, at_source)
        else:
            across = sign * (volts[bulk] - volts[drain])
            across, held = junction_step(across, old_bulk - old_drain, scale, at_drain)
            bulk_source = across + drain_source
        self._set_mos(gate_source, drain_source, bulk_source)
        return held
