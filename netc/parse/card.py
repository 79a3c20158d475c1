"""One logical line to its card: the parser generated from the grammar, and what surrounds it."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Any

from lark import Lark
from lark.exceptions import UnexpectedInput

from netc.diagnostics import Diagnostics, NetcError
from netc.parse import ast
from netc.parse.cards import CardBuilder
from netc.parse.dialects import NGSPICE, Dialect
from netc.parse.dispatch import STARTS
from netc.parse.expressions import NESTING_LIMIT, SIZE_LIMIT, bracket_too_deep, expressions_of, too_deep, too_large
from netc.parse.lines import BLANKS, LogicalLine, fold
from netc.parse.messages import explain, strange_character

LENGTH_LIMIT = 2_000_000
"""How long a card may be, continuations included; a PWL table of 100,000 points fits."""

_TOO_LARGE = f"an expression here has more than {SIZE_LIMIT:,} names, numbers and operations"
_TOO_DEEP = f"nested deeper than {NESTING_LIMIT} levels"
_DEEP_HINT = "split the expression with .param, .func or another source"


@cache
def grammar() -> Lark:
    """Return the parser of ``grammar.lark``; it holds no state between calls."""
    text = files("netc.parse").joinpath("grammar.lark").read_text("utf-8")
    return Lark(text, parser="lalr", lexer="contextual", start=STARTS)


def parse_line(line: LogicalLine, start: str, diagnostics: Diagnostics, dialect: Dialect = NGSPICE) -> Any:
    """Parse ``line`` by the rule ``start``; ``None`` if it is wrong, which has then been recorded."""
    text = line.text
    if '"' in text and (text[0] == "b" or dialect is not NGSPICE) and not _nested(text):
        text = text.replace('"', "'")  # double quotes enclose an expression as well
    if dialect.greek_mu:
        text = text.replace("\N{GREEK SMALL LETTER MU}", "\N{MICRO SIGN}")
    if len(text) > LENGTH_LIMIT:
        diagnostics.error(f"this card is longer than {LENGTH_LIMIT:,} characters", line.whole)
        return None
    strange = strange_character(text)
    if strange:
        diagnostics.error(strange.message, line.span(strange.start, strange.length), strange.hint)
        return None
    if len(text) > NESTING_LIMIT:
        offset = bracket_too_deep(text)
        if offset is not None:
            diagnostics.error(_TOO_DEEP, line.span(offset), _DEEP_HINT)
            return None
    try:
        tree = grammar().parse(text, start=start)
    except UnexpectedInput as error:
        problem = explain(error, text)
        diagnostics.error(problem.message, line.span(problem.start, problem.length), problem.hint)
        return None
    builder = CardBuilder(line, diagnostics, dialect)
    card = builder.transform(tree)
    if builder.failed:
        return None
    if len(text) > NESTING_LIMIT:
        for expression in expressions_of(card):
            place = too_deep(expression)
            if place is not None:
                diagnostics.error(_TOO_DEEP, place, _DEEP_HINT)
                return None
            if too_large(expression):
                diagnostics.error(_TOO_LARGE, line.whole, _DEEP_HINT)
                return None
    return card


def _nested(text: str) -> bool:
    """Return whether quotes of one kind enclose some of the other, or lack their second."""
    quotes = re.findall("['\"]", text)
    return len(quotes) % 2 == 1 or any(a != b for a, b in zip(quotes[::2], quotes[1::2], strict=True))


def parse_expression(text: str, name: str = "expression") -> ast.Expression:
    """Parse one expression, as within braces.

    Raises:
        NetcError: the text is no expression.
    """
    raw = text.strip(BLANKS).replace("\n", " ").replace("\r", " ")
    line = LogicalLine(fold(raw), raw, name, ((0, 1, 1),))
    diagnostics = Diagnostics({name: [raw]})
    tree = parse_line(line, "expression", diagnostics)
    diagnostics.raise_if_failed()
    if not isinstance(tree, ast.Expression):
        raise NetcError(f"'{raw}' is not an expression")
    return tree
