"""Sorting nets and branches into families: what becomes one array.

Two branches are of one family when they have the same law (template, not text or subcircuit name), the same
form of bound values, pins in the same families of nets, and the same place in the order of dependence.
Nets that play different parts in the same kind of cell (a membrane and the state of a memristor, both
grounded capacitors) are told apart by what is attached to them.  Nothing finer: a ladder of 200 sections
is three families, not 600, because a family may reach its neighbours through any map of lanes.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from netc.elaborate.circuit import Branch, Circuit, Value
from netc.ir.nodes import Expr, Parameter, rebuild
from netc.lower.order import Order
from netc.lower.topology import Forest
from netc.lower.values import parameter_kinds, spreads_of_branches


@dataclass(slots=True, eq=False)
class NetFamily:
    """Nets that hang from the same kind of tree branch; ``nets`` in lane order."""

    number: int
    nets: list[int] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class BranchFamily:
    """Branches of one form; ``branches`` in lane order."""

    number: int
    branches: list[int] = field(default_factory=list)
    pins: tuple[int, int] = (-1, -1)  # net families of the two ends
    in_tree: bool = False


@dataclass(slots=True, eq=False)
class Families:
    """All families, and where each net and branch stands in them."""

    nets: list[NetFamily]
    branches: list[BranchFamily]
    net_place: list[tuple[int, int]]  # net -> (family, lane)
    branch_place: list[tuple[int, int]]  # branch -> (family, lane)


def value_form(value: Value | None, kinds: Mapping[str, str]) -> Hashable:
    """What two values must share to become lanes of one expression: all but the numbers and the names.

    ``kinds`` tells parameters apart that cannot be in one block, see :func:`parameter_kinds`.
    """
    if not isinstance(value, Expr):
        return value is None
    return _abstract(value, kinds)


def _abstract(value: Expr, kinds: Mapping[str, str]) -> Expr:
    if isinstance(value, Parameter):
        return Parameter(kinds.get(value.name, ""))
    return rebuild(value, tuple(_abstract(c, kinds) for c in value.children))


def sort_into_families(circuit: Circuit, forest: Forest, order: Order) -> Families:
    """Return the families of ``circuit``; deterministic, in deck order."""
    base = _base_classes(circuit, forest)
    sensed = {c for b in circuit.branches for c in b.currents}
    parts = [0] * len(circuit.nets)
    nets, net_place = _net_families(circuit, forest, order, base, sensed, parts)
    branches, branch_place = _branch_families(circuit, forest, order, base, net_place)
    parts = _parts_played(circuit, nets, branch_place)
    nets, net_place = _net_families(circuit, forest, order, base, sensed, parts)
    branches, branch_place = _branch_families(circuit, forest, order, base, net_place)
    families = Families(nets, branches, net_place, branch_place)
    for family in branches:
        _sort_lanes(circuit, families, family)
    return families


def _base_classes(circuit: Circuit, forest: Forest) -> list[Hashable]:
    """The class of each branch as far as it shows without its neighbours."""
    driven = {d.branch: d.mode for d in circuit.driven}
    trained = {t.branch: (t.minimum, t.maximum) for t in circuit.trained if t.branch is not None}
    spreads, kinds = spreads_of_branches(circuit), parameter_kinds(circuit)
    forms: dict[int, Hashable] = {}
    keep: list[Value] = []  # holds what `forms` knows by id

    def form(value: Value | None) -> Hashable:
        if value is None or isinstance(value, float):
            return value is None
        if id(value) not in forms:
            keep.append(value)
            forms[id(value)] = value_form(value, kinds)
        return forms[id(value)]

    plain: dict[int, Hashable] = {}

    def base(number: int, branch: Branch) -> Hashable:
        key = id(branch.law)
        if (
            number not in driven
            and number not in trained
            and number not in spreads
            and branch.initial is None
            and len(branch.values) == 1
            and isinstance(branch.values[0], float)
        ):
            return plain.setdefault((key << 1) | forest.in_tree[number], ("plain", key, forest.in_tree[number]))
        return (
            key,
            tuple(form(v) for v in branch.values),
            form(branch.initial),
            driven.get(number),
            trained.get(number),
            spreads.get(number),
            forest.in_tree[number],
        )

    return [base(number, branch) for number, branch in enumerate(circuit.branches)]


def _net_families(
    circuit: Circuit, forest: Forest, order: Order, base: list[Hashable], sensed: set[int], parts: list[int]
) -> tuple[list[NetFamily], list[tuple[int, int]]]:
    families: list[NetFamily] = []
    place: list[tuple[int, int]] = [(-1, -1)] * len(circuit.nets)
    known: dict[Hashable, int] = {}
    # parents and controls first: by level, then by depth; ties in deck order
    for net in sorted(range(len(circuit.nets)), key=lambda n: (order.level[n], forest.depth[n], n)):
        key: Hashable
        if net == 0:
            key = "ground"
        else:
            number, here = forest.branch[net], order.voltage(net)
            inject = order.injection(net)
            # a current that others read has to be known before them, so its place counts as well
            late = (int(order.level[inject]), bool(order.cycle[inject] >= 0)) if number in sensed else ()
            step = (
                int(order.phase[here]),
                bool(order.sampled[here]),
                int(order.level[here]),
                bool(order.cycle[here] >= 0),
            )
            if number < 0:
                key = ("root", step, parts[net])
            else:
                branch = circuit.branches[number]
                controls = tuple(place[n][0] for pair in branch.voltages for n in pair)
                key = (
                    base[number],
                    forest.sign(net, circuit.branches),
                    place[forest.parent[net]][0],
                    controls,
                    step,
                    late,
                    parts[net],
                )
        family = known.setdefault(key, len(families))
        if family == len(families):
            families.append(NetFamily(family))
        families[family].nets.append(net)
        place[net] = (family, 0)
    for family_of in families:
        family_of.nets.sort()
        for lane, net in enumerate(family_of.nets):
            place[net] = (family_of.number, lane)
    return families, place


def _branch_families(
    circuit: Circuit, forest: Forest, order: Order, base: list[Hashable], net_place: list[tuple[int, int]]
) -> tuple[list[BranchFamily], list[tuple[int, int]]]:
    families: list[BranchFamily] = []
    place: list[tuple[int, int]] = [(-1, -1)] * len(circuit.branches)
    known: dict[Hashable, int] = {}
    offset = order.nets
    level, cycle = order.level, order.cycle
    # branches that read other branches' currents come after those
    numbers = sorted(
        range(len(circuit.branches)), key=lambda n: (bool(circuit.branches[n].currents), level[offset + n], n)
    )
    for number in numbers:
        branch = circuit.branches[number]
        first, second = branch.nets
        key: Hashable = (base[number], net_place[first][0], net_place[second][0])
        if branch.voltages:
            key = (key, tuple((net_place[a][0], net_place[b][0]) for a, b in branch.voltages))
        if branch.currents:
            controls = tuple(place[c][0] for c in branch.currents)
            here = offset + number
            # inside a loop of currents nothing is known of the control yet: such a branch stays alone
            alone = number if -1 in controls else -1
            key = (key, controls, int(level[here]), bool(cycle[here] >= 0), alone)
        family = known.setdefault(key, len(families))
        if family == len(families):
            families.append(
                BranchFamily(family, pins=(net_place[first][0], net_place[second][0]), in_tree=forest.in_tree[number])
            )
        place[number] = (family, len(families[family].branches))
        families[family].branches.append(number)
    return families, place


_SLIVER, _SLIVER_SHARE = 4, 8
"""A group of at most so many nets, so many times smaller than its like, does not get an array of its own."""


def _parts_played(circuit: Circuit, families: list[NetFamily], branch_place: list[tuple[int, int]]) -> list[int]:
    """Number the parts nets play within their family, by the branch families attached and how.

    A net that merely lacks some neighbours (the last section of a ladder), or a few whose neighbours are
    of the same law but of another family (the first section), play the part of the others.
    """
    attached: list[set[tuple[int, int]]] = [set() for _ in circuit.nets]
    for number, branch in enumerate(circuit.branches):
        family = branch_place[number][0]
        for position, net in enumerate((*branch.nets, *(n for pair in branch.voltages for n in pair))):
            attached[net].add((family, position))
    law = {branch_place[n][0]: id(b.law) for n, b in enumerate(circuit.branches)}
    parts = [0] * len(circuit.nets)
    for family_of in families:
        groups: dict[frozenset[tuple[int, int]], list[int]] = {}
        for net in family_of.nets:
            groups.setdefault(frozenset(attached[net]), []).append(net)
        kept: list[tuple[set[tuple[int, int]], int]] = []
        for around, nets in sorted(groups.items(), key=lambda g: (-len(g[1]), g[1][0])):
            part = next((k for k, group in enumerate(kept) if _alike(around, len(nets), *group, law)), len(kept))
            if part == len(kept):
                kept.append((set(around), len(nets)))
            kept[part][0].update(around)
            for net in nets:
                parts[net] = part
    return parts


def _alike(
    around: frozenset[tuple[int, int]], lanes: int, known: set[tuple[int, int]], known_lanes: int, law: dict[int, int]
) -> bool:
    """Whether nets with these attachments play the part of those known."""
    if around <= known or known <= around:
        return True
    laws, known_laws = ({(law[f], position) for f, position in a} for a in (around, known))
    few = lanes <= _SLIVER and lanes * _SLIVER_SHARE <= known_lanes
    return few and (laws <= known_laws or known_laws <= laws)


def _sort_lanes(circuit: Circuit, families: Families, family: BranchFamily) -> None:
    """Order lanes by their pins' lanes, so that maps of lanes become runs and whole matrices."""
    place, branches = families.net_place, circuit.branches
    family.branches.sort(key=lambda n: (place[branches[n].nets[0]][1], place[branches[n].nets[1]][1], n))
    for lane, number in enumerate(family.branches):
        families.branch_place[number] = (family.number, lane)
