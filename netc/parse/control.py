"""``.control`` blocks: the ``tran`` in them is a deck's analysis where it has no other; nothing of them is run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from netc.diagnostics import Diagnostics
from netc.parse import ast
from netc.parse.alter import Changes
from netc.parse.card import parse_line
from netc.parse.lines import LogicalLine

_CHANGES = frozenset({"alter", "altermod", "alterparam", "circbyline", "source", "mc_source"})
"""Commands that change the circuit a later analysis runs."""

_RUNS = frozenset({"tran", "run"})

_REPEATS = frozenset({"foreach", "repeat", "while", "dowhile", "if"})


@dataclass(slots=True)
class ControlBlocks:
    """The control blocks of one deck."""

    diagnostics: Diagnostics
    lenient: bool = False
    changes: Changes = field(default_factory=Changes)
    _ran: bool = False
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
                self._change(line, word, depth)
            elif word == "reset":
                self.changes.reset()
            elif word in _REPEATS:
                depth += 1
            elif word == "end" and depth:
                depth -= 1
            elif word == "tran":
                if depth:
                    self.diagnostics.warning("this tran is in a loop or a condition: it is read once", line.whole)
                self._runs.append(line)
            self._ran = self._ran or word in _RUNS
        self.diagnostics.error(".control has no .endc", opening.whole)

    def _change(self, line: LogicalLine, word: str, depth: int) -> None:
        """Take what changes the circuit of the first analysis; the others are not run."""
        if self._ran:
            self.diagnostics.note(f"this {word} is ignored: only the first analysis is run", line.whole)
        elif depth == 0 and self.changes.read(line):
            done = "counts from the next reset on" if word == "alterparam" else "is carried out"
            self.diagnostics.note(f"{word} {done}", line.whole)
        elif self.lenient:
            message = f"{word} is not carried out: the circuit is run as its cards describe it"
            self.diagnostics.warning(message, line.whole)
        else:
            self.diagnostics.error(
                f"this {word} is not supported, and changes the circuit that is run",
                line.whole,
                "write the change on the cards and delete the command, or pass --lenient to ignore it",
            )

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
