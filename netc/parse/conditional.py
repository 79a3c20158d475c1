"""``.if`` to ``.endif`` while a deck is read: which cards belong to which branch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from netc.diagnostics import Diagnostics, Span
from netc.parse import ast
from netc.parse.card import parse_line
from netc.parse.dialects import Dialect
from netc.parse.lines import LogicalLine

CONDITIONS = frozenset({".if", ".elseif", ".else", ".endif"})
"""The words of a conditional netlist."""

_UNCONDITIONAL: dict[type, str] = {ast.Subcircuit: ".subckt", ast.Global: ".global"}
"""Cards that ngspice does not make conditional, besides ``.param`` and ``.func``."""

DEEPEST = 100
"""Most conditionals in one another."""


class OpenConditional:
    """An ``.if`` whose ``.endif`` has not come yet."""

    def __init__(self, opening: Span, around: OpenConditional | None = None) -> None:
        self.opening = opening
        self.depth: int = around.depth + 1 if around else 1
        self._branches: list[ast.Branch] = []
        self._head: ast.Branch | None = None

    def branch(
        self, line: LogicalLine, span: Span, cards: list[ast.Card], diagnostics: Diagnostics, dialect: Dialect
    ) -> None:
        """Begin the branch of ``.if``, ``.elseif`` or ``.else``; ``cards`` are those of the branch before."""
        self._close(cards)
        word = line.text[: span.length]
        if self._branches and self._branches[-1].condition is None:
            diagnostics.error(f"{word} after .else", span, ".else comes last")
        if word == ".else":
            self._head = ast.Branch(None, (), line.whole)
            return
        if not line.text[span.length :].strip():
            diagnostics.error(f"{word} has no condition", span, f"expected {word} (a == b)")
        elif not dialect.free_conditions and not line.text[span.length :].lstrip().startswith("("):
            diagnostics.error(f"the condition of {word} stands in parentheses", span, f"write {word} (...)")
        else:
            head = parse_line(line, "condition", diagnostics, dialect)
            if isinstance(head, ast.Branch):
                self._head = head
                return
        self._head = ast.Branch(ast.Number(0.0, span), (), line.whole)

    def close(self, cards: list[ast.Card]) -> ast.Conditional:
        """Return the card; ``cards`` are those of the last branch."""
        self._close(cards)
        return ast.Conditional(tuple(self._branches), self.opening)

    def _close(self, cards: list[ast.Card]) -> None:
        if self._head is not None:
            self._branches.append(ast.Branch(self._head.condition, tuple(cards), self._head.span))
            cards.clear()


def moved_out(card: ast.Conditional, diagnostics: Diagnostics) -> tuple[list[ast.Card], ast.Conditional]:
    """Return the parameters and functions among the branches, and the card without them.

    ngspice takes them all, whatever the condition, so that the last of a name counts.  What it takes besides is refused
    here: of two subcircuits of a name it keeps the first.
    """
    for inner in (inner for branch in card.branches for inner in _flat(branch.cards)):
        what = _UNCONDITIONAL.get(type(inner))
        if what is not None:
            hint = "ngspice takes it whatever the condition; move it outside"
            diagnostics.error(f"{what} may not stand between .if and .endif", inner.span, hint)
    moved: list[ast.Card] = []
    branches = tuple(replace(branch, cards=_without(branch.cards, moved)) for branch in card.branches)
    if moved:
        diagnostics.warning(
            "a .param or .func counts whatever the condition of the .if around it: ngspice takes the last of a name",
            moved[0].span,
            "write the condition into the value, {c ? a : b}, or pass --dialect hspice if the deck is written for it",
        )
    return moved, replace(card, branches=branches)


def _without(cards: Iterable[ast.Card], moved: list[ast.Card]) -> tuple[ast.Card, ...]:
    """Return ``cards`` without parameters and functions, which go to ``moved``."""
    kept: list[ast.Card] = []
    for card in cards:
        if isinstance(card, ast.Param | ast.Func):
            moved.append(card)
        else:
            kept.append(replace(card, cards=_without(card.cards, moved)) if isinstance(card, ast.Include) else card)
    return tuple(kept)


def _flat(cards: Iterable[ast.Card]) -> Iterator[ast.Card]:
    for card in cards:
        yield card
        if isinstance(card, ast.Include):
            yield from _flat(card.cards)
