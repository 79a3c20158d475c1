"""A syntax tree written as a netlist that ngspice 39 runs as it is.

Included files are written out in place.  What netc knows and ngspice does not becomes something both know:
``if(c, a, b)`` a ternary, ``table()`` a clamped ``pwl()``, an integral over time the voltage of a capacitor.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import combinations

from netc.diagnostics import Diagnostics
from netc.parse import ast
from netc.parse.build import choose, map_expressions, number, parts, rebuild
from netc.parse.dialects import Dialect
from netc.parse.expressions import expressions_of
from netc.parse.foreign import NETC
from netc.parse.translate import every, rewritten

_INTEGRALS = frozenset({"idt", "sdt"})
_UNKNOWN = frozenset({"delay", "absdelay", "idtmod"})
_RANDOM = {"agauss": 3, "gauss": 3, "aunif": 2, "unif": 2, "limit": 2}
_FORBIDDEN = set("\\;$\"'`")
_NETC = Dialect("netc", tables=frozenset({"table"}), functions=NETC)
_IDEAL = frozenset({"ron", "roff", "vfwd", "vrev", "rrev"})


def write_deck(deck: ast.Deck, *, leave_out: Container[type] = ()) -> str:
    """Return ``deck`` as a netlist for ngspice, ending in ``.end``.

    Args:
        deck: a parsed deck, of any dialect.
        leave_out: kinds of cards that are not written.

    Raises:
        NetcError: something of the deck has no form in ngspice.
    """
    diagnostics = Diagnostics(dict(deck.sources))
    title = "".join(c if c.isprintable() else " " for c in deck.title).strip() or "a deck"
    writer = _Writer(diagnostics, leave_out, ltspice=deck.dialect == "ltspice")
    cards = rewritten(flat(deck.cards), _NETC)
    if deck.dialect != "ngspice":  # other simulators draw nothing in a single run
        cards = _without_draws(cards)
    lines = [title if title[0] not in ".+" else f"* {title}", *writer.cards(cards), ".end"]
    diagnostics.raise_if_failed()
    return "\n".join(lines) + "\n"


def runs_as_written(deck: ast.Deck) -> bool:
    """Return whether ngspice understands the author's own lines."""
    if deck.dialect != "ngspice" or deck.altered:
        return False
    foreign = {name for name, _ in NETC} | _INTEGRALS | {"table"}
    defined = {card.name for card in every(deck.cards) if isinstance(card, ast.Func)}
    foreign -= defined
    for card in every(deck.cards):
        for node in _parts(card):
            if (isinstance(node, ast.Call) and node.function in foreign) or _hides_a_call(node, defined):
                return False
    return True


def _without_draws(cards: list[ast.Card]) -> list[ast.Card]:
    """Return ``cards`` with the nominal value in the place of every random number."""
    defined = {card.name for card in every(cards) if isinstance(card, ast.Func)}

    def nominal(node: ast.Expression) -> ast.Expression:
        if isinstance(node, ast.Call) and node.function not in defined:
            return node.arguments[0] if len(node.arguments) == _RANDOM.get(node.function) else node
        return node

    return [map_expressions(card, lambda root: rebuild(root, nominal)) for card in cards]


def _main(card: ast.Passive | ast.IndependentSource) -> ast.Expression | None:
    return card.value if isinstance(card, ast.Passive) else card.dc


def _parts(card: ast.Card) -> Iterator[ast.Expression]:
    plain = isinstance(card, ast.Passive | ast.IndependentSource) and isinstance(_main(card), ast.Number | None)
    if plain or isinstance(card, ast.Subcircuit | ast.Include | ast.Conditional):
        return
    for root in expressions_of(card):
        if not isinstance(root, ast.Number | ast.Name | ast.Voltage | ast.Current):
            yield from parts(root)


def _hides_a_call(node: ast.Expression, defined: set[str]) -> bool:
    """Return whether ngspice would not expand a ``.func``: one that follows a question mark at once."""
    return isinstance(node, ast.Ternary) and isinstance(node.then, ast.Call) and node.then.function in defined


