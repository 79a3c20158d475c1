"""PSpice's ``OPTIONAL:`` ports: an instance that leaves them out has them on the nodes the ``.subckt`` line names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from netc.parse import ast
from netc.parse.expressions import node_name
from netc.parse.lines import LogicalLine

_OPTIONAL = re.compile(r"\.subckt\s+(\S+)\s.*?\s(optional:)((?:\s*[^\s=:]+\s*=\s*[^\s=:]+(?=\s|$))+)")
_PAIR = re.compile(r"([^\s=:]+)(\s*=\s*([^\s=:]+))")


@dataclass(slots=True)
class OptionalPorts:
    """The nodes on which optional ports stand, by subcircuit, the last port last."""

    _nodes: dict[str, list[str]] = field(default_factory=dict)

    def read(self, line: LogicalLine) -> LogicalLine:
        """Return a ``.subckt`` line with its optional ports as plain ones; their nodes are remembered."""
        found = _OPTIONAL.match(line.text)
        if found is None:
            return line
        pairs = list(_PAIR.finditer(line.text, found.start(3), found.end(3)))
        self._nodes[found[1]] = [node_name(pair[3]) for pair in pairs]
        text, raw = line.text, line.raw
        for start, end in [found.span(2), *(pair.span(2) for pair in pairs)]:
            gap = " " * (end - start)
            text, raw = text[:start] + gap + text[end:], raw[:start] + gap + raw[end:]
        return replace(line, text=text, raw=raw)

    def settled(self, cards: list[ast.Card]) -> list[ast.Card]:
        """Return ``cards`` with all nodes on the instances of subcircuits with optional ports."""
        if not self._nodes:
            return cards
        ports: dict[str, int] = {}
        _count(cards, ports)
        return [self._card(card, ports) for card in cards]

    def _card(self, card: ast.Card, ports: dict[str, int]) -> ast.Card:
        if isinstance(card, ast.Instance) and card.subcircuit in self._nodes:
            nodes = self._nodes[card.subcircuit]
            missing = ports.get(card.subcircuit, 0) - len(card.nodes)
            if 0 < missing <= len(nodes):
                return replace(card, nodes=(*card.nodes, *nodes[-missing:]))
        elif isinstance(card, ast.Subcircuit | ast.Include):
            return replace(card, cards=tuple([self._card(inner, ports) for inner in card.cards]))
        elif isinstance(card, ast.Conditional):
            branches = (
                replace(branch, cards=tuple([self._card(inner, ports) for inner in branch.cards]))
                for branch in card.branches
            )
            return replace(card, branches=tuple(branches))
        return card


def _count(cards: Iterable[ast.Card], ports: dict[str, int]) -> None:
    for card in cards:
        if isinstance(card, ast.Subcircuit):
            ports[card.name] = len(card.ports)
        if isinstance(card, ast.Subcircuit | ast.Include):
            _count(card.cards, ports)
