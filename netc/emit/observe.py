"""Signals: what is kept in the time loop, and what is computed from it after the loop, all steps at once."""

from __future__ import annotations

from netc.emit.expression import Scope
from netc.emit.schedule import frontier
from netc.emit.stages import Stages
from netc.emit.text import lanes_text, plain
from netc.ir.nodes import Expr, Input, Rate, postorder

Families = tuple[int, ...]


class Observer:
    """Writes the part of ``forward`` that computes the signals asked for, shape (steps + 1, batch, lanes)."""

    def __init__(self, stages: Stages) -> None:
        self._stages = stages
        self._plan = stages.plan
        self._readers: dict[Expr, set[int]] = {}
        self._outside: set[Expr] = set()
        plan = stages.plan
        given = {*stages.prepared, *stages.samples, *stages.sequences, *stages.waveforms}
        for family, root in enumerate(plan.observed):
            outside = set(frontier([root], lambda e: e not in given))
            self._outside |= outside
            stack = [root]
            while stack:
                node = stack.pop()
                if family in self._readers.setdefault(node, set()):
                    continue
                self._readers[node].add(family)
                if node not in outside:
                    stack.extend(node.children)
        self._families = len(plan.observed)

    def kept(self, number: int) -> str | None:
        """Return the condition under which the signals asked for need this state's history, ``None`` if none does."""
        return f"keep_{number}" if self._plan.leaf(number) in self._readers else None

    def keeps(self) -> list[str]:
        """Return statements that decide which histories are kept."""
        lines = []
        for number in range(len(self._plan.program.states)):
            leaf = self._plan.leaf(number)
            if leaf in self._readers:
                lines.append(f"keep_{number} = {self._condition(tuple(sorted(self._readers[leaf])))}")
        return ["", *lines] if lines else []

    def _condition(self, families: Families) -> str:
        if len(families) == self._families:
            return "bool(wanted)"
        if len(families) == 1:
            return f"{families[0]} in wanted"
        return f"not wanted.keys().isdisjoint({families})"

    def lines(self) -> list[str]:
        """Return statements that fill ``found`` with the families asked for."""
        stages, plan = self._stages, self._plan
        scope = Scope(stages.names, stages.constants, plan.rates, "dtype")
        for known, suffix in ((stages.prepared, ""), (stages.samples, ""), (stages.waveforms, ".unsqueeze(1)")):
            for expr, name in known.items():
                scope.know(expr, name + suffix)
        for expr, name in stages.sequences.items():
            scope.know(expr, f"{name}.unsqueeze(1)")
        lines = ["# the signals asked for, all steps at once (steps + 1, batch, lanes)", "found = {}"]
        lines += self._histories(scope)
        groups: dict[Families, list[Expr]] = {}
        for node in postorder(*plan.observed):
            readers = tuple(sorted(self._readers.get(node, ())))
            if len(readers) > 1 and node not in scope.known and node not in self._outside and node.children:
                groups.setdefault(readers, []).append(node)
        for families, nodes in sorted(groups.items(), key=lambda item: (-len(item[0]), item[0])):
            inside = set(nodes)
            used_elsewhere = self._read_from_outside(inside)
            roots = [n for n in nodes if n in used_elsewhere]
            scope.plan(roots)
            start = len(scope.lines)
            for root in roots:
                scope.assign(stages.names.numbered("o"), root)
            lines += [f"if {self._condition(families)}:", *(f"    {line}" for line in scope.lines[start:])]
        for family, (root, signal) in enumerate(zip(plan.observed, plan.program.observables, strict=True)):
            scope.plan([root])
            start = len(scope.lines)
            value = scope.tensor(root)
            lines += [
                f"if {family} in wanted:  # {plain(signal.unit)}  {lanes_text(signal.lanes)}",
                *(f"    {line}" for line in scope.lines[start:]),
                f"    found[{family}] = {value}",
            ]
        return lines

    def _read_from_outside(self, inside: set[Expr]) -> set[Expr]:
        """Return the members of a group that another group, or a family itself, reads."""
        read = {root for root in self._plan.observed if root in inside}
        for node in self._readers:
            if node not in inside and node not in self._outside:
                read.update(c for c in node.children if c in inside)
        return read

    def _histories(self, scope: Scope) -> list[str]:
        stages, plan = self._stages, self._plan
        lines: list[str] = []
        for number in range(len(plan.program.states)):
            leaf, rows = plan.leaf(number), stages.row_names[number]
            if leaf not in self._readers:
                continue
            scope.know(leaf, rows + (".unsqueeze(1)" if number in plan.common else ""))
        for block, name in zip(plan.program.inputs, stages.input_names, strict=True):
            source = Input(block.name, block.size)
            if source not in self._readers:
                continue
            if plan.rates(source) is Rate.STEP:  # the last waveform row also holds for the last row of the result
                lines.append(f"{name} = torch.cat(({name}, {name}[-1:]))")
            scope.know(source, name)
        return lines