def flat(cards: Iterable[ast.Card]) -> list[ast.Card]:
    """Return cards with those of included files in place."""
    result: list[ast.Card] = []
    for card in cards:
        result += flat(card.cards) if isinstance(card, ast.Include) else [card]
    return result


def show(expression: ast.Expression) -> str:
    """Return ``expression`` as ngspice reads it in ``.param``, in braces and in B sources alike."""
    match expression:
        case ast.Number():
            text = _number(expression.value)
            return f"({text})" if text[0] == "-" else text
        case ast.Name():
            return expression.name
        case ast.Call():
            return f"{expression.function}({','.join(map(show, expression.arguments))})"
        case ast.Unary():
            return f"({expression.operator}{show(expression.operand)})"
        case ast.Binary():
            return f"({show(expression.left)}{_spaced(expression.operator)}{show(expression.right)})"
        case ast.Ternary():
            # ngspice expands no .func that follows the question mark at once
            then, otherwise = show(expression.then), show(expression.otherwise)
            return f"({show(expression.condition)} ? ({then}) : ({otherwise}))"
        case ast.Voltage():
            pair = (
                expression.positive if expression.negative is None else f"{expression.positive},{expression.negative}"
            )
            return f"v({pair})"
        case ast.Current():
            return f"i({expression.element})"


def _spaced(operator: str) -> str:
    return operator if operator in "*/^" else f" {operator} "


def _number(value: float) -> str:
    text = f"{value:.15g}"
    return text if float(text) == value else repr(value)


def _value(expression: ast.Expression) -> str:
    if isinstance(expression, ast.Number):
        return _number(expression.value)
    return f"{{{show(expression)}}}"


def _pairs(assignments: Iterable[tuple[str, ast.Expression]]) -> str:
    return "".join(f" {name}={_value(value)}" for name, value in assignments)


