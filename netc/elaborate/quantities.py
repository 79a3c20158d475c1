"""What ``.measure`` asks for, bound to the circuit.  Pure data."""

from __future__ import annotations

from dataclasses import dataclass

from netc.diagnostics import Span
from netc.ir.nodes import Expr


@dataclass(frozen=True, slots=True, eq=False)
class Quantity:
    """An expression over signals: ``expr`` has the slots of a law template.

    ``values`` are numbers, or names of results measured before; ``voltages`` pairs of nodes, ``"0"`` for ground;
    ``currents`` names of elements.
    """

    expr: Expr
    values: tuple[float | str, ...]
    voltages: tuple[tuple[str, str], ...]
    currents: tuple[str, ...]

    @property
    def signals(self) -> list[str]:
        """What has to be observed: nodes, and currents as ``i(name)``."""
        nodes = [name for pair in self.voltages for name in pair if name != "0"]
        return [*nodes, *(f"i({name})" for name in self.currents)]


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """See :class:`netc.parse.ast.Event`; ``last`` says that the last crossing is meant."""

    left: Quantity | None
    right: Quantity | None
    at: Quantity | None
    delay: Quantity | None
    edge: str
    count: Quantity | None
    last: bool


@dataclass(frozen=True, slots=True, eq=False)
class Measure:
    """See :class:`netc.parse.ast.Measure`."""

    name: str
    function: str
    quantity: Quantity | None
    trigger: Event | None
    target: Event | None
    start: Quantity | None
    stop: Quantity | None
    span: Span

    @property
    def signals(self) -> list[str]:
        """What has to be observed for it."""
        found = [q for e in (self.trigger, self.target) if e for q in (e.left, e.right, e.at, e.delay, e.count)]
        return [name for q in (self.quantity, *found, self.start, self.stop) if q is not None for name in q.signals]
