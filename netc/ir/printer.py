"""Prints programs: deterministic, one line a block, shared subexpressions named ``%1``, ``%2``, ...

    state v_1 (2) V: a, b                                   deck.cir:4
      %1 (2) parameter = 1 / r_1
      initial = 0
      derivative = %1 * (in - v_1)

Every name carries its shape and its rate; long index arrays are given by length and pattern.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from netc.diagnostics import Span, printable
from netc.ir.implicit import Hole, Newton
from netc.ir.network import Response
from netc.ir.nodes import (
    Assemble,
    Binary,
    Columns,
    Concat,
    Const,
    Expr,
    Gather,
    Index,
    Interpolate,
    Leaf,
    MatVec,
    Rate,
    ScatterAdd,
    Select,
    Slot,
    Solve,
    Time,
    TimeStep,
    Unary,
    postorder,
)
from netc.ir.program import Program
from netc.ir.rates import Rates

_INFIX = {
    "or": ("||", 1),
    "and": ("&&", 2),
    "eq": ("==", 3),
    "ne": ("!=", 3),
    "lt": ("<", 3),
    "le": ("<=", 3),
    "gt": (">", 3),
    "ge": (">=", 3),
    "add": ("+", 4),
    "sub": ("-", 4),
    "mul": ("*", 5),
    "div": ("/", 5),
}
_SHORT = Leaf | Const | Time | TimeStep  # never given a name of its own
_TIGHT = 9
_LONG = 8  # longest list that is written out
_WIDE = 100  # an expression longer than this gets a name of its own


def format_program(program: Program) -> str:
    """Return ``program`` as text, with its algebraic blocks if it has any; the same program, the same text."""
    printer = _Printer(program)
    return "\n".join(printer.lines()) + "\n"


def format_expr(expr: Expr) -> str:
    """Return one expression on one line."""
    return _Namer({}).text(expr)


class _Printer:
    def __init__(self, program: Program) -> None:
        self._program = program
        self._rates = Rates(program)
        self._names: dict[Expr, str] = {}
        self._namer = _Namer(self._names)
        roots = [e for s in program.states for e in (s.initial, s.derivative)]
        roots += [e for b in program.algebraic for e in ((b.explicit,) if b.explicit is not None else b.residuals)]
        roots += [o.value for o in program.observables]
        uses: dict[Expr, int] = {}
        for node in postorder(*roots):
            for child in node.children:
                uses[child] = uses.get(child, 0) + 1
        self._shared = {node for node, count in uses.items() if count > 1 and not isinstance(node, _SHORT)}

    def lines(self) -> Iterable[str]:
        program = self._program
        yield f"program {_quoted(program.title)}"
        if program.timing is not None:
            t = program.timing
            yield f"timing tstep {t.tstep:g} tstop {t.tstop:g}" + (f" tmax {t.tmax:g}" if t.tmax is not None else "")
        for note in program.notes:
            yield f"note {_quoted(note)}"
        for p in program.parameters:
            yield _located(f"parameter {p.name} ({len(p.lanes)}) {p.role} {p.unit}: {_lanes(p.lanes)}", p.spans)
            if p.trained is not None:
                low, high, scale = p.trained.minimum, p.trained.maximum, p.trained.coordinate.value
                yield f"  trained in [{low:g}, {high:g}], {scale}"
            yield f"  values = {_numbers(p.values)}"
        for i in program.inputs:
            yield f"input {i.name} ({i.size}) {i.mode}: {_lanes(i.lanes)}"
        for block in program.algebraic:
            for unknown, lanes, spans in zip(block.unknowns, block.lanes, block.spans, strict=True):
                yield _located(f"unknown {self._namer.text(unknown)} ({unknown.size}): {_lanes(lanes)}", spans)
            if block.explicit is not None:
                yield from self._statement(self._namer.text(block.unknowns[0]), block.explicit)
            else:
                for residual in block.residuals:
                    yield from self._statement("0", residual)
        for s in program.states:
            yield _located(f"state {s.name} ({s.size}) {s.unit}: {_lanes(s.lanes)}", s.spans)
            yield from self._statement("initial", s.initial)
            yield from self._statement("derivative", s.derivative)
        for o in program.observables:
            yield f"observable {o.name} ({len(o.lanes)}) {o.unit}: {_lanes(o.lanes)}"
            yield from self._statement("value", o.value)
        if program.outputs:
            yield f"outputs {_lanes(program.outputs)}"
        if program.selected:
            yield f"selected {_lanes(program.selected)}"

    def _statement(self, target: str, root: Expr) -> Iterable[str]:
        for node in postorder(root):
            if node in self._names or isinstance(node, _SHORT):
                continue
            text = self._namer.text(node)
            if node in self._shared or (node is not root and len(text) > _WIDE):
                self._names[node] = f"%{len(self._names) + 1}"
                rate = Rate(self._rates(node))
                yield f"  {self._names[node]} {_shape(node)} {(rate.name or '').lower()} = {text}"
        yield f"  {target} = {self._namer.text(root)}"


class _Namer:
    """Writes expressions; those in ``names`` by their name."""

    def __init__(self, names: dict[Expr, str]) -> None:
        self._names = names

    def text(self, root: Expr) -> str:
        done: dict[Expr, tuple[str, int]] = {}
        stack = [root]
        while stack:  # a loop, not recursion: an expression may be very deep
            node = stack[-1]
            if node in done:
                stack.pop()
            elif node in self._names:
                done[stack.pop()] = self._names[node], _TIGHT
            else:
                missing = [child for child in node.children if child not in done]
                stack += missing
                if not missing:
                    done[stack.pop()] = _written(node, [done[child] for child in node.children])
        return done[root][0]


def _written(node: Expr, parts: Sequence[tuple[str, int]]) -> tuple[str, int]:
    texts = [text for text, _ in parts]
    if isinstance(node, Const):
        text = f"{node.value:.17g}"
        return (repr(node.value) if len(repr(node.value)) < len(text) else text), (_TIGHT if node.value >= 0 else 0)
    if isinstance(node, Binary) and node.op in _INFIX:
        sign, level = _INFIX[node.op]
        left = _wrapped(*parts[0], level)
        right = _wrapped(*parts[1], level if node.op in ("add", "mul", "and", "or") else level + 1)
        return f"{left} {sign} {right}", level
    if isinstance(node, Unary) and node.op == "neg":
        return f"-{_wrapped(*parts[0], _TIGHT)}", 5
    return _called(node, texts), _TIGHT


def _called(node: Expr, texts: list[str]) -> str:
    operands = ", ".join(texts)
    if isinstance(node, Leaf):
        return node.name
    if isinstance(node, Time):
        return "time"
    if isinstance(node, TimeStep):
        return "dt"
    if isinstance(node, Newton):
        return _newton(node, texts)
    if isinstance(node, Slot):
        return f"<{node.kind} {node.index}>"
    if isinstance(node, Unary | Binary):
        return f"{node.op}({operands})"
    if isinstance(node, Gather):
        return f"gather({operands}, {_index(node.index)})"
    if isinstance(node, ScatterAdd):
        return f"scatter_add({operands}, {_index(node.index)}, {node.lanes})"
    if isinstance(node, Assemble):
        return f"assemble({operands}, {_index(node.rows)}, {_index(node.columns)}, {_shape(node)})"
    if isinstance(node, Response):
        entries, feeds = (f"{_index(a)}, {_index(b)}" for a, b in _places(node))
        return f"response({texts[0]}, {entries}, {texts[1]}, {feeds}, {_shape(node)})"
    for kind, name in _NAMES.items():
        if isinstance(node, kind):
            return f"{name}({operands})"
    raise ValueError(f"no text for {type(node).__name__}")


def _places(node: Response) -> tuple[tuple[Index, Index], tuple[Index, Index]]:
    return (node.rows, node.columns), (node.feed_rows, node.feed_ports)


def _newton(node: Newton, texts: list[str]) -> str:
    """``newton(guess, z -> step)``, ``z0`` being the point of the Jacobian."""
    holes = {n for n in postorder(node.step) if isinstance(n, Hole)}
    names = ["z", "z0", *(text if text.isidentifier() or text[0] == "%" else f"({text})" for text in texts[1:])]
    return f"newton({texts[0]}, z -> {_Namer({hole: names[hole.number] for hole in holes}).text(node.step)})"


_NAMES: dict[type[Expr], str] = {
    Select: "select",
    Concat: "concat",
    MatVec: "matvec",
    Solve: "solve",
    Interpolate: "interpolate",
    Columns: "columns",
}


def _wrapped(text: str, level: int, needed: int) -> str:
    return f"({text})" if level < needed else text


def _shape(node: Expr) -> str:
    return f"({', '.join(map(str, node.shape))})"


def _index(index: Index) -> str:
    """Return lane numbers in full, or their number and pattern: a range, runs, or a repeated range."""
    a = index.array
    if len(a) <= _LONG:
        return f"[{' '.join(map(str, a))}]"
    step = np.diff(a)
    if (step == step[0]).all():
        return (
            f"[{a[0]}]*{len(a)}"
            if step[0] == 0
            else f"[{a[0]}..{a[-1]}" + (f" by {step[0]}" if step[0] != 1 else "") + "]"
        )
    run = int(np.argmax(step != 0)) + 1
    if run > 1 and len(a) % run == 0 and (a.reshape(-1, run) == a[::run, None]).all():
        return f"each of {_index(Index(a[::run]))} {run} times"
    period = int(np.argmax(step != step[0])) + 1
    if len(a) % period == 0 and (a.reshape(-1, period) == a[:period]).all():
        return f"{_index(Index(a[:period]))} {len(a) // period} times"
    return f"[{' '.join(map(str, a[:_LONG]))} ... {a[-1]}] ({len(a)})"


def _numbers(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> str:
    if len(values) <= _LONG:
        return ", ".join(f"{v:.6g}" for v in values)
    if (values == values[0]).all():
        return f"{values[0]:.6g} ({len(values)} times)"
    return f"{values.min():.6g} .. {values.max():.6g} ({len(values)} values)"


def _lanes(names: Sequence[str]) -> str:
    shown = [printable(name) for name in names]
    return ", ".join(shown if len(shown) <= _LONG else [*shown[:3], "...", shown[-1]])


def _quoted(text: str) -> str:
    return f'"{printable(text)}"'


def _located(text: str, spans: Sequence[Span]) -> str:
    if not spans:
        return text
    lines = sorted({(s.file, s.line) for s in spans})
    first = f"{lines[0][0]}:{lines[0][1]}"
    more = f" and {len(lines) - 1} more" if len(lines) > 1 else ""
    return f"{text}  # {printable(first)}{more}"