class _Writer:
    """Writes the cards of one deck."""

    def __init__(self, diagnostics: Diagnostics, leave_out: Container[type], *, ltspice: bool) -> None:
        self.diagnostics = diagnostics
        self.leave_out = leave_out
        self.ltspice = ltspice
        self._number = 0

    def cards(self, cards: Iterable[ast.Card]) -> Iterator[str]:
        """Yield the lines of ``cards``."""
        for card in cards:
            if type(card) in self.leave_out:
                continue
            if isinstance(card, ast.Subcircuit):
                head = f".subckt {' '.join((card.name, *card.ports))}"
                yield head + (f" params:{_pairs(card.parameters)}" if card.parameters else "")
                yield from self.cards(flat(card.cards))
                yield f".ends {card.name}"
            elif isinstance(card, ast.Conditional):
                yield from self._conditional(card)
            else:
                self._check_names(card)
                self._check_model(card)
                extra: list[ast.Card] = []
                card = map_expressions(card, partial(self._for_ngspice, extra))
                yield _line(card)
                yield from self.cards(extra)

    def _conditional(self, card: ast.Conditional) -> Iterator[str]:
        if any(isinstance(inner, ast.Param) for branch in card.branches for inner in flat(branch.cards)):
            card, parameters = self._without_parameters(card)
            yield from self.cards([parameters])
            if not any(branch.cards for branch in card.branches):
                return
        for position, branch in enumerate(card.branches):
            if branch.condition is None:
                yield ".else"
            else:
                yield f".{'elseif' if position else 'if'} ({show(branch.condition)})"
            yield from self.cards(flat(branch.cards))
        yield ".endif"

    def _without_parameters(self, card: ast.Conditional) -> tuple[ast.Conditional, ast.Param]:
        """Take the ``.param`` cards out of the branches: each parameter gets the condition into its value."""
        given: list[dict[str, ast.Expression]] = []
        branches: list[ast.Branch] = []
        for branch in card.branches:
            cards = flat(branch.cards)
            given.append({n: v for inner in cards if isinstance(inner, ast.Param) for n, v in inner.assignments})
            branches.append(replace(branch, cards=tuple(inner for inner in cards if not isinstance(inner, ast.Param))))
        assignments: list[tuple[str, ast.Expression]] = []
        for name in dict.fromkeys(name for values in given for name in values):
            value: ast.Expression | None = None
            for branch, values in zip(reversed(card.branches), reversed(given), strict=True):
                own = values.get(name)
                if own is None or (value is None and branch.condition is not None):
                    message = f"{name!r} is not given in every case, and ngspice cannot leave a parameter open"
                    self.diagnostics.error(message, card.span, "give it in each branch, .else included")
                    break
                value = own if branch.condition is None or value is None else choose(branch.condition, own, value)
            else:
                assert value is not None
                assignments.append((name, value))
        return replace(card, branches=tuple(branches)), ast.Param(tuple(assignments), card.span)

    def _check_names(self, card: ast.Card) -> None:
        for word in _words(card):
            if _FORBIDDEN & set(word) or "//" in word or not word.isprintable():
                self.diagnostics.error(f"ngspice cannot have a name like '{word}'", card.span, "use letters and digits")

    def _check_model(self, card: ast.Card) -> None:
        """Refuse models of LTspice that are others in ngspice."""
        if not (self.ltspice and isinstance(card, ast.Model)):
            return
        given = dict(card.parameters)
        if card.type == "d" and _IDEAL & given.keys():
            hint = "use a junction with a small n=, or a B source with i=pwl(...)"
            self.diagnostics.error(f"model '{card.name}' is LTspice's ideal diode, unknown to ngspice", card.span, hint)
        if card.type in ("sw", "csw") and any(_is_negative(given.get(name)) for name in ("vh", "ih")):
            hint = "use a B source with a smooth conductance"
            self.diagnostics.error(
                f"model '{card.name}' changes smoothly in LTspice, jumps in ngspice", card.span, hint
            )

    # ------------------------------------------------------------------ expressions

    def _for_ngspice(self, extra: list[ast.Card], root: ast.Expression) -> ast.Expression:
        return root if isinstance(root, ast.Number) else rebuild(root, partial(self._part, extra))

    def _part(self, extra: list[ast.Card], node: ast.Expression) -> ast.Expression:
        if not isinstance(node, ast.Call):
            return node
        if node.function in _INTEGRALS and node.arguments:
            return self._integral(node, extra)
        if node.function in _UNKNOWN:
            self.diagnostics.error(f"{node.function}() has no form in ngspice", node.span)
        return node

    def _integral(self, node: ast.Call, extra: list[ast.Card]) -> ast.Expression:
        """Write an integral over time as the voltage of a capacitor of 1 F."""
        if len(node.arguments) > 2:
            self.diagnostics.error(f"a reset of {node.function}() has no form in ngspice", node.span)
        self._number += 1
        net, span = f"netc_integral{self._number}", node.span
        start = node.arguments[1] if len(node.arguments) > 1 else number(0.0, span)
        extra += [
            ast.BehaviouralSource("B", f"b_{net}", ("0", net), "i", node.arguments[0], span),
            ast.Passive("C", f"c_{net}", (net, "0"), number(1.0, span), span, parameters=(("ic", start),)),
            ast.InitialCondition(((ast.Voltage(net, None, span), start),), span),
        ]
        return ast.Voltage(net, None, span)


def _is_negative(value: ast.Expression | None) -> bool:
    if isinstance(value, ast.Unary):
        return value.operator == "-" and isinstance(value.operand, ast.Number) and value.operand.value > 0
    return isinstance(value, ast.Number) and value.value < 0


def _words(card: ast.Card) -> Iterator[str]:
    """Yield the names of elements, nodes and definitions on a card."""
    match card:
        case ast.Passive() | ast.IndependentSource() | ast.BehaviouralSource() | ast.Instance() | ast.TableSource():
            yield card.name
            yield from card.nodes
        case ast.ControlledSource():
            yield card.name
            yield from card.nodes
            yield from (card.control,) if isinstance(card.control, str) else card.control
        case ast.PolynomialSource():
            yield card.name
            yield from card.nodes
            for control in card.controls:
                yield from (control,) if isinstance(control, str) else control
        case ast.Device():
            yield card.name
            yield from (word for word in card.words if isinstance(word, str))
        case ast.Coupling():
            yield card.name
            yield from card.inductors
        case ast.Global():
            yield from card.nodes
        case ast.InitialCondition():
            yield from (voltage.positive for voltage, _ in card.voltages)
        case _:
            pass


