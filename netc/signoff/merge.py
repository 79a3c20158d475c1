"""Rows of a crossbar that ideal sources drive alike, as one resistor a column: the same circuit, much smaller.

    Ek  wk 0 c d gk             E'  w' 0 c d  sum_k(G_k g_k) / G
    Rk  wk x  1/G_k      ->     R'  w' x  1 / G,    G = sum_k(G_k)

The current into x is sum_k G_k (g_k v(c,d) - v(x)) on both sides (superposition; Norton), whatever else is at x.  It is
exact, but computed here and not by ngspice, which then no longer runs the whole circuit: so it is done on request only,
and the result says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from netc.diagnostics import NetcError
from netc.ngspice.task import Stimuli
from netc.parse.numbers import read_plain
from netc.signoff.order import end_card, plain_lines

_ROW = re.compile(r"e\S*\s+(\S+)\s+0\s+(\S+)\s+(\S+)\s+([-+.\w]+)")
_RESISTOR = re.compile(r"(r\S*)\s+(\S+)\s+(\S+)\s+([-+.\w]+)")
_WORD = re.compile(r"[^\s(),={}'\"\[\]]+")
_PREFIX = "netc_row"
Control = tuple[str, str]


class MergedStimuli(Stimuli):
    """ngspice's netlist for any sample, its driven rows merged."""

    def __init__(self, text: str, driven: Mapping[str, str]) -> None:
        """Find the rows; see :class:`~netc.ngspice.task.Stimuli`.

        Raises:
            NetcError: there are none, or a driven source cannot be scaled.
        """
        if _PREFIX in text.lower():
            raise NetcError(f"the deck uses names that begin with {_PREFIX}, which netc needs to merge rows")
        lines = text.split("\n")
        plain = plain_lines(lines)
        rows = self._rows(lines, plain, driven)
        resistors = [
            (number, found)
            for number in plain
            if (found := _RESISTOR.fullmatch(lines[number].lower())) is not None and _number(found[4]) is not None
        ]
        used = _words(lines, {number for number, _ in resistors} | {number for number, *_ in rows.values()})
        for _, found in resistors:
            if found[1] in used or (found[2] in rows and found[3] in rows):
                used.update((found[2], found[3]))
        rows = {node: row for node, row in rows.items() if node not in used}
        order = {name: k for k, name in enumerate(driven)}
        gone = {number for number, *_ in rows.values()}
        parts: dict[tuple[Control, str], list[tuple[int, float, float]]] = {}
        for number, found in resistors:
            first, second, value = found[2], found[3], _number(found[4])
            node, column = (first, second) if first in rows else (second, first)
            if node not in rows or not value:
                continue
            _, source, control, gain = rows[node]
            parts.setdefault((control, column), []).append((order[source], gain, 1 / value))
            gone.add(number)
        if not parts:
            raise NetcError(
                "no resistors can be merged: none hang from a driven linear source that drives nothing else",
                hint="leave --merge-rows out",
            )
        self.merged = len(gone) - len(rows)
        self.columns = list(parts)
        self._features = [np.array([k for k, _, _ in part]) for part in parts.values()]
        self._gains = [np.array([gain for _, gain, _ in part]) for part in parts.values()]
        self._conductances = [np.array([value for _, _, value in part]) for part in parts.values()]
        merged = {source for _, source, *_ in rows.values()}
        kept = [line for number, line in enumerate(lines) if number not in gone]
        self._rest = [k for k, name in enumerate(driven) if name not in merged]
        super().__init__("\n".join(kept), {name: kind for name, kind in driven.items() if name not in merged})

    @staticmethod
    def _rows(
        lines: Sequence[str], plain: Sequence[int], driven: Mapping[str, str]
    ) -> dict[str, tuple[int, str, Control, float]]:
        """Return, by node, line, source, control and gain of the driven sources that fix a node's voltage."""
        rows: dict[str, tuple[int, str, Control, float]] = {}
        twice: set[str] = set()
        for number in plain:
            line = lines[number].lower()
            source = line.split(None, 1)[0] if line else ""
            found = _ROW.fullmatch(line) if source in driven else None
            gain = _number(found[4]) if found is not None else None
            if found is not None and gain is not None:
                if found[1] in rows or found[1] in (found[2], found[3]):
                    twice.add(found[1])
                rows[found[1]] = (number, source, (found[2], found[3]), gain)
        controls = {node for row in rows.values() for node in row[2]}
        return {node: row for node, row in rows.items() if node not in twice | controls}

    def scaled(self, amplitudes: Sequence[float] | np.ndarray) -> str:
        """See :meth:`netc.ngspice.task.Stimuli.scaled`."""
        given = np.asarray(amplitudes, dtype=np.float64)
        lines = super().scaled(given[self._rest]).split("\n")
        more = []
        for k, (control, column) in enumerate(self.columns):
            conductances = self._conductances[k]
            total = float(conductances.sum())
            gain = float((conductances * self._gains[k] * given[self._features[k]]).sum()) / total
            more.append(f"e{_PREFIX}{k} {_PREFIX}{k} 0 {control[0]} {control[1]} {gain!r}")
            more.append(f"r{_PREFIX}{k} {_PREFIX}{k} {column} {1 / total!r}")
        end = end_card(lines)
        return "\n".join([*lines[:end], *more, *lines[end:]])


def _words(lines: Sequence[str], without: set[int]) -> set[str]:
    return {
        word
        for number, line in enumerate(lines)
        if number not in without
        for word in _WORD.findall(line.lower())
    }  # fmt: skip


def _number(text: str) -> float | None:
    literal = read_plain(text)
    return None if literal.problem or literal.oddity else literal.value
