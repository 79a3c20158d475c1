"""Where everything stands in a deck's text: cards by place, and what is around them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import netc.parse.ast as ast
from netc.diagnostics import Span
from netc.parse.dialects import DIALECTS
from netc.parse.lines import LogicalLine, logical_lines


@dataclass(frozen=True, slots=True)
class Place:
    """A card, and the definitions of subcircuits around it, outermost first."""

    card: ast.Card
    around: tuple[ast.Subcircuit, ...]


@dataclass(slots=True)
class Index:
    """All cards of a deck, those of included files and of all branches of conditionals as well.

    Attributes:
        deck: the deck.
        at: cards by file, line and column; a line may have given several, and a file may be included twice.
        includes: every card that includes a file.
        overrides: parameters on X lines, by their place.
        definitions: subcircuits defined in the deck itself, by name; the others are inside of another.
    """

    deck: ast.Deck
    at: dict[tuple[str, int, int], list[Place]] = field(default_factory=dict)
    includes: list[ast.Include] = field(default_factory=list)
    overrides: dict[Span, ast.Expression] = field(default_factory=dict)
    definitions: dict[str, ast.Subcircuit] = field(default_factory=dict)

    @classmethod
    def of(cls, deck: ast.Deck) -> Index:
        """Return the index of ``deck``."""
        index = cls(deck)
        index._walk(deck.cards, ())
        return index

    def _walk(self, cards: Iterable[ast.Card], around: tuple[ast.Subcircuit, ...]) -> None:
        for card in cards:
            span = card.span
            self.at.setdefault((span.file, span.line, span.column), []).append(Place(card, around))
            match card:
                case ast.Include():
                    self.includes.append(card)
                    self._walk(card.cards, around)
                case ast.Subcircuit():
                    if not around:
                        self.definitions.setdefault(card.name, card)
                    self._walk(card.cards, (*around, card))
                case ast.Conditional():
                    for branch in card.branches:
                        self._walk(branch.cards, around)
                case ast.Instance():
                    self.overrides.update((value.span, value) for _, value in card.parameters)
                case _:
                    pass

    def cards(self, span: Span) -> Sequence[Place]:
        """Return the cards of the line that begins at ``span``."""
        return self.at.get((span.file, span.line, span.column), ())

    def element(self, name: str, span: Span) -> Place | None:
        """Return the card of an element, by its flat name and where it begins."""
        for place in self.cards(span):
            own = getattr(place.card, "name", None)
            if own is not None and (name == own or name.endswith("." + own)):
                return place
        return None

    def logical_line(self, span: Span) -> LogicalLine:
        """Return the line that begins at ``span``, with its continuations."""
        lines = self.deck.sources[span.file]
        comment = DIALECTS[self.deck.dialect].comment
        return next(logical_lines(lines, span.file, span.line, comment))


def instances(cards: Iterable[ast.Card]) -> dict[str, list[ast.Instance]]:
    """Return the X lines of a body by name, those of included files and all conditional branches as well."""
    found: dict[str, list[ast.Instance]] = {}
    stack = list(cards)
    while stack:
        card = stack.pop()
        match card:
            case ast.Instance():
                found.setdefault(card.name, []).append(card)
            case ast.Include():
                stack += card.cards
            case ast.Conditional():
                stack += [inner for branch in card.branches for inner in branch.cards]
            case _:
                pass
    return found