def _line(card: ast.Card) -> str:
    match card:
        case ast.Passive():
            return f"{card.name} {' '.join(card.nodes)}{_passive(card)}{_pairs(card.parameters)}"
        case ast.IndependentSource():
            dc = "" if card.dc is None else f" dc {_value(card.dc)}"
            return f"{card.name} {' '.join(card.nodes)}{dc}{_waveform(card.waveform)}{_pairs(card.parameters)}"
        case ast.ControlledSource():
            control = card.control if isinstance(card.control, str) else " ".join(card.control)
            return f"{card.name} {' '.join(card.nodes)} {control} {_value(card.gain)}{_pairs(card.parameters)}"
        case ast.PolynomialSource():
            controls = " ".join(c if isinstance(c, str) else " ".join(c) for c in card.controls)
            head = f"{card.name} {' '.join(card.nodes)} poly({len(card.controls)}) {controls}"
            return f"{head} {' '.join(map(_value, card.coefficients))}{_pairs(card.parameters)}"
        case ast.TableSource():
            points = " ".join(f"({_value(x)},{_value(y)})" for x, y in card.points)
            head = f"{card.name} {' '.join(card.nodes)} table {{{show(card.expression)}}} = {points}"
            return head + _pairs(card.parameters)
        case ast.BehaviouralSource():
            if card.kind == "B":
                head = f"{card.name} {' '.join(card.nodes)} {card.quantity}={show(card.expression)}"
            else:
                word = "vol" if card.quantity == "v" else "cur"
                head = f"{card.name} {' '.join(card.nodes)} {word}={{{show(card.expression)}}}"
            return head + _pairs(card.parameters)
        case ast.Device():
            words = " ".join(word if isinstance(word, str) else _value(word) for word in card.words)
            given = "".join(f" {name}={','.join(map(_value, values))}" for name, values in card.parameters)
            return f"{card.name} {words}{given}"
        case ast.Coupling():
            pairs = list(combinations(card.inductors, 2))
            names = [card.name, *(f"{card.name}_{number}" for number in range(2, len(pairs) + 1))]
            return "\n".join(
                f"{name} {first} {second} {_value(card.coefficient)}"
                for name, (first, second) in zip(names, pairs, strict=True)
            )
        case ast.Instance():
            return f"{card.name} {' '.join((*card.nodes, card.subcircuit))}{_pairs(card.parameters)}"
        case _:
            return _dot(card)


_LABELS = ("mfg", "type")  # words about a part, which ngspice takes for parameters
_LETTERS = {"R": "r", "C": "c", "L": "l"}


def _passive(card: ast.Passive) -> str:
    value = card.value
    if card.model is not None:  # ngspice reads the model before the value, and then the value without its key
        return f" {card.model}" + ("" if value is None else f" {_value(value)}")
    if value is None:
        return ""
    if card.charge:
        return f" q={{{show(value)}}}"
    return f" {_value(value)}" if isinstance(value, ast.Number) else f" {_LETTERS[card.kind]}={{{show(value)}}}"


def _waveform(wave: ast.Waveform | None) -> str:
    if wave is None:
        return ""
    return f" {wave.kind.lower()}({' '.join(map(_value, wave.arguments))}){_pairs(wave.parameters)}"


