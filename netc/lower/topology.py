"""Which branch fixes which voltage: a spanning forest of the circuit, and what makes one impossible.

The forest is the *normal tree* of state-variable analysis (Bryant 1959; Kuh and Rohrer 1965): voltage
sources first, then capacitors, those nearest to ground before others, and inductors where nothing else leads.
Every net then is ground, a *root* whose potential Kirchhoff's current law has to fix, or a *child* whose voltage is
its parent's plus that of one tree branch.  A capacitor in the tree is a state, one that closes a loop is not; an
inductor in the tree is not, all others are.  A source that depends on its own current is a resistor: where it would
close a loop, or make a capacitor close one, it stays outside the forest and its current is an unknown.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from netc.diagnostics import Diagnostics
from netc.elaborate.circuit import Branch, Circuit
from netc.lower.resistive import resistive_sources

_SHOWN = 6


@dataclass(frozen=True, slots=True)
class Forest:
    """The spanning forest.

    ``parent[n]`` is the parent net of ``n`` (-1 for ground and roots), ``branch[n]`` the tree branch to it
    (-1 likewise), ``depth[n]`` the number of tree branches up to the root; ``order`` lists nets parents
    first.  ``in_tree[b]`` says whether branch ``b`` is in the forest.  ``cuts[b]`` are, for an inductor in the forest,
    the inductors and current sources that with it are all that leads to some nets, each with the sign of its current:
    the current of ``b`` from child to parent is the signed sum of theirs.
    """

    parent: list[int]
    branch: list[int]
    depth: list[int]
    order: list[int]
    in_tree: list[bool]
    cuts: dict[int, list[tuple[int, int]]] = field(default_factory=dict)

    def sign(self, net: int, branches: list[Branch]) -> int:
        """+1 where the tree branch points from ``net`` to its parent, else -1."""
        return 1 if branches[self.branch[net]].nets[0] == net else -1

    def path_to_root(self, net: int) -> list[int]:
        """Nets from ``net`` up to the last child; the tree branches are those of these nets."""
        path = []
        while self.parent[net] >= 0:
            path.append(net)
            net = self.parent[net]
        return path


class _Sets:
    """Disjoint sets of nets."""

    def __init__(self, size: int) -> None:
        self.up = list(range(size))

    def find(self, x: int) -> int:
        up = self.up
        while up[x] != x:
            up[x] = up[up[x]]
            x = up[x]
        return x

    def union(self, a: int, b: int) -> bool:
        a, b = self.find(a), self.find(b)
        if a == b:
            return False
        self.up[max(a, b)] = min(a, b)
        return True


class _Tree:
    """A forest that grows branch by branch."""

    def __init__(self, circuit: Circuit) -> None:
        self.branches = circuit.branches
        self.sets = _Sets(len(circuit.nets))
        self.in_tree = [False] * len(circuit.branches)
        self.adjacent: dict[int, list[tuple[int, int]]] = defaultdict(list)
        self.left_out: list[int] = []  # sources and capacitors that close a loop

    def take(self, number: int) -> bool:
        first, second = self.branches[number].nets
        if not self.sets.union(first, second):
            return False
        self.in_tree[number] = True
        self.adjacent[first].append((number, second))
        self.adjacent[second].append((number, first))
        return True

    def grow(self, late: Iterable[int]) -> None:
        """Take voltage sources, then capacitors, then what remains of the sources ``late``."""
        last = set(late)
        sources = [n for n, b in enumerate(self.branches) if b.law.kind == "V"]
        charges = [n for n, b in enumerate(self.branches) if b.law.kind == "C"]
        # what a card says a capacitor starts at counts before what would follow for the charges inside a device
        cards = [n for n in charges if self.branches[n].law.letter == "C"]
        self.left_out += [n for n in sources if n not in last and not self.take(n)]
        for chosen in (cards, charges):
            for number in _capacitors_from_ground(self.branches, self.sets, chosen):
                if not self.in_tree[number] and not self.take(number) and chosen is charges:
                    self.left_out.append(number)
        for number in sorted(last):
            self.take(number)

    def loop(self, number: int) -> list[int]:
        """Return the branches of the loop that a branch left out closes, itself first."""
        start, goal = self.branches[number].nets
        came: dict[int, tuple[int, int]] = {start: (-1, -1)}
        queue = deque([start])
        while queue and goal not in came:
            net = queue.popleft()
            for through, other in self.adjacent.get(net, ()):
                if other not in came:
                    came[other] = (through, net)
                    queue.append(other)
        found, net = [number], goal
        while net != start:
            through, net = came[net]
            found.append(through)
        return found


def build_forest(circuit: Circuit, diagnostics: Diagnostics) -> Forest:
    """Return the forest; record source loops and floating nets as located errors."""
    branches, size = circuit.branches, len(circuit.nets)
    tree = _Tree(circuit)
    tree.grow(())
    if tree.left_out:
        resistive = resistive_sources(circuit)
        late = {n for number in tree.left_out for n in tree.loop(number) if n in resistive} if resistive else ()
        if late:
            tree = _Tree(circuit)
            tree.grow(late)
    for number in tree.left_out:
        if branches[number].law.kind == "V":
            _report_source_loop(circuit, tree.loop(number), diagnostics)
    cuts = _cut_sets(circuit, tree, diagnostics)

    parent, via, depth, order = [-1] * size, [-1] * size, [0] * size, []
    seen = [False] * size
    for root in range(size):  # ground is net 0 and comes first
        if seen[root]:
            continue
        seen[root] = True
        queue = deque([root])
        while queue:
            net = queue.popleft()
            order.append(net)
            for number, other in tree.adjacent.get(net, ()):
                if not seen[other]:
                    seen[other] = True
                    parent[other], via[other], depth[other] = net, number, depth[net] + 1
                    queue.append(other)
    return Forest(parent, via, depth, order, tree.in_tree, _signed(circuit, cuts, via))


def _capacitors_from_ground(branches: list[Branch], sets: _Sets, capacitors: list[int]) -> Iterable[int]:
    """Capacitors in breadth-first order from what voltage sources tie to ground, then the others."""
    at: dict[int, list[int]] = defaultdict(list)
    group = {}
    for number in capacitors:
        for net in branches[number].nets:
            group[net] = sets.find(net)
            at[group[net]].append(number)
    done: set[int] = set()
    for start in (sets.find(0), *sorted(at)):
        queue, reached = deque([start]), {start}
        while queue:
            for number in at.get(queue.popleft(), ()):
                if number not in done:
                    done.add(number)
                    yield number
                    for net in branches[number].nets:
                        if group[net] not in reached:
                            reached.add(group[net])
                            queue.append(group[net])


def _report_source_loop(circuit: Circuit, loop: list[int], diagnostics: Diagnostics) -> None:
    branch = circuit.branches[loop[0]]
    if len(loop) == 1:
        message = f"voltage source '{branch.name}' has both ends on net '{circuit.nets[branch.nets[0]]}'"
    else:
        shown = names([circuit.branches[n].name for n in loop])
        message = f"voltage sources {shown} form a loop, so their currents are not determined"
    diagnostics.error(message, branch.span, "remove one of them, or put a resistor in series")


def _cut_sets(circuit: Circuit, tree: _Tree, diagnostics: Diagnostics) -> dict[int, list[tuple[int, int]]]:
    """Take the inductors that alone lead to nets; return with each what it cuts them off with.

    Each branch of such a cut has the sign +1 where it leads to the same side as the inductor taken.
    """
    branches, size = circuit.branches, len(circuit.nets)
    connected, fixed = _Sets(size), _Sets(size)
    for branch in branches:
        first, second = branch.nets
        connected.union(first, second)
        if branch.law.kind in "VCR":
            fixed.union(first, second)
    ground = {net for net in range(size) if fixed.find(net) == fixed.find(0)}
    for branch in branches:
        if branch.law.kind == "I":
            for pair in branch.voltages:  # a current that depends on a voltage can fix it, if nothing else does
                if not ground.issuperset(pair):
                    for net in (*branch.nets, *pair):
                        fixed.union(net, pair[0])
    attached = {n for b in branches for n in b.nets}
    readers = {n: b for b in branches for pair in b.voltages for n in pair if n not in attached and n != 0}
    for net, reader in readers.items():
        diagnostics.error(
            f"'{reader.name}' reads the voltage of net '{circuit.nets[net]}', which no element is connected to",
            reader.span,
            "check the spelling of the net",
        )
    if all(fixed.find(net) == fixed.find(0) for net in attached):
        return {}
    group = [fixed.find(net) for net in range(size)]
    crossing = [n for n, b in enumerate(branches) if b.law.kind in "LI" and group[b.nets[0]] != group[b.nets[1]]]
    taken = [n for n in crossing if branches[n].law.kind == "L" and fixed.union(*branches[n].nets) and tree.take(n)]
    _report_undetermined(circuit, connected, fixed, attached, diagnostics)
    found: dict[int, list[tuple[int, int]]] = {}
    for number in taken:
        side = _Sets(size)
        for net in range(size):
            side.union(net, group[net])
        for other in taken:
            if other != number:
                side.union(*branches[other].nets)
        first, second = (side.find(net) for net in branches[number].nets)
        found[number] = [
            (n, 1 if side.find(branches[n].nets[0]) == first else -1)
            for n in crossing
            if n != number and {side.find(net) for net in branches[n].nets} == {first, second}
        ]
    return found


def _signed(
    circuit: Circuit, cuts: dict[int, list[tuple[int, int]]], via: list[int]
) -> dict[int, list[tuple[int, int]]]:
    """Turn the signs of cuts to those of currents that add up to the inductor's, from child to parent."""
    found = {}
    for number, cut in cuts.items():
        from_child = 1 if via[circuit.branches[number].nets[0]] == number else -1
        found[number] = [(n, -sign * from_child) for n, sign in cut]
    return found


