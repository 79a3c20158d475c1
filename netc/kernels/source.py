"""The C++ file of a program's loops, from the templates beside this module.

Names in it are numbered here; a deck gives it nothing but numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate
from typing import Any

import jinja2

from netc.ir.build import ZERO, neg
from netc.ir.nodes import Binary, Const, Expr, Outer, Rate, ScatterAdd, Transpose, Unary
from netc.kernels.exponentials import REACH, Group
from netc.kernels.fusion import Block, Sink
from netc.kernels.loops import Backward, Loop, Unsupported
from netc.kernels.text import Array, Tables

_Vector = tuple[str, str, int]  # name, where it is, lanes

NAMES = ("common", "sampled")
"""What the functions of the two loops are called."""


@dataclass(frozen=True, slots=True)
class Lanes:
    """A stretch of a gradient array: which read it belongs to (by its number among those of its rate)."""

    number: int
    start: int
    lanes: int


@dataclass(slots=True, eq=False)
class LoopSource:
    """Writes one loop."""

    name: str
    loop: Loop
    backward: Backward | None
    tables: Tables
    share: bool = True  # let logistic functions share an exponential
    fixed: list[Expr] = field(default_factory=list)  # all fixed values, in the order the kernel takes them
    _temporary: int = 0

    def __post_init__(self) -> None:
        more = [c for group in self._groups for c in group.constants if not isinstance(c, Const)]
        adjoint = self.backward.parameters if self.backward else []
        self.fixed = list(dict.fromkeys([*self.loop.parameters, *more, *adjoint]))

    def context(self) -> dict[str, Any]:
        """Return what the template of a loop needs."""
        loop = self.loop
        starts = list(accumulate((s.size for s in loop.states), initial=0))
        kept = list(accumulate((e.size for e in self._kept), initial=0))
        states: dict[Expr, _Vector] = {s: (f"x{k}", f"x + {starts[k]}", s.size) for k, s in enumerate(loop.states)}
        next_state = [
            Sink(u, s.size, _store(f"y{k}")) for k, (u, s) in enumerate(zip(loop.updates, loop.states, strict=True))
        ]
        keep = [Sink(e, e.size, _keep(f"k{k}")) for k, e in enumerate(self._kept)]
        results = [(f"y{k}", f"y + {starts[k]}") for k in range(len(states))]
        results += [(f"k{k}", f"kept + {kept[k]}") for k in range(len(keep))]
        outputs = [] if loop.outputs is None else [Sink(loop.outputs, loop.outputs.size, _store("z"))]
        step = self._function([*next_state, *keep], states, results)
        context = {
            "name": self.name,
            "states": starts[-1],
            "kept": kept[-1],
            "blocks": [s.size for s in loop.states],
            "starts": starts[:-1],
            "classes": loop.outputs.size if loop.outputs is not None else 0,
            "samples": [e.size for e in loop.samples],
            "driven": [e.size for e in loop.driven],
            "step": step,
            "in_place": _in_place(step, len(states)),
            "logits": self._function(outputs, states, []),
            "adjoint": None,
            "outer": 0,
        }
        empty: list[Lanes] = []
        context |= dict.fromkeys(
            ("parameter_gradients", "sample_gradients", "time_gradients", "driven_gradients", "outer_products"), empty
        )
        if self.backward is not None:
            context |= self._adjoint(self.backward, states, starts, kept)
        return context | {"temporary": max(1, self._temporary)}

    @property
    def _kept(self) -> Sequence[Expr]:
        return self.backward.kept if self.backward else ()

    @property
    def _groups(self) -> list[Group]:
        return self.loop.groups if self.share else []

    # ------------------------------------------------------------------ functions

    def _function(
        self, sinks: Sequence[Sink], vectors: dict[Expr, _Vector], results: Sequence[tuple[str, str]]
    ) -> list[str]:
        """Return a body: pointers to what it reads and writes, then the statements."""
        leaves, head = self._leaves(vectors)
        used = 0

        def temporary(lanes: int) -> str:
            nonlocal used
            name = f"m{used}"
            head[name] = f"V* const __restrict {name} = temporary + {used};"
            used += lanes
            return name

        body = Block(sinks, leaves, self._groups, self.tables, temporary).lines()
        self._temporary = max(self._temporary, used)
        text = "\n".join(body)
        for name, where in results:
            restrict = "" if name.startswith("y") else "__restrict "  # the next state may stand where the state was
            head[name] = f"V* const {restrict}{name} = {where};"
        return [line for name, line in head.items() if _mentions(text, name)] + body

    def _leaves(self, vectors: dict[Expr, _Vector]) -> tuple[dict[Expr, Array], dict[str, str]]:
        loop = self.loop
        leaves: dict[Expr, Array] = {}
        head: dict[str, str] = {}
        for expr, (name, where, lanes) in vectors.items():
            leaves[expr] = Array(name, lanes, vector=True)
            head[name] = f"const V* const {name} = {where};"
        for kind, source, exprs in (("s", "samples", loop.samples), ("u", "driven", loop.driven)):
            start = 0
            for k, expr in enumerate(exprs):
                leaves[expr] = Array(f"{kind}{k}", expr.size, vector=True)
                head[f"{kind}{k}"] = f"const V* const {kind}{k} = tile.{source} + {start};"
                start += expr.size
        for kind, source, exprs in (("p", "parameters", self.fixed), ("w", "times", loop.times)):
            for k, expr in enumerate(exprs):
                name = f"{kind}{k}"
                if len(expr.shape) > 1 and kind == "w":
                    raise Unsupported("a matrix that changes with time")
                leaves[expr] = Array(name, expr.size, vector=False)
                at = f"a.{source}[{k}]" + (f" + t * {expr.size}" if kind == "w" else "")
                head[name] = f"const T* const __restrict {name} = {at};"
                if expr.size == 1:
                    head[name] = f"const V {name}_all = splat(*({at}));"
        return leaves, head

    # ------------------------------------------------------------------ adjoint

    def _adjoint(
        self, backward: Backward, states: dict[Expr, _Vector], starts: list[int], kept: list[int]
    ) -> dict[str, Any]:
        loop = self.loop
        vectors = dict(states)
        for k, (leaf, state) in enumerate(zip(backward.next_adjoints, loop.states, strict=True)):
            vectors[leaf] = f"l{k}", f"ahead + {starts[k]}", state.size
        for k, expr in enumerate(backward.kept):
            vectors[expr] = f"k{k}", f"kept + {kept[k]}", expr.size
        if backward.output_adjoint is not None:
            vectors[backward.output_adjoint] = "seed", "", backward.output_adjoint.size
        sinks = [
            Sink(e, s.size, _store(f"h{k}"))
            for k, (e, s) in enumerate(zip(backward.state_adjoints, loop.states, strict=True))
        ]
        results = [(f"h{k}", f"here + {starts[k]}") for k in range(len(loop.states))]
        outer = _OuterProducts(self, states)
        rows: dict[str, list[Lanes]] = {}
        for rate, kind, prefix, exprs in (
            (Rate.PARAMETER, "parameter_gradients", "gp", loop.parameters),
            (Rate.SAMPLE, "sample_gradients", "gs", loop.samples),
            (Rate.TIME, "time_gradients", "gw", loop.times),
            (Rate.STEP, "driven_gradients", "gu", loop.driven),
        ):
            rows[kind], start = [], 0
            for k, expr in enumerate(exprs):
                if expr not in backward.gradients:
                    continue
                rows[kind].append(Lanes(k, start, expr.size))
                where = f"tile.{kind} + " + (f"t * TIME_GRADIENTS + {start}" if rate is Rate.TIME else str(start))
                results.append((f"{prefix}{k}", where))
                gradient = backward.gradients[expr]
                if rate is Rate.PARAMETER and len(expr.shape) == 2:
                    outer.add(gradient, start, expr)
                elif rate is Rate.STEP:
                    sinks.append(Sink(gradient, expr.size, _store(f"{prefix}{k}")))
                else:
                    sinks += self._accumulate(f"{prefix}{k}", gradient, expr.size, rate is Rate.TIME)
                start += expr.size
        sinks += outer.sinks
        results += outer.results
        lines = self._function(sinks, vectors, results)
        lines = [line.replace("V* const __restrict gw", "double* const __restrict gw") for line in lines]
        return {
            "adjoint": [line for line in lines if not line.startswith("const V* const seed =")],
            "outer": outer.lanes,
            "outer_products": outer.products,
            **rows,
        }

    def _accumulate(self, name: str, gradient: Expr, lanes: int, over_samples: bool) -> Iterator[Sink]:
        """Add to a gradient; what is scattered into it is added where it belongs at once."""
        for k, (sign, term) in enumerate(_terms(gradient)):
            operator = "+=" if sign > 0 else "-="
            if not isinstance(term, ScatterAdd):
                yield Sink(term, lanes, _add(name, operator, None, over_samples))
                continue
            count = len(term.index)
            at = self.tables.at(term.index, "i")
            if at.isdigit() and count > 1:
                total = f"sum_{name}_{k}"
                done = f"total({total})" if over_samples else total
                yield Sink(
                    term.x,
                    count,
                    lambda value, lane, total=total: f"{total} += {value};",  # type: ignore[misc]
                    (f"V {total}{{}};",),
                    (f"{name}[{at}] {operator} {done};",),
                )
            else:
                yield Sink(term.x, count, _add(name, operator, self._at(term), over_samples))

    def _at(self, term: ScatterAdd) -> Callable[[str], str]:
        return lambda lane: self.tables.at(term.index, lane)


def _in_place(lines: Sequence[str], blocks: int) -> bool:
    """Whether each lane of a state is read for the last time where it is replaced."""
    for k in range(blocks):
        stored = next((n for n, line in enumerate(lines) if line.lstrip().startswith(f"y{k}[")), len(lines))
        start = max((n for n, line in enumerate(lines[:stored]) if not line.startswith(" ")), default=0)
        name = re.compile(rf"\bx{k}\b(?!\[i\]|\[0\];)")
        later = re.compile(rf"\bx{k}\b")
        if any(name.search(line) for line in lines[start:stored]) or any(later.search(x) for x in lines[stored:]):
            return False
    return True


def _store(name: str) -> Callable[[str, str], str]:
    return lambda value, lane: f"{name}[{lane}] = {value};"


def _keep(name: str) -> Callable[[str, str], str]:
    return lambda value, lane: f"if constexpr (KEEP) {name}[{lane}] = {value};"


def _add(name: str, operator: str, at: Callable[[str], str] | None, over_samples: bool) -> Callable[[str, str], str]:
    def write(value: str, lane: str) -> str:
        return f"{name}[{at(lane) if at else lane}] {operator} {f'total({value})' if over_samples else value};"

    return write


def _terms(expr: Expr) -> Iterator[tuple[int, Expr]]:
    """Take sums apart down to scattered terms; sums without any stay whole."""
    stack = [(1, expr)]
    while stack:
        sign, node = stack.pop()
        if isinstance(node, Unary) and node.op == "neg":
            stack.append((-sign, node.x))
        elif isinstance(node, Binary) and node.op in ("add", "sub") and (_scattered(node.a) or _scattered(node.b)):
            stack += [(sign if node.op == "add" else -sign, node.b), (sign, node.a)]
        else:
            yield sign, node


def _scattered(node: Expr) -> bool:
    """Whether a sum has a term that is scattered."""
    stack = [node]
    while stack:
        node = stack.pop()
        if isinstance(node, ScatterAdd):
            return True
        if (isinstance(node, Unary) and node.op == "neg") or (isinstance(node, Binary) and node.op in ("add", "sub")):
            stack += node.children
    return False


@dataclass(slots=True, eq=False)
class _OuterProducts:
    """Gradients of matrices: both factors of every step of a segment are kept, then multiplied all at once."""

    source: LoopSource
    states: dict[Expr, _Vector]
    sinks: list[Sink] = field(default_factory=list)
    results: list[tuple[str, str]] = field(default_factory=list)
    products: list[dict[str, Any]] = field(default_factory=list)
    lanes: int = 0
    _kept: dict[Expr, int] = field(default_factory=dict)

    def add(self, gradient: Expr, start: int, matrix: Expr) -> None:
        """Add the outer products that ``gradient`` is the sum of to the gradient that begins at ``start``."""
        for sign, a, b in _matrix_terms(gradient):
            factors: dict[str, Any] = {}
            for name, factor in (("a", a), ("b", neg(b) if sign < 0 else b)):
                if factor in self.states:
                    factors[name] = f"s.states + {self.states[factor][1].removeprefix('x + ')}"
                    factors[f"stride_{name}"] = "STATES"
                else:
                    factors[name] = f"s.outer + {self._keep(factor, matrix.shape[name == 'b'])}"
                    factors[f"stride_{name}"] = "OUTER"
            self.products.append({"rows": matrix.shape[0], "columns": matrix.shape[1], "start": start, **factors})

    def _keep(self, factor: Expr, lanes: int) -> int:
        if factor not in self._kept:
            name = f"o{len(self._kept)}"
            self._kept[factor] = self.lanes
            self.results.append((name, f"outer + {self.lanes}"))
            self.sinks.append(Sink(factor, lanes, _store(name)))
            self.lanes += lanes
        return self._kept[factor]


def _matrix_terms(gradient: Expr) -> Iterator[tuple[int, Expr, Expr]]:
    """Return sign and factors of the outer products that a gradient is the sum of."""
    stack = [(1, gradient)]
    while stack:
        sign, node = stack.pop()
        if isinstance(node, Outer):
            yield sign, node.a, node.b
        elif isinstance(node, Transpose) and isinstance(node.matrix, Outer):
            yield sign, node.matrix.b, node.matrix.a
        elif isinstance(node, Unary) and node.op == "neg":
            stack.append((-sign, node.x))
        elif isinstance(node, Binary) and node.op in ("add", "sub") and node.a.shape == node.b.shape:
            stack += [(sign, node.a), (sign if node.op == "add" else -sign, node.b)]
        elif node is not ZERO:
            raise Unsupported(f"the gradient of a matrix through a {type(node).__name__}")


def _mentions(text: str, name: str) -> bool:
    start = text.find(name)
    while start >= 0:
        end = start + len(name)
        if text.startswith("_all", end):
            return True
        before = text[start - 1] if start else " "
        if not (before.isalnum() or before == "_") and not (
            end < len(text) and (text[end].isalnum() or text[end] == "_")
        ):
            return True
        start = text.find(name, start + 1)
    return False


# ---------------------------------------------------------------------- the file

_LN2 = 0.6931471805599453

_REAL = {
    "float": {
        "integer": "int32_t",
        "magnitude_mask": "0x7fffffff",
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


def source(parts: Sequence[LoopSource], tables: Tables, real: str) -> str:
    """Return the file for some loops in floating type ``real``, ``float`` or ``double``."""
    environment = _environment()
    constants = _REAL[real]
    degree = constants["exp_degree"]
    texts = [environment.get_template("loop.cpp.j2").render(part.context()) for part in parts]
    head = environment.get_template("vector.h.j2").render(
        real=real,
        reach=repr(REACH[real] / _LN2),
        log2_e=repr(1 / _LN2),
        ln2=repr(_LN2),
        exp_coefficients=[repr(c) for c in _EXP[int(degree)]],  # type: ignore[call-overload]
        exp2_coefficients=[repr(c) for c in _EXP2[int(degree)]],  # type: ignore[call-overload]
        **constants,
    )
    return "\n".join([head, *tables.lines(), *texts])
