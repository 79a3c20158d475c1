"""Large arrays that follow from trained values, such as the weights of a crossbar: one pass, and one pass back.

r = low + span * position; g = 1 / r; w = s * (g[0::2] - g[1::2])       each an array, and again for each gradient
->   for each entry: w = s * (1 / (low + span * p[2 i]) - 1 / (low + span * p[2 i + 1])), rounded once

Torch makes a pass over memory for every operation and again for its gradient; here each entry is computed at once
from the positions of trained values between their bounds, in float64, and so is its derivative.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netc.ir.nodes import Assemble, Binary, Const, Expr, Gather, Parameter, Unary, postorder
from netc.ir.program import Bounds, Coordinate, Program
from netc.kernels.text import Tables

Array = np.ndarray

_LEAST_LANES = 256


def weights(program: Program, roots: Sequence[Expr]) -> Weights | None:
    """Return those of ``roots`` that are computed here, small matrices beside large ones; ``None`` where none is."""
    trained = {Parameter(b.name, len(b.values)): b.trained for b in program.parameters if b.trained}
    large = [root for root in roots if root.size >= _LEAST_LANES or len(root.shape) == 2]
    found = [root for root in large if _is_entrywise(root, set(trained))]
    return Weights(tuple(found), dict(trained)) if any(root.size >= _LEAST_LANES for root in found) else None


def _is_entrywise(root: Expr, trained: set[Parameter]) -> bool:
    nodes = list(postorder(root))
    return any(node in trained for node in nodes) and all(_has_rule(node, trained) for node in nodes)


def _has_rule(node: Expr, trained: set[Parameter]) -> bool:
    match node:
        case Const():
            return True
        case Parameter():
            return node in trained or node.size == 1
        case Unary():
            return node.op == "neg"
        case Binary():
            return node.op in ("add", "sub", "mul", "div")
        case Gather():
            return True
        case Assemble():
            at = node.rows.array * node.shape[1] + node.columns.array
            return len(at) == node.size and bool((at == np.arange(node.size)).all())
    return False


@dataclass(slots=True, eq=False)
class Weights:
    """Roots, what they are made of, and the C++ text that computes them."""

    roots: tuple[Expr, ...]
    trained: dict[Parameter, Bounds]
    positions: list[Parameter] = field(default_factory=list)
    scalars: list[Parameter] = field(default_factory=list)
    written: frozenset[Parameter] = frozenset()

    def __post_init__(self) -> None:
        leaves = dict.fromkeys(node for node in postorder(*self.roots) if isinstance(node, Parameter))
        self.positions = [leaf for leaf in leaves if leaf in self.trained]
        self.scalars = [leaf for leaf in leaves if leaf not in self.trained]
        self.written = self._written()

    def _written(self) -> frozenset[Parameter]:
        """Return the positions every one of which has one share in one gradient, so that nothing is added up."""
        found: dict[Parameter, list[Array]] = {leaf: [] for leaf in self.positions}
        for root in self.roots:
            lanes = np.arange(root.size)
            at = (lanes // root.shape[1], lanes % root.shape[1]) if len(root.shape) == 2 else (lanes,)
            for leaf, picked in _leaves(root, at):
                if leaf in found:
                    found[leaf].append(picked)
        return frozenset(
            leaf
            for leaf, parts in found.items()
            if np.array_equal(np.sort(np.concatenate(parts)), np.arange(leaf.size))
        )

    def lines(self, tables: Tables) -> list[str]:
        """Return the functions: a part of the values of the roots, and of derivatives by the positions; and all."""
        result = []
        places = "const POSITION* const* positions, const double* scalars"
        for name, back in (("values", False), ("derivatives", True)):
            given = f"{places}, {'const T* const* seeds, char* const* gradients' if back else 'T* const* roots'}"
            result.append(f"static void weights_{name}({given}, Size part, Size parts) {{")
            if back and len(self.written) < len(self.positions):
                result += ["    if (part) return;  // shares are added up", "    parts = 1;"]
            for k, root in enumerate(self.roots):
                result += [f"    {line}" for line in self._root(k, root, back, tables)]
            passed = "positions, scalars, " + ("seeds, gradients" if back else "roots")
            result += ["}", f'extern "C" void all_weights_{name}({given}) {{ weights_{name}({passed}, 0, 1); }}']
        return result

    def room(self, positions: Sequence[Tensor]) -> list[Tensor]:
        """Return arrays that the gradients of ``positions`` are written to, or added up in."""
        return [
            torch.empty_like(p) if leaf in self.written else torch.zeros(p.shape, dtype=torch.float64)
            for leaf, p in zip(self.positions, positions, strict=True)
        ]

    def _gradient_type(self, leaf: Parameter) -> str:
        """Return the type in C++ that gradients are written in, or added up in."""
        return "POSITION" if leaf in self.written else "double"

    def _root(self, number: int, root: Expr, back: bool, tables: Tables) -> list[str]:
        rows, columns = root.shape if len(root.shape) == 2 else (1, root.size)
        entry = _Entry(self, tables)
        value = entry.value(root, ("i", "j") if len(root.shape) == 2 else ("j",))
        at = f"i * {columns} + j" if len(root.shape) == 2 else "j"
        if back:
            body = [*entry.lines, f"const double seed = seeds[{number}][{at}];", *entry.adjoint(value, "seed")]
        else:
            body = [*entry.lines, f"root[{at}] = T({value});"]
        head = [] if back else [f"T* const __restrict root = roots[{number}];"]
        for k, leaf in enumerate(self.positions):
            head.append(f"const POSITION* const __restrict position{k} = positions[{k}];")
            if back:
                kind = self._gradient_type(leaf)
                head.append(f"{kind}* const __restrict gradient{k} = reinterpret_cast<{kind}*>(gradients[{k}]);")
        head += [f"const double scalar{k} = scalars[{k}];" for k, _ in enumerate(self.scalars)]
        mine = "for (Size {0} = mine.begin; {0} < mine.end; ++{0})"
        loops = [f"for (Size i = 0; i < {rows}; ++i)", f"    for (Size j = 0; j < {columns}; ++j) {{"]
        if rows > 1:
            loops[0] = mine.format("i")
        else:
            loops[1] = f"    {mine.format('j')} {{"
        head.append(f"const Share mine({rows if rows > 1 else columns}, part, parts);")
        return ["{", *(f"    {x}" for x in (*head, *loops)), *(f"            {x}" for x in body), "        }", "}"]


class _Entry:
    """One entry of a root as statements in float64."""

    def __init__(self, owner: Weights, tables: Tables) -> None:
        self._owner = owner
        self._tables = tables
        self.lines: list[str] = []
        self._known: dict[tuple[Expr, tuple[str, ...]], str] = {}
        self._steps: list[tuple[str, str, tuple[str, ...]]] = []  # name, operation, operands

    def value(self, node: Expr, at: tuple[str, ...]) -> str:
        """Write what ``node`` needs at one index and return its text."""
        key = node, at
        if key not in self._known:
            self._known[key] = self._value(node, at)
        return self._known[key]

    def _value(self, node: Expr, at: tuple[str, ...]) -> str:
        match node:
            case Const():
                return f"double({node.value!r})"
            case Parameter() if node in self._owner.trained:
                return self._trained(node, at[-1], inverse=False)
            case Parameter():
                return f"scalar{self._owner.scalars.index(node)}"
            case Gather():
                lane = self._tables.at(node.index, at[-1])
                return self.value(node.x, (*at[:-1], f"({lane})"))
            case Assemble():
                return self.value(node.values, (f"({at[0]} * {node.shape[1]} + {at[1]})",))
            case Unary():
                return self._step("neg", self.value(node.x, at))
            case Binary(op="div") if isinstance(node.b, Parameter) and node.b in self._owner.trained:
                inverse = self._trained(node.b, self._index(node.b, at)[-1], inverse=True)
                if isinstance(node.a, Const) and node.a.value == 1.0:
                    return inverse
                return self._step("mul", self.value(node.a, self._index(node.a, at)), inverse)
            case Binary():
                return self._step(node.op, *(self.value(x, self._index(x, at)) for x in (node.a, node.b)))
        raise TypeError(type(node).__name__)

    @staticmethod
    def _index(operand: Expr, at: tuple[str, ...]) -> tuple[str, ...]:
        """Index of an operand that broadcasts."""
        here = at[len(at) - len(operand.shape) :]
        return tuple("0" if n == 1 else x for n, x in zip(operand.shape, here, strict=True))

    def _trained(self, leaf: Parameter, lane: str, *, inverse: bool) -> str:
        """Text of a trained value or its reciprocal, one of which is linear in the position."""
        bounds = self._owner.trained[leaf]
        reciprocal = bounds.coordinate is Coordinate.RECIPROCAL
        low, high = (1 / bounds.maximum, 1 / bounds.minimum) if reciprocal else (bounds.minimum, bounds.maximum)
        number = self._owner.positions.index(leaf)
        key = Unary("neg", leaf), (lane,)  # any key that no value has
        if key not in self._known:
            name = f"v{len(self._steps)}"
            self.lines.append(f"const double {name} = {low!r} + {high - low!r} * double(position{number}[{lane}]);")
            sign = "=" if leaf in self._owner.written else "+="
            self._steps.append((name, "leaf", (f"gradient{number}[{lane}] {sign}", repr(high - low))))
            self._known[key] = name
        name = self._known[key]
        return name if inverse == reciprocal else self._step("div", "1.0", name)

    def _step(self, op: str, *operands: str) -> str:
        name = f"v{len(self._steps)}"
        sign = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
        text = f"-{operands[0]}" if op == "neg" else f"{operands[0]} {sign[op]} {operands[1]}"
        self.lines.append(f"const double {name} = {text};")
        self._steps.append((name, op, operands))
        return name

    def adjoint(self, value: str, seed: str) -> list[str]:
        """Return statements that add ``seed`` times the derivatives of ``value`` to the gradients."""
        shares: dict[str, list[str]] = {value: [seed]}
        names = {name for name, _, _ in self._steps}
        lines: list[str] = []
        for name, op, operands in reversed(self._steps):
            if name not in shares:
                continue
            g = f"g{name}"
            lines.append(f"const double {g} = {' + '.join(shares[name])};")
            if op == "leaf":
                lines.append(f"{operands[0]} {g} * {operands[1]};")
                continue
            for operand, share in zip(operands, _SHARES[op](g, name, *operands), strict=True):
                if operand in names:
                    shares.setdefault(operand, []).append(share)
        return lines


_SHARES: dict[str, Any] = {
    "neg": lambda g, v, x: (f"-{g}",),
    "add": lambda g, v, a, b: (g, g),
    "sub": lambda g, v, a, b: (g, f"-{g}"),
    "mul": lambda g, v, a, b: (f"{g} * {b}", f"{g} * {a}"),
    "div": lambda g, v, a, b: (f"{g} / {b}", f"-{g} * {v} / {b}"),
}


class WeightValues(torch.autograd.Function):
    """The roots of :class:`Weights` from positions and scalars."""

    @staticmethod
    def forward(
        ctx: Any, library: ctypes.CDLL, found: Weights, scalars: Tensor, dtype: torch.dtype, *positions: Tensor
    ) -> Any:
        """Return the roots in ``dtype``."""
        kept = [p.detach().contiguous() for p in positions]
        roots = [torch.empty(root.shape, dtype=dtype) for root in found.roots]
        library.all_weights_values(pointers(kept), ctypes.c_void_p(scalars.data_ptr()), pointers(roots))
        ctx.call = library, found, scalars, kept
        return tuple(roots)

    @staticmethod
    def backward(ctx: Any, *seeds: Tensor) -> Any:
        """Return gradients of the positions."""
        library, found, scalars, kept = ctx.call
        given = [seed.contiguous() for seed in seeds]
        made = found.room(kept)
        library.all_weights_derivatives(
            pointers(kept), ctypes.c_void_p(scalars.data_ptr()), pointers(given), pointers(made)
        )
        return (None, None, None, None, *(g.to(p.dtype) for g, p in zip(made, kept, strict=True)))


def pointers(tensors: Sequence[Tensor]) -> Any:
    """Return the addresses of some tensors as an array for the library."""
    return (ctypes.c_void_p * len(tensors))(*(t.data_ptr() for t in tensors))


def _leaves(root: Expr, at: tuple[Array, ...]) -> Iterator[tuple[Parameter, Array]]:
    """Yield every parameter that entries of ``root`` read, each time with the lanes that are read."""
    seen: set[tuple[Expr, tuple[bytes, ...]]] = set()
    stack = [(root, at)]
    while stack:
        node, lanes = stack.pop()
        key = node, tuple(x.tobytes() for x in lanes)
        if key in seen:
            continue
        seen.add(key)
        if isinstance(node, Parameter):
            yield node, lanes[-1]
        elif isinstance(node, Gather):
            stack.append((node.x, (*lanes[:-1], node.index.array[lanes[-1]])))
        elif isinstance(node, Assemble):
            stack.append((node.values, (lanes[0] * node.shape[1] + lanes[1],)))
        else:
            for child in node.children:
                here = lanes[len(lanes) - len(child.shape) :]
                stack.append((child, tuple(x * (n > 1) for n, x in zip(child.shape, here, strict=True))))
