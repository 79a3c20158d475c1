"""What other simulators forgive: a line of a dialect made one that the grammar reads."""

from __future__ import annotations

import re
from dataclasses import replace

from netc.diagnostics import Diagnostics
from netc.parse.dialects import HSPICE, LTSPICE, NGSPICE, PSPICE, Dialect
from netc.parse.lines import XOR, LogicalLine

_BRACKETED = re.compile(r"(?<=[(,])\s*(\[)[^\[\]\s]+(\])(?=\s*[),])")
_POINTS = re.compile(r"[vi]\S*\s(?:.*\s)?pwl(?=[\s(])")
_BETWEEN = re.compile(r"\)\s*,?\s*\(")
_FOREVER = re.compile(r"\brepeat\s+forever\b|\bendrepeat\b")
_KIND = re.compile(r"[efgh]\S*\s+\S+\s+\S+\s+(vcvs|vccs|ccvs|cccs)(?=\s)")
_NOISELESS = re.compile(r"r\S*\s.*\s(noiseless)(?=\s|$)")
_TRAN_OP = re.compile(r"\.tran(/op)(?=\s)")
_TOLERANCE = re.compile(r"(?<=[\s(,])(dev|lot)(/\w+)*\s*=?\s*[0-9.]+(e[-+]?[0-9]+)?\w*%?")
_REPEAT = re.compile(r"[vi].*\bpwl(\s*\(|\s).*\s(r)(?=\s*\)?\s*$)")
_OPEN = re.compile(r"[vi]\S*\s.*\bpwl(\s)\s*(?!file)[^()\s][^()]*\s(?:r|td)\s*=\s*\S+\s*$")
_UNEQUAL = re.compile(r"\.params?\s+[a-z_]\w*(\s)\s*(?=\S)")
_NAME = re.compile(r"\.meas\w*\s+\S+")
_CLAUSE = re.compile(r"\b(?:from|to|at|val|td|rise|fall|cross)(\s)\s*(?=[^=\s])")


def tidied(line: LogicalLine, dialect: Dialect, diagnostics: Diagnostics) -> LogicalLine:
    """Return ``line`` as the grammar wants it: words without meaning blanked out, open parentheses closed."""
    bare = _OPEN.match(line.text)
    if bare is not None:  # points without parentheses would take the name of what follows for one more
        text, raw = (f"{t[: bare.start(1)]}({t[bare.end(1) :]})" for t in (line.text, line.raw))
        line = replace(line, text=text, raw=raw)
    if dialect is NGSPICE:
        return line
    useless = {HSPICE.name: _KIND, PSPICE.name: _TRAN_OP, LTSPICE.name: _NOISELESS}.get(dialect.name)
    found = useless.match(line.text) if useless is not None else None
    if found is not None:
        line = _blank(line, *found.span(1))
    if dialect in (LTSPICE, PSPICE):
        line = _one_list(line)
    if dialect is PSPICE and "[" in line.text:
        for bracket in _BRACKETED.finditer(line.text):  # how Capture writes the name of a node
            for group in (1, 2):
                line = _blank(line, *bracket.span(group))
    if line.text.startswith(".param") and "," in line.text:
        for offset in _commas(line.text):
            line = _blank(line, offset, offset + 1)
    if dialect is PSPICE and line.text.startswith(".model"):
        for tolerance in _TOLERANCE.finditer(line.text):
            diagnostics.note("the tolerance is not drawn: the value is nominal", line.span(*_reach(tolerance.span())))
            line = _blank(line, *tolerance.span())
    repeat = _REPEAT.match(line.text) if dialect is HSPICE else None
    if repeat is not None:
        line = _repeating(line, repeat)
    if line.text.startswith(".param") and "=" not in line.text:
        line = _equated(line, _UNEQUAL)
    elif line.text.startswith(".meas"):
        name = _NAME.match(line.text)
        line = _equated(line, _CLAUSE, name.end() if name else 0)
    if dialect is LTSPICE and "^" in line.text:
        line = replace(line, text=line.text.replace("^", XOR))
    if dialect is LTSPICE and line.text.count("(") > line.text.count(")"):
        closed = _closed(line)
        if closed is not None:
            diagnostics.warning("a parenthesis is never closed: LTspice closes it at the end", line.whole)
            return closed
    return line


