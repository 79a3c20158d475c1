"""Names of signals: those that ``.save``, ``.print`` and ``.plot`` ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import netc.parse.ast as ast
from netc.diagnostics import Span
from netc.elaborate.circuit import Circuit
from netc.elaborate.context import close_element, close_match


@dataclass(frozen=True, slots=True)
class Names:
    """How names of nodes and elements are found: the flattened name, or ``None``."""

    node: Callable[[str], str | None]
    element: Callable[[str], str | None]


def observed(
    cards: Sequence[ast.Card], circuit: Circuit, names: Names, complain: Callable[[str, Span, str | None], None]
) -> list[str]:
    """Return the signals to observe, each once, in the deck's order; ``complain`` of those that do not exist."""
    chosen: dict[str, None] = {}
    for card in cards:
        if not isinstance(card, ast.Output):
            continue
        for signal in card.signals:
            if isinstance(signal, ast.Current):
                element = names.element(signal.element)
                if element is None:
                    hint = close_element(signal.element, (branch.name for branch in circuit.branches))
                    complain(f"there is no element {signal.element!r} to observe", signal.span, hint)
                else:
                    chosen[f"i({element})"] = None
                continue
            for name in (signal.positive, signal.negative):
                if name is None or name == "0":
                    continue
                if names.node(name) is None:
                    hint = across(name, circuit) or close_match(name, circuit.nets, "the node")
                    complain(f"there is no node {name!r} to observe", signal.span, hint)
                else:
                    chosen[name] = None
    return list(chosen)


def across(name: str, circuit: Circuit) -> str | None:
    """Return the hint for a voltage that names an element in the place of a node; ``None`` where none is called so."""
    for branch in circuit.branches:
        if branch.name == name:
            first, second = (circuit.nets[net] for net in branch.nets)
            return f"{name!r} is an element: the voltage across it is v({first},{second})"
    return None
