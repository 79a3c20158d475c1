"""Expressions as statements in static single assignment form, short ones nested for the reader."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from netc.emit.constants import Constants
from netc.emit.rewrite import Rewriter, TransposedInverse
from netc.emit.text import SUPPORT, Names, lanes_text, number
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
    MatVec,
    Rate,
    ScatterAdd,
    Select,
    Solve,
    TimeStep,
    Unary,
    postorder,
)

WIDTH = 84
"""Longest expression that is nested into another one."""

_ATOM, _POWER, _NEGATIVE, _PRODUCT, _SUM, _LOOSE = 6, 5, 4, 3, 2, 0
_INFIX = {"add": ("+", _SUM), "sub": ("-", _SUM), "mul": ("*", _PRODUCT), "div": ("/", _PRODUCT)}
_COMPARE = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
_LOGIC = {"and": "&", "or": "|"}


@dataclass(frozen=True, slots=True)
class Code:
    """Text of a value, how tightly it binds, and whether it is a number, a truth tensor or a Python float."""

    text: str
    binding: int = _ATOM
    kind: str = "number"  # or "truth" or "float"

    def atom(self, binding: int = _ATOM) -> str:
        """Return the text, in parentheses where it binds less tightly than asked for."""
        return self.text if self.binding >= binding else f"({self.text})"


class Scope:
    """Writes statements of one stage.

    ``known`` maps expressions to the names they already have here; ``dtype`` is the source text of the
    floating type of this stage, and ``batched`` says whether values here have a batch axis and no time axis.
    A ``pure`` function has no ``self``: ``buffers`` lists the names of those it must be given.
    """

    def __init__(
        self,
        names: Names,
        constants: Constants,
        rates: Callable[[Expr], Rate],
        dtype: str,
        *,
        batched: bool = False,
        pure: bool = False,
    ) -> None:
        self.known: dict[Expr, Code] = {}
        self.lines: list[str] = []
        self.buffers: list[str] = []
        self._pure = pure
        self._names = names
        self._constants = constants
        self._rates = rates
        self._dtype = dtype
        self._batched = batched
        self._uses: dict[Expr, int] = {}
        self._nested: set[Expr] = set()  # those whose text has not got a name

    def know(self, expr: Expr, text: str) -> None:
        """Say what ``expr`` is called here."""
        self.known[expr] = Code(text)

    def plan(self, roots: Sequence[Expr]) -> None:
        """Count how often each expression below ``roots`` is read, so that shared ones get a name."""
        self._uses = {}
        stack = list(roots)
        while stack:
            node = stack.pop()
            self._uses[node] = self._uses.get(node, 0) + 1
            if self._uses[node] == 1 and node not in self.known:
                stack.extend(node.children)

    def assign(self, name: str, root: Expr) -> None:
        """Write statements that leave ``root``, as a tensor of numbers, in ``name``."""
        self.lines.append(f"{name} = {self.tensor(root)}")
        self.known[root] = Code(name)

    def tensor(self, root: Expr) -> str:
        """Write what ``root`` needs and return an expression for it, a tensor of numbers."""
        return self._tensor(self.code(root))

    def code(self, root: Expr) -> Code:
        """Write what ``root`` needs and return its code."""
        stack: list[tuple[Expr, bool]] = [(root, False)]
        while stack:
            node, ready = stack.pop()
            if node in self.known:
                continue
            if not ready:
                stack.append((node, True))
                stack.extend((c, False) for c in reversed(node.children))
                continue
            code = self._render(node)
            if node is not root and (self._uses.get(node, 0) > 1 or len(code.text) > WIDTH) and code.kind != "float":
                name = self._names.numbered("t")
                self.lines.append(f"{name} = {code.text}")
                code = Code(name, kind=code.kind)
            else:
                self._nested.add(node)
            self.known[node] = code
        return self.known[root]

    # ------------------------------------------------------------------ operands

    def _tensor(self, code: Code) -> str:
        if code.kind == "float":
            return f"torch.full((1,), {code.text}, dtype={self._dtype}, device=device)"
        return self._number(code).text

    def _number(self, code: Code) -> Code:
        return Code(f"{code.atom()}.to({self._dtype})") if code.kind == "truth" else code

    def _truth(self, code: Code) -> Code:
        return code if code.kind == "truth" else Code(f"{code.atom(_SUM)} != 0.0", _LOOSE, "truth")

    def _operand(self, node: Expr, child: Expr) -> Code:
        """Return a lane-by-lane operand; one lane beside a matrix gets a second lane axis after batch and time."""
        code = self._number(self.known[child])
        if len(node.shape) > len(child.shape) and code.kind != "float" and self._rates(child) is not Rate.PARAMETER:
            return Code(f"{code.atom()}.unsqueeze(-2)")
        return code

    # ------------------------------------------------------------------ one node

    def _render(self, node: Expr) -> Code:
        if isinstance(node, Const):
            return Code(
                number(node.value), _NEGATIVE if node.value < 0 or str(node.value)[0] == "-" else _ATOM, "float"
            )
        if isinstance(node, TimeStep):
            return Code(f"torch.full((1,), dt, dtype={self._dtype}, device=device)")
        if isinstance(node, Unary):
            return self._unary(node)
        if isinstance(node, Binary):
            return self._binary(node)
        if isinstance(node, Select):
            return self._select(node)
        if isinstance(node, Gather):
            return self._gather(self._tensor_code(node.x), node.x.shape[-1], node.index)
        if isinstance(node, ScatterAdd):
            return self._scatter(node)
        if isinstance(node, Concat | Columns):
            return self._join(node)
        if isinstance(node, Assemble):
            return self._assemble(node)
        if isinstance(node, MatVec):
            x, matrix = self._tensor_code(node.x), self._tensor_code(node.matrix)
            if self._rates(node.matrix) is Rate.PARAMETER:
                return Code(f"{x.atom(_PRODUCT)} @ {matrix.atom(_POWER)}", _PRODUCT)
            return self._call("vector_matrix", x, matrix)
        if isinstance(node, TransposedInverse):
            return Code(f"torch.linalg.inv({self._tensor(self.known[node.matrix])}).mT")
        if isinstance(node, Solve):
            return self._call("solve", self._tensor_code(node.matrix), self._tensor_code(node.b))
        if isinstance(node, Newton):
            return self._newton(node)
        if isinstance(node, Response):
            return self._response(node)
        if isinstance(node, Interpolate):
            return self._call("interpolate", *(self._tensor_code(c) for c in (node.x, node.xs, node.ys)))
        raise ValueError(f"the program has no {type(node).__name__} {getattr(node, 'name', '')!r}")

    def _newton(self, node: Newton) -> Code:
        """A call of the iteration; its step becomes a function of its own, shared by all that take the same."""
        rates = [Rate.STEP, Rate.STEP, *(self._rates(o) for o in node.operands)]
        name, buffers = self._constants.steps.get((node.step, *(rate is Rate.PARAMETER for rate in rates)), ("", []))
        if not name:
            name = f"newton_step_{len(self._constants.steps) + 1}"
            lines, buffers = _step_function(name, node, rates, self._constants)
            self._constants.steps[(node.step, *(rate is Rate.PARAMETER for rate in rates))] = name, buffers
            self._constants.functions += [*lines, "", ""]
        self._constants.iterated |= dict.fromkeys(node.names)
        operands = [self._tensor_code(o) for o in node.operands]
        given = [self._buffer(f"self.{b}") for b in buffers]
        return self._call("newton", name, self._tensor_code(node.guess), str(node.systems), *operands, *given)

    def _response(self, node: Response) -> Code:
        values, feeds = self._tensor_code(node.values), self._tensor_code(node.feeds)
        entries, fed = (
            (self._index(a), self._index(b)) for a, b in ((node.rows, node.columns), (node.feed_rows, node.feed_ports))
        )
        return self._call("response", values, *entries, feeds, *fed, str(node.shape[0]), str(node.shape[1]))

    def _tensor_code(self, node: Expr) -> Code:
        code = self.known[node]
        return Code(self._tensor(code), _ATOM if code.kind != "number" else code.binding)

    def _call(self, helper: str, *operands: Code | str) -> Code:
        inner = ", ".join(o if isinstance(o, str) else o.text for o in operands)
        return Code(f"{self._constants.helper(helper)}({inner})")

    def _unary(self, node: Unary) -> Code:
        if node.op == "not":
            x = self.known[node.x]
            return (
                Code(f"~{x.atom()}", _NEGATIVE, "truth")
                if x.kind == "truth"
                else Code(f"{x.atom(_SUM)} == 0.0", _LOOSE, "truth")
            )
        if node.op == "neg":
            return Code(f"-{self._number(self.known[node.x]).atom(_POWER)}", _NEGATIVE)
        x = self._tensor_code(node.x)
        if node.op == "exp":
            return self._call("exp", x)
        return Code(f"torch.{node.op}({x.text})")

    def _binary(self, node: Binary) -> Code:
        op = node.op
        if op in _LOGIC:
            a, b = (self._truth(self._aligned_truth(node, c)) for c in (node.a, node.b))
            return Code(f"{a.atom()} {_LOGIC[op]} {b.atom()}", _LOOSE, "truth")
        a, b = self._operand(node, node.a), self._operand(node, node.b)
        if op in _COMPARE:
            return Code(f"{a.atom(_SUM)} {_COMPARE[op]} {b.atom(_SUM)}", _LOOSE, "truth")
        if op in _INFIX:
            sign, binding = _INFIX[op]
            if op in ("add", "sub") and self._batched and (fused := self._product_and_sum(node)):
                return fused
            return Code(f"{a.atom(binding)} {sign} {b.atom(binding + 1)}", binding)
        if op == "pow":
            if a.kind == "float":
                return Code(f"torch.pow({a.text}, {b.text})")
            return Code(f"{a.atom()} ** {b.atom(_NEGATIVE)}", _POWER)
        bound, name = ("max", "minimum") if op == "min" else ("min", "maximum")
        if b.kind == "float":
            return Code(f"{a.atom()}.clamp({bound}={b.text})")
        if a.kind == "float":
            return Code(f"{b.atom()}.clamp({bound}={a.text})")
        return Code(f"torch.{name}({a.text}, {b.text})")

    def _product_and_sum(self, node: Binary) -> Code | None:
        """A sum with an unshared product as one call, where that spares the loop and its gradient an operation.

        (``addcmul`` would not: its gradient multiplies by its scalar once more for every factor.)
        """
        for product, other in ((node.b, node.a), (node.a, node.b)):
            if product not in self._nested or len(node.shape) > 1 or self.known[other].kind == "truth":
                continue
            sign = "" if node.op == "add" else "-"
            if isinstance(product, MatVec) and node.op == "add" and (fused := self._addmm(product, other)):
                return fused
            if not isinstance(product, Binary) or product.op != "mul" or (sign and product is node.a):
                continue
            x, y, rest = self.known[product.a], self.known[product.b], self.known[other]
            if "truth" in (x.kind, y.kind):
                continue
            if x.kind == "float":
                x, y = y, x
            if rest.kind == "float":  # a - y * x, and a + y * x with the sign of y turned
                if x.kind == "number" and y.kind == "float":
                    return Code(f"torch.rsub({x.text}, {rest.text}, alpha={_signed('' if sign else '-', y.text)})")
            elif y.kind == "float":
                return Code(f"torch.add({rest.text}, {x.text}, alpha={_signed(sign, y.text)})")
        return None

    def _addmm(self, product: MatVec, other: Expr) -> Code | None:
        if not self._rates(product.x) & Rate.SAMPLE or self._rates(product.matrix) is not Rate.PARAMETER:
            return None
        if self.known[other].kind != "number":
            return None
        x, matrix = self._tensor_code(product.x).text, self._tensor_code(product.matrix).text
        return Code(f"torch.addmm({self.known[other].text}, {x}, {matrix})")

    def update(self, state: str, slope_name: str, slope: Expr) -> str:
        """Write the derivative of a state, and return the statement of its explicit Euler step for later.

        A last factor or divisor that is only a number or a parameter goes into the step itself.
        """
        scaled = isinstance(slope, Binary) and slope.op in ("mul", "div") and self._uses.get(slope) == 1
        if isinstance(slope, Binary) and scaled and slope not in self.known:
            factor, rest = (slope.b, slope.a)
            if slope.op == "mul" and (isinstance(slope.a, Const) or slope.a in self.known):
                factor, rest = slope.a, slope.b
            if isinstance(factor, Const) and not isinstance(rest, Const):
                self.assign(slope_name, rest)
                sign = "*" if slope.op == "mul" else "/"
                return f"{state} = {state}.add({slope_name}, alpha=dt {sign} {self.code(factor).atom()})"
            if factor in self.known and self._rates(factor) is Rate.PARAMETER and not isinstance(rest, Const):
                self.assign(slope_name, rest)
                call = "addcmul" if slope.op == "mul" else "addcdiv"
                return f"{state} = torch.{call}({state}, {slope_name}, {self.known[factor].text}, value=dt)"
        code = self.code(slope)
        if code.kind == "float":
            return f"{state} = {state} + {code.text} * dt"
        self.assign(slope_name, slope)
        return f"{state} = {state}.add({slope_name}, alpha=dt)"

    def _aligned_truth(self, node: Expr, child: Expr) -> Code:
        code = self.known[child]
        if len(node.shape) > len(child.shape) and code.kind != "float" and self._rates(child) is not Rate.PARAMETER:
            return Code(f"{code.atom()}.unsqueeze(-2)", kind=code.kind)
        return code

    def _select(self, node: Select) -> Code:
        condition = self._truth(self._aligned_truth(node, node.condition))
        then, otherwise = self._operand(node, node.then), self._operand(node, node.otherwise)
        # Two Python floats would come out in torch's default type.
        first = self._tensor(then) if then.kind == otherwise.kind == "float" else then.text
        return Code(f"torch.where({condition.text}, {first}, {otherwise.text})")

    def _gather(self, x: Code, lanes: int, index: Index) -> Code:
        array = index.array
        first, count = int(array[0]), len(array)
        if count > 1 and (array == first).all():
            one = x if lanes == 1 else Code(f"{x.atom()}[..., {first}:{first + 1}]")
            return self._call("spread", one, str(count))
        if index.is_identity(lanes):
            return x
        step = int(array[1]) - first if count > 1 else 1
        if step > 0 and (np.diff(array) == step).all():
            text = f"{first or ''}:{'' if array[-1] + step >= lanes else int(array[-1]) + 1}"
            return Code(f"{x.atom()}[..., {text}{f':{step}' if step > 1 else ''}]")
        return Code(f"{x.atom()}.index_select(-1, {self._index(index)})")

    def _scatter(self, node: ScatterAdd) -> Code:
        x, array, lanes = self._tensor_code(node.x), node.index.array, node.lanes
        if node.x.shape[-1] == len(array):
            each, left = divmod(len(array), lanes)
            if not left and each and (array == np.repeat(np.arange(lanes), each)).all():
                return x if each == 1 else Code(f"{x.atom()}.unflatten(-1, ({lanes}, {each})).sum(-1)")
            if not left and each and (array == np.tile(np.arange(lanes), each)).all():
                return Code(f"{x.atom()}.unflatten(-1, ({each}, {lanes})).sum(-2)")
            if (np.diff(array) == 1).all():
                after = lanes - 1 - int(array[-1])
                return Code(f"torch.nn.functional.pad({x.text}, ({int(array[0])}, {after}))")
        return self._call("scatter_add", x, self._index(node.index), str(lanes))

    def _join(self, node: Concat | Columns) -> Code:
        if all(isinstance(p, Const) for p in node.parts):
            values = np.array([p.value for p in node.parts if isinstance(p, Const)])
            if isinstance(node, Columns):
                values = values.reshape(node.shape)
            return Code(f"{self._buffer(self._constants.table(values))}.to({self._dtype})")
        helper = "concat" if isinstance(node, Concat) else "columns"
        return self._call(helper, *(self._tensor_code(p) for p in node.parts))

    def _index(self, index: Index) -> str:
        return self._buffer(self._constants.index(index))

    def _buffer(self, text: str) -> str:
        if not self._pure:
            return text
        name = text.removeprefix("self.")
        if name not in self.buffers:
            self.buffers.append(name)
        return name

    def _assemble(self, node: Assemble) -> Code:
        x, (n, m) = self._tensor_code(node.values), node.shape
        flat = node.rows.array * m + node.columns.array
        if node.values.shape[-1] == n * m == len(flat):
            if (flat == np.arange(n * m)).all():
                return Code(f"{x.atom()}.unflatten(-1, ({n}, {m}))")
            if (flat == np.arange(n * m).reshape(n, m).T.ravel()).all():
                return Code(f"{x.atom()}.unflatten(-1, ({m}, {n})).mT")
            if len(set(flat.tolist())) == n * m:
                picked = self._gather(x, n * m, Index(np.argsort(flat)))
                return Code(f"{picked.atom()}.unflatten(-1, ({n}, {m}))")
        return self._call("assemble", x, self._index(Index(flat)), str(n), str(m))


def _step_function(name: str, node: Newton, rates: Sequence[Rate], constants: Constants) -> tuple[list[str], list[str]]:
    """Return the function that takes one Newton step of ``node``, and the buffers it is given after the operands."""
    known: dict[Expr, Rate] = {}

    def rate_of(expr: Expr) -> Rate:
        for inner in postorder(expr, known=known):
            known[inner] = rates[inner.number] if isinstance(inner, Hole) else Rate.PARAMETER
            for child in inner.children:
                known[inner] |= known[child]
        return known[expr]

    arguments = ["z", "z0", *(f"p_{k + 1}" for k in range(len(node.operands)))]
    scope = Scope(Names(["device", "torch", "math", *SUPPORT, *arguments]), constants, rate_of, "z.dtype", pure=True)
    step = Rewriter(rate_of)(node.step)
    for inner in postorder(step):
        if isinstance(inner, Hole):
            scope.know(inner, arguments[inner.number])
    scope.plan([step])
    result = scope.tensor(step)
    lines = [*scope.lines, f"return {result}"]
    if any("device=device" in line for line in lines):
        lines.insert(0, "device = z.device")
    return [
        f"def {name}({', '.join([*arguments, *scope.buffers])}):",
        f'    """-J(z0)**-1 g(z) for {lanes_text(node.names)}."""',
        *(f"    {line}" for line in lines),
    ], scope.buffers


def _signed(sign: str, text: str) -> str:
    return text[1:] if sign and text.startswith("-") else sign + text
