"""From parse trees to expressions of the syntax tree."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

from lark import Token, Tree
from lark.visitors import Transformer_NonRecursive

from netc.diagnostics import Diagnostics, Span
from netc.parse import ast
from netc.parse.build import is_logical
from netc.parse.dialects import NGSPICE, Dialect, dialect_hint
from netc.parse.lines import XOR, LogicalLine
from netc.parse.numbers import Literal, read_in_expression, read_plain

NESTING_LIMIT = 150
"""How deep an expression may nest; later stages walk it recursively."""

SIZE_LIMIT = 20_000
"""How many names, numbers and operations an expression may have."""

_BALANCE_FROM = 64
_OPERATORS = {"**": "^", "<>": "!=", "&": "&&", "|": "||", "~": "!"}
_SINGLE_LOGIC = frozenset("&|~")


def node_name(name: str) -> str:
    """Return the name a node is stored under: ``gnd`` is ``0``."""
    return "0" if name == "gnd" else name


class ExpressionBuilder(Transformer_NonRecursive[Token, Any]):
    """Turns the parse tree of one logical line into expressions; method names are those of the grammar's rules.

    What is wrong with a literal is recorded, and the tree is built all the same.
    """

    def __init__(self, line: LogicalLine, diagnostics: Diagnostics, dialect: Dialect = NGSPICE) -> None:
        super().__init__()
        self.line = line
        self.dialect = dialect
        self.diagnostics = diagnostics
        self.failed = False

    def span(self, token: Token) -> Span:
        """Return where ``token`` stands in the source."""
        return self.line.span(token.start_pos or 0, len(token))

    def error(self, message: str, span: Span, hint: str | None = None) -> None:
        """Record an error in this card."""
        self.failed = True
        self.diagnostics.error(message, span, hint)

    def _literal(self, token: Token, literal: Literal) -> ast.Number:
        span = self.span(token)
        if literal.problem:
            self.error(literal.problem, span, literal.hint)
        elif literal.oddity:
            self.diagnostics.warning(literal.oddity, span, literal.hint)
        return ast.Number(literal.value, span)

    def number(self, children: list[Token]) -> ast.Number:
        """Build a literal within an expression."""
        return self._literal(children[0], read_in_expression(children[0], self.dialect.numbers))

    def plain(self, children: list[Token]) -> ast.Number:
        """Build a literal that is a value of its own."""
        token = children[0]
        start = token.start_pos or 0
        written = self.line.raw[start : start + len(token)]
        number = self._literal(token, read_plain(token, self.dialect.numbers))
        in_seconds = self.line.raw.lstrip()[:5].lower() == ".tran"
        if written.endswith(("M", "F")) and written[:-1].strip("0123456789.+-") == "" and not in_seconds:
            meaning = "1e-3: mega is meg" if written.endswith("M") else "1e-15, femto: the unit farad is not written"
            self.diagnostics.warning(f"the suffix {written[-1]} means {meaning}", number.span)
        return number

    def name(self, children: list[Token]) -> ast.Name:
        """Build the name of a parameter."""
        return ast.Name(str(children[0]), self.span(children[0]))

    def bare(self, children: list[Token]) -> ast.Name:
        """Build a word that stands where a value may stand."""
        token = children[0]
        if not str(token).replace("_", "a").replace(".", "a").isalnum() or not (token[0].isalpha() or token[0] == "_"):
            self.error(f"expected a value, found '{token}'", self.span(token), "put an expression in braces: {...}")
        return self.name(children)

    def call(self, children: list[Any]) -> ast.Call:
        """Build a function call."""
        function, *arguments = children
        return ast.Call(str(function), tuple(arguments), self._reach(self.span(function), arguments))

    def unary(self, children: list[Any]) -> ast.Unary:
        """Build ``-x``, ``+x`` or ``!x``."""
        operator, operand = children
        return ast.Unary(self._operator(operator), operand, join(self.span(operator), operand.span))

    def chain(self, children: list[Any]) -> ast.Expression:
        """Build a left-associative chain of operators of one rank.

        Long sums become balanced trees, so that a column of a thousand terms is not a thousand levels deep.
        """
        operators = [self._operator(token) for token in children[1::2]]
        terms: list[ast.Expression] = children[::2]
        if operators[0] == XOR:
            return self._exclusive(terms)
        if self.dialect.power is not None and "^" in children[1::2]:
            self._caret(children)
        if len(terms) >= _BALANCE_FROM and operators[0] in "+-":
            return _balanced(terms, ["+", *operators], 0, len(terms), "+")
        built = terms[0]
        for operator, term in zip(operators, terms[1:], strict=True):
            built = ast.Binary(operator, built, term, join(built.span, term.span))
        return built

    def _operator(self, token: Token) -> str:
        """Return an operator as the syntax tree has it."""
        if token in _SINGLE_LOGIC and not self.dialect.single_logic:
            name = {"&": "&&", "|": "||", "~": "!"}[str(token)]
            hint = f"the logical operator is {name}; " + dialect_hint("ltspice", "pspice")
            self.error(f"'{token}' is no operator of {self.dialect.name}", self.span(token), hint)
        return _OPERATORS.get(str(token), str(token))

    def _exclusive(self, terms: list[ast.Expression]) -> ast.Expression:
        """Build LTspice's exclusive or: the truth of one is not that of the other."""
        truth = self.dialect.truth or (lambda x: x)
        if not all(map(is_logical, terms)):
            place = join(terms[0].span, terms[-1].span)
            self.diagnostics.warning("^ is exclusive or in LTspice: a power is written **", place)
        built = terms[0]
        for term in terms[1:]:
            built = ast.Binary("!=", truth(built), truth(term), join(built.span, term.span))
        return built

    def _caret(self, children: list[Any]) -> None:
        """Refuse ``^`` where it may be a logical operator."""
        place = self.span(next(token for token in children[1::2] if token == "^"))
        if self.dialect.single_logic and any(map(is_logical, children[::2])):
            self.error("^ between conditions is exclusive or, which netc does not know", place, "write a != b")

    def ternary(self, children: list[Any]) -> ast.Ternary:
        """Build ``condition ? then : otherwise``."""
        condition, then, otherwise = children
        return ast.Ternary(condition, then, otherwise, join(condition.span, otherwise.span))

    def voltage(self, children: list[Token]) -> ast.Voltage:
        """Build ``v(a)`` or ``v(a, b)``."""
        nodes = [node_name(str(token)) for token in children[1:]]
        span = join(self.span(children[0]), self.span(children[-1]))
        return ast.Voltage(nodes[0], nodes[1] if len(nodes) > 1 else None, self._close(span))

    def current(self, children: list[Token]) -> ast.Current:
        """Build ``i(element)``."""
        return ast.Current(str(children[1]), self._close(join(self.span(children[0]), self.span(children[1]))))

    def _reach(self, span: Span, arguments: list[Any]) -> Span:
        return self._close(join(span, arguments[-1].span)) if arguments else span

    def _close(self, span: Span) -> Span:
        """Extend a span by the parenthesis that follows it at once."""
        offset, _, column = self.line.pieces[bisect_left(self.line.pieces, span.line, key=lambda piece: piece[1])]
        end = offset + span.column - column + span.length
        if self.line.text[end : end + 1] != ")":
            return span
        return Span(span.file, span.line, span.column, span.length + 1)


