"""From the dialects of other simulators to ngspice's meaning, when all cards of a deck are known.

``if(v(a), 1, 2)`` of LTspice -> ``v(a) > 0.5 ? 1 : 2``; a capacitor with ``Rser=`` -> a capacitor and a resistor.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from netc.diagnostics import Diagnostics, Span
from netc.parse import ast
from netc.parse.build import binary, map_expressions, number, rebuild, written
from netc.parse.device_voltages import with_voltages_across
from netc.parse.dialects import Dialect
from netc.parse.foreign import clamped_table
from netc.parse.ltspice_sources import rising, with_cycles

Assignments = tuple[tuple[str, ast.Expression], ...]

_RATINGS = frozenset({"ipk", "irms", "v", "vpk", "tol", "pwr"})
_STEPS = 1000  # of a transient that says nothing of its step
_MULTIPLIERS = {"res": "r", "cap": "c", "ind": "l"}
_SWITCHES = {"vswitch": ("sw", "v"), "iswitch": ("csw", "i")}


def translate(
    cards: Sequence[ast.Card], dialect: Dialect, sources: dict[str, Sequence[str]], diagnostics: Diagnostics
) -> list[ast.Card]:
    """Return ``cards`` with ngspice's meaning; ``sources`` are the lines of all files, for signs that numbers lost."""
    runs = [card for card in every(cards) if isinstance(card, ast.Tran)]
    words = {argument.name for card in runs for argument in card.arguments if isinstance(argument, ast.Name)}
    translation = _Translation(
        dialect,
        sources,
        diagnostics,
        _functions(cards),
        _parameters(cards),
        starting="startup" in words & dialect.run_modifiers,
        given="skipbp" in words or any(card.uic for card in runs) or not runs,
    )
    if dialect.name == "pspice":
        translation.multipliers.update(_multipliers(cards))
    if dialect.name == "hspice":
        cards = _with_hidden(cards, diagnostics)
    translated = translation.cards(with_voltages_across(cards))
    if dialect.temperature is not None and cards:
        span = cards[0].span
        value = number(dialect.temperature, span)
        translated.insert(0, ast.Options((("temp", value), ("tnom", value)), span))
    return translated


def rewritten(cards: Sequence[ast.Card], dialect: Dialect) -> list[ast.Card]:
    """Return ``cards`` with functions and names of ``dialect`` rewritten, and nothing else."""
    translation = _Translation(dialect, {}, Diagnostics(), _functions(cards), _parameters(cards))
    return [map_expressions(card, translation.expression) for card in cards]


def _bodies(card: ast.Card) -> Iterable[tuple[ast.Card, ...]]:
    if isinstance(card, ast.Subcircuit | ast.Include):
        return [card.cards]
    return [branch.cards for branch in card.branches] if isinstance(card, ast.Conditional) else []


def every(cards: Iterable[ast.Card]) -> Iterator[ast.Card]:
    """Yield every card, those of included files, subcircuits and branches after the card they are in."""
    for card in cards:
        yield card
        for body in _bodies(card):
            yield from every(body)


def _functions(cards: Iterable[ast.Card]) -> frozenset[str]:
    return frozenset(card.name for card in every(cards) if isinstance(card, ast.Func))


def _parameters(cards: Iterable[ast.Card]) -> frozenset[str]:
    names: set[str] = set()
    for card in every(cards):
        if isinstance(card, ast.Param):
            names.update(name for name, _ in card.assignments)
        elif isinstance(card, ast.Subcircuit):
            names.update(name for name, _ in card.parameters)
        elif isinstance(card, ast.Func):
            names.update(card.formals)
    return frozenset(names)


def _multipliers(cards: Sequence[ast.Card]) -> Iterator[tuple[str, ast.Expression]]:
    """Yield the names of PSpice's models of R, C and L, and by what they multiply the elements' values."""
    for card in every(cards):
        if isinstance(card, ast.Model) and card.type in _MULTIPLIERS:
            for name, value in card.parameters:
                if name == _MULTIPLIERS[card.type]:
                    yield card.name, value


