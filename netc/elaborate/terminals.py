"""Currents into devices that are several branches: ``i(d1)`` is the sum of junction and charging current."""

from __future__ import annotations

from netc.diagnostics import Span
from netc.elaborate.circuit import Branch, Circuit, Law
from netc.ir.nodes import Slot

_AMMETER = Law("V", "V", Slot("value", 0), ("source",), ("V",))


class Terminals:
    """The branches at the first terminal of every device with two terminals."""

    def __init__(self, circuit: Circuit) -> None:
        self._circuit = circuit
        self._found: dict[str, tuple[list[tuple[int, int]], Span]] = {}

    def add(self, name: str, branches: list[tuple[int, int]], span: Span) -> None:
        """Note the branches (number, which end is at the terminal) of the device ``name``."""
        if branches:
            self._found[name] = (branches, span)

    def knows(self, name: str) -> bool:
        """Whether ``name`` is a device whose current can be read."""
        return name in self._found

    def branch(self, name: str, branches: dict[str, int], nets: dict[str, int]) -> int | None:
        """Return the branch that carries the current of the device ``name``; a source of 0 V is put in if needed.

        The numbers of new branches and nets are added to ``branches`` and ``nets``.
        """
        known = self._found.get(name)
        if known is None:
            return None
        parts, span = known
        circuit = self._circuit
        if len(parts) == 1 and parts[0][1] == 0:
            circuit.branches[parts[0][0]].name = name
            return parts[0][0]
        number, end = parts[0]
        outside = circuit.branches[number].nets[end]
        inside = len(circuit.nets)
        circuit.nets.append(f"{name}#terminal")
        nets[f"{name}#terminal"] = inside
        circuit.internal[inside] = outside
        for number, end in parts:
            branch = circuit.branches[number]
            first, second = branch.nets
            branch.nets = (inside, second) if end == 0 else (first, inside)
            own = {first, second}
            branch.voltages = tuple(
                (branch.nets if pair == (first, second) else branch.nets[::-1]) if {*pair} == own else pair
                for pair in branch.voltages
            )
        meter = Branch(name, (outside, inside), _AMMETER, (0.0,), span)
        branches[meter.name] = len(circuit.branches)
        circuit.branches.append(meter)
        self._found[name] = ([(branches[meter.name], 0)], span)
        return branches[meter.name]