def join(first: Span, last: Span) -> Span:
    """Return the span from ``first`` to ``last``, or ``first`` where they are on different lines."""
    if first.line != last.line or first.column > last.column:
        return first
    return Span(first.file, first.line, first.column, last.column + last.length - first.column)


def _balanced(terms: list[ast.Expression], signs: list[str], low: int, high: int, sign: str) -> ast.Expression:
    """Sum ``terms[low:high]``, each with its sign times ``sign``; the first stands as it is."""
    if high - low == 1:
        return terms[low]
    middle = (low + high) // 2
    left = _balanced(terms, signs, low, middle, sign)
    right = _balanced(terms, signs, middle, high, signs[middle])
    return ast.Binary("+" if signs[middle] == sign else "-", left, right, join(left.span, right.span))


def too_deep(expression: ast.Expression) -> Span | None:
    """Return where ``expression`` passes the nesting limit, or ``None``."""
    stack: list[tuple[ast.Expression, int]] = [(expression, 1)]
    while stack:
        node, depth = stack.pop()
        if depth > NESTING_LIMIT:
            return node.span
        match node:
            case ast.Call():
                stack.extend((argument, depth + 1) for argument in node.arguments)
            case ast.Unary():
                stack.append((node.operand, depth + 1))
            case ast.Binary():
                stack += ((node.left, depth + 1), (node.right, depth + 1))
            case ast.Ternary():
                stack += ((node.condition, depth + 1), (node.then, depth + 1), (node.otherwise, depth + 1))
    return None


def too_large(expression: ast.Expression) -> bool:
    """Return whether ``expression``, which is not too deep, has more than :data:`SIZE_LIMIT` parts."""
    stack = [expression]
    count = 0
    while stack and count <= SIZE_LIMIT:
        node = stack.pop()
        count += 1
        match node:
            case ast.Call():
                stack += node.arguments
            case ast.Unary():
                stack.append(node.operand)
            case ast.Binary():
                stack += (node.left, node.right)
            case ast.Ternary():
                stack += (node.condition, node.then, node.otherwise)
    return count > SIZE_LIMIT


def bracket_too_deep(text: str) -> int | None:
    """Return the offset at which brackets in ``text`` pass the nesting limit, or ``None``."""
    depth = 0
    for offset, character in enumerate(text):
        if character in "({":
            depth += 1
            if depth > NESTING_LIMIT:
                return offset
        elif character in ")}":
            depth -= 1
    return None


def expressions_of(tree: Any) -> list[ast.Expression]:
    """Return the outermost expressions of a card or of an expression."""
    if isinstance(tree, ast.Expression):
        return [tree]
    if isinstance(tree, tuple):
        return [found for item in tree for found in expressions_of(item)]
    if isinstance(tree, (str, float, bool, Tree, Span)) or tree is None:
        return []
    return [found for field in tree.__dataclass_fields__ for found in expressions_of(getattr(tree, field))]
