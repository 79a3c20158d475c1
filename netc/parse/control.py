"""``.control`` blocks: the ``tran`` in them is a deck's analysis where it has no other; nothing of them is run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from netc.diagnostics import Diagnostics
from netc.parse import ast
from netc.parse.card import parse_line
from netc.parse.lines import LogicalLine

_CHANGES = frozenset({"alter", "altermod", "alterparam", "circbyline", "source", "mc_source"})
"""Commands that change the circuit a later ``tran`` runs."""

_REPEATS = frozenset({"foreach", "repeat", "while", "dowhile", "if"})


@dataclass(slots=True)
class ControlBlocks:
    """The control blocks of one deck."""

    diagnostics: Diagnostics
    _runs: list[LogicalLine] = field(default_factory=list)

    def skip(self, opening: LogicalLine, lines: Iterator[LogicalLine]) -> None:
        """Read to ``.endc``, keeping the ``tran`` commands; say what else would have changed the run."""
        self.diagnostics.note("the .control block is skipped, but for its tran", opening.whole)
        depth = 0
        for line in lines:
            words = line.words
            word = words[0]
            if word == ".endc":
                return
            if word in _CHANGES:
                self.diagnostics.warning(
                    f"{word} is not carried out: the circuit is run as its cards describe it",
                    line.whole,
                    "write the change on the cards",
                )
            elif word in _REPEATS:
                depth += 1
            elif word == "end" and depth:
                depth -= 1
            elif word == "tran":
                if depth:
                    self.diagnostics.warning("this tran is in a loop or a condition: it is read once", line.whole)
                self._runs.append(line)
        self.diagnostics.error(".control has no .endc", opening.whole)

    def tran(self) -> ast.Tran | None:
        """Return the analysis of the blocks, ``None`` where there is none that can be read."""
        if not self._runs:
            return None
        line = self._runs[0]
        written = self.diagnostics.sources[line.file][line.pieces[0][1] - 1]
        if re.search(r"\$\S", written):  # "$ " begins a comment
            hint = "write a .tran card with numbers"
            self.diagnostics.warning(
                "this tran uses variables of the control block, which netc does not read", line.whole, hint
            )
            return None
        if len(self._runs) > 1:
            self.diagnostics.warning("only the first of several tran commands is read", self._runs[1].whole)
        card = parse_line(line, "tran", self.diagnostics)
        return replace(card, from_control=True) if isinstance(card, ast.Tran) else None
