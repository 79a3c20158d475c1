"""From physical lines to logical ones: comments cut, continuations joined, every column remembered."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from netc.diagnostics import Span

BLANKS = " \t\f\v\r\n"
XOR = "\N{XOR}"
"""Stands for LTspice's ``^`` in the text that the grammar reads, where ``^`` is a power."""

COMMENT = re.compile(r";|//|(?:(?<=[\s,])|^)\$")
"""A comment runs to the end of the line from ; or // anywhere, and from $ at the start or after a blank or comma."""

_QUOTED = re.compile(r'\s*\.(?:inc|include|lib)\s+(?:"[^"]*"|\'[^\']*\')', re.IGNORECASE)
_DIRECTIVE = re.compile(r"\*\.netc(?![^\s])", re.IGNORECASE)
_WORDS = re.compile(r"[^ \t\f\v\r\n]+")
_FOLD = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


@dataclass(slots=True)
class LogicalLine:
    """One card: ``text`` folded to lower case (ASCII only, as ngspice does), ``raw`` as written.

    ``pieces`` holds (offset in the text, physical line, column) of each physical line.
    """

    text: str
    raw: str
    file: str
    pieces: tuple[tuple[int, int, int], ...]

    def span(self, start: int, length: int = 1) -> Span:
        """Return where the stretch of text from ``start`` stands in the source."""
        index = bisect_right(self.pieces, start, key=lambda piece: piece[0]) - 1 if len(self.pieces) > 1 else 0
        offset, line, column = self.pieces[index]
        if index + 1 < len(self.pieces):
            length = min(length, max(1, self.pieces[index + 1][0] - 1 - start))
        return Span(self.file, line, column + start - offset, max(1, length))

    @property
    def words(self) -> list[str]:
        """The text cut at blanks; there is at least one word."""
        return _WORDS.findall(self.text)

    @property
    def whole(self) -> Span:
        """The first physical line of the card."""
        end = self.pieces[1][0] - 1 if len(self.pieces) > 1 else len(self.text)
        return self.span(0, end)


def fold(text: str) -> str:
    """Lower the ASCII letters of ``text``; its length stays."""
    return text.lower() if text.isascii() else text.translate(_FOLD)


def cut_comment(text: str, comment: re.Pattern[str] = COMMENT) -> str:
    """Return ``text`` without an end-of-line comment."""
    quoted = _QUOTED.match(text)
    found = comment.search(text, quoted.end() if quoted else 0)
    return text[: found.start()] if found else text


def logical_lines(
    lines: Sequence[str], file: str, first: int = 1, comment: re.Pattern[str] = COMMENT
) -> Iterator[LogicalLine]:
    """Yield the cards of ``lines`` and netc's directives; ``first`` is the number of the first line to read.

    Blank lines and comments between a line and its continuation are allowed.  A directive among them comes
    after the card.
    """
    pending: list[tuple[int, int, str]] = []  # line, column, text
    directives: list[LogicalLine] = []
    for number in range(first, len(lines) + 1):
        physical = lines[number - 1]
        text = physical.strip(BLANKS)
        if not text:
            continue
        mark = text[0]
        if mark == "*":
            if _DIRECTIVE.match(text):
                directives.append(
                    _join(file, [(number, physical.index(mark) + 1, cut_comment(text, comment).rstrip(BLANKS))])
                )
            continue
        if "$" in text or ";" in text or "//" in text:
            text = cut_comment(text, comment).rstrip(BLANKS)
            if not text:
                continue
        column = 1 if physical[0] == mark else physical.index(mark) + 1
        if mark == "+" and pending:
            rest = text[1:].lstrip(BLANKS)
            if rest:
                pending.append((number, column + len(text) - len(rest), rest))
            continue
        if pending:
            yield _join(file, pending)
        if directives:
            yield from directives
            directives.clear()
        pending = [(number, column, text)]
    if pending:
        yield _join(file, pending)
    yield from directives


def _join(file: str, parts: list[tuple[int, int, str]]) -> LogicalLine:
    if len(parts) == 1:
        line, column, raw = parts[0]
        return LogicalLine(fold(raw), raw, file, ((0, line, column),))
    offset = 0
    pieces = []
    for line, column, text in parts:
        pieces.append((offset, line, column))
        offset += len(text) + 1
    raw = " ".join(text for _, _, text in parts)
    return LogicalLine(fold(raw), raw, file, tuple(pieces))
