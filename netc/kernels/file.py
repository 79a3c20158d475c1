"""The C++ file of a program's loops, from the templates beside this module.  A deck gives it nothing but numbers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import jinja2

from netc.ir.implicit import ABSOLUTE, HALVINGS, ITERATIONS, PATIENCE, RELATIVE, ROUNDING, STALLED
from netc.kernels.exponentials import REACH
from netc.kernels.layer_source import LayerSource
from netc.kernels.source import LoopSource
from netc.kernels.text import Tables
from netc.kernels.weights import Weights

NAMES = ("common", "sampled")
"""What the functions of the loop of the common states and of that of the others are called."""

_LN2 = 0.6931471805599453

_REAL = {
    "float": {
        "integer": "int32_t",
        "magnitude_mask": "0x7fffffff",
        "head_mask": "-(1 << 12)",
        "magic": "12583039.0",  # 1.5 * 2**23 + 127
        "mantissa": 23,
        "exp_high": "80.0",
        "exp_low": "-87.0",
        "ln2_high": "0.693359375",
        "ln2_low": "-2.12194440e-4",
        "sqrt_half_bits": "0x3f3504f3",
        "log_terms": 5,
        "exp_degree": 6,
    },
    "double": {
        "integer": "int64_t",
        "magnitude_mask": "0x7fffffffffffffff",
        "head_mask": "-(N(1) << 27)",
        "magic": "6755399441056767.0",  # 1.5 * 2**52 + 1023
        "mantissa": 52,
        "exp_high": "700.0",
        "exp_low": "-708.0",
        "ln2_high": "0.6931471803691238",
        "ln2_low": "1.9082149292705877e-10",
        "sqrt_half_bits": "0x3fe6a09e667f3bcd",
        "log_terms": 11,
        "exp_degree": 11,
    },
}

# (e^r - 1) / r on |r| <= ln2 / 2, and (2^r - 1) / r on |r| <= 1/2, by the degree of the first: interpolated at
# Chebyshev's points, and for 2^r in float the one whose largest relative error is least (9e-8)
_EXP = {
    6: (
        1.0000000108364155,
        0.500000001353873,
        0.1666650461303261,
        0.04166646419740569,
        0.008369220291803614,
        0.0013933730715792367,
    ),
    11: (
        1.0,
        0.5000000000000006,
        0.1666666666666667,
        0.041666666666572386,
        0.008333333333326039,
        0.001388888893275776,
        0.00019841269875849833,
        2.48015040032983e-05,
        2.755725399754028e-06,
        2.762650068129728e-07,
        2.5105772821571653e-08,
    ),
}
_EXP2 = {
    6: (0.6931469775988677, 0.2402224208542151, 0.05550733743363133, 0.00967151263946331, 0.0013264727211407686),
    11: (
        0.6931471805599453,
        0.24022650695910097,
        0.055504108664821604,
        0.009618129107606701,
        0.0013333558146414412,
        0.00015403530442044722,
        1.525273383271237e-05,
        1.321544240158783e-06,
        1.017806111240551e-07,
        7.07262301285728e-09,
        4.4551764122907677e-10,
    ),
}


@cache
def _environment() -> jinja2.Environment:
    loader = jinja2.PackageLoader("netc.kernels", "templates")
    return jinja2.Environment(
        loader=loader, autoescape=False, undefined=jinja2.StrictUndefined, keep_trailing_newline=True, trim_blocks=False
    )


def source(parts: Sequence[LoopSource], tables: Tables, real: str, weights: Weights | None = None) -> str:
    """Return the file for some loops, and for what is computed for them, in floating type ``float`` or ``double``."""
    environment = _environment()
    constants = _REAL[real]
    degree = constants["exp_degree"]
    assert isinstance(degree, int)
    texts = []
    for part in parts:
        context = part.context()
        if part.layers is not None:
            context |= LayerSource(part, part.layers).context()
        part.plan = context["plan"]
        context["temporary"] = max(1, part.temporary)
        texts.append(environment.get_template("loop.cpp.j2").render(context))
    head = environment.get_template("vector.h.j2").render(
        real=real,
        reach=repr(REACH[real] / _LN2),
        reach_whole=int(REACH[real] / _LN2 - 1.5),  # fractions reach from 2^-1.5 to 2^1.5
        log2_e=repr(1 / _LN2),
        ln2=repr(_LN2),
        exp_coefficients=[repr(c) for c in _EXP[degree]],
        exp2_coefficients=[repr(c) for c in _EXP2[degree]],
        **constants,
    )
    more = []
    if weights is not None:
        trains = [part.name for part in parts if part.name == NAMES[1] and (part.backward or part.layers)]
        products = environment.get_template("products.cpp.j2").render(loop=trains[0] if trains else None)
        more = ["typedef T POSITION;", *weights.lines(tables), products]  # asks for tables too
    return "\n".join([head, *tables.lines(), *_solvers(tables, real), *texts, *more])


def _solvers(tables: Tables, real: str) -> list[str]:
    """Return the functions that solve systems of equations, and what they call."""
    if not tables.functions:
        return []
    environment = _environment()
    degree = _REAL["double"]["exp_degree"]
    assert isinstance(degree, int)
    lanes = environment.get_template("lanes.h.j2").render(
        log2_e=repr(1 / _LN2),
        ln2=repr(_LN2),
        exp_coefficients=[repr(c) for c in _EXP[degree]],
        **_REAL["double"],
    )
    rules = {
        "iterations": ITERATIONS,
        "halvings": HALVINGS,
        "relative": RELATIVE,
        "absolute": ABSOLUTE,
        "rounding": ROUNDING,
        "stalled": STALLED,
        "patience": PATIENCE,
        "residual": 1e-12,
    }
    functions = [line for _, lines in tables.functions.values() for line in lines]
    template = environment.get_template("newton.h.j2")
    return [template.render(real=real, lanes=lanes, functions=functions, **rules)]
