"""Rewrites that save operations in a step and in its adjoint; each is kept only where the count falls.

(1 - x) * rise - x * fall      ->   rise - x * (rise + fall)     one product less, and less to differentiate
s * (1 - s)                    ->   s - s * s                    a product and a sum that fuse
scatter(-x)                    ->   -scatter(x)                  both signs of what is scattered are one array
k * (x * (q * seed))           ->   x * ((k * q) * seed)         fixed factors meet at the seed
k * (q * s - x * (q * r))      ->   (k * q) * (s - x * r)        fixed factors that terms share come out of sums
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from netc.ir.build import ONE, ZERO, add, mul, neg, sub
from netc.ir.nodes import Binary, Const, Expr, Gather, ScatterAdd, State, Unary, Unknown, postorder, rebuild

Fixed = Callable[[Expr], bool]

_LARGEST_SUM = 200  # operations below a sum that is searched for a factor
DEEPEST = 150  # operations on top of each other; what is deeper is left as it is


def cost(roots: Iterable[Expr], fixed: Fixed) -> int:
    """Return the number of lane-by-lane operations from what is ``fixed`` up to ``roots``.

    A sum and a product that only it reads fuse, and count once.
    """
    order: list[Expr] = []
    uses: dict[Expr, int] = {}
    stack = [root for root in dict.fromkeys(roots) if not fixed(root)]
    seen = set(stack)
    while stack:
        node = stack.pop()
        order.append(node)
        for child in node.children:
            uses[child] = uses.get(child, 0) + 1
            if child not in seen and not fixed(child):
                seen.add(child)
                stack.append(child)
    count = 0
    for node in order:
        if isinstance(node, Binary) and node.op in ("add", "sub"):
            fuses = any(
                isinstance(c, Binary) and c.op == "mul" and uses[c] == 1 and not fixed(c) for c in node.children
            )
            count += not fuses
        elif isinstance(node, Unary | Binary):
            count += 1
    return count


def depth(roots: Iterable[Expr]) -> int:
    """Return how many operations stand on top of each other."""
    found: dict[Expr, int] = {}
    for node in postorder(*roots):
        found[node] = 1 + max((found[child] for child in node.children), default=0)
    return max(found.values(), default=0)


def improved(roots: Sequence[Expr], change: Callable[[Sequence[Expr]], list[Expr]], fixed: Fixed) -> list[Expr]:
    """Return ``change(roots)`` where it costs less, else ``roots``."""
    if depth(roots) > DEEPEST:
        return list(roots)
    changed = change(roots)
    return changed if cost(changed, fixed) < cost(roots, fixed) else list(roots)


def factored(roots: Sequence[Expr], fixed: Fixed) -> list[Expr]:
    """Return ``roots`` with sums that are linear in a state written as one product with it, where that saves."""
    done: dict[Expr, Expr] = {}
    summands = {
        child
        for node in postorder(*roots)
        if isinstance(node, Binary) and node.op in ("add", "sub")
        for child in node.children
    }
    for node in postorder(*roots):
        new = node if fixed(node) else rebuild(node, tuple(done[child] for child in node.children))
        if isinstance(new, Binary) and new.op in ("add", "sub") and node not in summands and not fixed(new):
            new = _factored_sum(new, fixed)
        done[node] = new
    return [done[root] for root in roots]


def _factored_sum(node: Expr, fixed: Fixed) -> Expr:
    best, least = node, cost([node], fixed)
    below = [x for x in postorder(node) if not fixed(x)]
    if len(below) > _LARGEST_SUM:
        return node
    for leaf in below:
        if isinstance(leaf, State) and leaf.shape == node.shape:
            parts = linear_in(node, leaf)
            if parts is not None and parts[0] is not ZERO:
                found = _plus(parts[1], _times(parts[0], leaf))
                count = cost([found], fixed)
                if count < least:
                    best, least = found, count
    return best


def linear_in(node: Expr, leaf: Expr) -> tuple[Expr, Expr] | None:
    """Return ``(factor, rest)`` with ``node = factor * leaf + rest``; ``None`` where it is not linear in the leaf."""
    return _linear(node, leaf, {})


def _linear(node: Expr, leaf: Expr, known: dict[Expr, tuple[Expr, Expr] | None]) -> tuple[Expr, Expr] | None:
    if node in known:
        return known[node]
    known[node] = found = _linear_rule(node, leaf, known)
    return found


def _linear_rule(node: Expr, leaf: Expr, known: dict[Expr, tuple[Expr, Expr] | None]) -> tuple[Expr, Expr] | None:
    if node is leaf:
        return ONE, ZERO
    parts = [_linear(child, leaf, known) for child in node.children]
    if all(p is not None and p[0] is ZERO for p in parts):
        return ZERO, node
    if any(p is None for p in parts) or any(
        c.shape != node.shape and p != (ZERO, c) for c, p in zip(node.children, parts, strict=True)
    ):
        return None
    pairs = [p for p in parts if p is not None]
    if isinstance(node, Unary) and node.op == "neg":
        return _minus(pairs[0][0]), _minus(pairs[0][1])
    if not isinstance(node, Binary):
        return None
    (a1, a0), (b1, b0) = pairs
    if node.op == "add":
        return _plus(a1, b1), _plus(a0, b0)
    if node.op == "sub":
        return _plus(a1, _minus(b1)), _plus(a0, _minus(b0))
    if node.op == "mul" and a1 is ZERO:
        return _times(a0, b1), _times(a0, b0)
    if node.op == "mul" and b1 is ZERO:
        return _times(a1, b0), _times(a0, b0)
    return None


def _minus(x: Expr) -> Expr:
    if isinstance(x, Binary) and x.op == "sub":
        return sub(x.b, x.a)
    return neg(x)


def _plus(a: Expr, b: Expr) -> Expr:
    """``a + b`` with signs taken out: ``-a - b`` is ``-(a + b)``."""
    if isinstance(a, Unary) and a.op == "neg":
        return neg(add(a.x, b.x)) if isinstance(b, Unary) and b.op == "neg" else sub(b, a.x)
    if isinstance(b, Const) and b.value < 0.0:  # so that a - 1 is one expression
        return sub(a, -b.value)
    return add(a, b)


def _times(a: Expr, b: Expr) -> Expr:
    if isinstance(a, Unary) and a.op == "neg":
        return neg(_times(a.x, b))
    if isinstance(b, Unary) and b.op == "neg":
        return neg(_times(a, b.x))
    return mul(a, b)


def with_fused_slopes(roots: Sequence[Expr]) -> list[Expr]:
    """Return ``roots`` with ``s - s * s`` for every ``s * (1 - s)``."""
    done: dict[Expr, Expr] = {}
    for node in postorder(*roots):
        new = rebuild(node, tuple(done[child] for child in node.children))
        if isinstance(new, Binary) and new.op == "mul" and new.b is sub(ONE, new.a):
            new = sub(new.a, mul(new.a, new.a))
        done[node] = new
    return [done[root] for root in roots]


def with_signs_outside(roots: Sequence[Expr], fixed: Fixed) -> list[Expr]:
    """Return ``roots`` with the signs of what is gathered or scattered taken outside, so that both signs share it.

    A fixed matrix stays as it is: a loop and its adjoint read the same one.
    """
    done: dict[Expr, Expr] = {}
    for node in postorder(*roots):
        if len(node.shape) > 1 and fixed(node):
            done[node] = node
            continue
        new = rebuild(node, tuple(done[child] for child in node.children))
        if isinstance(new, Gather | ScatterAdd) and isinstance(new.x, Unary) and new.x.op == "neg":
            new = neg(rebuild(new, (new.x.x,)))
        elif isinstance(new, Binary) and new.op in ("add", "sub") and isinstance(new.b, Unary) and new.b.op == "neg":
            new = sub(new.a, new.b.x) if new.op == "add" else add(new.a, new.b.x)
        done[node] = new
    return [done[root] for root in roots]


def with_scaled_seeds(roots: Sequence[Expr], fixed: Fixed) -> list[Expr]:
    """Return ``roots``, linear in seeds, with the fixed factors of products moved to the seeds."""
    seeded = set[Expr]()
    for node in postorder(*roots):
        if isinstance(node, Unknown) or any(child in seeded for child in node.children):
            seeded.add(node)
    known: dict[tuple[Expr, Expr], Expr] = {}

    def scaled(node: Expr, factor: Expr) -> Expr:
        key = node, factor
        if key not in known:
            known[key] = _scaled(node, factor)
        return known[key]

    def _scaled(node: Expr, factor: Expr) -> Expr:
        if node not in seeded:
            return mul(factor, node) if factor is not ONE else node
        if isinstance(node, Unknown):
            return _times(factor, node)
        if isinstance(node, Unary) and node.op == "neg":
            return _minus(scaled(node.x, factor))
        if isinstance(node, Binary) and node.op in ("add", "sub") and {node.a, node.b} <= seeded:
            a, b = scaled(node.a, factor), scaled(node.b, factor)
            return _plus(a, b if node.op == "add" else _minus(b))
        if isinstance(node, Binary) and node.op == "mul" and node.shape in (node.a.shape, node.b.shape):
            for one, other in ((node.a, node.b), (node.b, node.a)):
                if one in seeded and other not in seeded and one.shape == node.shape:
                    if fixed(other) and other.shape in ((1,), node.shape):
                        return scaled(one, mul(factor, other))
                    return _times(other, scaled(one, factor))
        return _times(factor, rebuild(node, tuple(scaled(c, ONE) if c in seeded else c for c in node.children)))

    return [scaled(root, ONE) for root in roots]


_Product = tuple[int, tuple[Expr, ...], Expr]
"""Sign, fixed factors and the rest of a product."""


def with_common_factors(roots: Sequence[Expr], fixed: Fixed) -> list[Expr]:
    """Return ``roots`` with fixed factors drawn out of products, and out of sums whose terms share them."""
    found: dict[Expr, _Product] = {}
    for node in postorder(*roots):
        found[node] = _product(node, [found[child] for child in node.children], fixed)
    return [_joined(found[root]) for root in roots]


def _product(node: Expr, parts: Sequence[_Product], fixed: Fixed) -> _Product:
    if fixed(node):
        if isinstance(node, Unary) and node.op == "neg":
            sign, factors, rest = parts[0]
            return -sign, factors, rest
        if isinstance(node, Binary) and node.op == "mul":
            return parts[0][0] * parts[1][0], (*parts[0][1], *parts[1][1]), ONE
        return (1, (), ONE) if node is ONE else (1, (node,), ONE)
    if isinstance(node, Unary) and node.op == "neg":
        return -parts[0][0], parts[0][1], parts[0][2]
    if isinstance(node, Binary) and node.op == "mul":
        (sign, factors, rest), (other_sign, more, other) = parts
        return sign * other_sign, (*factors, *more), mul(rest, other)
    if isinstance(node, Binary) and node.op in ("add", "sub"):
        (sign, factors, rest), (other_sign, more, other) = parts
        if node.op == "sub":
            other_sign = -other_sign
        common, left = [], list(more)
        for factor in factors:
            if factor in left:
                left.remove(factor)
                common.append(factor)
        own = list(factors)
        for factor in common:
            own.remove(factor)
        a, b = _joined((1, tuple(own), rest)), _joined((sign * other_sign, tuple(left), other))
        return sign, tuple(common), _plus(a, b)
    return 1, (), rebuild(node, tuple(_joined(part) for part in parts))


def _joined(product: _Product) -> Expr:
    sign, factors, rest = product
    constant: Expr = ONE
    for factor in factors:
        constant = mul(constant, factor)
    result = mul(constant, rest)
    return result if sign > 0 else _minus(result)
