"""Short ways to build expressions of the syntax tree, and to change those of whole cards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from netc.diagnostics import Span
from netc.parse import ast

_T = TypeVar("_T")
_COMPARISONS = frozenset({"<", "<=", ">", ">=", "==", "!=", "&&", "||"})


def number(value: float, span: Span) -> ast.Number:
    """Return a literal."""
    return ast.Number(float(value), span)


def call(function: str, *arguments: ast.Expression) -> ast.Call:
    """Return a call that stands where its first argument stands."""
    return ast.Call(function, arguments, arguments[0].span)


def binary(operator: str, left: ast.Expression | float, right: ast.Expression | float, span: Span) -> ast.Binary:
    """Return an operation; plain numbers become literals."""
    return ast.Binary(operator, literal(left, span), literal(right, span), span)


def literal(value: ast.Expression | float, span: Span) -> ast.Expression:
    """Return a number as a literal, an expression as it is."""
    return number(value, span) if isinstance(value, (int, float)) else value


def choose(condition: ast.Expression, then: ast.Expression | float, otherwise: ast.Expression | float) -> ast.Ternary:
    """Return ``condition ? then : otherwise``."""
    span = condition.span
    return ast.Ternary(condition, literal(then, span), literal(otherwise, span), span)


def written(node: ast.Expression) -> float | None:
    """Return the number ``node`` is written as, through signs, or ``None``."""
    sign = 1.0
    while isinstance(node, ast.Unary) and node.operator in "+-":
        sign = -sign if node.operator == "-" else sign
        node = node.operand
    return sign * node.value if isinstance(node, ast.Number) else None


def is_logical(node: ast.Expression) -> bool:
    """Return whether ``node`` is 0 or 1 by its form."""
    if isinstance(node, ast.Unary):
        return node.operator == "!"
    return isinstance(node, ast.Binary) and node.operator in _COMPARISONS


def parts(root: ast.Expression) -> Iterator[ast.Expression]:
    """Yield ``root`` and all that is in it."""
    stack = [root]
    while stack:
        node = stack.pop()
        yield node
        match node:
            case ast.Call():
                stack += node.arguments
            case ast.Unary():
                stack.append(node.operand)
            case ast.Binary():
                stack += (node.left, node.right)
            case ast.Ternary():
                stack += (node.condition, node.then, node.otherwise)
            case _:
                pass


def rebuild(node: ast.Expression, change: Callable[[ast.Expression], ast.Expression]) -> ast.Expression:
    """Return ``node`` with ``change`` applied to every part of it, the innermost first."""
    match node:
        case ast.Call():
            arguments = tuple([rebuild(argument, change) for argument in node.arguments])
            node = node if arguments == node.arguments else replace(node, arguments=arguments)
        case ast.Unary():
            node = replace(node, operand=rebuild(node.operand, change))
        case ast.Binary():
            node = replace(node, left=rebuild(node.left, change), right=rebuild(node.right, change))
        case ast.Ternary():
            parts = [rebuild(part, change) for part in (node.condition, node.then, node.otherwise)]
            node = replace(node, condition=parts[0], then=parts[1], otherwise=parts[2])
        case _:
            pass
    return change(node)


def map_expressions(item: _T, change: Callable[[ast.Expression], ast.Expression]) -> _T:
    """Return a card, or a tuple of them, with every outermost expression replaced by what ``change`` makes of it."""
    changed: Any = _map(item, change)
    return changed  # type: ignore[no-any-return]  # replace() gives the item's own class


def _map(item: Any, change: Callable[[ast.Expression], ast.Expression]) -> Any:
    if isinstance(item, ast.Expression):
        return change(item)
    if isinstance(item, tuple):
        return tuple([_map(part, change) for part in item])
    if item is None or isinstance(item, (str, float, bool, Span)) or not is_dataclass(item):
        return item
    found = {field.name: getattr(item, field.name) for field in fields(item)}
    new = {name: _map(value, change) for name, value in found.items() if not isinstance(value, (str, bool, Span))}
    differs = {name: value for name, value in new.items() if value is not found[name]}
    return replace(item, **differs) if differs and not isinstance(item, type) else item
