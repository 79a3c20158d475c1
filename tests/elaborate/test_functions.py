"""The expression language against ngspice, function by function."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.elaborate.helpers import circuit_of, errors_of, law_of, messages_of, ngspice_operating_point

POINTS = (-2.5, -1.0, -0.5, 0.0, 0.25, 0.5, 1.0, 2.5)

# (expression of x and y, condition on x); y is 0.75
EVERYWHERE = [
    *("exp(x)", "abs(x)", "sin(x)", "cos(x)", "tan(x)", "atan(x)", "sinh(x)", "cosh(x)", "tanh(x)", "asinh(x)"),
    *("floor(x)", "ceil(x)", "nint(x)", "sgn(x)", "u(x)", "u2(x)", "uramp(x)", "min(x,y)", "max(x,y)"),
    *("pow(x,3)", "pow(x,2)", "pow(x,1)", "pow(x,0)", "pow(x,2.5)", "pwr(x,2)", "pwr(x,3)", "pwr(x,2.5)", "pwr(x,y)"),
    *("x^3", "x**2", "x^4", "x^5", "x^y", "-x^2", "2^x^2", "x>0?y:-y", "x>=0&&y<1", "x<0||y<0", "!x", "x==1", "x!=1"),
    *("x<=0.3", "pi*x", "e+x", "temper+x", "time+x", "ternary_fcn(x,1,2)", "eq0(x)", "ne0(x)", "gt0(x)", "lt0(x)"),
    *("ge0(x)", "le0(x)", "x-y-1", "x/y/2", "x-(y-1)", "1?x:0?y:3", "(x+1)*(x-1)", "-x*-y", "+x"),
]
POSITIVE = ["log(x)", "ln(x)", "log10(x)", "sqrt(x)", "x^-1", "pow(x,-2)", "x^-0.5", "1/x"]
INSIDE = ["asin(x)", "acos(x)", "atanh(x)"]
ABOVE = ["acosh(x)"]


def domain(expression: str) -> list[float]:
    """Return the points at which ngspice knows ``expression``."""
    if expression in POSITIVE:
        return [x for x in POINTS if x > 0]
    if expression in INSIDE:
        return [x for x in POINTS if abs(x) < 1]
    return [x for x in POINTS if x > 1 or expression not in ABOVE]


def signal(expression: str, name: str = "x") -> str:
    """Put ``v(name)`` for x and ``v(y)`` for y, whole words only."""
    return re.sub(r"\by\b", "v(y)", re.sub(r"\bx\b", f"v({name})", expression))


def literal(expression: str, x: float) -> str:
    """Put a number for x and add what makes the expression a signal."""
    return re.sub(r"\bx\b", f"({x})", expression) + "+v(y)"


@pytest.mark.ngspice
@pytest.mark.parametrize("expression", [*EVERYWHERE, *POSITIVE, *INSIDE, *ABOVE])
def test_function_agrees_with_ngspice(expression: str, tmp_path: Path) -> None:
    points = domain(expression)
    lines = ["vy y 0 0.75"]
    for number, x in enumerate(points):
        # ngspice begins at 0 V, where some functions are not defined: they get a number instead of a voltage
        text = signal(expression, f"x{number}") if expression in EVERYWHERE else literal(expression, x)
        lines += [f"vx{number} x{number} 0 {x}", f"b{number} o{number} 0 v={text}", f"r{number} o{number} 0 1"]
    body = "\n".join(lines) + "\n"
    wanted = ngspice_operating_point(tmp_path, body, [f"o{number}" for number in range(len(points))])
    circuit = circuit_of(body)
    volts = {"y": 0.75} | {f"x{number}": x for number, x in enumerate(points)}
    found = {f"o{number}": law_of(circuit, f"b{number}", volts) for number in range(len(points))}
    assert found == pytest.approx(wanted, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("expression", "x", "expected"),
    [
        ("pow(x,3)", -2.0, 8.0),
        ("pwr(x,3)", -2.0, -8.0),
        ("x^3", -2.0, 8.0),
        ("x^2.5", -2.0, 2**2.5),
        ("u(x)", 0.0, 0.5),
        ("nint(x)", 2.5, 2.0),
        ("limit(x,-1,1)", 3.0, 1.0),
        ("if(x,2,3)", 0.0, 3.0),
        ("stp(x)", 0.0, 0.5),
    ],
)
def test_meaning(expression: str, x: float, expected: float) -> None:
    circuit = circuit_of(f"v1 x 0 1\nb1 0 o v={signal(expression)}\nr1 o 0 1\n")
    assert law_of(circuit, "b1", {"x": x}) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("expression", "said"),
    [("limit(x,0,1)", "random"), ("if(x,0,1)", "ngbehavior=ltpsa"), ("stp(x)", "ngbehavior=ltpsa")],
)
def test_where_ngspice_differs_there_is_a_warning(expression: str, said: str) -> None:
    circuit = circuit_of(f"v1 x 0 1\nb1 0 o v={signal(expression)}\nr1 o 0 1\n")
    assert any(said in message for message in messages_of(circuit, "warning"))


@pytest.mark.parametrize(
    ("expression", "message", "hint"),
    [
        ("foo(v(x))", "unknown function 'foo'", ""),
        ("tanhh(v(x))", "unknown function 'tanhh'", "'tanh'"),
        ("ddt(v(x), 1)", "ddt() takes 1 argument", ""),
        ("idt(v(x), 0, 1)", "idt() takes 1 or 2 arguments", "third"),
        ("table(v(x),0,0,1)", "two or more pairs", ""),
        ("min(v(x),1,2)", "min() takes 2 arguments, 3 given", ""),
        ("sin()", "sin() takes 1 argument, 0 given", ""),
        ("sqrt(-1)*v(x)", "sqrt(-1) has no real value", ""),
        ("log(-2)*v(x)", "log(-2) has no real value", ""),
        ("v(x)/0", "division by zero", ""),
        ("v(x)*what", "undefined parameter 'what'", ""),
        ("v(nowhere)", "there is no node 'nowhere'", ""),
        ("i(vv1)", "there is no element 'vv1'", "'v1'"),
    ],
)
def test_located_errors(expression: str, message: str, hint: str) -> None:
    found = errors_of(f"v1 x 0 1\nb1 0 o v={expression}\nr1 o 0 1\n")
    assert any(line == 2 and message in text and hint in tip for line, text, tip in found), found


def test_a_formal_hides_the_accessor() -> None:
    circuit = circuit_of(".func f(v) {v*2}\nv1 x 0 1\nb1 0 o v=f(V(x))\nr1 o 0 1\n")
    assert law_of(circuit, "b1", {"x": 3.0}) == 6.0
    found = errors_of(".func f(v) {v*v(x)}\nv1 x 0 1\nb1 0 o v=f(2)\nr1 o 0 1\n")
    assert "hides v()" in found[0][1]


def test_long_sums_and_deep_nesting() -> None:
    terms = "+".join(["v(x)"] * 3000)
    circuit = circuit_of(f"v1 x 0 1\nb1 0 o v={terms}\nr1 o 0 1\n")
    assert law_of(circuit, "b1", {"x": 1.0}) == 3000.0


def test_gradient_of_whole_powers_is_that_of_products() -> None:
    # no pow and no select: the slope of x^2 at 0 is 0 by the product rule
    for expression in ("x^2", "pow(x,2)", "x**4"):
        law = circuit_of(f"v1 x 0 1\nb1 0 o v={signal(expression)}\nr1 o 0 1\n").branches[1].law
        assert law.roles == ()
    circuit = circuit_of("v1 x 0 1\nb1 0 o v=v(x)^1.5\nr1 o 0 1\n")
    assert law_of(circuit, "b1", {"x": 0.0}) == 0.0
    assert np.isfinite(law_of(circuit, "b1", {"x": -1.0}))
