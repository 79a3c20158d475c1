"""``*.netc spread``: values that are not alike from device to device, or from use to use.

*.netc spread R* by=10%                              conductances, normally distributed
*.netc spread xn*.ron by=20% law=lognormal           a parameter, drawn for each instance
*.netc spread cell.tau by=5%                         that of a definition: one draw for all its instances
*.netc spread R* by=2% each=cycle                    read noise: drawn anew for every sample
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import translate

import netc.parse.ast as ast
from netc.diagnostics import Span
from netc.elaborate.circuit import Circuit, Varied
from netc.elaborate.context import Context
from netc.elaborate.random import Nominal
from netc.elaborate.scopes import Scope
from netc.ir.nodes import Expr
from netc.ir.program import Spread

KEYS = frozenset({"by", "each", "law"})
EXAMPLE = "*.netc spread R* by=10%"
_EACH = ("device", "cycle")
_LAWS = ("normal", "lognormal", "uniform")
_ROLES = frozenset({"R", "C", "L", "gain", "source"})


def apart(cards: Sequence[ast.Card]) -> Callable[[str], bool] | None:
    """Return what tells, by flat name, which parameters of instances have a spread; ``None`` where none has."""
    globs = [g for c in cards if isinstance(c, ast.Directive) and c.word == "spread" for g in c.targets if "." in g]
    if not globs:
        return None
    found = re.compile("|".join(translate(glob) for glob in globs)).match
    return lambda name: found(name) is not None


def random_values(context: Context, circuit: Circuit) -> None:
    """Take over the spread of values that a random function gives."""
    for number, branch in enumerate(circuit.branches):
        value = branch.values[0] if branch.values else None
        if isinstance(value, Nominal) and branch.law.roles[0] in _ROLES:
            circuit.varied.append(Varied(number, None, value.spread, branch.span))
    for name, spread in context.spreads.items():
        if name in circuit.parameters:
            circuit.varied.append(Varied(None, name, spread, circuit.parameters[name].span))


def varying(circuit: Circuit) -> dict[str, int]:
    """Return the branches whose value can have a spread, by name."""
    return {b.name: number for number, b in enumerate(circuit.branches) if b.law.roles and b.law.roles[0] in _ROLES}


def read(
    context: Context, scope: Scope, circuit: Circuit, card: ast.Directive, given: Mapping[str, ast.Expression | str]
) -> Spread | None:
    """Return what a directive says of its targets, or report what is wrong with it."""
    share, words = _share(context, scope, circuit, card, given.get("by")), {}
    for key, known in (("each", _EACH), ("law", _LAWS)):
        value = given.get(key, known[0])
        words[key] = value.name if isinstance(value, ast.Name) else value
        if words[key] not in known:
            context.error(f"{key}= is {', '.join(known[:-1])} or {known[-1]}", card.span, EXAMPLE)
            return None
    if share is None:
        return None
    return Spread(share, law=str(words["law"]), cycle=words["each"] == "cycle")


def add(
    context: Context, circuit: Circuit, spread: Spread, card: ast.Directive, branch: int | None, parameter: str | None
) -> None:
    """Give a branch's value, or a parameter, a spread."""
    if branch is not None:
        found = circuit.branches[branch]
        if isinstance(found.values[0], Expr):
            context.error(
                f"the value of {found.name} is an expression of parameters",
                card.span,
                "name the parameter, or give the element a number",
            )
            return
        if found.law.roles[0] == "R":
            spread = Spread(spread.share, 0.0, spread.law, spread.cycle, reciprocal=True)
    key = branch, parameter
    known = [v for v in circuit.varied if (v.branch, v.parameter) == key and v.spread.cycle == spread.cycle]
    if known:
        name = parameter if branch is None else circuit.branches[branch].name
        context.error(f"{name} has a spread already, at {known[0].span}", card.span)
        return
    circuit.varied.append(Varied(branch, parameter, spread, card.span))


def _share(
    context: Context, scope: Scope, circuit: Circuit, card: ast.Directive, given: ast.Expression | str | None
) -> float | None:
    if given is None:
        context.error("*.netc spread needs by=", card.span, EXAMPLE)
        return None
    expression = ast.Name(given, card.span) if isinstance(given, str) else given
    number = context.number(scope.value(expression))
    if math.isnan(number):
        return None
    if isinstance(expression, ast.Number) and _text(circuit, expression.span).endswith("%"):
        number /= 100
    if not 0 < number <= 1:
        hint = f"write by={number:g}%" if 1 < number <= 100 else EXAMPLE
        context.error(f"by= is a share of the value, above 0 and at most 1, not {number:g}", card.span, hint)
        return None
    return number


def _text(circuit: Circuit, span: Span) -> str:
    """Return what stands at a place."""
    line = circuit.sources[span.file][span.line - 1]
    return line[span.column - 1 : span.column - 1 + span.length]