def _with_hidden(cards: Sequence[ast.Card], diagnostics: Diagnostics) -> Sequence[ast.Card]:
    """Leave out parameters of subcircuits that a global one of the same name hides, as HSPICE's default is."""
    options = [name for card in cards if isinstance(card, ast.Options) for name, _ in card.settings]
    if "parhier" in options:
        return cards
    everywhere = {
        name
        for card in ast.Deck("", "", tuple(cards), {}).walk()
        if isinstance(card, ast.Param)
        for name, _ in card.assignments
    }
    hidden: set[tuple[str, str]] = set()

    def keep(pairs: Assignments) -> Assignments:
        return tuple(pair for pair in pairs if pair[0] not in everywhere)

    def body(inner: Iterable[ast.Card]) -> Iterator[ast.Card]:
        for card in inner:
            if isinstance(card, ast.Param):
                yield replace(card, assignments=keep(card.assignments))
            elif isinstance(card, ast.Instance):
                yield replace(card, parameters=keep(card.parameters))
            elif isinstance(card, ast.Subcircuit):
                yield replace(card, parameters=keep(card.parameters), cards=tuple(body(card.cards)))
            else:
                yield card

    for card in every(cards):
        if isinstance(card, ast.Subcircuit):
            own = [*card.parameters, *(p for c in card.cards if isinstance(c, ast.Param) for p in c.assignments)]
            for name, _ in own:
                if name in everywhere and (card.name, name) not in hidden:
                    hidden.add((card.name, name))
                    diagnostics.warning(
                        f"HSPICE takes '{name}' of the whole deck in the place of the parameter of '{card.name}'",
                        card.span,
                        "give one of the two another name, or add .option parhier=local",
                    )
    if not hidden:
        return cards

    def top(inner: Iterable[ast.Card]) -> Iterator[ast.Card]:
        for card in inner:
            if isinstance(card, ast.Include):
                yield replace(card, cards=tuple(top(card.cards)))
            elif isinstance(card, ast.Subcircuit | ast.Instance):
                yield from body([card])
            else:
                yield card

    return list(top(cards))


