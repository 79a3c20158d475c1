"""What the passes share: bottom-up rewriting of all expressions of a program, and products and sums taken apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from netc.ir import build
from netc.ir.nodes import Binary, Expr, Unary, postorder
from netc.ir.program import Program

Rule = Callable[[Expr], Expr | None]


class Rewriter:
    """Rebuilds expressions bottom-up, each once; ``rule`` sees every rebuilt node and may replace it."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._done: dict[Expr, Expr] = {}

    def __call__(self, root: Expr) -> Expr:
        """Return ``root`` rewritten."""
        done = self._done
        for node in postorder(root, known=done):
            new = build.refold(node, tuple(done[child] for child in node.children))
            done[node] = self._rule(new) or new
        return done[root]


def rewritten(program: Program, rule: Rule) -> Program:
    """Return ``program`` with ``rule`` applied to all its expressions."""
    return mapped(program, Rewriter(rule))


def mapped(program: Program, change: Callable[[Expr], Expr]) -> Program:
    """Return ``program`` with ``change`` applied to each initial value, derivative, observable and residual."""
    return replace(
        program,
        algebraic=tuple(
            replace(
                block,
                residuals=tuple(
                    build.widen(change(r), u.size) for r, u in zip(block.residuals, block.unknowns, strict=True)
                ),
                explicit=None if block.explicit is None else change(block.explicit),
                guesses=tuple(change(guess) for guess in block.guesses),
            )
            for block in program.algebraic
        ),
        states=tuple(replace(s, initial=change(s.initial), derivative=change(s.derivative)) for s in program.states),
        observables=tuple(replace(o, value=change(o.value)) for o in program.observables),
    )


_LIMIT = 64  # a sum or product that shares operands may be exponentially longer than its graph


def terms(expr: Expr) -> list[tuple[int, Expr]]:
    """Return the signed terms of a sum: ``a - (b + c)`` gives ``+a, -b, -c``; long ones are left nested."""
    found: list[tuple[int, Expr]] = []
    stack = [(1, expr)]
    while stack:
        sign, node = stack.pop()
        full = len(found) + len(stack) >= _LIMIT
        if isinstance(node, Binary) and node.op in ("add", "sub") and not full:
            stack.append((sign if node.op == "add" else -sign, node.b))
            stack.append((sign, node.a))
        elif isinstance(node, Unary) and node.op == "neg":
            stack.append((-sign, node.x))
        else:
            found.append((sign, node))
    return found


def signed_sum(parts: list[tuple[int, Expr]]) -> Expr:
    """Return the sum of signed terms, starting from a positive one where there is one."""
    first = next((i for i, (sign, _) in enumerate(parts) if sign > 0), None)
    result: Expr = build.ZERO if first is None else parts[first][1]
    for i, (sign, term) in enumerate(parts):
        if i != first:
            result = build.add(result, term) if sign > 0 else build.sub(result, term)
    return result


def factors(expr: Expr) -> tuple[int, list[Expr]]:
    """Return sign and factors of a product: ``-(a * b) * c`` gives ``-1, [a, b, c]``."""
    sign = 1
    found: list[Expr] = []
    stack = [expr]
    while stack:
        node = stack.pop()
        full = len(found) + len(stack) >= _LIMIT
        if isinstance(node, Binary) and node.op == "mul" and not full:
            stack += [node.b, node.a]
        elif isinstance(node, Unary) and node.op == "neg":
            sign = -sign
            stack.append(node.x)
        else:
            found.append(node)
    return sign, found


def product(parts: list[Expr], sign: int = 1) -> Expr:
    """Return the product of ``parts`` from left to right, 1 for none, negated where ``sign`` is negative."""
    result: Expr = build.ONE
    for part in parts:
        result = build.mul(result, part)
    return result if sign > 0 else negated(result)


def negated(expr: Expr) -> Expr:
    """Return ``-expr`` without a ``neg`` where turning a difference round or a factor's sign will do."""
    if isinstance(expr, Binary):
        if expr.op == "sub":
            return build.sub(expr.b, expr.a)
        if expr.op in ("mul", "div") and _turns(expr.a):
            return build.binary(expr.op, negated(expr.a), expr.b)
        if expr.op in ("mul", "div") and _turns(expr.b):
            return build.binary(expr.op, expr.a, negated(expr.b))
    return build.neg(expr)


def _turns(expr: Expr) -> bool:
    return (isinstance(expr, Binary) and expr.op == "sub") or (isinstance(expr, Unary) and expr.op == "neg")
