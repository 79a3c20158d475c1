"""The printer of the syntax tree: one card a line, expressions with every bracket."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from netc.diagnostics import printable
from netc.parse import ast


def dump(deck: ast.Deck) -> str:
    """Return the tree of ``deck`` as text; equal decks give equal text."""
    lines = [f"deck {deck.path}", f"title {deck.title}", *_cards(deck.cards, "")]
    return "".join(printable(line) + "\n" for line in lines)


def show(expression: ast.Expression) -> str:
    """Return ``expression`` with every bracket, in SPICE's own words."""
    match expression:
        case ast.Number():
            return repr(expression.value)
        case ast.Name():
            return expression.name
        case ast.Call():
            return f"{expression.function}({', '.join(map(show, expression.arguments))})"
        case ast.Unary():
            return f"({expression.operator}{show(expression.operand)})"
        case ast.Binary():
            return f"({show(expression.left)} {expression.operator} {show(expression.right)})"
        case ast.Ternary():
            return f"({show(expression.condition)} ? {show(expression.then)} : {show(expression.otherwise)})"
        case ast.Voltage():
            return (
                f"v({expression.positive})"
                if expression.negative is None
                else f"v({expression.positive},{expression.negative})"
            )
        case ast.Current():
            return f"i({expression.element})"


def _assignments(pairs: Iterable[tuple[str, ast.Expression | str | None]]) -> str:
    return "".join(
        f" {name}" if value is None else f" {name}={value if isinstance(value, str) else show(value)}"
        for name, value in pairs
    )


def _cards(cards: Iterable[ast.Card], indent: str) -> Iterator[str]:
    for card in cards:
        place = f"  ; {card.span.file}:{card.span.line}"
        yield indent + _head(card) + place
        if isinstance(card, ast.Subcircuit | ast.Include):
            yield from _cards(card.cards, indent + "  ")
        elif isinstance(card, ast.Conditional):
            for branch in card.branches:
                yield f"{indent}{'else' if branch.condition is None else 'when ' + show(branch.condition)}"
                yield from _cards(branch.cards, indent + "  ")


def _control(control: tuple[str, str] | str) -> str:
    return control if isinstance(control, str) else " ".join(control)


def _head(card: ast.Card) -> str:
    match card:
        case ast.Passive():
            value = "" if card.value is None else " " + show(card.value)
            model = "" if card.model is None else f" model={card.model}"
            charge = " charge" if card.charge else ""
            return (
                f"{card.kind} {card.name} {' '.join(card.nodes)}{charge}{value}{model}{_assignments(card.parameters)}"
            )
        case ast.IndependentSource():
            dc = "" if card.dc is None else f" dc {show(card.dc)}"
            wave = card.waveform
            shown = (
                ""
                if wave is None
                else f" {wave.kind}({' '.join(map(show, wave.arguments))}{_assignments(wave.parameters)})"
            )
            return f"{card.kind} {card.name} {' '.join(card.nodes)}{dc}{shown}{_assignments(card.parameters)}"
        case ast.ControlledSource():
            gain = f"{show(card.gain)}{_assignments(card.parameters)}"
            return f"{card.kind} {card.name} {' '.join(card.nodes)} ({_control(card.control)}) {gain}"
        case ast.PolynomialSource():
            controls = " ".join(f"({_control(control)})" for control in card.controls)
            coefficients = " ".join(map(show, card.coefficients)) + _assignments(card.parameters)
            return f"{card.kind} {card.name} {' '.join(card.nodes)} poly {controls} {coefficients}"
        case ast.TableSource():
            points = " ".join(f"({show(x)}, {show(y)})" for x, y in card.points) + _assignments(card.parameters)
            return f"{card.kind} {card.name} {' '.join(card.nodes)} table {show(card.expression)} = {points}"
        case ast.BehaviouralSource():
            value = f"{show(card.expression)}{_assignments(card.parameters)}"
            return f"{card.kind} {card.name} {' '.join(card.nodes)} {card.quantity}={value}"
        case ast.Device():
            words = " ".join(word if isinstance(word, str) else show(word) for word in card.words)
            lists = "".join(f" {name}={','.join(map(show, values))}" for name, values in card.parameters)
            return f"{card.kind} {card.name} {words}{lists}"
        case ast.Coupling():
            return f"K {card.name} {' '.join(card.inductors)} {show(card.coefficient)}"
        case ast.Instance():
            return f"X {card.name} {' '.join(card.nodes)} {card.subcircuit}{_assignments(card.parameters)}"
        case _:
            return _dot(card)


def _dot(card: ast.DotCard) -> str:
    match card:
        case ast.Param():
            return f".param{_assignments(card.assignments)}"
        case ast.Func():
            return f".func {card.name}({', '.join(card.formals)}) {show(card.body)}"
        case ast.Model():
            return f".model {card.name} {card.type}{_assignments(card.parameters)}"
        case ast.Subcircuit():
            return f".subckt {' '.join((card.name, *card.ports))}{_assignments(card.parameters)}"
        case ast.Include():
            return f".include {card.path}" + ("" if card.section is None else f" section {card.section}")
        case ast.InitialCondition():
            pairs = " ".join(f"{show(voltage)}={show(value)}" for voltage, value in card.voltages)
            return f"{'.nodeset' if card.nodeset else '.ic'} {pairs}"
        case ast.Tran():
            origin = " from .control" if card.from_control else ""
            return f".tran {' '.join(map(show, card.arguments))}{' uic' if card.uic else ''}{origin}"
        case ast.Options():
            return f".options{_assignments(card.settings)}"
        case ast.Conditional():
            return ".if"
        case ast.Temp():
            return f".temp {show(card.value)}"
        case ast.Global():
            return f".global {' '.join(card.nodes)}"
        case ast.Output():
            return f".{card.kind} {' '.join(map(show, card.signals)) or 'all'}"
        case ast.Measure():
            return f".measure {card.name} {_measured(card)}"
        case ast.Directive():
            return f"*.netc {' '.join((card.word, *card.targets))}{_assignments(card.parameters)}"


def _measured(card: ast.Measure) -> str:
    words = [card.function] + ([show(card.expression)] if card.expression is not None else [])
    words += [f"{word} {_event(event)}" for word, event in (("when", card.trigger), ("until", card.target)) if event]
    words += [
        f"{word}={show(edge)}" for word, edge in zip(("from", "to"), card.window, strict=True) if edge is not None
    ]
    return " ".join(words)


def _event(event: ast.Event) -> str:
    delay = "" if event.delay is None else f" after {show(event.delay)}"
    if event.left is None:
        return f"at {show(event.at)}{delay}" if event.at is not None else "never"
    level = "" if event.right is None else f" = {show(event.right)}"
    count = "" if event.count is None else f" {show(event.count)}"
    return f"{show(event.left)}{level} {event.edge}{count}{delay}"
