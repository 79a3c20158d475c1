"""Whether the operating point a run starts from is the only one, and whether the circuit would stay there.

A latch has three points of rest, and the one in the middle is found as easily as the others.  Where the equations of
the circuit, linearised there, have a mode that grows, or where another search ends at another point, a remark says so.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from itertools import pairwise

import numpy as np

from netc.diagnostics import Diagnostic, Diagnostics, Severity, Span
from netc.elaborate.circuit import Circuit
from netc.ir.interpret import Array
from netc.ir.nodes import Time, postorder
from netc.ir.program import Program
from netc.lower.topology import build_forest
from netc.runtime.nodal import Nodal, Point
from netc.runtime.rest import arranged
from netc.runtime.system import DENSE, System

_GROWTH = 7.0
"""How often a disturbance has to grow e-fold in the run to matter: a thousand times in all."""
_APART = 1e-2  # relative, and volts
_SHOWN = 3
_PART = 0.1  # of the largest share in a mode, from which on a node is named
_ROUNDING = 1e-9
_STILL = 1e-7  # of the largest value: less is no movement


def named_states(circuit: Circuit, point: Point) -> dict[str, float]:
    """Return an operating point by the names that states and unknowns of the lowered circuit have.

    Args:
        circuit: at rest (:func:`netc.lower.at_rest`).
        point: volts by net, currents and integrals by branch.
    """
    volts, own = point
    forest = build_forest(circuit, Diagnostics())
    across: dict[str, float] = {}
    for net, number in enumerate(forest.branch):
        if number >= 0 and circuit.branches[number].law.kind == "C" and forest.parent[net] > 0:
            name, parent = circuit.branches[number].name, circuit.nets[forest.parent[net]]
            across[name] = volts[circuit.nets[net]] - volts[parent]
    return own | across | volts


def other_points(nodal: Nodal, found: Point) -> list[Point]:
    """Return operating points that other searches end at, each different from ``found`` and from the others."""
    volts = found[0]
    low, high = min(volts.values()), max(volts.values())
    mirrored = {name: low + high - v for name, v in volts.items()}
    result: list[Point] = []
    starts: list[dict[str, float]] = [mirrored, dict.fromkeys(volts, high), dict.fromkeys(volts, low)]
    for other in (nodal.search(on=False), *(nodal.search_from(start) for start in starts)):
        if other is not None and all(apart(other[0], known[0]) for known in (found, *result)):
            result.append(other)
    return result


def apart(first: dict[str, float], second: dict[str, float]) -> list[str]:
    """Return the nets on which two points differ, those furthest apart first."""
    by = {name: abs(v - second[name]) for name, v in first.items()}
    far = [name for name, d in by.items() if d > _APART * (1.0 + abs(second[name]))]
    return sorted(far, key=lambda name: -by[name])


def growing_mode(program: Program, values: dict[str, float]) -> tuple[float, bool, list[str]] | None:
    """Return the fastest growth at a point of rest, 1/s, whether it swings, and the states it moves most.

    Args:
        program: the circuit at rest, with algebraic blocks.
        values: of its states and unknowns by name.
    """
    system = System(program)
    if not 0 < system.states <= system.size <= DENSE:
        return None
    v = arranged(system, values)
    with np.errstate(all="ignore"):
        matrix = np.asarray(system.jacobian(0.0, v))
        if not np.isfinite(matrix).all():
            return None
        found = modes(matrix, system.states)
    if found is None:
        return None
    rates, shapes = found
    fastest = int(np.argmax(rates.real))
    growth = float(rates[fastest].real)
    if growth <= _ROUNDING * float(np.max(np.abs(rates))):
        return None
    order = _foremost(shapes[:, fastest])
    return growth, abs(rates[fastest].imag) > growth * 1e-6, [system.names[k] for k in order]


def lingering(
    system: System, samples: Sequence[tuple[float, Array]], largest: Array, moving: Set[int], *, rested: bool
) -> str:
    """Return a sentence if a run stays at a point that it would leave if anything disturbed it, else nothing.

    Args:
        system: that ran.
        samples: times and variables ``(size,)`` along the run, ascending.
        largest: value of each variable in the run, ``(size,)``.
        moving: states that are known to move, however little.
        rested: whether the run starts from an operating point; of that one :func:`remarks` tells.
    """
    if not 0 < system.states <= system.size <= DENSE:
        return ""
    n, grown, since, first = system.states, 0.0, 0.0, True
    for (time, v), (later, after) in pairwise(samples):
        moved = np.abs(after - v)[:n] > _STILL * (largest[:n] + _STILL)
        moved[list(moving)] = True
        mode = None if moved.all() else _fastest_of(system, time, v, moved)
        if mode is None:
            grown, first = 0.0, False
            continue
        since = time if grown == 0.0 else since
        grown += mode[0] * (later - time)
        if grown > _GROWTH and not (rested and first):
            shown = [f"{system.names[k]} at {after[k]:.4g} {system.units[k]}" for k in mode[1][:_SHOWN]]
            return (
                f"from t = {since:.3g} s on the circuit stays at a point that is not stable ({_listed(shown)}): what "
                f"disturbs it grows e-fold every {1.0 / mode[0]:.2g} s, so rounding decides when it leaves, and in "
                "ngspice may do so otherwise; start it on one side by .ic"
            )
    return ""


def _fastest_of(system: System, time: float, v: Array, moved: Array) -> tuple[float, list[int]] | None:
    """Return the fastest growth of what has not ``moved``, 1/s, and the states it moves most, or ``None``."""
    with np.errstate(all="ignore"):
        found = modes(system.dense(time, v), system.states)
    if found is None:
        return None
    rates, shapes = found
    least = _ROUNDING * float(np.max(np.abs(rates)))
    for k in np.argsort(-rates.real):
        if rates[k].real <= least:
            break
        order = _foremost(shapes[:, k])
        if not moved[order].any():
            return float(rates[k].real), order
    return None


def _foremost(shape: Array) -> list[int]:
    share = np.abs(shape)
    return [int(k) for k in np.argsort(-share) if share[k] > _PART * share.max()]


def modes(matrix: Array, states: int) -> tuple[Array, Array] | None:
    """Return eigenvalues and vectors of the states' own equations, what is algebraic solved for.

    Args:
        matrix: derivatives of all rates by all variables, ``(size, size)``, states first.
        states: number of those.
    """
    own, drive = matrix[:states, :states], matrix[:states, states:]
    if matrix.shape[0] > states:
        inner = matrix[states:, states:]
        rows = np.abs(inner).max(axis=1)
        if not (rows > 0).all():
            return None
        try:
            follow = np.linalg.solve(inner / rows[:, None], matrix[states:, :states] / rows[:, None])
        except np.linalg.LinAlgError:
            return None
        own = own - drive @ follow
    if not np.isfinite(own).all():
        return None
    rates, shapes = np.linalg.eig(own)
    return rates, shapes


def remarks(circuit: Circuit, program: Program, nodal: Nodal, found: Point) -> list[Diagnostic]:
    """Return what there is to say of the operating point from which a run starts.

    Args:
        circuit: as the deck has it, with a transient analysis.
        program: the circuit at rest, lowered.
        nodal: the same as ngspice has it.
        found: where the run starts.
    """
    if not circuit.limited and not _is_bent(circuit):
        return []
    timing = circuit.timing
    fixed = {net for b in circuit.branches if b.law.kind == "V" and 0 in b.nets for net in b.nets}
    own = {name for n, name in enumerate(circuit.nets) if n and n not in circuit.internal and n not in fixed}
    mode = growing_mode(program, named_states(nodal.circuit, found))
    if mode is not None and timing is not None and mode[0] * timing.tstop > _GROWTH:
        growth, swings, names = mode
        if swings and _is_driven(circuit):
            return []
        at = [net for name in names for net in _nets(circuit, name) if net in own]
        if not set(at).isdisjoint(_reached(circuit, set(circuit.initial_voltages), fixed)):
            return []  # what .ic held moves it once it lets go
        shown = list(dict.fromkeys(at)) or names
        told = _listed([f"{name} at {found[0][name]:.4g} V" if name in found[0] else name for name in shown[:_SHOWN]])
        message = (
            f"the operating point is not stable ({told}): what disturbs it grows e-fold every {1.0 / growth:.2g} s, "
            "so rounding decides when the circuit leaves it, and in ngspice may do so otherwise"
        )
        hint = f"start it on one side by .ic or .nodeset, such as .ic v({shown[0]})=0"
        return [Diagnostic(Severity.WARNING, message, _place(circuit, shown[0]), hint)]
    for other in [] if circuit.nodeset or circuit.initial_voltages else other_points(nodal, found):
        differing = [name for name in apart(found[0], other[0]) if name in own]
        if not differing or growing_mode(program, named_states(nodal.circuit, other)) is not None:
            continue
        told = _listed([f"{n} at {found[0][n]:.4g} V or {other[0][n]:.4g} V" for n in differing[:_SHOWN]])
        message = f"the circuit has more than one operating point ({told}); the run starts from the first, as ngspice's"
        name = differing[0]
        hint = f"choose by .ic or .nodeset, such as .nodeset v({name})={found[0][name]:.4g}"
        return [Diagnostic(Severity.WARNING, message, _place(circuit, name), hint)]
    return []


def _nets(circuit: Circuit, name: str) -> list[str]:
    """Return the nets of a state: its own, or both of the capacitor whose voltage it is."""
    if name in circuit.nets:
        return [name]
    return [circuit.nets[circuit.internal.get(n, n)] for b in circuit.branches if b.name == name for n in b.nets if n]


def _reached(circuit: Circuit, start: set[int], fixed: set[int]) -> set[str]:
    """Return the nets that elements join to those in ``start``, not through ground or a ``fixed`` voltage."""
    joined: dict[int, set[int]] = {}
    for branch in circuit.branches:
        ends = {net for pair in (branch.nets, *branch.voltages) for net in pair}
        ends |= {net for number in branch.currents for net in circuit.branches[number].nets}
        for net in ends - fixed - {0}:
            joined.setdefault(net, set()).update(ends - fixed - {0})
    found = set(start)
    waiting = list(found)
    while waiting:
        fresh = joined.get(waiting.pop(), set()) - found
        found |= fresh
        waiting += fresh
    return {circuit.nets[n] for n in found}


def _is_bent(circuit: Circuit) -> bool:
    """Whether anything but values and the time stands in a law."""
    return any(b.voltages or b.currents for b in circuit.branches)


def _is_driven(circuit: Circuit) -> bool:
    """Whether a source changes with time."""
    laws = {id(b.law): b.law for b in circuit.branches if b.law.kind in "VI"}
    return any(isinstance(node, Time) for law in laws.values() for node in postorder(law.template))


def _place(circuit: Circuit, name: str) -> Span | None:
    for branch in circuit.branches:
        if any(circuit.nets[net] == name for net in branch.nets):
            return branch.span
    return None


def _listed(told: list[str]) -> str:
    return ", ".join(told)
