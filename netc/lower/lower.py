"""Circuit to differential-algebraic system: the stage's one verb."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence

import networkx as nx

from netc.diagnostics import Diagnostics, NetcError
from netc.elaborate.circuit import Branch, Circuit, Value
from netc.ir.build import ZERO, add, mul, neg, sub
from netc.ir.nodes import Concat, Expr, Index, Unknown, postorder
from netc.ir.program import AlgebraicBlock, InputBlock, Observable, Program, StateBlock
from netc.lower.couplings import Couplings, couplings_values
from netc.lower.cutsets import check_given_currents
from netc.lower.equations import INPUT, Definition, Equations, gather, scatter_add
from netc.lower.families import Families, sort_into_families, value_form
from netc.lower.order import dependence_order
from netc.lower.topology import Forest, build_forest
from netc.lower.values import BlockNames, Values, parameter_kinds


def lower(circuit: Circuit, *, powers: bool = False) -> Program:
    """Lower by modified nodal analysis to ``x' = f(x, z, u, p)``, ``0 = g(x, z, u, p)``.

    States are the voltages of the capacitors in a normal tree and the currents of inductors; voltages
    that sources fix are expressions; what remains are algebraic unknowns, in blocks in the order in which
    they can be solved.  Elements of one form become lanes of one array.

    Args:
        circuit: the flat circuit.
        powers: also make ``p(xn#.r#)`` observable, for each pattern of names the power (W) that its elements take up.

    Raises:
        NetcError: for source loops, floating nets, cut-sets of current sources, and an initial condition that could not
            hold; all together.
    """
    try:
        return _lowered(circuit, powers)
    except RecursionError:
        raise NetcError(
            "sources and capacitors of this deck depend on one another in too long a chain, one on the next",
            hint="shorten the chain, or put a resistor and a grounded capacitor into it",
        ) from None


def _lowered(circuit: Circuit, powers: bool) -> Program:
    diagnostics = Diagnostics(dict(circuit.sources), [])
    forest = build_forest(circuit, diagnostics)
    diagnostics.raise_if_failed()
    order = dependence_order(circuit, forest)
    families = sort_into_families(circuit, forest, order)
    names = BlockNames()
    values = Values(circuit, names, _value_groups(circuit, forest, families))
    couplings = Couplings(circuit, families, values)
    equations = Equations(circuit, forest, order, families, names, values, diagnostics, couplings)

    states = _states(equations)
    observables = _observables(equations) + (_powers(equations) if powers else ())
    equations.finish()
    algebraic = _algebraic(equations)
    _check_initial(equations)
    diagnostics.raise_if_failed()
    circuit.diagnostics.extend(diagnostics)
    timing = circuit.timing
    return Program(
        title=circuit.title,
        parameters=tuple(values.blocks.values()),
        inputs=_inputs(circuit),
        states=states,
        algebraic=algebraic,
        observables=observables,
        outputs=tuple(circuit.nets[n] for n in circuit.outputs),
        selected=tuple(circuit.selected),
        timing=timing,
        uic=bool(timing and timing.uic),
    )


def _value_groups(circuit: Circuit, forest: Forest, families: Families) -> list[Sequence[Value]]:
    groups: list[Sequence[Value]] = []
    for family in families.branches:
        members = [circuit.branches[b] for b in family.branches]
        first = members[0]
        groups += [[b.values[k] for b in members] for k, v in enumerate(first.values) if isinstance(v, Expr)]
        if isinstance(first.initial, Expr):
            groups.append([b.initial for b in members if b.initial is not None])
    for nets in families.nets:
        branches = [circuit.branches[forest.branch[n]] for n in nets.nets if forest.branch[n] >= 0]
        if branches and branches[0].law.kind == "C":
            bound = _given_at_start(circuit, branches, [1] * len(branches))
            if _alike(circuit, bound):
                groups += [[terms[k][1] for terms, _ in bound] for k in range(len(bound[0][0]))]
    groups += couplings_values(circuit, families)
    groups += [[value] for value, _ in circuit.initial_voltages.values() if isinstance(value, Expr)]
    return groups


def _inputs(circuit: Circuit) -> tuple[InputBlock, ...]:
    if not circuit.driven:
        return ()
    lanes = tuple(circuit.branches[d.branch].name for d in circuit.driven)
    return (InputBlock(INPUT, circuit.driven[0].mode, lanes),)


def _states(equations: Equations) -> tuple[StateBlock, ...]:
    circuit, forest, families = equations.circuit, equations.forest, equations.families
    blocks = []
    for number, state in equations.net_states.items():
        nets = families.nets[number].nets
        branches = [circuit.branches[forest.branch[n]] for n in nets]
        grounded = all(forest.parent[n] == 0 for n in nets)
        blocks.append(
            StateBlock(
                state.name,
                "V",
                tuple(circuit.nets[n] if grounded else b.name for n, b in zip(nets, branches, strict=True)),
                _initial(equations, branches, [forest.sign(n, circuit.branches) for n in nets]),
                equations.state_rate(number),
                tuple(b.span for b in branches),
            )
        )
    for number, state in equations.branch_states.items():
        branches = [circuit.branches[b] for b in families.branches[number].branches]
        blocks.append(
            StateBlock(
                state.name,
                "A" if branches[0].law.kind == "L" else "",
                tuple(b.name for b in branches),
                _initial(equations, branches, [1] * len(branches)),
                equations.branch_rate(number),
                tuple(b.span for b in branches),
            )
        )
    return tuple(blocks)


_Given = list[tuple[list[tuple[int, Value]], Branch]]  # for each branch the signed values its initial one is the sum of


def _initial(equations: Equations, branches: list[Branch], signs: list[int]) -> Expr:
    """Initial values as ngspice takes them under ``uic``: ``IC=``, else the difference of ``.ic`` voltages, else 0.

    Without ``uic`` an ``IC=`` of a capacitor is ignored (the operating point decides), as in ngspice.
    """
    bound = _given_at_start(equations.circuit, branches, signs)
    if not any(terms for terms, _ in bound):
        return ZERO
    if _alike(equations.circuit, bound):
        return _initial_lanes(equations, bound)
    parts = [_initial_lanes(equations, [b]) if b[0] else ZERO for b in bound]
    return Concat(*parts)


def _given_at_start(circuit: Circuit, branches: list[Branch], signs: list[int]) -> _Given:
    uic = bool(circuit.timing and circuit.timing.uic)
    bound: _Given = []
    for branch, sign in zip(branches, signs, strict=True):
        terms: list[tuple[int, Value]] = []
        if branch.initial is not None and (uic or branch.law.kind == "S"):
            terms = [(sign, branch.initial)]
        elif branch.law.kind == "C":
            ends = ((sign, branch.nets[0]), (-sign, branch.nets[1]))
            terms = [(s, circuit.initial_voltages[n][0]) for s, n in ends if n in circuit.initial_voltages]
        bound.append((terms, branch))
    return bound


def _alike(circuit: Circuit, bound: _Given) -> bool:
    """Whether the initial values of all branches are lanes of one expression."""
    kinds = parameter_kinds(circuit)
    return len({tuple((s, value_form(v, kinds)) for s, v in terms) for terms, _ in bound}) == 1


def _initial_lanes(equations: Equations, bound: _Given) -> Expr:
    branches = [b for _, b in bound]
    unit = {"C": "V", "L": "A"}.get(branches[0].law.kind, "")
    result: Expr = ZERO
    for position, (sign, first) in enumerate(bound[0][0]):
        column = [terms[position][1] for terms, _ in bound]
        if isinstance(first, Expr):
            value = equations.values.shared([v for v in column if isinstance(v, Expr)])
        else:
            value = equations.values.literal(
                [equations.values.number(v) for v in column],
                "initial",
                unit,
                "initial",
                [b.name for b in branches],
                [b.span for b in branches],
            )
        result = add(result, value if sign > 0 else neg(value))
    return result


def _algebraic(equations: Equations) -> tuple[AlgebraicBlock, ...]:
    """Blocks in dependence order; what must be solved together shares a level."""
    together: dict[tuple[int, int], list[Definition]] = defaultdict(list)
    blocks: list[tuple[tuple[int, int, int], AlgebraicBlock]] = []
    for position, definition in enumerate(equations.definitions):
        if definition.explicit is not None:
            blocks.append(((definition.level, 0, position), _block(equations, [definition])))
        else:
            together[definition.level, definition.group].append(definition)
    blocks += [((*key, -1), _block(equations, group)) for key, group in together.items()]
    return _in_order([block for _, block in sorted(blocks, key=lambda b: b[0])])


def _in_order(blocks: list[AlgebraicBlock]) -> tuple[AlgebraicBlock, ...]:
    """Bring blocks behind those they read; those that read each other become one.

    The levels of quantities give this order but for derivatives that sources which sense currents pass on.
    """
    home = {unknown: k for k, block in enumerate(blocks) for unknown in block.unknowns}
    graph: nx.DiGraph = nx.DiGraph()
    graph.add_nodes_from(range(len(blocks)))
    for k, block in enumerate(blocks):
        roots = block.residuals if block.explicit is None else (block.explicit,)
        graph.add_edges_from((home[node], k) for node in postorder(*roots) if isinstance(node, Unknown))
    if all(first < second or (first == second and blocks[first].explicit is None) for first, second in graph.edges):
        return tuple(blocks)
    whole = nx.condensation(graph)
    first = {n: min(members) for n, members in whole.nodes(data="members")}
    order = nx.lexicographical_topological_sort(whole, key=first.__getitem__)
    return tuple(_joined([blocks[k] for k in sorted(whole.nodes[n]["members"])]) for n in order)


def _joined(blocks: list[AlgebraicBlock]) -> AlgebraicBlock:
    if len(blocks) == 1:
        return blocks[0]
    return AlgebraicBlock(
        tuple(unknown for block in blocks for unknown in block.unknowns),
        tuple(
            residual
            for block in blocks
            for residual in (block.residuals if block.explicit is None else (sub(block.unknowns[0], block.explicit),))
        ),
        None,
        tuple(lanes for block in blocks for lanes in block.lanes),
        tuple(spans for block in blocks for spans in block.spans),
    )


def _block(equations: Equations, group: list[Definition]) -> AlgebraicBlock:
    circuit = equations.circuit

    def around(net: int) -> Branch:
        number = equations.forest.branch[net]
        if number >= 0:
            return circuit.branches[number]
        return next(b for b in circuit.branches if net in b.nets)

    lanes, spans = [], []
    for d in group:
        if d.of_net:
            lanes.append(tuple(circuit.nets[n] for n in d.lanes))
            spans.append(
                tuple(around(n).span for n in d.lanes[:1]) * len(d.lanes)
                if len(d.lanes) > 64
                else tuple(around(n).span for n in d.lanes)
            )
        else:
            lanes.append(tuple(circuit.branches[b].name for b in d.lanes))
            spans.append(tuple(circuit.branches[b].span for b in d.lanes))
    explicit = group[0].explicit
    return AlgebraicBlock(
        tuple(d.unknown for d in group),
        tuple(d.residual for d in group if d.residual is not None),
        explicit,
        tuple(lanes),
        tuple(spans),
    )


def _observables(equations: Equations) -> tuple[Observable, ...]:
    circuit = equations.circuit
    found = []
    for family in equations.families.nets:
        if family.nets == [0]:
            continue
        lanes = tuple(circuit.nets[n] for n in family.nets)
        found.append(Observable(equations.names.new("node", lanes), "V", lanes, equations.voltage(family.number)))
    by_name = {b.name: n for n, b in enumerate(circuit.branches)}
    measured = [signal for measure in circuit.measures for signal in measure.signals]
    for signal in dict.fromkeys((*circuit.selected, *measured)):
        if signal.startswith("i(") and signal.endswith(")"):
            number, lane = equations.families.branch_place[by_name[signal[2:-1]]]
            value = gather(equations.current(number), Index([lane]))
            found.append(Observable(equations.names.new("current", [signal[2:-1]]), "A", (signal,), value))
    return tuple(found)


def _powers(equations: Equations) -> tuple[Observable, ...]:
    """Voltage times current, summed over elements whose names differ by numbers only."""
    circuit = equations.circuit
    sums: dict[str, Expr] = {}
    for number, family in enumerate(equations.families.branches):
        if circuit.branches[family.branches[0]].law.kind in ("D", "S"):
            continue
        power = mul(equations.branch_voltage(family), equations.current(number))
        lanes: dict[str, list[int]] = {}
        for lane, branch in enumerate(family.branches):
            lanes.setdefault(power_name(circuit.branches[branch].name), []).append(lane)
        for name, members in lanes.items():
            found = scatter_add(gather(power, Index(members)), Index([0] * len(members)), 1)
            sums[name] = add(sums[name], found) if name in sums else found
    return tuple(Observable(equations.names.new("power", [name]), "W", (name,), value) for name, value in sums.items())


def power_name(element: str) -> str:
    """Return the observable that the power of an element goes into: ``p(r#_#p)`` for ``r7_3p``."""
    return f"p({re.sub(r'[0-9]+', '#', element)})"


def _check_initial(equations: Equations) -> None:
    """Refuse initial conditions that the states cannot carry, rather than drop them."""
    circuit, forest, diagnostics = equations.circuit, equations.forest, equations.diagnostics
    uic = bool(circuit.timing and circuit.timing.uic)
    number_of: Callable[[Value], float] = equations.values.number

    def start(net: int) -> float | None:
        """Voltage of a net at the start as far as capacitors alone determine it."""
        total = 0.0
        for child in forest.path_to_root(net):
            branch = circuit.branches[forest.branch[child]]
            if branch.law.kind != "C":
                return None
            sign = forest.sign(child, circuit.branches)
            if branch.initial is not None and uic:
                total += sign * number_of(branch.initial)
            else:
                ends = [
                    number_of(circuit.initial_voltages[n][0]) if n in circuit.initial_voltages else 0.0
                    for n in branch.nets
                ]
                total += sign * (ends[0] - ends[1])
        return total if forest.path_to_root(net) or net == 0 else None

    for net, (value, span) in circuit.initial_voltages.items():
        if net in circuit.internal:
            continue  # it only follows its terminal
        if not uic:
            # rest is sought with the node held, whatever hangs there; only sources outrank .ic
            path = forest.path_to_root(net)
            held = path and all(circuit.branches[forest.branch[n]].law.kind == "V" for n in path)
            if held and forest.parent[path[-1]] == 0:
                diagnostics.warning(
                    f".ic of '{circuit.nets[net]}' has no effect: sources fix its voltage", span, "remove it"
                )
            continue
        voltage = start(net)
        if voltage is None:
            path = forest.path_to_root(net)
            if not any(circuit.branches[forest.branch[n]].law.kind == "C" for n in path):
                diagnostics.warning(
                    f".ic of '{circuit.nets[net]}' has no effect: sources or resistors fix its voltage, "
                    "no capacitor does",
                    span,
                    "remove it, or add the node's capacitance",
                )
        elif abs(voltage - number_of(value)) > 1e-9 + 1e-6 * abs(voltage):
            diagnostics.warning(
                f".ic of '{circuit.nets[net]}' is overridden: capacitors' IC= start it at {voltage:g} V", span
            )
    if not uic:
        return
    check_given_currents(circuit, forest, diagnostics)
    for number, branch in enumerate(circuit.branches):
        if branch.law.kind == "C" and not forest.in_tree[number] and branch.initial is not None:
            ends = [start(n) for n in branch.nets]
            if None not in ends and abs((ends[0] or 0) - (ends[1] or 0) - number_of(branch.initial)) > 1e-9:
                diagnostics.error(
                    f"IC= of '{branch.name}' contradicts the other capacitors and sources of the loop it closes",
                    branch.span,
                    "give IC= to all but one capacitor of a loop",
                )
