"""``alter`` and ``alterparam`` of a ``.control`` block: the circuit that its first analysis runs.

Only numbers are read, and only elements of the deck itself: what needs the block's variables or its loops is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from netc.diagnostics import Diagnostics, Span
from netc.parse import ast
from netc.parse.lines import LogicalLine
from netc.parse.numbers import read_plain

_ALTER = re.compile(
    r"alter\s+(?:@(?P<object>[^\s\[\]]+)\[(?P<inner>\w+)\]|(?P<name>[^\s=@\[\]]+)(?:\s+(?P<word>[a-z]\w*))?)"
    r"(?:\s*=\s*|\s+)(?P<value>[^\s\[\]]+|\[[^\[\]]*\])\s*"
)
_PARAMETER = re.compile(r"alterparam\s+(?P<name>[a-z_]\w*)\s*=\s*(?P<value>\S+)\s*")
_QUANTITIES = {"R": ("", "resistance", "r"), "C": ("", "capacitance", "c"), "L": ("", "inductance", "l")}
_WAVES = frozenset({"pulse", "sin", "exp", "pwl", "sffm"})
_HINT = "write the change on the cards and delete the command"


@dataclass(frozen=True, slots=True)
class _Change:
    name: str
    quantity: str
    values: tuple[float, ...]
    span: Span


@dataclass(slots=True)
class Changes:
    """What the commands before the first analysis change."""

    _elements: list[_Change] = field(default_factory=list)
    _waiting: dict[str, _Change] = field(default_factory=dict)
    _parameters: dict[str, _Change] = field(default_factory=dict)

    def read(self, line: LogicalLine) -> bool:
        """Take ``alter`` or ``alterparam``; return whether it could be read."""
        parameter = _PARAMETER.fullmatch(line.text)
        if parameter is not None:
            values = _numbers(parameter["value"])
            if values is not None and len(values) == 1:
                self._waiting[parameter["name"]] = _Change(parameter["name"], "", values, line.whole)
                return True
            return False
        element = _ALTER.fullmatch(line.text)
        values = _numbers(element["value"]) if element is not None else None
        if element is None or values is None:
            return False
        quantity = element["inner"] or element["word"] or ""
        self._elements.append(_Change(element["object"] or element["name"], quantity, values, line.whole))
        return True

    @property
    def some(self) -> bool:
        """Whether anything is changed."""
        return bool(self._elements or self._parameters)

    def reset(self) -> None:
        """Read the circuit anew: elements are as on their cards again, parameters as they were last given."""
        self._elements.clear()
        self._parameters.update(self._waiting)

    def applied(self, cards: list[ast.Card], diagnostics: Diagnostics) -> list[ast.Card]:
        """Return ``cards`` as the first analysis finds them."""
        for change in self._elements:
            found = False
            for index, card in enumerate(cards):
                if isinstance(card, ast.Passive | ast.IndependentSource) and card.name == change.name:
                    altered = _altered(card, change)
                    found = altered is not None
                    cards[index] = altered or card
                    break
            if not found:
                diagnostics.error("this alter is not supported", change.span, _HINT)
        for change in self._parameters.values():
            cards, found = _with_parameter(cards, change)
            if not found:
                diagnostics.error(f"there is no parameter '{change.name}' to alter", change.span)
        return cards


def _numbers(text: str) -> tuple[float, ...] | None:
    words = text.strip("[]").split()
    read = [read_plain(word) for word in words if re.match(r"[-+.0-9]", word)]
    if not words or len(read) < len(words) or any(literal.problem for literal in read):
        return None
    return tuple(literal.value for literal in read)


def _altered(card: ast.Passive | ast.IndependentSource, change: _Change) -> ast.Card | None:
    numbers = tuple(ast.Number(value, change.span) for value in change.values)
    if isinstance(card, ast.Passive):
        if change.quantity in _QUANTITIES[card.kind] and len(numbers) == 1:
            return replace(card, value=numbers[0], charge=False)
    elif change.quantity in _WAVES:
        return replace(card, waveform=ast.Waveform(change.quantity.upper(), numbers, change.span))
    elif change.quantity in ("", "dc") and len(numbers) == 1:
        return replace(card, dc=numbers[0])
    return None


def _with_parameter(cards: Iterable[ast.Card], change: _Change) -> tuple[list[ast.Card], bool]:
    changed: list[ast.Card] = []
    found = False
    for card in cards:
        if isinstance(card, ast.Param) and any(name == change.name for name, _ in card.assignments):
            value = ast.Number(change.values[0], change.span)
            assignments = tuple((name, value if name == change.name else old) for name, old in card.assignments)
            changed.append(replace(card, assignments=assignments))
            found = True
        elif isinstance(card, ast.Include):
            inner, there = _with_parameter(card.cards, change)
            changed.append(replace(card, cards=tuple(inner)) if there else card)
            found = found or there
        else:
            changed.append(card)
    return changed, found
