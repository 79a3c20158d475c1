"""``*.netc`` directives: what data drive, what the loss reads, what is learnt, what is not alike."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import translate

import netc.parse.ast as ast
from netc.diagnostics import Span
from netc.elaborate import spreads
from netc.elaborate.circuit import Circuit, Driven, Trained
from netc.elaborate.context import Context, close_element, close_match, letter_of
from netc.elaborate.scopes import Scope
from netc.ir.nodes import Expr

_INPUT_MODES = ("amplitude", "waveform")
_DRIVEN_LETTERS = "VIBEGFH"
_TRAINED_ROLES = frozenset({"R", "C", "L", "gain", "source"})


_DIGITS = re.compile(r"([0-9]+)")


def natural(name: str) -> list[int | str]:
    """Return a sort key that puts ``x2`` before ``x10``: text and number in turn, text first."""
    parts: list[int | str] = list(_DIGITS.split(name))
    parts[1::2] = map(int, parts[1::2])
    return parts


def matching(glob: str, names: Iterable[str]) -> list[str]:
    """Return the names a glob (``*``, ``?``, ``[...]``; ``*`` crosses dots) or a plain name means, in natural order."""
    names = list(names)
    if glob in names:
        return [glob]
    found = re.compile(translate(glob)).match
    return sorted((name for name in names if found(name)), key=natural)


class Directives:
    """Reads the directives of a deck into a circuit.

    ``touched`` are the nets some element is connected to; ``lenient`` allows trained values beyond their bounds, where
    devices that were drawn with a spread may be.
    """

    def __init__(
        self, context: Context, circuit: Circuit, scope: Scope, touched: set[int], lenient: bool = False
    ) -> None:
        self.lenient = lenient
        self.context = context
        self.circuit = circuit
        self.scope = scope
        self.touched = touched
        self._trained: dict[int | str, Span] = {}
        # a new directive is one entry: its word, its reader, its keys
        self._words: dict[str, tuple[Callable[[ast.Directive, dict[str, ast.Expression | str]], None], frozenset[str]]]
        self._words = {
            "input": (self._input, frozenset({"mode"})),
            "output": (self._output, frozenset()),
            "train": (self._train, frozenset({"min", "max"})),
            "spread": (self._spread, spreads.KEYS),
        }

    def read(self, cards: Sequence[ast.Card]) -> None:
        """Read all directives, in order."""
        spreads.random_values(self.context, self.circuit)
        for card in cards:
            if isinstance(card, ast.Directive):
                self._directive(card)

    def _directive(self, card: ast.Directive) -> None:
        if card.word not in self._words:
            hint = close_match(card.word, self._words, "the directive") or "known are " + ", ".join(self._words)
            self.context.error(f"unknown directive {card.word!r}", card.span, hint)
            return
        reader, keys = self._words[card.word]
        given: dict[str, ast.Expression | str] = {}
        for key, value in card.parameters:
            if key not in keys:
                hint = close_match(key, keys, "the key") or (
                    "known are " + ", ".join(sorted(keys)) if keys else "it takes none"
                )
                self.context.error(f"*.netc {card.word} has no key {key!r}", card.span, hint)
                return
            if key in given:
                self.context.error(f"{key}= is given twice", card.span)
                return
            given[key] = value
        if not card.targets:
            self.context.error(f"*.netc {card.word} names nothing", card.span)
            return
        reader(card, given)

    def _input(self, card: ast.Directive, given: dict[str, ast.Expression | str]) -> None:
        mode = given.get("mode", "amplitude")
        mode = mode.name if isinstance(mode, ast.Name) else mode
        if mode not in _INPUT_MODES:
            self.context.error("mode= is amplitude or waveform", card.span)
            return
        if self.circuit.driven and self.circuit.driven[0].mode != mode:
            self.context.error(
                f"these inputs are of mode={mode}, those before of mode={self.circuit.driven[0].mode}",
                card.span,
                "drive all inputs the same way",
            )
            return
        numbers = {
            branch.name: number
            for number, branch in enumerate(self.circuit.branches)
            if branch.law.letter in _DRIVEN_LETTERS
        }
        driven = {entry.branch for entry in self.circuit.driven}
        for glob in card.targets:
            found = matching(glob, numbers)
            if not found:
                only = f"data drive sources only: {' '.join(_DRIVEN_LETTERS)}"
                hint = only if self._exists(glob) else self._guess(glob, close_element(glob, numbers, "the source"))
                self.context.error(f"no source matches {glob!r}", card.span, hint)
            for name in found:
                if numbers[name] in driven:
                    self.context.error(f"{name} is an input already", card.span)
                    continue
                driven.add(numbers[name])
                self.circuit.driven.append(Driven(numbers[name], mode))

    def _output(self, card: ast.Directive, given: dict[str, ast.Expression | str]) -> None:
        nets = {name: net for net, name in enumerate(self.circuit.nets) if net and net in self.touched}
        for glob in card.targets:
            found = matching(glob, nets)
            if not found:
                hint = self._guess(glob, close_match(glob, nets, "the node"))
                self.context.error(f"no node matches {glob!r}", card.span, hint)
            for name in found:
                if nets[name] in self.circuit.outputs:
                    self.context.error(f"{name} is an output already", card.span)
                    continue
                self.circuit.outputs.append(nets[name])

    def _train(self, card: ast.Directive, given: dict[str, ast.Expression | str]) -> None:
        bounds = self._bounds(card, given)
        if bounds is None:
            return
        branches = {
            branch.name: number
            for number, branch in enumerate(self.circuit.branches)
            if branch.law.roles and branch.law.roles[0] in _TRAINED_ROLES
        }
        for glob in card.targets:
            elements = matching(glob, branches)
            parameters = matching(glob, self.circuit.parameters)
            if not elements and not parameters:
                alike = [name for name in branches if letter_of(name) == letter_of(glob)]
                hint = self._guess(
                    glob, close_match(glob, [*alike, *self.circuit.parameters], "the element or parameter")
                )
                if self._exists(glob):
                    hint = "only plain values can be trained: of R, C and L, of sources, linear gains, and parameters"
                self.context.error(f"no element or parameter to train matches {glob!r}", card.span, hint)
            for name in elements:
                self._train_branch(card, branches[name], bounds)
            for name in parameters:
                present = self.circuit.parameters[name].value
                if self._admit(card, name, name, present, bounds):
                    self.circuit.trained.append(Trained(None, name, *bounds, card.span))

    def _train_branch(self, card: ast.Directive, number: int, bounds: tuple[float, float]) -> None:
        branch = self.circuit.branches[number]
        value = branch.values[0]
        if isinstance(value, Expr):
            self.context.error(
                f"the value of {branch.name} is an expression of parameters",
                card.span,
                "train the parameter, or give the element a number",
            )
            return
        role = branch.law.roles[0]
        if role in ("R", "C", "L") and bounds[0] <= 0:
            self.context.error(f"min= must be above 0 for {branch.name}", card.span)
            return
        if self._admit(card, branch.name, number, value, bounds):
            self.circuit.trained.append(Trained(number, None, *bounds, card.span))

    def _spread(self, card: ast.Directive, given: dict[str, ast.Expression | str]) -> None:
        spread = spreads.read(self.context, self.scope, self.circuit, card, given)
        if spread is None:
            return
        branches = spreads.varying(self.circuit)
        for glob in card.targets:
            elements = matching(glob, branches)
            parameters = matching(glob, self.circuit.parameters)
            if not elements and not parameters:
                hint = self._guess(
                    glob, close_match(glob, [*branches, *self.circuit.parameters], "the element or parameter")
                )
                if self._exists(glob):
                    hint = "plain values can have a spread: of R, C and L, of sources, linear gains, and parameters"
                self.context.error(f"no element or parameter with a spread matches {glob!r}", card.span, hint)
            for name in elements:
                spreads.add(self.context, self.circuit, spread, card, branches[name], None)
            for name in parameters:
                spreads.add(self.context, self.circuit, spread, card, None, name)

    def _admit(
        self, card: ast.Directive, name: str, key: int | str, present: float, bounds: tuple[float, float]
    ) -> bool:
        if key in self._trained:
            self.context.error(f"{name} is trained already, at {self._trained[key]}", card.span)
            return False
        self._trained[key] = card.span
        low, high = bounds
        # a bound written as a reciprocal may be off by a rounding
        if not low * (1 - 1e-12) <= present <= high * (1 + 1e-12) and not low <= present <= high:
            report = self.context.warning if self.lenient else self.context.error
            report(
                f"{name} is {present:g}, outside of its bounds {low:g} to {high:g}",
                card.span,
                None if self.lenient else "a chip whose devices were drawn with a spread needs --lenient",
            )
            return self.lenient
        return True

    def _bounds(self, card: ast.Directive, given: dict[str, ast.Expression | str]) -> tuple[float, float] | None:
        numbers: list[float] = []
        for key in ("min", "max"):
            value = given.get(key)
            if value is None:
                self.context.error(f"*.netc train needs {key}=", card.span, "*.netc train R* min=1k max=100k")
            else:
                expression = ast.Name(value, card.span) if isinstance(value, str) else value
                numbers.append(self.context.number(self.scope.value(expression)))
        if len(numbers) < 2 or any(math.isnan(number) for number in numbers):
            return None
        low, high = numbers
        if low >= high:
            self.context.error(f"min= must be below max=, not {low:g} and {high:g}", card.span)
            return None
        return low, high

    def _exists(self, glob: str) -> bool:
        return bool(matching(glob, (branch.name for branch in self.circuit.branches)))

    @staticmethod
    def _guess(glob: str, hint: str | None) -> str | None:
        return None if any(c in glob for c in "*?[") else hint
