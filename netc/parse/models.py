"""Settling which words on R, C and L are models: any model of the deck, wherever it stands."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from netc.diagnostics import Diagnostics, Span
from netc.parse import ast
from netc.parse.lines import LogicalLine

_AKO = re.compile(r"\.model\s+(\S+)\s+(ako\s*:\s*([^\s()]+))\s*([a-z]\w*)?")


@dataclass(slots=True)
class Kinds:
    """Models that are a kind of another one: ``.model fast ako:slow d(tt=1n)``."""

    _bases: dict[str, tuple[str, Span]] = field(default_factory=dict)

    def read(self, line: LogicalLine) -> LogicalLine:
        """Return a ``.model`` line without its ``ako:``, which is remembered."""
        found = _AKO.match(line.text)
        if found is None:
            return line
        self._bases[found[1]] = found[3], line.span(found.start(2), len(found[2]))
        start, end = found.span(2)
        place = " " * (end - start) if found[4] else "ako".ljust(end - start)
        text, raw = (part[:start] + place + part[end:] for part in (line.text, line.raw))
        return replace(line, text=text, raw=raw)

    def settled(self, cards: list[ast.Card], diagnostics: Diagnostics) -> list[ast.Card]:
        """Return ``cards`` with the parameters that models have from others written into them."""
        if not self._bases:
            return cards
        known = {card.name: card for card in _models(cards)}

        def whole(model: ast.Model, seen: frozenset[str]) -> ast.Model:
            if model.name not in self._bases or model.name in seen:
                return model
            name, span = self._bases[model.name]
            base = known.get(name)
            if base is None or name in seen | {model.name}:
                why = f"there is no model '{name}'" if base is None else f"model '{name}' is a kind of itself"
                diagnostics.error(why, span)
                return model
            base = whole(base, seen | {model.name})
            own = dict(model.parameters)
            parameters = tuple((key, own.pop(key, value)) for key, value in base.parameters)
            return replace(model, type=base.type, parameters=(*parameters, *own.items()))

        def changed(inner: Iterable[ast.Card]) -> list[ast.Card]:
            result: list[ast.Card] = []
            for card in inner:
                if isinstance(card, ast.Model):
                    result.append(whole(card, frozenset()))
                elif isinstance(card, ast.Subcircuit | ast.Include):
                    result.append(replace(card, cards=tuple(changed(card.cards))))
                elif isinstance(card, ast.Conditional):
                    branches = (replace(branch, cards=tuple(changed(branch.cards))) for branch in card.branches)
                    result.append(replace(card, branches=tuple(branches)))
                else:
                    result.append(card)
            return result

        return changed(cards)


def _models(cards: Iterable[ast.Card]) -> Iterable[ast.Model]:
    for card in cards:
        if isinstance(card, ast.Model):
            yield card
        elif isinstance(card, ast.Subcircuit | ast.Include):
            yield from _models(card.cards)
        elif isinstance(card, ast.Conditional):
            for branch in card.branches:
                yield from _models(branch.cards)


def resolve_models(cards: Iterable[ast.Card], names: frozenset[str]) -> list[ast.Card]:
    """Return ``cards`` with every word that names a model moved from ``value`` to ``model``.

    ``R1 a b word`` -> ``Passive(value=None, model="word")`` where ``.model word`` exists.
    """
    return [_resolve(card, names) for card in cards]


def _resolve(card: ast.Card, names: frozenset[str]) -> ast.Card:
    if isinstance(card, ast.Passive) and isinstance(card.value, ast.Name) and card.value.name in names:
        if card.model is None:
            return replace(card, value=None, model=card.value.name)
        if card.model not in names:
            return replace(card, value=ast.Name(card.model, card.value.span), model=card.value.name)
    elif isinstance(card, ast.Subcircuit | ast.Include):
        return replace(card, cards=tuple(resolve_models(card.cards, names)))
    elif isinstance(card, ast.Conditional):
        branches = (replace(branch, cards=tuple(resolve_models(branch.cards, names))) for branch in card.branches)
        return replace(card, branches=tuple(branches))
    return card
