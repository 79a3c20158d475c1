"""Flat circuits for tests, written without the front end."""

from __future__ import annotations

from netc.diagnostics import Span
from netc.elaborate.circuit import Branch, Circuit, Law
from netc.ir.build import add, div, mul, neg, sub, unary
from netc.ir.nodes import Expr, Slot, Time
from netc.ir.program import Timing

_VALUE = Slot("value", 0)
LAWS = {
    "R": Law("R", "R", _VALUE, ("R",), ("ohm",)),
    "C": Law("C", "C", _VALUE, ("C",), ("F",)),
    "L": Law("L", "L", _VALUE, ("L",), ("H",)),
    "V": Law("V", "V", _VALUE, ("source",), ("V",)),
    "I": Law("I", "I", _VALUE, ("source",), ("A",)),
    "E": Law("V", "E", mul(_VALUE, Slot("voltage", 0)), ("gain",), ("",)),
    "G": Law("I", "G", mul(_VALUE, Slot("voltage", 0)), ("gain",), ("S",)),
    "F": Law("I", "F", mul(_VALUE, Slot("current", 0)), ("gain",), ("",)),
    "H": Law("V", "H", mul(_VALUE, Slot("current", 0)), ("gain",), ("ohm",)),
    "SIN": Law("V", "V", unary("sin", mul(_VALUE, Time())), ("source",), ("rad/s",)),
}


def sigmoid(z: Expr) -> Expr:
    """1 / (1 + exp(-z))."""
    return div(1.0, add(1.0, unary("exp", neg(z))))


def switch_rate() -> Law:
    """The volatile metastable switch of mission's Table I: i(x) for a 1 F state capacitor; v(0) device, v(1) state."""
    v, x = Slot("voltage", 0), Slot("voltage", 1)
    tau, on, off, thermal, keep = (Slot("value", k) for k in range(5))
    rise = mul(sub(1.0, x), sigmoid(div(sub(v, on), thermal)))
    fall = mul(x, sub(1.0, mul(keep, sigmoid(div(sub(v, off), thermal)))))
    return Law("I", "B", neg(div(sub(rise, fall), tau)), ("model",) * 5, ("s", "V", "V", "V", ""))


def switch_current() -> Law:
    """Its current: v (x/Ron + (1 - x)/Roff)."""
    v, x = Slot("voltage", 0), Slot("voltage", 1)
    on, off = Slot("value", 0), Slot("value", 1)
    return Law("I", "B", mul(v, add(div(x, on), div(sub(1.0, x), off))), ("model",) * 2, ("ohm", "ohm"))


LAWS["RATE"], LAWS["MEM"] = switch_rate(), switch_current()


class Build:
    """Collects elements; nets come into being when named."""

    def __init__(self, tstep: float = 1e-5, tstop: float = 1e-2, uic: bool = True) -> None:
        self.circuit = Circuit("test", ["0"], [], {}, timing=Timing(tstep, tstop, uic=uic))
        self._nets = {"0": 0}
        self._branches: dict[str, int] = {}

    def net(self, name: str) -> int:
        if name not in self._nets:
            self._nets[name] = len(self.circuit.nets)
            self.circuit.nets.append(name)
        return self._nets[name]

    def add(
        self, law: str, name: str, first: str, second: str, *values: float | Expr, voltages=(), currents=(), ic=None
    ):
        pairs = tuple((self.net(a), self.net(b)) for a, b in voltages)
        self._branches[name] = len(self.circuit.branches)
        self.circuit.branches.append(
            Branch(
                name,
                (self.net(first), self.net(second)),
                LAWS[law],
                values,
                Span("test.cir", len(self.circuit.branches) + 2),
                pairs,
                tuple(self._branches[c] for c in currents),
                ic,
            )
        )
        return self

    def number(self, name: str) -> int:
        return self._branches[name]


def neuron(build: Build, path: str, mem: str, capacitance: float = 1e-7) -> None:
    """A MIF cell at net ``mem`` (Table I and III)."""
    build.add("C", f"{path}.c", mem, "0", capacitance)
    build.add("V", f"{path}.e1", f"{path}.b1", "0", 0.0).add("V", f"{path}.e2", f"{path}.b2", "0", 0.05)
    for device, plus, minus in (("m1", mem, f"{path}.b1"), ("m2", f"{path}.b2", mem)):
        state = f"{path}.{device}.x"
        pins = ((plus, minus), (state, "0"))
        build.add("C", f"{path}.{device}.cx", state, "0", 1.0)
        build.add("RATE", f"{path}.{device}.bx", state, "0", 1e-3, 0.11, 0.005, 0.025, 0.6, voltages=pins)
        build.add("MEM", f"{path}.{device}.g", plus, minus, 1e3, 1e5, voltages=pins)
