"""``V(C1)`` of other simulators, the voltage across the element ``C1``: written as that between its nodes.

B1 o 0 V=V(C1)      ->      B1 o 0 V=V(a,b)      for   C1 a b 1u
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from netc.parse import ast
from netc.parse.build import map_expressions, rebuild

_TERMINALS = 2
_Across = Mapping[str, tuple[str, str]]


def with_voltages_across(cards: Iterable[ast.Card], ports: Iterable[str] = ()) -> list[ast.Card]:
    """Return ``cards`` with the voltages across elements written out; a node of the same name counts before."""
    own = list(cards)
    across: dict[str, tuple[str, str]] = {}
    nodes = set(ports)
    for card in _here(own):
        if isinstance(card, ast.Device):
            found = [word for word in card.words if isinstance(word, str)]
            ends = found[:_TERMINALS] if card.kind == "D" else []
        elif isinstance(card, ast.Element) and not isinstance(card, ast.Coupling):
            found = list(card.nodes)
            ends = [] if isinstance(card, ast.Instance) else found
        else:
            continue
        nodes.update(found)
        if len(ends) == _TERMINALS:
            across[card.name] = (ends[0], ends[1])
    known = {name: pair for name, pair in across.items() if name not in nodes}
    return [_written(card, known) for card in own]


def _here(cards: Iterable[ast.Card]) -> Iterator[ast.Card]:
    """Yield the cards of one scope: those of included files and of branches too."""
    for card in cards:
        yield card
        if isinstance(card, ast.Include):
            yield from _here(card.cards)
        elif isinstance(card, ast.Conditional):
            for branch in card.branches:
                yield from _here(branch.cards)


def _written(card: ast.Card, across: _Across) -> ast.Card:
    if isinstance(card, ast.Subcircuit):
        return replace(card, cards=tuple(with_voltages_across(card.cards, card.ports)))
    if isinstance(card, ast.Include):
        return replace(card, cards=tuple(_written(inner, across) for inner in card.cards))
    if isinstance(card, ast.Conditional):
        branches = (
            replace(branch, cards=tuple(_written(inner, across) for inner in branch.cards)) for branch in card.branches
        )
        return replace(card, branches=tuple(branches))
    if not across:
        return card

    def change(node: ast.Expression) -> ast.Expression:
        if isinstance(node, ast.Voltage) and node.negative in (None, "0") and node.positive in across:
            return ast.Voltage(*across[node.positive], node.span)
        return node

    if isinstance(card, ast.Output):
        signals = tuple(change(signal) for signal in card.signals)
        return replace(card, signals=tuple(s for s in signals if isinstance(s, ast.Voltage | ast.Current)))
    return map_expressions(card, lambda root: rebuild(root, change))