class _Translation:
    """Translates the cards of one deck."""

    def __init__(
        self,
        dialect: Dialect,
        sources: dict[str, Sequence[str]],
        diagnostics: Diagnostics,
        functions: frozenset[str],
        parameters: frozenset[str],
        *,
        starting: bool = False,
        given: bool = True,
    ) -> None:
        self.dialect = dialect
        self.sources = sources
        self.diagnostics = diagnostics
        self.functions = functions
        self.parameters = parameters
        self.starting = starting  # whether sources rise from 0 at the start
        self.multipliers: dict[str | None, ast.Expression] = {}  # of what elements with a model say, by model
        self.given = given  # whether the run starts from given values

    # ------------------------------------------------------------------ expressions

    def expression(self, root: ast.Expression) -> ast.Expression:
        """Return an outermost expression with every part translated."""
        if isinstance(root, ast.Number):
            return root
        return rebuild(root, self._part)

    def _part(self, node: ast.Expression) -> ast.Expression:
        match node:
            case ast.Call() if node.function not in self.functions:
                count = len(node.arguments)
                if node.function in self.dialect.tables and count >= 5 and count % 2:
                    return clamped_table(*node.arguments)
                rewrite = self.dialect.functions.get((node.function, count))
                return rewrite(*node.arguments) if rewrite else node
            case ast.Name() if node.name not in self.parameters:
                if node.name in self.dialect.constants:
                    return number(self.dialect.constants[node.name], node.span)
                return replace(node, name=self.dialect.names.get(node.name, node.name))
            case ast.Binary() if node.operator == "^" and self.dialect.power is not None:
                return self.dialect.power(node.left, node.right)
            case ast.Binary() if node.operator in ("&&", "||") and self.dialect.truth is not None:
                return replace(node, left=self.dialect.truth(node.left), right=self.dialect.truth(node.right))
            case ast.Unary() if node.operator == "!" and self.dialect.truth is not None:
                return replace(node, operand=self.dialect.truth(node.operand))
            case ast.Ternary() if self.dialect.truth is not None:
                return replace(node, condition=self.dialect.truth(node.condition))
            case _:
                return node

    # ------------------------------------------------------------------ cards

    def cards(self, cards: Iterable[ast.Card]) -> list[ast.Card]:
        """Return cards translated; one may become several."""
        translated = [new for card in cards for new in self._card(card)]
        return self._with_currents(translated) if self.dialect.initial_currents else translated

    def _with_currents(self, cards: list[ast.Card]) -> list[ast.Card]:
        """Move the currents that ``.ic`` gives to the inductors they belong to."""
        given: dict[str, tuple[ast.Expression, Span]] = {}
        for card in cards:
            if isinstance(card, ast.InitialCondition):
                given.update((target.element, (value, target.span)) for target, value in card.currents)
        if not given:
            return cards
        if not self.given:
            for _, span in given.values():
                hint = "add uic, and .ic or IC= for what does not start at 0"
                self.diagnostics.error("a current given to the operating point is not supported", span, hint)
            return cards
        moved: list[ast.Card] = []
        for card in cards:
            if isinstance(card, ast.InitialCondition):
                moved += [replace(card, currents=())] if card.voltages else []
            elif isinstance(card, ast.Passive) and card.kind == "L" and card.name in given:
                others = tuple(pair for pair in card.parameters if pair[0] != "ic")
                moved.append(replace(card, parameters=(*others, ("ic", given.pop(card.name)[0]))))
            else:
                moved.append(card)
        for name, (_, span) in given.items():
            self.diagnostics.error(f"there is no inductor {name!r} here to give a current to", span)
        return moved

    def _card(self, card: ast.Card) -> Iterator[ast.Card]:
        if isinstance(card, ast.Include):
            yield replace(card, cards=tuple(self.cards(card.cards)))
        elif isinstance(card, ast.Subcircuit):
            body = tuple(self.cards(card.cards))
            yield replace(map_expressions(replace(card, cards=()), self.expression), cards=body)
        elif isinstance(card, ast.Conditional):
            branches = [
                replace(
                    map_expressions(replace(branch, cards=()), self.expression), cards=tuple(self.cards(branch.cards))
                )
                for branch in card.branches
            ]
            yield replace(card, branches=tuple(branches))
        else:
            yield from self._plain(map_expressions(card, self.expression))

    def _plain(self, card: ast.Card) -> Iterator[ast.Card]:
        match card:
            case ast.Tran() if self.dialect.free_steps:
                yield self._tran(card)
            case ast.Model() if card.type in _SWITCHES:
                yield _switch(card)
            case ast.Model() if card.type == "d" and self.dialect.recombination is not None:
                yield _recombining(card, self.dialect.recombination)
            case ast.Model() if card.name in self.multipliers:
                kept = tuple(pair for pair in card.parameters if pair[0] != _MULTIPLIERS[card.type])
                yield replace(card, parameters=kept)
            case ast.Passive() if card.model in self.multipliers:
                factor = self.multipliers[card.model]
                given = card.value is not None and written(factor) != 1
                value = binary("*", card.value, factor, card.span) if card.value and given else card.value or factor
                yield replace(card, value=value)
            case ast.TableSource() if self.dialect.tables:
                yield _sharp(card)
            case ast.Passive() if self.dialect.source_settings and card.kind in "CL":
                yield from _with_parasitics(_unrated(_of_own_voltage(card) if card.charge else card))
            case ast.Passive() if self.dialect.source_settings:
                yield _unrated(card)
            case ast.BehaviouralSource() if self.dialect.behavioural_settings:
                yield from _with_parasitics(card)
            case ast.IndependentSource() if self.dialect.source_settings:
                yield from self._source(card)
            case _:
                yield card

    def _tran(self, card: ast.Tran) -> ast.Tran:
        """Give the step that LTspice and PSpice choose themselves."""
        words = [a.name for a in card.arguments if isinstance(a, ast.Name)]
        uic = card.uic or "skipbp" in words
        values = tuple(
            a for a in card.arguments if not (isinstance(a, ast.Name) and a.name in self.dialect.run_modifiers)
        )
        for word in words:
            if word == "steady":
                self.diagnostics.error(
                    f"'{word}' of .tran is not supported", card.span, "write the start as sources do"
                )
        if len(values) == 1:
            values = (number(0.0, values[0].span), values[0])
        if len(values) > 1 and isinstance(values[0], ast.Number) and values[0].value == 0:
            longest = values[3] if len(values) > 3 and values[3] != number(0.0, values[3].span) else None
            step = longest if longest is not None else binary("/", values[1], _STEPS, values[1].span)
            values = (step, *values[1:])
        return replace(card, arguments=values, uic=uic)

    def _source(self, card: ast.IndependentSource) -> Iterator[ast.Card]:
        """Write LTspice's additions to a source as ngspice has them."""
        card = self._relative_times(card)
        if self.starting:
            card = rising(card, self.diagnostics)
        for part in _with_parasitics(card):
            if isinstance(part, ast.IndependentSource):
                yield from with_cycles(part, self.diagnostics)
            else:
                yield part

    def _relative_times(self, card: ast.IndependentSource) -> ast.IndependentSource:
        """Add up the times of a PWL that are written with a plus: they count from the time before."""
        wave = card.waveform
        if wave is None or wave.kind != "PWL":
            return card
        arguments = list(wave.arguments)
        for index in range(2, len(arguments) - 1, 2):
            if self._has_plus(arguments[index]):
                time, before = arguments[index], arguments[index - 2]
                arguments[index] = binary("+", before, time, time.span)
        return replace(card, waveform=replace(wave, arguments=tuple(arguments)))

    def _has_plus(self, node: ast.Expression) -> bool:
        lines = self.sources.get(node.span.file, ())
        if not 0 < node.span.line <= len(lines):
            return False
        return lines[node.span.line - 1][node.span.column - 1 : node.span.column] == "+"


