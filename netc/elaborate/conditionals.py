"""Which branches of ``.if`` an instance has: ngspice decides after expanding subcircuits, for each instance anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import netc.parse.ast as ast
from netc.elaborate.scopes import Definition, Scope, flat_cards


def settled(definition: Definition, scope_of: Callable[[Definition], Scope]) -> Definition:
    """Return ``definition`` with the cards of the branches that hold in the place of its conditionals.

    Args:
        definition: a deck's or a subcircuit's text.
        scope_of: gives the instance in which conditions are evaluated, for the definition as far as it is known.
    """
    if not definition.conditionals:
        return definition
    choices: list[int] = []
    cards: list[ast.Card] = []
    scopes = [scope_of(definition)]
    for card, choice in _chosen(flat_cards(definition.cards), lambda condition: _holds(scopes[-1], condition)):
        if card is None:
            choices.append(choice)
            continue
        cards.append(card)
        if choice >= 0 and isinstance(card, ast.Param | ast.Func):
            scopes.append(scope_of(definition.variant((*choices, -len(cards)), cards)))
    return definition.variant(tuple(choices), cards)


def _holds(scope: Scope, condition: ast.Expression) -> bool:
    number = scope.context.number(scope.value(condition))
    return number == number and number != 0


def _chosen(
    cards: Iterator[ast.Card], holds: Callable[[ast.Expression], bool], choice: int = -1
) -> Iterator[tuple[ast.Card | None, int]]:
    """Yield (``None``, number of the branch) for each conditional, (card, number of its branch or -1) for each card."""
    for card in cards:
        if not isinstance(card, ast.Conditional):
            yield card, choice
            continue
        for number, branch in enumerate(card.branches):
            if branch.condition is None or holds(branch.condition):
                yield None, number
                yield from _chosen(flat_cards(branch.cards), holds, number)
                break
        else:
            yield None, len(card.branches)


def elements_in(cards: Sequence[ast.Card]) -> Iterator[ast.Element]:
    """Yield the elements of every branch, taken or not."""
    for card in flat_cards(cards):
        if isinstance(card, ast.Conditional):
            for branch in card.branches:
                yield from elements_in(branch.cards)
        elif isinstance(card, ast.Element):
            yield card
