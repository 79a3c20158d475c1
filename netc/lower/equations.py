"""Modified nodal analysis over families: voltages, currents and injections as expressions of lanes.

Everything is made on demand and remembered, so what nobody asks for (the current of a buffer that only
holds a word line, say) is never built.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from netc.diagnostics import Diagnostics
from netc.elaborate.circuit import Circuit, Driven, Law, Trained
from netc.ir import build
from netc.ir.build import ZERO, add, div, mul, neg, sub
from netc.ir.nodes import Expr, Index, Input, Slot, State, Unknown, substitute
from netc.ir.program import Spread
from netc.lower.couplings import Couplings
from netc.lower.cutsets import excess_voltage
from netc.lower.families import BranchFamily, Families, NetFamily
from netc.lower.order import Order
from netc.lower.slopes import Slopes
from netc.lower.topology import Forest
from netc.lower.values import BlockNames, Values, spreads_of_branches

_LONGEST_PATH = 16
"""Tree branches between two nets whose voltages are added one by one."""

INPUT = "features"
"""Name of the one input block of a program."""


def gather(x: Expr, index: Index) -> Expr:
    """Lanes of a family's value by number; one lane stands for all of them."""
    return x if x.shape == (1,) else build.gather(x, index)


def scatter_add(x: Expr, index: Index, lanes: int) -> Expr:
    """Sum a family's values into ``lanes`` places; where each place gets one, one lane still stands for all."""
    if x.shape == (1,) and len(index) == lanes and len(set(index.array.tolist())) == lanes:
        return x
    return build.scatter_add(x, index, lanes)


@dataclass(slots=True, eq=False)
class Definition:
    """An algebraic unknown: ``explicit`` gives it outright, otherwise ``residual`` is to vanish.

    ``build`` makes the residual when all unknowns are known: what it is made of may lead back to the unknown.
    Unknowns of one ``level`` and ``group`` are solved together.
    """

    unknown: Unknown
    level: int
    lanes: tuple[int, ...]  # net or branch numbers
    of_net: bool
    group: int = 0
    explicit: Expr | None = None
    residual: Expr | None = None
    build: Callable[[], Expr] | None = None


