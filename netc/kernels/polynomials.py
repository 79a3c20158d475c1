"""Sums of products of states, expanded and put together again around the states they share.

v + a * (i - (v - p) * (q * x + r) + (s - v) * (q * y + r))
->   v + (v * (A - B * (x + y)) + C * x + D * y + a * i + E)

with fixed A to E, which are computed outside the time loop.  The adjoint needs what stands beside ``v`` as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from netc.ir.build import ONE, ZERO, add, mul, neg, sub
from netc.ir.nodes import Binary, Expr, State, Unary
from netc.kernels.factoring import Fixed, cost

_Product = tuple[Expr, ...]  # factors in order of their numbers
_Coefficient = dict[_Product, int]  # how often each product of fixed factors is added
_Polynomial = dict[_Product, _Coefficient]  # by the product of what moves

_MOST_TERMS = 16
_HIGHEST_DEGREE = 3


def regrouped(roots: Sequence[Expr], fixed: Fixed) -> list[Expr]:
    """Return ``roots``, each regrouped where that costs less; equal to rounding."""
    return [_regrouped(root, fixed) for root in roots]


def _regrouped(root: Expr, fixed: Fixed) -> Expr:
    if len(root.shape) != 1 or fixed(root):
        return root
    numbers: dict[Expr, int] = {}
    found = _expanded(root, fixed, numbers)
    if found is None or len(found) < 3:
        return root
    ahead = [product for product, coefficient in found.items() if len(product) == 1 and coefficient.get(()) == 1]
    for product in ahead:  # a coefficient near 1 would be rounded, in every step to the same side
        found[product] = {factors: count for factors, count in found[product].items() if factors}
    found = {product: coefficient for product, coefficient in found.items() if coefficient}
    result = _grouped(found, numbers)
    for product in ahead:
        result = add(product[0], result)
    if result.shape != root.shape:
        return root
    # a product of states has slopes that are shared with its adjoint
    tie = any(sum(isinstance(factor, State) for factor in product) > 1 for product in found)
    return result if cost([result], fixed) < cost([root], fixed) + tie else root


def _expanded(node: Expr, fixed: Fixed, numbers: dict[Expr, int]) -> _Polynomial | None:
    """Return the terms of a sum; ``None`` where there are too many."""
    if isinstance(node, Unary) and node.op == "neg":
        found = _expanded(node.x, fixed, numbers)
        return None if found is None else _plus({}, found, -1)
    if isinstance(node, Binary) and node.op in ("add", "sub") and not fixed(node):
        a, b = (_expanded(x, fixed, numbers) for x in (node.a, node.b))
        return None if a is None or b is None else _plus(a, b, 1 if node.op == "add" else -1)
    if isinstance(node, Binary) and node.op == "mul":
        a, b = (_expanded(x, fixed, numbers) for x in (node.a, node.b))
        return None if a is None or b is None else _multiplied(a, b, numbers)
    if node is ONE:
        return {(): {(): 1}}
    if node is ZERO:
        return {}
    numbers.setdefault(node, len(numbers))
    return {(): {(node,): 1}} if fixed(node) else {(node,): {(): 1}}


def _plus(a: _Polynomial, b: _Polynomial, sign: int) -> _Polynomial | None:
    result = {product: dict(coefficient) for product, coefficient in a.items()}
    for product, coefficient in b.items():
        sums = result.setdefault(product, {})
        for factors, count in coefficient.items():
            sums[factors] = sums.get(factors, 0) + sign * count
            if not sums[factors]:
                del sums[factors]
        if not sums:
            del result[product]
    return result if len(result) <= _MOST_TERMS else None


def _multiplied(a: _Polynomial, b: _Polynomial, numbers: Mapping[Expr, int]) -> _Polynomial | None:
    def joined(one: _Product, other: _Product) -> _Product:
        return tuple(sorted((*one, *other), key=numbers.__getitem__))

    result: _Polynomial | None = {}
    for x, first in a.items():
        for y, second in b.items():
            product = joined(x, y)
            if result is None or len(product) > _HIGHEST_DEGREE:
                return None
            term: _Coefficient = {}
            for f, m in first.items():
                for g, n in second.items():
                    factors = joined(f, g)
                    term[factors] = term.get(factors, 0) + m * n
            result = _plus(result, {product: term}, 1)
    return result


def _grouped(terms: _Polynomial, numbers: Mapping[Expr, int]) -> Expr:
    """Return the sum of the terms, the factor that most of them share taken out first."""
    if not terms:
        return ZERO
    if set(terms) == {()}:
        return _value(terms[()])
    uses = Counter(factor for product in terms for factor in dict.fromkeys(product))
    shared = max(uses, key=lambda factor: (uses[factor], -numbers[factor]))
    if uses[shared] == 1:
        return _sum(terms)
    inside: _Polynomial = {}
    outside: _Polynomial = {}
    for product, coefficient in terms.items():
        if shared in product:
            at = product.index(shared)
            inside[(*product[:at], *product[at + 1 :])] = coefficient
        else:
            outside[product] = coefficient
    return add(_grouped(outside, numbers), mul(_grouped(inside, numbers), shared))


def _sum(terms: _Polynomial) -> Expr:
    """Return a sum of terms without a factor in common; those with equal coefficients share a product."""
    total = _value(terms.get((), {}))
    alike: dict[tuple[tuple[_Product, int], ...], list[tuple[int, _Product]]] = {}
    for product, coefficient in terms.items():
        if product:
            key, opposite = _key(coefficient, 1), _key(coefficient, -1)
            if opposite in alike:
                alike[opposite].append((-1, product))
            else:
                alike.setdefault(key, []).append((1, product))
    for pairs in alike.values():
        coefficient = terms[pairs[0][1]]
        parts: Expr = _joined(pairs[0][1])
        for sign, product in pairs[1:]:
            parts = add(parts, _joined(product)) if sign > 0 else sub(parts, _joined(product))
        if all(count < 0 for count in coefficient.values()):
            total = sub(total, mul(_value({f: -n for f, n in coefficient.items()}), parts))
        else:
            total = add(total, _scaled(_value(coefficient), parts, [product for _, product in pairs]))
    return total


def _scaled(coefficient: Expr, parts: Expr, products: Sequence[_Product]) -> Expr:
    """Return the product of both; a factor of one lane, such as a waveform, meets the coefficient first."""
    if len(products) > 1:
        return mul(coefficient, parts)
    for factor in products[0]:
        coefficient = mul(coefficient, factor) if factor.shape == (1,) else coefficient
    return mul(coefficient, _joined(tuple(factor for factor in products[0] if factor.shape != (1,))))


def _key(coefficient: _Coefficient, sign: int) -> tuple[tuple[_Product, int], ...]:
    return tuple(sorted(((f, sign * n) for f, n in coefficient.items()), key=lambda pair: tuple(map(id, pair[0]))))


def _joined(product: _Product) -> Expr:
    result: Expr = ONE
    for factor in product:
        result = mul(result, factor)
    return result


def _value(coefficient: _Coefficient) -> Expr:
    total: Expr = ZERO
    for factors, count in coefficient.items():
        term = mul(float(abs(count)), _joined(factors)) if abs(count) != 1 else _joined(factors)
        total = add(total, term) if count > 0 else (neg(term) if total is ZERO else sub(total, term))
    return total
