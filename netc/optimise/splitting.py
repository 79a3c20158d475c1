"""Products by how often their factors change: ``parameter * sample * time * rest``."""

from __future__ import annotations

from dataclasses import dataclass

from netc.ir import build
from netc.ir.nodes import Binary, Expr, Rate
from netc.ir.rates import Rates


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Factors of a product; 1 where there is none.  Only ``rest`` has rate STEP."""

    parameter: Expr = build.ONE
    sample: Expr = build.ONE
    time: Expr = build.ONE
    rest: Expr = build.ONE

    def __mul__(self, other: Split) -> Split:
        return Split(
            build.mul(self.parameter, other.parameter),
            build.mul(self.sample, other.sample),
            build.mul(self.time, other.time),
            build.mul(self.rest, other.rest),
        )

    @property
    def static(self) -> Expr:
        """The factors that do not change with time."""
        return build.mul(self.parameter, self.sample)

    def joined(self) -> Expr:
        """Return the product, multiplied in the order that leaves least to do at every step."""
        if self.sample is build.ONE:
            return build.mul(build.mul(self.parameter, self.time), self.rest)
        return build.mul(self.static, build.mul(self.time, self.rest))


def split(expr: Expr, rates: Rates) -> Split:
    """Split a product whose own factors are in the order of :meth:`Split.joined` already.

    Products of two STEP factors are left alone: they may be shared with other products.
    """
    rate = rates(expr)
    if rate == Rate.PARAMETER:
        return Split(parameter=expr)
    if isinstance(expr, Binary) and expr.op == "mul" and (rates(expr.a) != Rate.STEP or rates(expr.b) != Rate.STEP):
        return split(expr.a, rates) * split(expr.b, rates)
    if isinstance(expr, Binary) and expr.op == "div" and not rates(expr.b):
        return split(expr.a, rates) * Split(parameter=build.div(build.ONE, expr.b))
    if rate == Rate.SAMPLE:
        return Split(sample=expr)
    return Split(time=expr) if rate == Rate.TIME else Split(rest=expr)