@dataclass(eq=False)
class Equations:
    """Builds the expressions of one circuit; families are referred to by number."""

    circuit: Circuit
    forest: Forest
    order: Order
    families: Families
    names: BlockNames
    values: Values
    diagnostics: Diagnostics
    couplings: Couplings
    definitions: list[Definition] = field(default_factory=list)
    net_states: dict[int, State] = field(default_factory=dict)  # net family -> capacitor voltages
    branch_states: dict[int, State] = field(default_factory=dict)  # branch family -> inductor currents
    _under_way: set[int] = field(default_factory=set)  # branch families whose current is being built
    _voltage: dict[int, Expr] = field(default_factory=dict)
    _across_tree: dict[int, Expr] = field(default_factory=dict)
    _current: dict[int, Expr] = field(default_factory=dict)
    _control: dict[int, Expr] = field(default_factory=dict)
    _injection: dict[int, Expr] = field(default_factory=dict)
    _rate: dict[int, Expr] = field(default_factory=dict)
    _law: dict[int, Expr] = field(default_factory=dict)
    _slots: dict[tuple[int, int], Expr] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.slopes = Slopes(self)
        for net_family in self.families.nets:
            net = net_family.nets[0]
            if net and self.forest.branch[net] >= 0 and self._tree_kind(net_family) == "C":
                hints = [self.circuit.nets[n] for n in net_family.nets]
                self.net_states[net_family.number] = State(self.names.new("v", hints), len(hints))
        for branch_family in self.families.branches:
            if self._law_of(branch_family).kind in ("L", "S") and not branch_family.in_tree:
                hints = [self.circuit.branches[b].name for b in branch_family.branches]
                self.branch_states[branch_family.number] = State(self.names.new("i", hints), len(hints))

    # ------------------------------------------------------------------ small look-ups

    def _law_of(self, family: BranchFamily) -> Law:
        return self.circuit.branches[family.branches[0]].law

    def _tree_kind(self, family: NetFamily) -> str:
        return self.circuit.branches[self.forest.branch[family.nets[0]]].law.kind

    def _net_lanes(self, nets: list[int]) -> Index:
        place = self.families.net_place
        return Index([place[n][1] for n in nets])

    @cached_property
    def _driven(self) -> dict[int, tuple[int, Driven]]:
        return {d.branch: (feature, d) for feature, d in enumerate(self.circuit.driven)}

    @cached_property
    def _trained(self) -> dict[int, Trained]:
        return {t.branch: t for t in self.circuit.trained if t.branch is not None}

    @cached_property
    def _spreads(self) -> dict[int, tuple[Spread, ...]]:
        return spreads_of_branches(self.circuit)

    @cached_property
    def _links_at(self) -> dict[int, list[tuple[BranchFamily, int]]]:
        """Branch families outside the forest by the net families of their ends (0 first, 1 second end)."""
        found: dict[int, list[tuple[BranchFamily, int]]] = {}
        for family in self.families.branches:
            if not family.in_tree:
                for end, pin in enumerate(family.pins):
                    found.setdefault(pin, []).append((family, end))
        return found

    @cached_property
    def _children_of(self) -> dict[int, list[NetFamily]]:
        found: dict[int, list[NetFamily]] = {}
        for family in self.families.nets:
            parent = self.forest.parent[family.nets[0]]
            if parent >= 0:
                found.setdefault(self.families.net_place[parent][0], []).append(family)
        return found

    @cached_property
    def _tree_branches_of(self) -> dict[int, list[BranchFamily]]:
        """Tree branch families by the net family of their child end."""
        found: dict[int, list[BranchFamily]] = {}
        for family in self.families.branches:
            if family.in_tree:
                found.setdefault(family.pins[self.child_end(family)], []).append(family)
        return found

    def child_end(self, family: BranchFamily) -> int:
        """Which of its ends a family of tree branches turns to the child."""
        number = family.branches[0]
        return 0 if self.forest.branch[self.circuit.branches[number].nets[0]] == number else 1

    def child_lanes(self, family: BranchFamily) -> Index:
        """Lanes, in their family, of the nets that tree branches lead up from."""
        end = self.child_end(family)
        return self._net_lanes([self.circuit.branches[b].nets[end] for b in family.branches])

    # ------------------------------------------------------------------ values and laws

    def value(self, family: BranchFamily, slot: int) -> Expr:
        """Lanes of one bound value of a family."""
        key = (family.number, slot)
        if key not in self._slots:
            law = self._law_of(family)
            branches = [self.circuit.branches[b] for b in family.branches]
            bound = [b.values[slot] for b in branches]
            trained = self._trained.get(family.branches[0]) if slot == 0 else None
            spreads = self._spreads.get(family.branches[0], ()) if slot == 0 else ()
            if trained is not None or not isinstance(bound[0], Expr):
                self._slots[key] = self.values.literal(
                    [self.values.number(v) for v in bound],
                    law.roles[slot],
                    law.units[slot],
                    law.letter.lower(),
                    [b.name for b in branches],
                    [b.span for b in branches],
                    trained,
                    spreads,
                )
            else:
                self._slots[key] = self.values.shared([v for v in bound if isinstance(v, Expr)])
        return self._slots[key]

    def law(self, family: BranchFamily) -> Expr:
        """The family's template with everything filled in, its drive applied."""
        if family.number not in self._law:
            filled = substitute(self._law_of(family).template, lambda node: self._fill(family, node))
            self._law[family.number] = self._drive(family, filled)
        return self._law[family.number]

    def _fill(self, family: BranchFamily, node: Expr) -> Expr | None:
        if not isinstance(node, Slot):
            return None
        branches = [self.circuit.branches[b] for b in family.branches]
        if node.kind == "value":
            return self.value(family, node.index)
        if node.kind == "voltage":
            return self.difference([b.voltages[node.index] for b in branches])
        controls = [b.currents[node.index] for b in branches]
        control, lanes = self.families.branch_place[controls[0]][0], self.families.branch_place
        return gather(self._control_current(control), Index([lanes[c][1] for c in controls]))

    def _drive(self, family: BranchFamily, value: Expr) -> Expr:
        if family.branches[0] not in self._driven:
            return value
        features = Input(INPUT, len(self.circuit.driven))
        driven = gather(features, Index([self._driven[b][0] for b in family.branches]))
        return driven if self._driven[family.branches[0]][1].mode == "waveform" else mul(value, driven)

    # ------------------------------------------------------------------ voltages

    def voltage(self, number: int) -> Expr:
        """Lanes of the voltages of a family of nets."""
        if number not in self._voltage:
            family = self.families.nets[number]
            net = family.nets[0]
            if net == 0:
                self._voltage[number] = ZERO
            elif self.forest.parent[net] < 0:
                self._voltage[number] = self._root(family)
            else:
                parents = [self.forest.parent[n] for n in family.nets]
                above = gather(self.voltage(self.families.net_place[parents[0]][0]), self._net_lanes(parents))
                self._voltage[number] = add(above, self._tree_voltage(family))
        return self._voltage[number]

    def _tree_voltage(self, family: NetFamily) -> Expr:
        if family.number not in self._across_tree:
            self._across_tree[family.number] = self._across(family)
        return self._across_tree[family.number]

    def difference(self, pairs: list[tuple[int, int]]) -> Expr:
        """Lanes of the voltages between pairs of nets of the same families.

        Where tree branches lead from one to the other their voltages alone count: that across a capacitor is a state,
        even where the potential of both its ends is unknown.
        """
        path = self._path_between(pairs)
        if path is None:
            place = self.families.net_place
            first, second = (
                gather(self.voltage(place[nets[0]][0]), self._net_lanes(nets))
                for nets in ([a for a, _ in pairs], [b for _, b in pairs])
            )
            return sub(first, second)
        result: Expr = ZERO
        for sign, nets in path:
            family = self.families.nets[self.families.net_place[nets[0]][0]]
            across = gather(self._tree_voltage(family), self._net_lanes(nets))
            result = add(result, across) if sign > 0 else sub(result, across)
        return result

    def _path_between(self, pairs: list[tuple[int, int]]) -> list[tuple[int, list[int]]] | None:
        """Return the nets whose tree branches lead from each first net up (+1) and down (-1) to each second one.

        ``None`` where they only meet at ground, or where the lanes' paths are not alike.
        """
        found: list[list[tuple[int, int]]] = []
        place = self.families.net_place
        for first, second in pairs:
            up, down = self.forest.path_to_root(first), self.forest.path_to_root(second)
            roots = [self.forest.parent[path[-1]] if path else net for path, net in ((up, first), (down, second))]
            if roots[0] != roots[1] or len(up) + len(down) > _LONGEST_PATH:
                return None
            meet = roots[0]
            while up and down and up[-1] == down[-1]:
                meet = up.pop()
                down.pop()
            if meet == 0:
                return None
            found.append([(1, net) for net in up] + [(-1, net) for net in down])
            if [(s, place[n][0]) for s, n in found[-1]] != [(s, place[n][0]) for s, n in found[0]]:
                return None
        return [(sign, [path[k][1] for path in found]) for k, (sign, _) in enumerate(found[0])]

    def _root(self, family: NetFamily) -> Expr:
        """A potential that Kirchhoff's current law fixes."""
        definition = self.define("z", family.nets, of_net=True, at=self.order.voltage(family.nets[0]))
        self._voltage[family.number] = definition.unknown
        definition.build = lambda: self.injection(family.number)
        return definition.unknown

    def _across(self, family: NetFamily) -> Expr:
        """Voltage of the tree branches, child minus parent."""
        if family.number in self.net_states:
            return self.net_states[family.number]
        branches = self._tree_branches_of[family.number]
        if self._tree_kind(family) == "L":
            return excess_voltage(self, family, branches)
        here = self.order.voltage(family.nets[0])
        if self.order.cycle[here] >= 0:
            definition = self.define("e", family.nets, of_net=True, at=here)
            parent = self.forest.parent[family.nets[0]]
            parents = self._net_lanes([self.forest.parent[n] for n in family.nets])
            above = gather(self.voltage(self.families.net_place[parent][0]), parents)
            self._voltage[family.number] = add(above, definition.unknown)
            definition.build = lambda: sub(definition.unknown, self._source_voltage(family, branches))
            return definition.unknown
        value = self._source_voltage(family, branches)
        if any(
            self.circuit.branches[b.branches[0]].voltages or self.circuit.branches[b.branches[0]].currents
            for b in branches
        ) and value.shape == (len(family.nets),):
            definition = self.define("e", family.nets, of_net=True, at=here)
            definition.explicit, definition.residual = value, sub(definition.unknown, value)
            return definition.unknown
        return value

    def _source_voltage(self, family: NetFamily, branches: list[BranchFamily]) -> Expr:
        result: Expr = ZERO
        for branch in branches:
            value = self.law(branch)
            if self.child_end(branch) == 1:
                value = neg(value)
            lanes, count = self.child_lanes(branch), len(family.nets)
            uniform = len(branches) == 1 and value.shape == (1,)
            result = add(result, value if uniform else scatter_add(value, lanes, count))
        return result

    def define(self, prefix: str, lanes: list[int], *, of_net: bool, at: int, group: int = 0) -> Definition:
        """Add an unknown for each net or branch of ``lanes``; ``at`` is the quantity it stands for."""
        source = self.circuit.nets if of_net else [b.name for b in self.circuit.branches]
        name = self.names.new(prefix, [source[n] for n in lanes])
        definition = Definition(Unknown(name, len(lanes)), int(self.order.level[at]), tuple(lanes), of_net, group)
        self.definitions.append(definition)
        return definition

    def rate_definition(self, base: Definition, times: int, build: Callable[[], Expr]) -> Definition:
        """Define the time derivative of an algebraic unknown: ``times`` is its order, ``build`` gives its residual."""
        name = self.names.new("r", [base.unknown.name])
        unknown = Unknown(name, len(base.lanes))
        definition = Definition(unknown, base.level, base.lanes, base.of_net, times, build=build)
        self.definitions.append(definition)
        return definition

    def residual(self, definition: Definition) -> Expr:
        """Return what is to vanish, made the first time it is asked for."""
        if definition.residual is None:
            if definition.build is None:
                raise ValueError(f"{definition.unknown.name} has no residual")
            definition.residual = definition.build()
        return definition.residual

    def finish(self) -> None:
        """Make all residuals, and those of the unknowns they bring in."""
        done = 0
        while done < len(self.definitions):
            self.residual(self.definitions[done])
            done += 1

    # ------------------------------------------------------------------ currents

    def current(self, number: int) -> Expr:
        """Lanes of the currents of a family of branches, first net to second."""
        if number not in self._current:
            family = self.families.branches[number]
            if number in self._under_way:
                self._report_derivative_loop(family)
                return ZERO
            self._under_way.add(number)
            self._current[number] = self._tree_current(family) if family.in_tree else self._link_current(family)
            self._under_way.discard(number)
        return self._current[number]

    def _report_derivative_loop(self, family: BranchFamily) -> None:
        """A current that needs its own rate of change: the order of dependence knows no such cycle."""
        branch = self.circuit.branches[family.branches[0]]
        self.diagnostics.error(
            f"the current of '{branch.name}' depends on the rate of change of a voltage that it controls itself: "
            "not supported yet",
            branch.span,
            "put a resistor in series with the controlled source",
        )

    def _control_current(self, number: int) -> Expr:
        """Like :meth:`current`, cut at an unknown where currents depend on each other in a loop."""
        if number not in self._control:
            family = self.families.branches[number]
            here = self.order.current(family.branches[0])
            unknown = self._law_of(family).kind == "V" and not family.in_tree  # as its current is anyway
            if self.order.cycle[here] >= 0 and not unknown:
                definition = self.define("i", family.branches, of_net=False, at=here)
                self._control[number] = definition.unknown
                definition.build = lambda: sub(definition.unknown, self.current(number))
            else:
                self._control[number] = self.current(number)
        return self._control[number]

    def _tree_current(self, family: BranchFamily) -> Expr:
        end = self.child_end(family)
        child = family.pins[end]
        if child in self.net_states and self._in_cycle(self.families.nets[child]):
            capacitance = self.law(family)
            flow = mul(capacitance, gather(self.state_rate(child), self.child_lanes(family)))
        else:
            flow = gather(self.injection(child), self.child_lanes(family))
        return flow if end == 0 else neg(flow)

    def _link_current(self, family: BranchFamily) -> Expr:
        kind = self._law_of(family).kind
        if kind == "I":
            return self.law(family)
        if kind == "V":
            return self._resistive_current(family)
        if kind in ("L", "S"):
            return self.branch_states[family.number]
        if kind == "D":
            return self.slopes.of(self.law(family), self.circuit.branches[family.branches[0]], "the ddt() here")
        across = self.branch_voltage(family)
        if kind == "R":
            return div(across, self.law(family))
        branch = self.circuit.branches[family.branches[0]]
        return mul(self.law(family), self.slopes.of(across, branch, f"the voltage across '{branch.name}'"))

    def _resistive_current(self, family: BranchFamily) -> Expr:
        """The current at which sources that depend on it have the voltage that capacitors or other sources fix."""
        at = self.order.current(family.branches[0])
        definition = self.define("i", family.branches, of_net=False, at=at)
        definition.build = lambda: sub(self.branch_voltage(family), self.law(family))
        return definition.unknown

    def branch_voltage(self, family: BranchFamily) -> Expr:
        """Lanes of the voltages across a family of branches, first net minus second."""
        return self.difference([self.circuit.branches[b].nets for b in family.branches])

    def injection(self, number: int) -> Expr:
        """Lanes of the current that branches outside the forest push into the subtrees below these nets."""
        if number not in self._injection:
            count = len(self.families.nets[number].nets)
            result: Expr = ZERO
            for family, end in self._links_at.get(number, ()):
                lanes = self._net_lanes([self.circuit.branches[b].nets[end] for b in family.branches])
                flow = scatter_add(self.current(family.number), lanes, count)
                result = sub(result, flow) if end == 0 else add(result, flow)
            for child in self._children_of.get(number, ()):
                lanes = self._net_lanes([self.forest.parent[n] for n in child.nets])
                result = add(result, scatter_add(self._child_injection(child), lanes, count))
            self._injection[number] = result
        return self._injection[number]

    def _child_injection(self, child: NetFamily) -> Expr:
        """A child's injection, taken from its capacitor's unknown derivative inside a loop."""
        if child.number in self.net_states and self._in_cycle(child):
            family = self._tree_branches_of[child.number][0]
            return mul(self.by_child(family, self.law(family)), self.state_rate(child.number))
        return self.injection(child.number)

    # ------------------------------------------------------------------ states

    def _in_cycle(self, family: NetFamily) -> bool:
        return bool(self.order.cycle[self.order.injection(family.nets[0])] >= 0)

    def by_child(self, family: BranchFamily, value: Expr) -> Expr:
        """Reorder lanes of a tree branch family into those of its child nets."""
        lanes = self.child_lanes(family)
        return value if value.shape == (1,) else scatter_add(value, lanes, len(lanes))

    def state_rate(self, number: int) -> Expr:
        """Time derivative of the capacitor voltages of a family of nets."""
        if number not in self._rate:
            family = self.families.nets[number]
            branches = self._tree_branches_of[number]
            capacitance: Expr = ZERO
            if len(branches) == 1:
                capacitance = self.by_child(branches[0], self.law(branches[0]))
            else:
                for branch in branches:
                    lanes = self.child_lanes(branch)
                    capacitance = add(capacitance, scatter_add(self.law(branch), lanes, len(family.nets)))
            if self._in_cycle(family):
                definition = self.define("d", family.nets, of_net=True, at=self.order.injection(family.nets[0]))
                self._rate[number] = definition.unknown
                definition.build = lambda: sub(mul(capacitance, definition.unknown), self.injection(number))
            else:
                self._rate[number] = div(self.injection(number), capacitance)
        return self._rate[number]

    def branch_rate(self, number: int) -> Expr:
        """Time derivative of a family of inductor currents, or of integrals."""
        family = self.families.branches[number]
        if self._law_of(family).kind == "S":
            return self.law(family)
        if number in self.couplings.families:
            return self.couplings.rate(self, family)
        return div(self.branch_voltage(family), self.law(family))

    def rate_of(self, state: State) -> Expr:
        """Time derivative of one of the states."""
        for number, known in self.net_states.items():
            if known is state:
                return self.state_rate(number)
        return next(self.branch_rate(n) for n, known in self.branch_states.items() if known is state)
