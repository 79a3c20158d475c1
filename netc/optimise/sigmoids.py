"""Recognise logistic functions written out, whose ``exp`` overflows and whose gradient then is not a number.

a / (1 + exp(z))    ->  a * sigmoid(-z)
1 - sigmoid(z)      ->  sigmoid(-z)
"""

from __future__ import annotations

from netc.ir import build
from netc.ir.nodes import Binary, Expr, Unary
from netc.ir.program import Program
from netc.optimise.rewriting import negated, rewritten


def run(program: Program) -> Program:
    """Return ``program`` with ``sigmoid`` for every written-out logistic function."""
    return rewritten(program, _rule)


def _rule(node: Expr) -> Expr | None:
    if not isinstance(node, Binary):
        return None
    if node.op == "div":
        exponent = _exponent(node.b)
        return None if exponent is None else build.mul(node.a, build.unary("sigmoid", negated(exponent)))
    if node.op == "sub" and node.a is build.ONE and isinstance(node.b, Unary) and node.b.op == "sigmoid":
        return build.unary("sigmoid", negated(node.b.x))
    return None


def _exponent(expr: Expr) -> Expr | None:
    """Return ``z`` of ``1 + exp(z)``."""
    if isinstance(expr, Binary) and expr.op == "add":
        for one, other in ((expr.a, expr.b), (expr.b, expr.a)):
            if one is build.ONE and isinstance(other, Unary) and other.op == "exp":
                return other.x
    return None