def _one_list(line: LogicalLine) -> LogicalLine:
    """Write ``pwl (0,0) (1m,1)`` and ``pwl repeat forever (0 0 1m 1) endrepeat`` as one list, with ``r=0``."""
    found = _POINTS.match(line.text)
    if found is None:
        return line
    start, body = found.end(), line.text[found.end() :]
    forever = _FOREVER.search(body) is not None
    if not forever and not _BETWEEN.search(body):
        return line
    plain = _FOREVER.sub(lambda words: " " * len(words[0]), body).translate({ord("("): " ", ord(")"): " "})
    first = plain.replace(",", " ").split()[:1]
    if set("={}") & set(plain) or (forever and first not in (["0"], ["0s"])):
        return line  # what else stands there is told where it stands
    end = " r=0)" if forever else ")"
    return replace(line, text=f"{line.text[:start]}({plain[1:]}{end}", raw=f"{line.raw[:start]}({plain[1:]}{end}")


def _blank(line: LogicalLine, start: int, end: int) -> LogicalLine:
    gap = " " * (end - start)
    return replace(line, text=line.text[:start] + gap + line.text[end:], raw=line.raw[:start] + gap + line.raw[end:])


def _repeating(line: LogicalLine, repeat: re.Match[str]) -> LogicalLine:
    """Write HSPICE's ``pwl ... r``, which repeats from 0 on, as ``pwl(... r=0)``."""
    start, end = repeat.end(1) - 1, repeat.end(2)
    tail = "=0" if "(" in repeat[1] else "=0)"
    text, raw = (t[:start] + "(" + t[start + 1 : end] + tail + t[end:] for t in (line.text, line.raw))
    return replace(line, text=text, raw=raw)


def _reach(ends: tuple[int, int]) -> tuple[int, int]:
    return ends[0], ends[1] - ends[0]


def _equated(line: LogicalLine, missing: re.Pattern[str], start: int = 0) -> LogicalLine:
    """Put an equals sign where the pattern's group, a blank, stands for one."""
    text = line.text
    for found in missing.finditer(text, start):
        text = text[: found.start(1)] + "=" + text[found.end(1) :]
    return replace(line, text=text)


def _commas(text: str) -> list[int]:
    """Return where commas stand outside of all brackets and quotes."""
    depth, quoted, found = 0, False, []
    for offset, character in enumerate(text):
        if character == "'":
            quoted = not quoted
        elif character in "({":
            depth += 1
        elif character in ")}":
            depth -= 1
        elif character == "," and depth == 0 and not quoted:
            found.append(offset)
    return found


def _closed(line: LogicalLine) -> LogicalLine | None:
    """Close parentheses before the brace or quote that ends around them, or at the end; ``None`` if that is no help."""
    stack: list[str] = []
    insertions: list[tuple[int, int]] = []  # offset, how many

    def close(opener: str, offset: int) -> bool:
        count = 0
        while stack and stack[-1] == "(" and opener != "(":
            stack.pop()
            count += 1
        if count:
            insertions.append((offset, count))
        return bool(stack) and stack.pop() == opener

    for offset, character in enumerate(line.text):
        if character in "({":
            stack.append(character)
        elif character == "'":
            if "'" not in stack:
                stack.append("'")
            elif not close("'", offset):
                return None
        elif character in ")}" and not close("(" if character == ")" else "{", offset):
            return None
    if any(opener != "(" for opener in stack):
        return None
    insertions.append((len(line.text), len(stack)))
    text, raw = line.text, line.raw
    for offset, count in reversed(insertions):
        text, raw = (t[:offset] + ")" * count + t[offset:] for t in (text, raw))
    return replace(line, text=text, raw=raw)
