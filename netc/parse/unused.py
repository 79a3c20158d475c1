"""Subcircuits that no instance reaches: what is wrong in them is wrong with no circuit.

Libraries of models hold many parts, some of elements that netc does not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from netc.diagnostics import Diagnostic, Diagnostics, Span
from netc.parse import ast


@dataclass(slots=True)
class Bodies:
    """The errors of each subcircuit, until it is known which ones are used."""

    diagnostics: Diagnostics
    _found: list[tuple[ast.Subcircuit, list[Diagnostic]]] = field(default_factory=list)

    def end(self, head: ast.Subcircuit, start: int) -> None:
        """Put aside the errors from number ``start`` on: they are of the subcircuit that ends here."""
        errors = self.diagnostics.take_errors(start)
        if errors:
            self._found.append((head, errors))

    def settle(self, cards: list[ast.Card], file: str) -> list[ast.Card]:
        """Report the errors of subcircuits that are used; return ``cards`` without the wrong ones that are not.

        Where something else is wrong, an instance may be what could not be read: then those of ``file``, the deck
        itself, are reported all the same.
        """
        if not self._found:
            return cards
        used = _used(cards)
        failed = self.diagnostics.failed
        dropped: set[Span] = set()
        for head, errors in self._found:
            if head.name and head.name not in used and not (failed and head.span.file == file):
                dropped.add(head.span)
                continue
            for error in errors:
                self.diagnostics.add(error)
        return list(_without(cards, dropped)) if dropped else cards


def _inside(cards: Iterable[ast.Card]) -> Iterator[ast.Card]:
    """Yield cards, those of included files and branches in place; subcircuits are not entered."""
    for card in cards:
        yield card
        if isinstance(card, ast.Include):
            yield from _inside(card.cards)
        elif isinstance(card, ast.Conditional):
            for branch in card.branches:
                yield from _inside(branch.cards)


def _used(cards: Iterable[ast.Card]) -> frozenset[str]:
    """Return the names of the subcircuits that the deck's instances reach; a name stands for all that bear it."""
    reads: dict[str, set[str]] = {}

    def collect(body: Iterable[ast.Card]) -> set[str]:
        names: set[str] = set()
        for card in _inside(body):
            if isinstance(card, ast.Instance):
                names.add(card.subcircuit)
            elif isinstance(card, ast.Subcircuit):
                reads.setdefault(card.name, set()).update(collect(card.cards))
        return names

    pending = collect(cards)
    used: set[str] = set()
    while pending:
        name = pending.pop()
        if name not in used:
            used.add(name)
            pending |= reads.get(name, set()) - used
    return frozenset(used)


def _without(cards: Iterable[ast.Card], spans: set[Span]) -> Iterator[ast.Card]:
    for card in cards:
        if isinstance(card, ast.Subcircuit):
            if card.span not in spans:
                yield replace(card, cards=tuple(_without(card.cards, spans)))
        elif isinstance(card, ast.Include):
            yield replace(card, cards=tuple(_without(card.cards, spans)))
        elif isinstance(card, ast.Conditional):
            branches = (replace(branch, cards=tuple(_without(branch.cards, spans))) for branch in card.branches)
            yield replace(card, branches=tuple(branches))
        else:
            yield card