def _dot(card: ast.Card) -> str:
    match card:
        case ast.Param():
            return f".param{_pairs(card.assignments)}"
        case ast.Func():
            return f".func {card.name}({','.join(card.formals)}) {{{show(card.body)}}}"
        case ast.Model():
            told = [pair for pair in card.parameters if pair[0] not in _LABELS]
            kind = {"cap": "c", "ind": "l"}.get(card.type, card.type)  # ngspice does not know the longer words
            return f".model {card.name} {kind}({_pairs(told).strip()})"
        case ast.InitialCondition():
            pairs = "".join(f" {show(voltage)}={_value(value)}" for voltage, value in card.voltages)
            return f"{'.nodeset' if card.nodeset else '.ic'}{pairs}"
        case ast.Tran():
            return f".tran {' '.join(map(_value, card.arguments))}{' uic' if card.uic else ''}"
        case ast.Options():
            return ".options" + "".join(_option(name, value) for name, value in card.settings)
        case ast.Temp():
            return f".temp {_value(card.value)}"
        case ast.Global():
            return f".global {' '.join(card.nodes)}"
        case ast.Output():
            return _output(card)
        case ast.Measure():
            return _measure(card)
        case ast.Directive():
            pairs = "".join(f" {k}={v if isinstance(v, str) else _value(v)}" for k, v in card.parameters)
            return f"*.netc {' '.join((card.word, *card.targets))}{pairs}"
        case _:
            raise TypeError(f"{type(card).__name__} on a line of its own")


def _option(name: str, value: ast.Expression | None) -> str:
    if value is None:
        return f" {name}"
    return f" {name}={value.name if isinstance(value, ast.Name) else _value(value)}"


def _output(card: ast.Output) -> str:
    """Write what to observe as ``.save``: ``.print`` of a current through a resistor is nothing to ngspice."""
    signals: dict[str, None] = {}
    for signal in card.signals:
        if isinstance(signal, ast.Voltage):
            signals[f"v({signal.positive})"] = None
            if signal.negative not in (None, "0"):
                signals[f"v({signal.negative})"] = None
        elif signal.element[:1] in "vehl":
            signals[f"i({signal.element})"] = None
        else:
            signals[f"@{signal.element}[{'current' if signal.element[:1] == 'i' else 'i'}]"] = None
    return f".save {' '.join(signals) or 'all'}"


def _measure(card: ast.Measure) -> str:
    """Write a measure; one of a kind ngspice does not have becomes a comment."""
    head = f".measure tran {card.name}"
    windows = (f" {word}={_value(edge)}" for word, edge in zip(("from", "to"), card.window, strict=True) if edge)
    window = "".join(windows)
    signal = "" if card.expression is None else f" {_signal(card.expression)}"
    match card.function:
        case "param" if card.expression is not None:
            return f"{head} param='{show(card.expression)}'"
        case "delay" if card.trigger and card.target:
            return f"{head} trig {_event(card.trigger)} targ {_event(card.target)}"
        case "find" if card.trigger is not None:
            if card.trigger.at is not None:
                return f"{head} find{signal} at={_value(card.trigger.at)}"
            return f"{head}{' find' if signal else ''}{signal} when {_event(card.trigger, ' = ')}{window}"
    line = f"{head} {card.function}{signal}{window}"
    return line if card.trigger is None else f"* ngspice has no window between events: {line}"


def _signal(expression: ast.Expression) -> str:
    if isinstance(expression, ast.Current) or (isinstance(expression, ast.Voltage) and expression.negative is None):
        return show(expression)
    return f"par('{show(expression)}')"


def _event(event: ast.Event, equals: str = " val=") -> str:
    delay = "" if event.delay is None else f" td={_value(event.delay)}"
    if event.left is None or event.right is None:
        return f"at={_value(event.at)}{delay}" if event.at is not None else ""
    plain = isinstance(event.right, ast.Voltage | ast.Current)
    level = _signal(event.right) if plain else _quoted(event.right)
    count = "" if event.count is None else f" {event.edge}={_count(event.count)}"
    return f"{_signal(event.left)}{equals if not plain else ' = '}{level}{delay}{count}"


def _quoted(expression: ast.Expression) -> str:
    return _number(expression.value) if isinstance(expression, ast.Number) else f"'{show(expression)}'"


def _count(count: ast.Expression) -> str:
    return count.name if isinstance(count, ast.Name) else _value(count)
