"""The fast path: plain cards, names and one number, read by a regular expression.

It builds the very tree the grammar builds, about ten times as fast; whatever it does not match is left to the grammar.
"""

from __future__ import annotations

import re

from netc.diagnostics import Span
from netc.parse import ast
from netc.parse.lines import LogicalLine
from netc.parse.numbers import power_of_ten

_LONGEST = 300  # fewer digits than overflow a double

_WORD = r"[a-z0-9_.:#!/+\-]+"
_NUMBER = r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:(meg|[tgkmunpf])|(e[+-]?[0-9]{1,2}))?"
_TWO_NODES = re.compile(rf"([rclvi]{_WORD}|[rclvi])[ \t]+({_WORD})[ \t]+({_WORD})[ \t]+{_NUMBER}")
_FOUR_NODES = re.compile(
    rf"([eg]{_WORD}|[eg])[ \t]+({_WORD})[ \t]+({_WORD})[ \t]+({_WORD})[ \t]+({_WORD})[ \t]+{_NUMBER}"
)
_SENSED = re.compile(rf"([fh]{_WORD}|[fh])[ \t]+({_WORD})[ \t]+({_WORD})[ \t]+({_WORD})[ \t]+{_NUMBER}")
_INSTANCE = re.compile(rf"x{_WORD}(?:[ \t]+{_WORD})+")


class FastReader:
    """Reads plain cards of one deck; equal node names become one string."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {"gnd": "0"}

    def read(self, line: LogicalLine) -> ast.Card | None:
        """Return the card, or ``None`` where the grammar has to decide."""
        text = line.text
        letter = text[0]
        if len(line.pieces) > 1 or line.raw[-1] in "MF" or len(text) > _LONGEST:
            return None
        share = self._names.setdefault
        if letter in "rclvi":
            found = _TWO_NODES.fullmatch(text)
            if found is None:
                return None
            name, first, second, mantissa, suffix, exponent = found.groups()
            nodes = (share(first, first), share(second, second))
            span, value = _spans(line, found.start(4), mantissa, suffix, exponent)
            if letter in "rcl":
                return ast.Passive(letter.upper(), name, nodes, value, span)
            return ast.IndependentSource(letter.upper(), name, nodes, value, None, span)
        if letter in "eg":
            found = _FOUR_NODES.fullmatch(text)
            if found is None:
                return None
            name, first, second, third, fourth, mantissa, suffix, exponent = found.groups()
            span, value = _spans(line, found.start(6), mantissa, suffix, exponent)
            nodes = (share(first, first), share(second, second))
            control = (share(third, third), share(fourth, fourth))
            return ast.ControlledSource(letter.upper(), name, nodes, control, value, span)
        if letter in "fh":
            found = _SENSED.fullmatch(text)
            if found is None:
                return None
            name, first, second, sensed, mantissa, suffix, exponent = found.groups()
            span, value = _spans(line, found.start(5), mantissa, suffix, exponent)
            nodes = (share(first, first), share(second, second))
            return ast.ControlledSource(letter.upper(), name, nodes, sensed, value, span)
        if letter == "x" and "params:" not in text and _INSTANCE.fullmatch(text):
            words = text.split()
            ports = tuple([share(word, word) for word in words[1:-1]])
            return ast.Instance(words[0], ports, words[-1], (), line.whole)
        return None


def _spans(
    line: LogicalLine, start: int, mantissa: str, suffix: str | None, exponent: str | None
) -> tuple[Span, ast.Number]:
    _, number, column = line.pieces[0]
    length = len(line.text)
    value = float(mantissa + exponent) if exponent else power_of_ten(mantissa, suffix)
    return (
        Span(line.file, number, column, length),
        ast.Number(value, Span(line.file, number, column + start, length - start)),
    )
