"""The circuit whose operating point is the start of a transient without ``uic``.

    V1 in 0 SIN(1 1 1k)      ->   V1 in 0 1           sources stand at their value at t = 0: nothing changes with time
    .ic v(a)=0.2             ->   Va a 0 0.2          what .ic names is held by a source while the rest settles

Its states are not those of the circuit itself (a held capacitor is none), so voltages and currents go back as the
initial conditions of every node and inductor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import networkx as nx

from netc.diagnostics import Diagnostic, Diagnostics, Span
from netc.elaborate.circuit import Branch, Circuit, Law, Value
from netc.ir.nodes import Const, Slot, Time, substitute
from netc.lower.resistive import resistive_sources
from netc.lower.topology import build_forest, names

_HELD = Law("V", "V", Slot("value", 0), ("source",), ("V",))
_INTEGRAL = Law("I", "B", Slot("value", 0), ("",), ("",))
_DEVICES = frozenset("DJMQ")
_NOWHERE = Span("", 0)
_SAME_VOLTAGE = 1e-9  # volts, or relative
_LEAST = 1e-6  # volts, or relative, by which .ic may differ from what sources and inductors say
_SHARED = 0.01  # V, by which the start of a charge inside a device may be off without a remark


def has_capacitor_loop(circuit: Circuit) -> bool:
    """Whether a capacitor closes a loop with voltage sources and other capacitors, so that it is no state."""
    joined = nx.utils.UnionFind()
    for kind in "VC":
        for branch in circuit.branches:
            if branch.law.kind == kind:
                first, second = branch.nets
                if kind == "C" and joined[first] == joined[second]:
                    return True
                joined.union(first, second)
    return False


def states_hold_the_start(circuit: Circuit) -> bool:
    """Whether rest is where no state moves at t = 0, ``.ic`` fixing single states.

    Not so where a capacitor closes a loop (a source's slope drives a current through it, at rest there is none)
    where ``.ic`` names a node that is no grounded capacitor's, where an integral waits for the start and where a rate
    of change is read.
    """
    if has_capacitor_loop(circuit):
        return False
    if any(b.law.kind == "D" or (b.law.kind == "S" and b.initial is not None) for b in circuit.branches):
        return False
    if not circuit.initial_voltages:
        return True
    forest = build_forest(circuit, Diagnostics())
    return all(
        forest.parent[net] == 0 and circuit.branches[forest.branch[net]].law.kind == "C"
        for net in circuit.initial_voltages
    )


def check_loops(circuit: Circuit, voltages: Mapping[str, float]) -> list[Diagnostic]:
    """Refuse a start with ``uic`` at which a loop of capacitors and sources would have to jump.

    Args:
        circuit: the circuit, its run starting from given values.
        voltages: volts by name of net at the start.

    Returns:
        A warning where it is the charge inside a device that would have to jump.

    Raises:
        NetcError: a capacitor that closes a loop does not start at the voltage it is given (0 V where there is none).
    """
    diagnostics = Diagnostics(dict(circuit.sources), [])
    forest = build_forest(circuit, diagnostics)
    jumping: list[Branch] = []
    for number, branch in enumerate(circuit.branches):
        if branch.law.kind != "C" or forest.in_tree[number]:
            continue
        inside = branch.law.letter in _DEVICES and branch.initial is None
        first, second = (voltages.get(circuit.nets[net], 0.0) for net in branch.nets)
        if branch.initial is not None:
            wanted = circuit.number(branch.initial)
        else:
            given = [circuit.initial_voltages.get(net, (0.0, _NOWHERE))[0] for net in branch.nets]
            wanted = circuit.number(given[0]) - circuit.number(given[1])
        if abs(first - second - wanted) <= (_SHARED if inside else _SAME_VOLTAGE) * (1.0 + abs(wanted)):
            continue
        if inside:
            jumping.append(branch)
        else:
            diagnostics.error(
                f"'{branch.name}' is to start at {wanted:g} V, but the sources and capacitors of the loop it closes "
                f"put {first - second:g} V across it",
                branch.span,
                "give it that voltage by IC=, put a resistor in series, or leave out uic",
            )
    diagnostics.raise_if_failed()
    if jumping:
        diagnostics.warning(
            f"with uic the charge inside {names([b.name for b in jumping])} does not fit the voltages the sources and "
            "capacitors around start at: ngspice shares it among them in its first step, netc leaves them as they are",
            jumping[0].span,
            "name all nodes, the supplies too, in .ic, or leave out uic",
        )
    return list(diagnostics)


def check_given(circuit: Circuit, voltages: Mapping[str, float]) -> None:
    """Refuse a voltage of ``.ic`` that inductors, at the operating point wires, contradict.

    Args:
        circuit: with a transient analysis that starts from the operating point.
        voltages: volts by name of net there.

    Raises:
        NetcError: a source and inductors put a node of ``.ic`` elsewhere; through the latter an unbounded current.
    """
    diagnostics = Diagnostics(dict(circuit.sources), [])
    sources, wires = nx.utils.UnionFind(range(len(circuit.nets))), nx.utils.UnionFind(range(len(circuit.nets)))
    for branch in circuit.branches:
        if branch.law.kind in "VL":
            wires.union(*branch.nets)
        if branch.law.kind == "V":
            sources.union(*branch.nets)
    for net, (value, span) in circuit.initial_voltages.items():
        name, wanted = circuit.nets[net], circuit.number(value)
        if wires[net] != wires[0]:
            wires.union(net, 0)
        elif sources[net] != sources[0] and abs(voltages[name] - wanted) > _LEAST * (1.0 + abs(wanted)):
            diagnostics.error(
                f".ic wants '{name}' at {wanted:g} V, but inductors, wires at the operating point, tie it to "
                f"{voltages[name]:g} V",
                span,
                f"give it {voltages[name]:g} V, leave it out, or start from given values: IC= and uic",
            )
    diagnostics.raise_if_failed()


def check_rest(circuit: Circuit) -> None:
    """Refuse a circuit whose operating point leaves currents or voltages open.

    Raises:
        NetcError: an inductor closes a loop with voltage sources and other inductors, at rest all of them wires; or
            nothing but capacitors leads to a net, and no ``.ic`` names it.
    """
    diagnostics = Diagnostics(dict(circuit.sources), [])
    _check_capacitor_islands(circuit, diagnostics)
    joined = nx.utils.UnionFind()
    resistive = resistive_sources(circuit)
    for kind in "VL":
        for number, branch in enumerate(circuit.branches):
            if branch.law.kind != kind or number in resistive:
                continue
            first, second = branch.nets
            if kind == "L" and joined[first] == joined[second]:
                diagnostics.error(
                    f"'{branch.name}' closes a loop of inductors and voltage sources, in which the operating point "
                    "determines no current",
                    branch.span,
                    "put a small resistor in series, or start from given currents: IC= and uic",
                )
            joined.union(first, second)
    diagnostics.raise_if_failed()


def _check_capacitor_islands(circuit: Circuit, diagnostics: Diagnostics) -> None:
    joined = nx.utils.UnionFind(range(len(circuit.nets)))
    for branch in circuit.branches:
        if branch.law.kind != "C":
            joined.union(*branch.nets)
    for net in circuit.initial_voltages:
        joined.union(net, 0)
    reported = {joined[0]}
    for branch in circuit.branches:
        for net in branch.nets:
            if branch.law.kind == "C" and joined[net] not in reported:
                reported.add(joined[net])
                diagnostics.error(
                    f"nothing but capacitors leads to '{circuit.nets[net]}', so the operating point does not "
                    "determine its voltage",
                    branch.span,
                    "give it by .ic, add a large resistor to ground, or start from given values with uic",
                )


def at_rest(circuit: Circuit) -> Circuit:
    """Return ``circuit`` with its sources at t = 0 and with what ``.ic`` names held."""
    frozen: dict[int, Law] = {}
    branches = []
    fixed = nx.utils.UnionFind(range(len(circuit.nets)))
    for branch in circuit.branches:
        law = frozen.get(id(branch.law))
        if law is None:
            template = substitute(branch.law.template, lambda node: Const(0.0) if isinstance(node, Time) else None)
            law = frozen[id(branch.law)] = replace(branch.law, template=template)
        if law.kind == "S" and branch.initial is not None:
            branches.append(replace(branch, law=_INTEGRAL, values=(branch.initial,), voltages=(), currents=()))
            continue
        branches.append(replace(branch, law=law))
        if law.kind in "VL":
            fixed.union(*branch.nets)
    for net, (value, span) in circuit.initial_voltages.items():
        if fixed[net] != fixed[0]:  # a source outranks .ic, also through an inductor: see check_given
            fixed.union(net, 0)
            branches.append(Branch(f".ic {circuit.nets[net]}", (net, 0), _HELD, (value,), span))
    return replace(
        circuit,
        branches=branches,
        initial_voltages={},
        selected=[],
        measures=[],
        driven=[],
        outputs=[],
        trained=[],
        diagnostics=[],
    )


def started_at(circuit: Circuit, voltages: Mapping[str, float], currents: Mapping[str, float]) -> Circuit:
    """Return ``circuit`` as if every node's voltage were given by ``.ic`` and every inductor's current by ``IC=``.

    Args:
        circuit: with a transient analysis.
        voltages: volts by name of net.
        currents: amperes by name of inductor, and integrals by name.
    """
    branches = [replace(branch, initial=_start_of(branch, currents)) for branch in circuit.branches]
    start: dict[int, tuple[Value, Span]] = {
        net: (voltages[name], _NOWHERE) for net, name in enumerate(circuit.nets) if name in voltages
    }
    timing = replace(circuit.timing, uic=True) if circuit.timing else None
    return replace(circuit, branches=branches, initial_voltages=start, timing=timing, diagnostics=[])


def _start_of(branch: Branch, currents: Mapping[str, float]) -> Value | None:
    if branch.law.kind == "S":
        return currents.get(branch.name, branch.initial)
    return currents.get(branch.name) if branch.law.kind == "L" else None
