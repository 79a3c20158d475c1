"""Pairs of conductances that count against each other, and their common mode.

::

    word line --- R+ --- plus bit line,  held and sensed by a source of 0 V:  mirror with gain  s into the membrane
              --- R- --- minus bit line, held and sensed by a source of 0 V:  mirror with gain -s

A membrane sees s (G+ - G-) V.  What both have in common does nothing for it; it dissipates power and, with spread from
device to device, adds noise in proportion.  It can be taken away at no cost: both fall by the same conductance until
one of them is at its least.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from netc.diagnostics import NetcError
from netc.ir.nodes import Const
from netc.ir.program import Coordinate, Program
from netc.training.contract import CircuitModule

if TYPE_CHECKING:
    from netc.elaborate.circuit import Circuit

_Effect = frozenset[tuple[int, tuple[int, int], float]]  # of mirrors: law, nets, gain


@dataclass(frozen=True, slots=True)
class Pairs:
    """Places of paired values: by trained blocks of plus and minus line, those in the one and those in the other."""

    places: Mapping[tuple[str, str], tuple[Tensor, Tensor]]

    def lower(self, module: CircuitModule) -> None:
        """Take away what pairs have in common; differences stay, also of positions that are yet to be clamped.

        Args:
            module: its trained positions, in [0, 1] in proportion to conductance, change.
        """
        blocks: Mapping[str, Any] = getattr(module, "BLOCKS")  # noqa: B009  # of emitted modules alone
        with torch.no_grad():
            for names, (plus, minus) in self.places.items():
                first, second = (getattr(module, blocks[name][0]) for name in names)
                common = torch.minimum(first[plus], second[minus])
                first[plus] -= common
                second[minus] -= common


def find_pairs(program: Program, circuit: Circuit) -> Pairs:
    """Return all pairs of trained resistors that have the same bounds.

    Args:
        program: whose trained blocks are looked at.
        circuit: what the program was made of.

    Raises:
        NetcError: there are none.
    """
    opposite = _opposite_lines(circuit)
    numbers = {b.name: n for n, b in enumerate(circuit.branches)}
    bounds = {}
    ends: defaultdict[tuple[int, int], list[tuple[str, int]]] = defaultdict(list)
    for block in program.parameters:
        if block.trained is None or block.role != "R" or block.trained.coordinate is not Coordinate.RECIPROCAL:
            continue
        bounds[block.name] = block.trained
        for lane, name in enumerate(block.lanes):
            if name not in numbers:
                continue  # a parameter that several elements share
            first, second = circuit.branches[numbers[name]].nets
            if first in opposite:
                ends[second, first].append((block.name, lane))
            elif second in opposite:
                ends[first, second].append((block.name, lane))
    found: defaultdict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for (word, line), here in ends.items():
        there = ends.get((word, opposite[line]), [])
        if line < opposite[line] and len(here) == len(there) == 1:
            (plus, at_plus), (minus, at_minus) = here[0], there[0]
            if bounds[plus] == bounds[minus]:
                found[plus, minus].append((at_plus, at_minus))
    if not found:
        raise NetcError(
            "--lower-pairs needs pairs of trained resistors, from one node to two sensed lines whose mirrors oppose "
            "each other, and the deck has none",
            hint="netc generate makes such networks; leave it out for this deck",
        )
    columns = {names: torch.tensor(places).T for names, places in found.items()}
    return Pairs({names: (plus.contiguous(), minus.contiguous()) for names, (plus, minus) in columns.items()})


def _opposite_lines(circuit: Circuit) -> dict[int, int]:
    """Return, by net, the net whose current does the opposite; only where each has one."""
    readers: defaultdict[int, list[int]] = defaultdict(list)
    for number, branch in enumerate(circuit.branches):
        for sensed in branch.currents:
            readers[sensed].append(number)
    found: dict[int, tuple[_Effect, _Effect]] = {}
    for sense, reading in readers.items():
        branch = circuit.branches[sense]
        if 0 not in branch.nets or not _holds_zero(circuit, sense):
            continue
        line, into_ground = (branch.nets[0], 1) if branch.nets[1] == 0 else (branch.nets[1], -1)
        effect = [_effect(circuit, number, into_ground) for number in reading]
        if all(e is not None for e in effect):
            same = frozenset(e for e in effect if e is not None)
            found[line] = same, frozenset((law, nets, -gain) for law, nets, gain in same)
    lines: defaultdict[_Effect, list[int]] = defaultdict(list)
    for line, (effect_of, _) in found.items():
        lines[effect_of].append(line)
    return {
        line: lines[against][0]
        for line, (effect_of, against) in found.items()
        if len(lines[effect_of]) == 1 and len(lines.get(against, ())) == 1
    }


def _holds_zero(circuit: Circuit, number: int) -> bool:
    branch = circuit.branches[number]
    if branch.law.kind != "V" or branch.voltages or branch.currents:
        return False
    if isinstance(branch.law.template, Const):
        return branch.law.template.value == 0.0
    return len(branch.values) == 1 and isinstance(branch.values[0], float) and branch.values[0] == 0.0


def _effect(circuit: Circuit, number: int, sign: int) -> tuple[int, tuple[int, int], float] | None:
    """Return law, nets and signed gain of a mirror; ``None`` for anything else that reads the current."""
    branch = circuit.branches[number]
    if branch.law.letter != "F" or branch.law.kind != "I" or len(branch.values) != 1 or len(branch.currents) != 1:
        return None
    first, second = branch.nets
    gain = sign * circuit.number(branch.values[0])
    return (id(branch.law), (first, second), gain) if first < second else (id(branch.law), (second, first), -gain)
