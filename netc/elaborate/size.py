"""How large a deck becomes when its subcircuits are expanded, found without expanding them.

Ten instances of ten instances, nine levels deep, are a page of text and a thousand million elements.
"""

from __future__ import annotations

import netc.parse.ast as ast
from netc.elaborate.conditionals import elements_in
from netc.elaborate.scopes import Definition

_ALWAYS = 500_000
_PER_CARD = 100


def expansion(deck: Definition) -> tuple[int, int]:
    """Return how many elements and instances ``deck`` expands into, and how many may be for a text of its length.

    A subcircuit that contains itself counts once here; elaboration reports it.
    """
    sizes: dict[Definition, int] = {}
    written = 0
    stack: list[tuple[Definition, bool]] = [(deck, False)]
    while stack:
        definition, ready = stack.pop()
        if ready:
            sizes[definition] = sum(1 + sizes.get(inner, 0) for inner in _instances(definition)) + _plain(definition)
        elif definition not in sizes:
            sizes[definition] = 0
            written += len(_elements(definition))
            stack.append((definition, True))
            stack.extend((inner, False) for inner in set(_instances(definition)) if inner not in sizes)
    return sizes[deck], _ALWAYS + _PER_CARD * written


def _plain(definition: Definition) -> int:
    return sum(not isinstance(card, ast.Instance) for card in _elements(definition))


def _instances(definition: Definition) -> list[Definition]:
    instances = (card for card in _elements(definition) if isinstance(card, ast.Instance))
    found = (definition.subcircuit(card.subcircuit) for card in instances)
    return [inner for inner in found if inner is not None]


def _elements(definition: Definition) -> list[ast.Element]:
    return [*definition.elements, *elements_in(definition.conditionals)]
