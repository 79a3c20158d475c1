"""What the template of a loop is filled with: statements and sizes.

Names are numbered here; a deck gives them nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from netc.ir.build import ZERO, neg
from netc.ir.implicit import Newton
from netc.ir.nodes import Binary, Const, Expr, Input, Outer, ScatterAdd, Transpose, Unary, postorder
from netc.kernels.checkpoints import Plan
from netc.kernels.exponentials import Group
from netc.kernels.fusion import Block, Sink
from netc.kernels.interleave import widened
from netc.kernels.layers import Layers
from netc.kernels.loops import Backward, Loop, Unsupported
from netc.kernels.solvers import solved
from netc.kernels.text import Array, Tables

Vector = tuple[str, str, int]
"""Name, place and lanes of an array of vectors."""

Write = Callable[[str, str], str]
"""Makes a statement from the text of a value and that of its lane."""


@dataclass(frozen=True, slots=True)
class Lanes:
    """A stretch of a gradient array: which read it belongs to (by its number among those of its rate)."""

    number: int
    start: int
    lanes: int


@dataclass(frozen=True, slots=True)
class GradientRead:
    """Where the gradient of a read goes: ``name`` points to ``where``."""

    expr: Expr
    name: str
    where: str
    lanes: Lanes


@dataclass(frozen=True, slots=True)
class Body:
    """Statements of a function: definitions that hold for all steps, those of one step, and what is computed."""

    outer: list[str]
    inner: list[str]
    statements: list[str]

    @property
    def lines(self) -> list[str]:
        """All of them, for a function of one step."""
        return [*self.outer, *self.inner, *self.statements]


@dataclass(slots=True, eq=False)
class LoopSource:
    """Writes one loop, for the loss as ``layers`` where there are any."""

    name: str
    loop: Loop
    backward: Backward | None
    tables: Tables
    share: bool = True  # let logistic functions share an exponential
    layers: Layers | None = None
    fixed: list[Expr] = field(default_factory=list)  # all fixed values, in the order the kernel takes them
    temporary: int = 0
    plan: Plan | None = None  # of what is stored, once the text is written
    written: dict[str, list[Lanes]] = field(default_factory=dict)  # gradients that the loop writes, by their kind

    def __post_init__(self) -> None:
        more = [c for group in self._groups for c in group.constants if not isinstance(c, Const)]
        adjoint = self.backward.parameters if self.backward else self.layers.parameters if self.layers else []
        self.fixed = list(dict.fromkeys([*self.loop.parameters, *more, *adjoint]))

    @property
    def extra(self) -> list[Expr]:
        """Fixed values besides the parameters of the loop, to which no gradients flow."""
        return self.fixed[len(self.loop.parameters) :]

    def context(self) -> dict[str, Any]:
        """Return what the template of a loop needs."""
        loop = self.loop
        starts = list(accumulate((s.size for s in loop.states), initial=0))
        kept = list(accumulate((e.size for e in self._kept), initial=0))
        states: dict[Expr, Vector] = {s: (f"x{k}", f"x + {starts[k]}", s.size) for k, s in enumerate(loop.states)}
        next_state = [
            Sink(u, s.size, store(f"y{k}")) for k, (u, s) in enumerate(zip(loop.updates, loop.states, strict=True))
        ]
        held = [Sink(e, e.size, keep(f"k{k}")) for k, e in enumerate(self._kept)]
        results = [(f"y{k}", f"y + {starts[k]}") for k in range(len(states))]
        results += [(f"k{k}", f"kept + {kept[k]}") for k in range(len(held))]
        outputs = [] if loop.outputs is None else [Sink(loop.outputs, loop.outputs.size, store("z"))]
        step = widened(self.function([*next_state, *held], states, results).lines)
        context = {
            "name": self.name,
            "states": starts[-1],
            "kept": kept[-1],
            "blocks": [s.size for s in loop.states],
            "starts": starts[:-1],
            "classes": loop.outputs.size if loop.outputs is not None else 0,
            "samples": [e.size for e in loop.samples],
            "weights": self._weights(),
            "driven": [e.size for e in loop.driven],
            "step": step,
            "in_place": _in_place(step, len(states)),
            "logits": self.function(outputs, states, []).lines,
            "adjoint": None,
            "layered": False,
            "outer": 0,
            "plan": Plan(starts[-1] + kept[-1], states=starts[-1]),
        }
        empty: list[Lanes] = []
        context |= dict.fromkeys(
            ("parameter_gradients", "sample_gradients", "time_gradients", "driven_gradients"), empty
        )
        context |= {"outer_products": [], "matrix_gradients": [], "flat_gradients": []}
        if self.backward is not None:
            context |= self._adjoint(self.backward, states, starts, kept)
        return context

    def _weights(self) -> list[dict[str, int]]:
        """Return number, place and lanes of the samples that penalties are weighed by: the last step has none."""
        weights = {x for term in self.loop.penalties for x in term.children if isinstance(x, Input)}
        starts = accumulate((e.size for e in self.loop.samples), initial=0)
        return [
            {"number": k, "start": start, "lanes": e.size}
            for k, (e, start) in enumerate(zip(self.loop.samples, starts, strict=False))
            if e in weights
        ]

    @property
    def _kept(self) -> Sequence[Expr]:
        return self.backward.kept if self.backward else ()

    @property
    def _groups(self) -> list[Group]:
        return self.loop.groups if self.share else []

    # ------------------------------------------------------------------ functions

    def function(
        self, sinks: Sequence[Sink], vectors: Mapping[Expr, Vector], results: Sequence[tuple[str, str]]
    ) -> Body:
        """Return a body: pointers to what it reads and writes, then the statements.

        Args:
            sinks: what is computed.
            vectors: name, place and lanes of the vectors it reads besides samples.
            results: name and place of what it writes.
        """
        leaves, outer, inner = self._leaves(vectors)
        used = 0

        def temporary(lanes: int) -> str:
            nonlocal used
            name = f"m{used}"
            outer[name] = f"V* const __restrict {name} = temporary + {used};"
            used += lanes
            return name

        body = Block(sinks, leaves, self._groups, self.tables, temporary, solved).lines()
        self.temporary = max(self.temporary, used)
        for name, where in results:
            kind = "double" if name.startswith("gw") else "V"
            restrict = "" if name.startswith(("y", "l")) else "__restrict "  # may stand where it is read from
            inner[name] = f"{kind}* const {restrict}{name} = {where};"
        text = "\n".join(body)
        once, each = ([line for name, line in head.items() if _mentions(text, name)] for head in (outer, inner))
        return Body(once, each, body)

    def _leaves(self, vectors: Mapping[Expr, Vector]) -> tuple[dict[Expr, Array], dict[str, str], dict[str, str]]:
        """Return arrays, and the definitions of their names: once, and at each step."""
        loop = self.loop
        leaves: dict[Expr, Array] = {}
        outer: dict[str, str] = {}
        inner: dict[str, str] = {}
        for expr, (name, where, lanes) in vectors.items():
            leaves[expr] = Array(name, lanes, vector=True)
            inner[name] = f"const V* const {name} = {where};"
        for kind, source, exprs in (("s", "samples", loop.samples), ("u", "driven", loop.driven)):
            start = 0
            for k, expr in enumerate(exprs):
                leaves[expr] = Array(f"{kind}{k}", expr.size, vector=True)
                outer[f"{kind}{k}"] = f"const V* const {kind}{k} = tile.{source} + {start};"
                start += expr.size
        for kind, source, exprs in (("p", "parameters", self.fixed), ("w", "times", loop.times)):
            for k, expr in enumerate(exprs):
                name = f"{kind}{k}"
                if len(expr.shape) > 1 and kind == "w":
                    raise Unsupported("a matrix that changes with time")
                leaves[expr] = Array(name, expr.size, vector=False)
                at = f"a.{source}[{k}]" + (f" + t * {expr.size}" if kind == "w" else "")
                head = inner if kind == "w" else outer
                head[name] = f"const T* const __restrict {name} = {at};"
                if expr.size == 1:
                    head[name] = f"const V {name}_all = splat(*({at}));"
        return leaves, outer, inner

    # ------------------------------------------------------------------ adjoint

    def _adjoint(
        self, backward: Backward, states: dict[Expr, Vector], starts: list[int], kept: list[int]
    ) -> dict[str, Any]:
        loop = self.loop
        vectors = dict(states)
        for k, (leaf, state) in enumerate(zip(backward.next_adjoints, loop.states, strict=True)):
            vectors[leaf] = f"l{k}", f"ahead + {starts[k]}", state.size
        for k, expr in enumerate(backward.kept):
            vectors[expr] = f"k{k}", f"kept + {kept[k]}", expr.size
        if backward.output_adjoint is not None:
            vectors[backward.output_adjoint] = "z", "seed", backward.output_adjoint.size
        sinks = [
            Sink(e, s.size, store(f"h{k}"))
            for k, (e, s) in enumerate(zip(backward.state_adjoints, loop.states, strict=True))
        ]
        results = [(f"h{k}", f"here + {starts[k]}") for k in range(len(loop.states))]
        outer = _OuterProducts(self, states)
        rows = self.rows(backward.gradients)
        for read in self.reads(backward.gradients, rows):
            results.append((read.name, read.where))
            gradient = backward.gradients[read.expr]
            if len(read.expr.shape) == 2:
                outer.add(gradient, read.lanes.start, read.expr)
            elif read.name.startswith("gu"):
                sinks.append(Sink(gradient, read.expr.size, store(read.name)))
            else:
                sinks += self.accumulate(read.name, read.expr.size, gradient)
        sinks += outer.sinks
        results += outer.results
        return {
            "adjoint": widened(self.function(sinks, vectors, results).lines),
            "outer": outer.lanes,
            "plan": Plan(
                starts[-1] + kept[-1] + outer.lanes,
                states=starts[-1],
                iterates=any(isinstance(x, Newton) for x in postorder(*loop.updates)),
            ),
            "outer_products": outer.products,
            **self._by_shape(rows["parameter_gradients"]),
            **rows,
        }

    def rows(self, wanted: Collection[Expr]) -> dict[str, list[Lanes]]:
        """Return the layout of the gradient arrays of the reads in ``wanted``."""
        result: dict[str, list[Lanes]] = {}
        for kind, _, exprs in self._gradient_kinds():
            result[kind], start = [], 0
            for k, expr in enumerate(exprs):
                if expr in wanted:
                    result[kind].append(Lanes(k, start, expr.size))
                    start += expr.size
        self.written = result
        return result

    def _by_shape(self, rows: Sequence[Lanes]) -> dict[str, list[Lanes]]:
        """Return which gradients are those of matrices, and which are not."""
        matrices = [lanes for lanes in rows if len(self.loop.parameters[lanes.number].shape) == 2]
        return {"matrix_gradients": matrices, "flat_gradients": [lanes for lanes in rows if lanes not in matrices]}

    def reads(self, wanted: Collection[Expr], rows: Mapping[str, list[Lanes]]) -> Iterator[GradientRead]:
        """Yield name and place of the gradient of each read in ``wanted``."""
        for kind, prefix, exprs in self._gradient_kinds():
            for lanes in rows[kind]:
                if exprs[lanes.number] in wanted:
                    at = f"t * TIME_GRADIENTS + {lanes.start}" if prefix == "gw" else str(lanes.start)
                    yield GradientRead(exprs[lanes.number], f"{prefix}{lanes.number}", f"tile.{kind} + {at}", lanes)

    def _gradient_kinds(self) -> tuple[tuple[str, str, list[Expr]], ...]:
        loop = self.loop
        return (
            ("parameter_gradients", "gp", loop.parameters),
            ("sample_gradients", "gs", loop.samples),
            ("time_gradients", "gw", loop.times),
            ("driven_gradients", "gu", loop.driven),
        )

    def accumulate(self, name: str, lanes: int, gradient: Expr) -> Iterator[Sink]:
        """Add to a gradient; what is scattered into it is added where it belongs at once."""
        over_samples = name.startswith("gw")
        for k, (sign, term) in enumerate(_terms(gradient)):
            operator = "+=" if sign > 0 else "-="
            if not isinstance(term, ScatterAdd):
                yield Sink(term, lanes, add(name, operator, None, over_samples))
                continue
            count = len(term.index)
            at = self.tables.at(term.index, "i")
            if at.isdigit() and count > 1:
                total = f"sum_{name}_{k}"
                done = f"total({total})" if over_samples else total
                yield Sink(
                    term.x,
                    count,
                    _into(total),
                    (f"V {total}{{}};",),
                    (f"{name}[{at}] {operator} {done};",),
                )
            else:
                yield Sink(term.x, count, add(name, operator, self._at(term), over_samples))

    def _at(self, term: ScatterAdd) -> Callable[[str], str]:
        return lambda lane: self.tables.at(term.index, lane)


_OWN_LANE = r"\[(i|\(r \* \d+ \+ i\)|\(lane \+ b\)|\(r \* \d+ \+ \(lane \+ b\)\))\]|\[0\];"


def _in_place(lines: Sequence[str], blocks: int) -> bool:
    """Whether each lane of a state is read for the last time where it is replaced."""
    for k in range(blocks):
        stores = re.compile(rf" *(EACH )?y{k}\[")
        stored = [n for n, line in enumerate(lines) if stores.match(line)]
        first = stored[0] if stored else len(lines)
        start = max((n for n, line in enumerate(lines[:first]) if not line.startswith(" ")), default=0)
        elsewhere = re.compile(rf"\bx{k}\b(?!{_OWN_LANE})")
        later = re.compile(rf"\bx{k}\b")
        if len(stored) > 1 or any(elsewhere.search(line) for line in lines[start:first]):
            return False
        if any(later.search(line) for line in lines[first:]):
            return False
    return True


def store(name: str, more: str = "") -> Write:
    """Return what writes a value, and what else is added to it, to an array."""
    if more:
        return lambda value, lane: f"{name}[{lane}] = {value} + {more}[{lane}];"
    return lambda value, lane: f"{name}[{lane}] = {value};"


def _into(total: str) -> Write:
    """Add to a variable of the loop."""
    return lambda value, lane: f"{total} += {value};"


def keep(name: str) -> Write:
    """Return what writes a value to an array on the way that is followed by an adjoint."""
    return lambda value, lane: f"if constexpr (KEEP) {name}[{lane}] = {value};"


def add(name: str, operator: str = "+=", at: Callable[[str], str] | None = None, over_samples: bool = False) -> Write:
    """Return what adds a value to an array, at another lane where ``at`` says so, or its sum over samples."""

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
    states: dict[Expr, Vector]
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
            self.sinks.append(Sink(factor, lanes, store(name)))
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
