"""The number in the text that a trained value starts from, so that another one can take its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import netc.parse.ast as ast
from netc.diagnostics import Diagnostics, Span
from netc.elaborate.circuit import Branch, Circuit
from netc.elaborate.random import RANDOM
from netc.export.index import Index


@dataclass(slots=True)
class Wanted:
    """What is to stand in each place, by the flat names of the elements that read it there."""

    numbers: dict[Span, dict[str, float]] = field(default_factory=dict)
    elements: dict[Span, Span] = field(default_factory=dict)  # of each place, the first line of its card


def find(
    circuit: Circuit, index: Index, elements: Mapping[str, float], parameters: Mapping[str, float], found: Diagnostics
) -> Wanted:
    """Find the place of every value; what has none is reported in ``found``.

    An element that is not among ``elements`` counts where one of them has the same text: it keeps its value.
    """
    wanted = Wanted()
    places: dict[Span, Span | None] = {}  # of a card -> of its number
    trained = {t.branch for t in circuit.trained if t.branch is not None}
    trained |= {number for number in named_branches(circuit) if circuit.branches[number].name in elements}
    for number in sorted(trained):
        branch = circuit.branches[number]
        if branch.span not in places:
            places[branch.span] = _place_of_element(branch, index, found)
            if (place := places[branch.span]) is not None:
                wanted.elements[place] = branch.span
    letters = {circuit.branches[number].span: circuit.branches[number].law.letter for number in trained}
    for number, branch in enumerate(circuit.branches):
        place = places.get(branch.span)
        if place is None or branch.law.letter != letters[branch.span] or not branch.law.roles:
            continue
        present = branch.values[0]
        if number in trained and branch.name in elements:
            wanted.numbers.setdefault(place, {})[branch.name] = elements[branch.name]
        elif isinstance(present, float) and index.element(branch.name, branch.span) is not None:
            wanted.numbers.setdefault(place, {})[branch.name] = present
    for name in parameters:
        place = _place_of_parameter(name, circuit, index, found)
        if place is not None:
            wanted.numbers.setdefault(place, {})[name] = parameters[name]
            wanted.elements.setdefault(place, circuit.parameters[name].span)
            _add_other_instances(name, place, circuit, index, wanted)
    return wanted


def named_branches(circuit: Circuit) -> set[int]:
    """Return the branches whose value is learnt or has a spread."""
    found = {t.branch for t in circuit.trained} | {v.branch for v in circuit.varied}
    return {number for number in found if number is not None}


def _add_other_instances(name: str, place: Span, circuit: Circuit, index: Index, wanted: Wanted) -> None:
    """Have instances that read the same text as an instance's parameter, and are not drawn, keep its number."""
    owner = next((p.card for p in index.cards(circuit.parameters[name].span)), None)
    local = local_name(name)
    if not isinstance(owner, ast.Subcircuit) or name.rstrip("'") == f"{owner.name}.{local}":
        return
    value = dict(owner.parameters)[local]
    if isinstance(value, ast.Number):
        for path in circuit.instances.get(owner.name, ()):
            wanted.numbers[place].setdefault(f"{path}.{local}", value.value)


def local_name(name: str) -> str:
    """Return a parameter's name as its definition has it."""
    return name.rstrip("'").rpartition(".")[2]


def _place_of_element(branch: Branch, index: Index, found: Diagnostics) -> Span | None:
    place = index.element(branch.name, branch.span)
    card = place.card if place is not None else None
    expression: ast.Expression | None = None
    match card:
        case ast.Passive():
            changed = [name for name, _ in card.parameters if name != "ic"]
            if card.model is not None or card.charge or changed:
                what = f"{changed[0]}=" if changed else "a model"
                found.error(
                    f"the trained value of {branch.name} cannot be written back: {what} takes part in it",
                    branch.span,
                    "give the element its value as one plain number",
                )
                return None
            expression = card.value
        case ast.IndependentSource():
            expression = card.dc
            if card.waveform is not None:
                expression = card.waveform.arguments[card.waveform.kind.lower() == "pwl"]
        case ast.ControlledSource():
            expression = card.gain
        case _:
            pass
    return _number(branch.name, expression, branch.span, found)


def _place_of_parameter(name: str, circuit: Circuit, index: Index, found: Diagnostics) -> Span | None:
    """A shared parameter is one number of the text: in a .param, in a header, or on an X line."""
    span = circuit.parameters[name].span
    local = local_name(name)
    expression = index.overrides.get(span)
    for place in index.cards(span):
        given = place.card.assignments if isinstance(place.card, ast.Param) else ()
        if isinstance(place.card, ast.Subcircuit):
            given = place.card.parameters
        for assigned, value in given:
            if assigned == local:
                expression = value  # of two the last one counts
    return _number(name, expression, span, found)


def _number(name: str, expression: ast.Expression | None, span: Span, found: Diagnostics) -> Span | None:
    if isinstance(expression, ast.Number) or (isinstance(expression, ast.Call) and expression.function in RANDOM):
        return expression.span
    if (
        isinstance(expression, ast.Unary)
        and expression.operator in "+-"
        and isinstance(expression.operand, ast.Number)
        and expression.span.length > expression.operand.span.length
    ):
        return expression.span
    what = "is not written on its line" if expression is None else "is computed from others"
    found.error(
        f"the trained value of {name} cannot be written back: it {what}",
        span if expression is None else expression.span,
        "give it as one plain number",
    )
    return None