def _unrated(card: ast.Passive) -> ast.Passive:
    """Leave out what LTspice's catalogues say an element stands and how exact it is."""
    return replace(card, parameters=tuple(pair for pair in card.parameters if pair[0] not in _RATINGS))


def _of_own_voltage(card: ast.Passive) -> ast.Passive:
    """Write the ``x`` in a charge, the capacitor's own voltage, as ``v(a,b)``."""

    def change(node: ast.Expression) -> ast.Expression:
        return ast.Voltage(*card.nodes, node.span) if isinstance(node, ast.Name) and node.name == "x" else node

    return card if card.value is None else replace(card, value=rebuild(card.value, change))


def _recombining(card: ast.Model, emission: float) -> ast.Model:
    """Give a diode with ISR the NR that it has where its card does not say."""
    names = [name for name, _ in card.parameters]
    if "isr" not in names or "nr" in names:
        return card
    return replace(card, parameters=(*card.parameters, ("nr", number(emission, card.span))))


def _sharp(card: ast.TableSource) -> ast.TableSource | ast.BehaviouralSource:
    """Write a table as an expression: ngspice rounds the corners of its own TABLE."""
    points = [part for point in card.points for part in point]
    if len(points) < 4 or any(written(part) is None for part in points):
        return card
    value = clamped_table(card.expression, *points)
    quantity = "v" if card.kind == "E" else "i"
    return ast.BehaviouralSource(card.kind, card.name, card.nodes, quantity, value, card.span, card.parameters)


def _switch(card: ast.Model) -> ast.Model:
    """Write PSpice's switch, which has a voltage for on and one for off, with a threshold and a hysteresis."""
    kind, letter = _SWITCHES[card.type]
    given = dict(card.parameters)
    on = given.pop(f"{letter}on", None)
    off = given.pop(f"{letter}off", None)
    span = card.span
    on = on if on is not None else number(1.0 if letter == "v" else 1e-3, span)
    off = off if off is not None else number(0.0, span)
    middle = binary("/", binary("+", on, off, span), 2, span)
    half = binary("/", binary("-", on, off, span), 2, span)
    parameters = (*given.items(), (f"{letter}t", middle), (f"{letter}h", half))
    return replace(card, type=kind, parameters=parameters)


def _with_parasitics(card: ast.Passive | ast.IndependentSource | ast.BehaviouralSource) -> Iterator[ast.Card]:
    """Write LTspice's ``Rser=``, ``Lser=``, ``Rpar=`` and ``Cpar=`` as elements of their own.

    The element keeps its name, so ``i(name)`` stays the current through it.
    """
    given = dict(card.parameters)
    first, second = card.nodes
    span = card.span
    extra: list[ast.Card] = []
    for key, kind in (("rser", "R"), ("lser", "L")):
        if key in given:
            inner = f"{card.name}_{key}"
            value = given.pop(key)
            if not (isinstance(value, ast.Number) and value.value == 0):
                extra.append(ast.Passive(kind, f"{kind.lower()}_{inner}", (first, inner), value, span))
                first = inner
    outer = (card.nodes[0], second)
    for key, kind in (("rpar", "R"), ("cpar", "C")):
        if key in given:
            value = given.pop(key)
            if not (isinstance(value, ast.Number) and value.value == 0):
                extra.append(ast.Passive(kind, f"{kind.lower()}_{card.name}_{key}", outer, value, span))
    if not extra and len(given) == len(card.parameters):
        yield card
        return
    yield replace(card, nodes=(first, second), parameters=tuple(given.items()))
    yield from extra
