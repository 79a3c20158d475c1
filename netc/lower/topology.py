"""Which branch fixes which voltage: a spanning forest of the circuit, and what makes one impossible.

The forest is the *normal tree* of state-variable analysis (Bryant 1959; Kuh and Rohrer 1965): voltage
sources first, then capacitors, those nearest to ground before others.  Every net then is ground, a *root*
whose potential Kirchhoff's current law has to fix, or a *child* whose voltage is its parent's plus that
of one tree branch.  A capacitor in the tree is a state; one that closes a loop is not.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass

from netc.diagnostics import Diagnostics
from netc.elaborate.circuit import Branch, Circuit

_SHOWN = 6


@dataclass(frozen=True, slots=True)
class Forest:
    """The spanning forest.

    ``parent[n]`` is the parent net of ``n`` (-1 for ground and roots), ``branch[n]`` the tree branch to it
    (-1 likewise), ``depth[n]`` the number of tree branches up to the root; ``order`` lists nets parents
    first.  ``in_tree[b]`` says whether branch ``b`` is in the forest.
    """

    parent: list[int]
    branch: list[int]
    depth: list[int]
    order: list[int]
    in_tree: list[bool]

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


def build_forest(circuit: Circuit, diagnostics: Diagnostics) -> Forest:
    """Return the forest; record source loops, floating nets and cut-sets as located errors."""
    branches, size = circuit.branches, len(circuit.nets)
    sets = _Sets(size)
    in_tree = [False] * len(branches)
    adjacent: dict[int, list[tuple[int, int]]] = defaultdict(list)

    def take(number: int) -> bool:
        first, second = branches[number].nets
        if not sets.union(first, second):
            return False
        in_tree[number] = True
        adjacent[first].append((number, second))
        adjacent[second].append((number, first))
        return True

    for number, branch in enumerate(branches):
        if branch.law.kind == "V" and not take(number):
            _report_source_loop(circuit, adjacent, number, diagnostics)
    charges = [n for n, b in enumerate(branches) if b.law.kind == "C"]
    # what a card says a capacitor starts at counts before what would follow for the charges inside a device
    for chosen in ([n for n in charges if branches[n].law.letter == "C"], charges):
        for number in _capacitors_from_ground(branches, sets, chosen):
            take(number)
    _report_undetermined(circuit, diagnostics)

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
            for number, other in adjacent.get(net, ()):
                if not seen[other]:
                    seen[other] = True
                    parent[other], via[other], depth[other] = net, number, depth[net] + 1
                    queue.append(other)
    return Forest(parent, via, depth, order, in_tree)


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


def _report_source_loop(
    circuit: Circuit, adjacent: dict[int, list[tuple[int, int]]], number: int, diagnostics: Diagnostics
) -> None:
    branch = circuit.branches[number]
    start, goal = branch.nets
    came: dict[int, tuple[int, int]] = {start: (-1, -1)}
    queue = deque([start])
    while queue and goal not in came:
        net = queue.popleft()
        for through, other in adjacent.get(net, ()):
            if other not in came:
                came[other] = (through, net)
                queue.append(other)
    loop, net = [branch.name], goal
    while net != start:
        through, net = came[net]
        loop.append(circuit.branches[through].name)
    if len(loop) == 1:
        message = f"voltage source '{branch.name}' has both ends on net '{circuit.nets[start]}'"
    else:
        message = f"voltage sources {names(loop)} form a loop, so their currents are not determined"
    diagnostics.error(message, branch.span, "remove one of them, or put a resistor in series")


def _report_undetermined(circuit: Circuit, diagnostics: Diagnostics) -> None:
    """Find nets whose voltage nothing fixes: islands, and cut-sets of current sources and inductors."""
    branches, size = circuit.branches, len(circuit.nets)
    connected, fixed = _Sets(size), _Sets(size)
    for branch in branches:
        first, second = branch.nets
        connected.union(first, second)
        if branch.law.kind in "VCR":
            fixed.union(first, second)
        elif branch.law.kind == "I":
            for pair in branch.voltages:  # a current that depends on a voltage can fix it
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
    groups: dict[int, list[int]] = defaultdict(list)
    for net in attached - {0}:
        if fixed.find(net) != fixed.find(0):
            groups[fixed.find(net)].append(net)
    if not groups:
        return
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
            kind = "inductors" if all(b.law.kind == "L" for b in cut) else "current sources and inductors"
            cut_names = names([b.name for b in cut])
            message = f"nothing fixes the voltage of {plural} {shown}: only {kind} ({cut_names}) lead there"
            span, hint = cut[0].span, "add a resistor or a capacitor from there to ground"
        diagnostics.error(message, span, hint)


def names(items: list[str]) -> str:
    """Return names quoted and joined, cut short after a few."""
    shown = ", ".join(f"'{i}'" for i in items[:_SHOWN])
    return shown if len(items) <= _SHOWN else f"{shown} and {len(items) - _SHOWN} more"
