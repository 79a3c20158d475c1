"""The flat circuit: nets and two-terminal branches, every value bound, nothing evaluated away.

A branch keeps the *template* of its law apart from the values bound into it.  The template is shared by
all branches of the same form (whatever their names or numbers), which is what lets a later stage put
ten thousand of them into one array.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import networkx as nx
import numpy as np

from netc.diagnostics import Diagnostic, Span
from netc.elaborate.quantities import Measure
from netc.ir.interpret import evaluate
from netc.ir.nodes import Expr, Parameter, postorder
from netc.ir.program import Spread, Timing

Value = float | Expr
"""A bound value: a literal of this branch alone, or an expression over shared ``Parameter`` leaves of size 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Law:
    """How a branch of one form behaves.  Equal laws are one object: elaboration interns them.

    ``kind`` says what ``template`` gives: ``R`` ohms, ``C`` farads, ``L`` henries, ``V`` the branch voltage,
    ``I`` the current from first to second net.  Two kinds only compute something for others to read as a current,
    with both ends on ground: ``D`` the time derivative of the template, ``S`` its integral over time, a state, which
    stands at :attr:`Branch.initial` until the run starts (at rest where there is none).

    The template's leaves are ``Slot("value", k)`` (bound by :attr:`Branch.values`), ``Slot("voltage", k)``
    (:attr:`Branch.voltages`), ``Slot("current", k)`` (:attr:`Branch.currents`) and ``Time``.  ``letter`` is the SPICE
    letter.  ``roles[k]`` names value slot k for reports and gradients: ``R C L gain source model`` or ``""`` for a
    literal inside an expression.
    """

    kind: str
    letter: str
    template: Expr
    roles: tuple[str, ...]
    units: tuple[str, ...]


@dataclass(slots=True, eq=False)
class Branch:
    """One two-terminal element; ``name`` is flattened and lower case (``xn.r1``), nets are numbers."""

    name: str
    nets: tuple[int, int]
    law: Law
    values: tuple[Value, ...]
    span: Span
    voltages: tuple[tuple[int, int], ...] = ()
    currents: tuple[int, ...] = ()
    initial: Value | None = None  # IC= of a capacitor (V) or an inductor (A), start of an integral


@dataclass(frozen=True, slots=True, eq=False)
class Coupling:
    """Two coupled inductors, by branch number; their mutual inductance is ``coefficient`` * sqrt(L1 L2)."""

    name: str
    inductors: tuple[int, int]
    coefficient: Value
    span: Span


@dataclass(frozen=True, slots=True)
class SharedParameter:
    """An independent number with a name: a ``.param``, a subcircuit default or an override on an X line."""

    name: str
    value: float
    span: Span


@dataclass(frozen=True, slots=True)
class Trained:
    """A directive's word that a value is learnt: that of ``branch`` (its slot 0), or of ``parameter``."""

    branch: int | None
    parameter: str | None
    minimum: float
    maximum: float
    span: Span


@dataclass(frozen=True, slots=True)
class Varied:
    """The deck's word that a value has a spread: that of ``branch`` (its slot 0), or of ``parameter``."""

    branch: int | None
    parameter: str | None
    spread: Spread
    span: Span


@dataclass(frozen=True, slots=True)
class Driven:
    """Feature ``k`` of a data set drives this branch: multiplies its value or replaces its waveform."""

    branch: int
    mode: str  # "amplitude" or "waveform"


@dataclass(frozen=True, slots=True, eq=False)
class Limited:
    """A semiconductor of whose voltages the search for an operating point takes care, as SPICE does.

    ``kind`` is its letter, ``nets`` its inner terminals: anode, cathode of D; collector, base, emitter of Q; drain,
    gate, source of J and with bulk of M.  ``numbers``, in volts where nothing else is said:
    D: emission voltage, critical voltage, emission voltage of the breakdown, breakdown voltage;
    Q: sign (1 for npn), thermal voltage, critical voltage;  J: sign, thermal voltage, critical voltage, threshold;
    M: sign, thermal voltage, critical voltages of source and drain, VTO, flat-band voltage, GAMMA (sqrt V), PHI.
    ``branches`` are the numbers of its branches, ``off`` whether its line says so.
    """

    nets: tuple[int, ...]
    branches: range
    kind: str
    numbers: tuple[float, ...]
    off: bool


@dataclass(slots=True, eq=False)
class Circuit:
    """The elaborated deck.  ``nets[0]`` is ground, ``"0"``; all names as ngspice prints them."""

    title: str
    nets: list[str]
    branches: list[Branch]
    parameters: dict[str, SharedParameter]
    initial_voltages: dict[int, tuple[Value, Span]] = field(default_factory=dict)  # .ic
    nodeset: dict[int, tuple[Value, Span]] = field(default_factory=dict)
    timing: Timing | None = None
    temperature: float = 27.0  # degrees Celsius
    options: dict[str, float | None] = field(default_factory=dict)
    selected: list[str] = field(default_factory=list)  # node names, or "i(name)"; empty means all nodes
    measures: list[Measure] = field(default_factory=list)
    driven: list[Driven] = field(default_factory=list)  # feature order
    outputs: list[int] = field(default_factory=list)  # nets, class order
    trained: list[Trained] = field(default_factory=list)
    varied: list[Varied] = field(default_factory=list)
    couplings: list[Coupling] = field(default_factory=list)
    internal: dict[int, int] = field(default_factory=dict)  # nets inside of devices, and the net each is behind
    limited: list[Limited] = field(default_factory=list)  # only where .tran has no uic
    instances: dict[str, list[str]] = field(default_factory=dict)  # subcircuit name -> instance paths
    sources: dict[str, Sequence[str]] = field(default_factory=dict)
    diagnostics: list[Diagnostic] = field(default_factory=list)

    def number(self, value: Value) -> float:
        """Return a bound value at the deck's own parameters."""
        if not isinstance(value, Expr):
            return float(value)
        known: dict[Expr, np.ndarray] = {
            leaf: np.array([self.parameters[leaf.name].value])
            for leaf in postorder(value)
            if isinstance(leaf, Parameter)
        }
        return float(np.asarray(evaluate([value], known)[0]).reshape(-1)[0])

    def graph(self) -> nx.MultiGraph:
        """Return nets as nodes and branches as edges (key: branch name; attributes: kind, branch number)."""
        graph: nx.MultiGraph = nx.MultiGraph(title=self.title)
        graph.add_nodes_from(self.nets)
        graph.add_edges_from(
            (self.nets[b.nets[0]], self.nets[b.nets[1]], b.name, {"kind": b.law.kind, "branch": number})
            for number, b in enumerate(self.branches)
        )
        return graph
