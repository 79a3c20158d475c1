"""``PWL file=``: the points of a source read from a file of times and values."""

from __future__ import annotations

import re
from dataclasses import replace

from netc.diagnostics import Diagnostics
from netc.parse import ast
from netc.parse.dialects import Dialect
from netc.parse.include import Includes
from netc.parse.lines import BLANKS, LogicalLine, fold
from netc.parse.numbers import read_plain

_FILE = re.compile(r"[vi]\S*\s.*?(?<=\s)(pwl\s*(\()?\s*file\s*=?\s*(\"[^\"]*\"|'[^']*'|[^\s()\"']+)\s*)")
_MOST_POINTS = 1_000_000


def without_file(line: LogicalLine) -> tuple[LogicalLine, tuple[int, int, str] | None]:
    """Return ``line`` without ``PWL file=name``; where the name stands in it, how long it is there, and the name."""
    found = _FILE.match(line.text)
    if found is None:
        return line, None
    start, end = found.span(1)
    if found[2] is not None:
        if line.text[end : end + 1] != ")":
            return line, None
        end += 1
    gap = " " * (end - start)
    name_start, name_end = found.span(3)
    name = line.raw[name_start:name_end].strip("\"'")
    line = replace(line, text=line.text[:start] + gap + line.text[end:], raw=line.raw[:start] + gap + line.raw[end:])
    return line, (name_start, name_end - name_start, name)


def with_file(
    card: ast.IndependentSource,
    line: LogicalLine,
    place: tuple[int, int, str],
    includes: Includes,
    diagnostics: Diagnostics,
    dialect: Dialect,
) -> ast.IndependentSource | None:
    """Return ``card`` with the points of the file that :func:`without_file` found; ``None`` after an error."""
    start, length, name = place
    span = line.span(start, length)
    if card.waveform is not None:
        diagnostics.error(f"{card.name} has more than one waveform", span)
        return None
    found = includes.find(name, line.file, span)
    lines = includes.lines(found, span) if found is not None else None
    if lines is None:
        return None
    values: list[float] = []
    for number, text in enumerate(lines, 1):
        stripped = text.split(";", 1)[0].strip(BLANKS)
        if not stripped or stripped[0] == "*":
            continue
        words = re.split(r"[\s,]+", fold(stripped).strip("(), \t"))
        read = [read_plain(word, dialect.numbers) for word in words]
        if len(words) != 2 or any(literal.problem for literal in read):
            diagnostics.error(f"line {number} of {name} is not a time and a value", span)
            return None
        before = values[-2] if words[0].startswith("+") and values else 0.0
        values += [before + read[0].value, read[1].value]
        if len(values) > 2 * _MOST_POINTS:
            diagnostics.error(f"{name} has more than {_MOST_POINTS:,} points", span)
            return None
    if not values:
        diagnostics.error(f"{name} has no points", span)
        return None
    arguments = tuple(ast.Number(value, replace(span, column=1, length=1)) for value in values)
    return replace(card, waveform=ast.Waveform("PWL", arguments, span))