def _report_undetermined(
    circuit: Circuit, connected: _Sets, fixed: _Sets, attached: set[int], diagnostics: Diagnostics
) -> None:
    """Find nets whose voltage nothing fixes: islands, and those only current sources lead to."""
    branches = circuit.branches
    groups: dict[int, list[int]] = defaultdict(list)
    for net in attached - {0}:
        if fixed.find(net) != fixed.find(0):
            groups[fixed.find(net)].append(net)
    touching: dict[int, list[int]] = defaultdict(list)
    for number, branch in enumerate(branches):
        for group in {fixed.find(n) for n in branch.nets}:
            touching[group].append(number)
    for group, nets in groups.items():
        around = [branches[n] for n in touching[group]]
        shown = names([circuit.nets[n] for n in nets])
        span = around[0].span if around else None
        plural = "nets" if len(nets) > 1 else "net"
        if connected.find(nets[0]) != connected.find(0):
            message = f"{plural} {shown} float: no element connects them to ground (net 0)"
            hint = "connect them, or add a resistor to ground"
        else:
            cut = [b for b in around if fixed.find(b.nets[0]) != fixed.find(b.nets[1])]
            cut_names = names([b.name for b in cut])
            message = f"nothing fixes the voltage of {plural} {shown}: only current sources ({cut_names}) lead there"
            span, hint = cut[0].span, "add a resistor or a capacitor from there to ground"
        diagnostics.error(message, span, hint)


def names(items: list[str]) -> str:
    """Return names quoted and joined, cut short after a few."""
    shown = ", ".join(f"'{i}'" for i in items[:_SHOWN])
    return shown if len(items) <= _SHOWN else f"{shown} and {len(items) - _SHOWN} more"
