"""Settling which words on R, C and L are models: any model of the deck, wherever it stands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from netc.parse import ast


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
