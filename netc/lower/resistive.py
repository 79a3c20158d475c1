"""Voltage sources that depend on their own current: resistors in all but name.

    Vs p 1 0                              a memristor in voltage form, as many TEAM models are written
    Bm 1 n V = I(Vs)*Ron*exp(k*V(x))

A capacitor beside one is a state as beside a resistor, and the source's current follows from its voltage.
"""

from __future__ import annotations

from collections import defaultdict

import networkx as nx

from netc.elaborate.circuit import Branch, Circuit


def resistive_sources(circuit: Circuit) -> set[int]:
    """Return the numbers of the voltage sources whose voltage depends, within an instant, on their own current.

    The current may be read from an element in series, and the dependence may pass through other voltage sources.
    """
    branches = circuit.branches
    controlled = [n for n, b in enumerate(branches) if b.law.kind == "V" and (b.currents or b.voltages)]
    if not any(branches[n].currents for n in controlled):
        return set()
    at: dict[int, list[int]] = defaultdict(list)
    for number, branch in enumerate(branches):
        for net in branch.nets:
            at[net].append(number)
    series = nx.utils.UnionFind(range(len(branches)))
    for net, around in at.items():
        if net and len(around) == 2:
            series.union(*around)
    fixing: dict[int, list[int]] = {
        net: [n for n in around if branches[n].law.kind == "V"] for net, around in at.items() if net
    }
    return {n for n in controlled if _reads(n, branches, fixing, series)}


def _reads(number: int, branches: list[Branch], fixing: dict[int, list[int]], series: nx.utils.UnionFind) -> bool:
    own, seen, stack = series[number], {number}, [number]
    while stack:
        branch = branches[stack.pop()]
        if any(series[c] == own for c in branch.currents):
            return True
        for pair in branch.voltages:
            for net in pair:
                for other in fixing.get(net, ()):
                    if other not in seen:
                        seen.add(other)
                        stack.append(other)
    return False
