"""Values of R, C and L: multiplicity, temperature, model cards."""

from __future__ import annotations

from dataclasses import dataclass

import netc.parse.ast as ast
from netc.elaborate.circuit import Value
from netc.elaborate.context import NAN, Context, as_expr, as_value, close_match
from netc.elaborate.scopes import Definition, Scope
from netc.ir.build import add, div, mul, sub
from netc.ir.nodes import Const, Expr
from netc.parse.dialects import setting_hint

_ON_THE_CARD = {
    "R": frozenset({"m", "scale", "tc1", "tc2", "temp", "dtemp", "l", "w", "ac", "noisy"}),
    "C": frozenset({"m", "scale", "tc1", "tc2", "temp", "dtemp", "ic", "l", "w"}),
    "L": frozenset({"m", "scale", "tc1", "tc2", "temp", "dtemp", "ic"}),
}
_MODEL_TYPES = {"R": frozenset({"r", "res"}), "C": frozenset({"c", "cap"}), "L": frozenset({"l", "ind"})}
_IN_THE_MODEL = {
    "R": frozenset({"r", "rsh", "l", "defw", "narrow", "short", "tc1", "tc2", "tnom"}),
    "C": frozenset({"cap", "cj", "cjsw", "defw", "narrow", "short", "tc1", "tc2", "tnom"}),
    "L": frozenset({"ind", "tc1", "tc2", "tnom"}),
}
_SIZE = 1e-5  # m, the length and width that neither card nor model give
_NOMINAL = {"R": "r", "C": "cap", "L": "ind"}
_NAMES = {"R": "resistor", "C": "capacitor", "L": "inductor"}


def known_parameters(context: Context, card: ast.Passive) -> bool:
    """Return whether the card has only parameters netc knows; report the others."""
    kind = card.kind.upper()
    known = _ON_THE_CARD[kind]
    good = True
    for position, (name, value) in enumerate(card.parameters):
        if name not in known:
            hint = setting_hint(name) or close_match(name, known, "the parameter")
            context.error(f"unknown parameter {name!r} of a {_NAMES[kind]}", value.span, hint)
            good = False
        elif any(name == earlier for earlier, _ in card.parameters[:position]):
            context.error(f"parameter {name!r} is given twice", value.span)
            good = False
    return good


@dataclass(frozen=True, slots=True)
class PassiveValue:
    """The value of a card with parameters or a model, as the ngspice manual gives it.

    value * scale * (1 + tc1 dT + tc2 dT^2), dT = temp + dtemp - tnom; ``m`` in parallel: R/m, C*m, L/m.
    """

    card: ast.Passive
    model: tuple[ast.Model, Definition] | None

    def value(self, scope: Scope) -> Value:
        """Return the value in the instance ``scope``: Ohm, F or H."""
        kind = self.card.kind.upper()
        given = {name: as_expr(scope.value(expression)) for name, expression in self.card.parameters if name != "ic"}
        model = self._model(scope, kind)
        if model is None:
            return NAN
        result = self._nominal(scope, kind, given, model)
        if result is None:
            return NAN
        result = mul(result, given.get("scale", Const(1.0)))
        result = mul(result, temperature_factor(scope.context, given, model))
        if "m" in given:
            result = mul(result, given["m"]) if kind == "C" else div(result, given["m"])
        return scope.context.checked(as_value(result), self.card.span)

    def _model(self, scope: Scope, kind: str) -> dict[str, Expr] | None:
        if self.model is None:
            return {}
        card, definition = self.model
        if card.type not in _MODEL_TYPES[kind]:
            scope.context.error(
                f"model {card.name!r} is of type {card.type!r}: no model of a {_NAMES[kind]}",
                self.card.span,
                f"defined at {card.span}",
            )
            return None
        known = _IN_THE_MODEL[kind]
        unknown = [(name, value) for name, value in card.parameters if name not in known]
        for name, value in unknown:
            scope.context.error(
                f"parameter {name!r} of a {_NAMES[kind]} model is not supported",
                value.span,
                "supported are " + ", ".join(sorted(known)),
            )
        if unknown:
            return None
        home = scope.within(definition)
        return {name: as_expr(home.value(value)) for name, value in card.parameters}

    def _nominal(self, scope: Scope, kind: str, given: dict[str, Expr], model: dict[str, Expr]) -> Expr | None:
        if self.card.value is not None:
            return as_expr(scope.value(self.card.value))
        sized = "l" in given or "w" in given
        if "rsh" in model and (sized or "r" not in model):
            return _of_sheet(given, model)
        if _NOMINAL[kind] in model:
            return model[_NOMINAL[kind]]
        if kind == "C" and "l" in given and ("cj" in model or "cjsw" in model):
            return _of_area(given, model)
        hint = "give a value on the card"
        if kind == "R":
            hint += ", r= in the model or rsh= in the model"
        elif kind == "C":
            hint += ", cap= in the model, or cj= in the model with l= on the card"
        scope.context.error(f"{self.card.name} has no value", self.card.span, hint)
        return None


def _of_sheet(given: dict[str, Expr], model: dict[str, Expr]) -> Expr:
    """Return the resistance of a strip, ohms: sheet resistance times squares, less what etching takes at each side."""
    length = given.get("l", model.get("l", Const(_SIZE)))
    width = given.get("w", model.get("defw", Const(_SIZE)))
    long = sub(length, mul(2.0, model.get("short", Const(0.0))))
    wide = sub(width, mul(2.0, model.get("narrow", Const(0.0))))
    return div(mul(model["rsh"], long), wide)


def _of_area(given: dict[str, Expr], model: dict[str, Expr]) -> Expr:
    """Return the capacitance of a plate, farads: of its area and of its edge."""
    width = given.get("w", model.get("defw", Const(_SIZE)))
    long = sub(given["l"], model.get("short", Const(0.0)))
    wide = sub(width, model.get("narrow", Const(0.0)))
    area = mul(model.get("cj", Const(0.0)), mul(long, wide))
    return add(area, mul(mul(2.0, model.get("cjsw", Const(0.0))), add(long, wide)))


def temperature_factor(context: Context, given: dict[str, Expr], model: dict[str, Expr]) -> Expr:
    """Return 1 + tc1 dT + tc2 dT^2 with what a card and its model give; temperatures in degrees Celsius."""
    first = given.get("tc1", model.get("tc1", Const(0.0)))
    second = given.get("tc2", model.get("tc2", Const(0.0)))
    own = given.get("temp", Const(context.temperature))
    if "temp" not in given:
        own = add(own, given.get("dtemp", Const(0.0)))
    rise = sub(own, model.get("tnom", Const(context.nominal_temperature)))
    return add(add(1.0, mul(first, rise)), mul(second, mul(rise, rise)))


@dataclass(frozen=True, slots=True)
class TemperatureFactor:
    """The factor by which tc1=, tc2=, temp= and dtemp= on a card change what it gives."""

    parameters: tuple[tuple[str, ast.Expression], ...]

    def value(self, scope: Scope) -> Value:
        """Return the factor in the instance ``scope``."""
        given = {name: as_expr(scope.value(value)) for name, value in self.parameters if name != "m"}
        return as_value(temperature_factor(scope.context, given, {}))
