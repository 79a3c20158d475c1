"""Files to decks: title, subcircuits, includes, control blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from netc.diagnostics import Diagnostics, NetcError, Severity, Span
from netc.parse import ast
from netc.parse.card import parse_line
from netc.parse.conditional import CONDITIONS, DEEPEST, OpenConditional, moved_out
from netc.parse.control import ControlBlocks
from netc.parse.dialects import DIALECTS, NGSPICE, Dialect, dialect_hint
from netc.parse.dispatch import ANALYSES, CARDS, ELEMENTS, HARMLESS, SWEEPS, UNSUPPORTED_ELEMENTS
from netc.parse.fast import FastReader
from netc.parse.include import Includes
from netc.parse.lines import BLANKS, LogicalLine, fold, logical_lines
from netc.parse.measure_cards import signals_in, without_analysis
from netc.parse.models import Kinds, resolve_models
from netc.parse.optional_ports import OptionalPorts
from netc.parse.source import read_lines, split_lines
from netc.parse.tidy import tidied
from netc.parse.translate import translate
from netc.parse.unused import Bodies
from netc.parse.wave_files import with_file, without_file

_COMMENTED = '=[]?()&%"!:,'
_SUPPORTED = "supported are R C L K V I B E F G H D M Q J S W X"


class ParseError(NetcError):
    """What is wrong with a deck's cards; ``deck`` holds those that could be read, for what else may be wrong."""

    def __init__(self, error: NetcError, deck: ast.Deck) -> None:
        super().__init__(error.diagnostics, error.sources)
        self.deck = deck


def parse_deck(
    path: str | Path,
    *,
    include_directories: Sequence[str | Path] = (),
    lenient: bool = False,
    fast: bool = True,
    dialect: str = "ngspice",
) -> ast.Deck:
    """Read and parse the deck in the file ``path``.

    Args:
        path: the netlist; spans name it as it is given here.
        include_directories: where included files may lie, besides the deck's own directory, the current one and
            netc's models.
        lenient: make analyses that are no transient warnings instead of errors.
        fast: read plain cards by a regular expression instead of the grammar; the result is the same.
        dialect: a name of :data:`netc.parse.dialects.DIALECTS`; the tree has ngspice's meaning whatever it is.

    Raises:
        ParseError: all that is wrong with the deck's cards at once.
        NetcError: the file cannot be read.
    """
    file = Path(path)
    options = _Options(lenient, fast, DIALECTS[dialect])
    return _Reader(str(path), file.parent, include_directories, options).read(read_lines(file), file)


def parse_text(
    text: str,
    name: str = "deck.cir",
    *,
    directory: str | Path | None = None,
    include_directories: Sequence[str | Path] = (),
    lenient: bool = False,
    fast: bool = True,
    dialect: str = "ngspice",
) -> ast.Deck:
    """Parse a deck from a string, as :func:`parse_deck` does; ``directory`` is where it looks for included files."""
    home = Path(directory) if directory is not None else Path()
    options = _Options(lenient, fast, DIALECTS[dialect])
    return _Reader(name, home, include_directories, options).read(split_lines(text), None)


@dataclass(frozen=True, slots=True)
class _Options:
    """How a deck is read."""

    lenient: bool
    fast: bool
    dialect: Dialect


@dataclass(slots=True)
class _Frame:
    """The body of a deck, an included file, a subcircuit or a branch of an ``.if`` that is being read."""

    cards: list[ast.Card] = field(default_factory=list)
    head: ast.Subcircuit | None = None
    condition: OpenConditional | None = None
    first: int = 0  # of the diagnostics of the body


class _Reader:
    """Reads one deck."""

    def __init__(
        self, name: str, directory: Path, include_directories: Sequence[str | Path], options: _Options
    ) -> None:
        self.name = name
        self.lenient = options.lenient
        self.dialect = options.dialect
        self.diagnostics = Diagnostics()
        self.includes = Includes(directory, [Path(d) for d in include_directories], self.diagnostics)
        self.fast = FastReader() if options.fast else None
        self.title = ""
        self.control = ControlBlocks(self.diagnostics, self.lenient)
        self.has_tran = False
        self.end: Span | None = None
        self.end_reported = False
        self.models: set[str] = set()
        self.kinds = Kinds()
        self.optional = OptionalPorts()
        self.analyses: list[tuple[str, Span]] = []
        self.bodies = Bodies(self.diagnostics)
        self.words: bool = False  # whether some R, C or L has a word for a value

    def read(self, lines: list[str], file: Path | None) -> ast.Deck:
        self.diagnostics.sources[self.name] = lines
        if not any(line.strip(BLANKS) for line in lines):
            self.diagnostics.error(f"{self.name} is empty")
            self.diagnostics.raise_if_failed()
        if "\0" in (lines[0] if lines else ""):
            self.diagnostics.error(f"{self.name} is a binary file, not a netlist")
            self.diagnostics.raise_if_failed()
        self.title = lines[0].strip(BLANKS)
        self._look_at_title(lines[0])
        with self.includes.entered(file):
            cards = self._block(logical_lines(lines, self.name, 2, self.dialect.comment), self.name)
        cards = self.bodies.settle(cards, self.name)
        cards = self.control.changes.applied(cards, self.diagnostics)
        run = None if self.has_tran else self.control.tran()
        if run is not None:
            cards.append(run)
        self._settle_analyses(beside=self.has_tran or run is not None)
        if self.models and self.words:
            cards = resolve_models(cards, frozenset(self.models))
        cards = self.optional.settled(self.kinds.settled(cards, self.diagnostics))
        if self.dialect is not NGSPICE:
            cards = translate(cards, self.dialect, self.diagnostics.sources, self.diagnostics)
        others = [d for d in self.diagnostics if d.severity is not Severity.ERROR]
        searches = tuple(self.includes.searches)
        deck = ast.Deck(
            self.name,
            self.title,
            tuple(cards),
            self.diagnostics.sources,
            others,
            searches,
            self.dialect.name,
            self.control.changes.some,
        )
        try:
            self.diagnostics.raise_if_failed()
        except NetcError as error:
            raise ParseError(error, deck) from None
        return deck

    # ------------------------------------------------------------------ lines to cards

    def _block(self, lines: Iterator[LogicalLine], file: str) -> list[ast.Card]:
        """Read the lines of a file, or of a section of a library, into cards."""
        frames = [_Frame()]
        fast = self.fast
        for line in lines:
            if self.end is not None and self.dialect is not NGSPICE:
                self.diagnostics.warning("this stands after .end, and is not read", line.whole)
                break
            if fast is not None and self.end is None:
                card = fast.read(line)
                if card is not None:
                    frames[-1].cards.append(card)
                    continue
            if self.dialect.several_runs and line.text.startswith((".alter", ".data")):
                self._several(line, lines)
                continue
            if line.text == ".control" or line.text.startswith(".control "):
                self.control.skip(line, lines)
                continue
            self._line(line, frames)
        for frame in frames[:0:-1]:
            self._unclosed(frame)
        return frames[0].cards

    def _several(self, line: LogicalLine, lines: Iterator[LogicalLine]) -> None:
        """Pass over what makes one deck several runs: HSPICE's ``.alter`` to the end, ``.data`` to ``.enddata``."""
        word = line.words[0]
        message = "the runs after .alter are not supported" if word == ".alter" else ".data is not supported"
        span = line.span(0, len(word))
        if self.lenient:
            self.diagnostics.warning(message + "; ignored", span)
        else:
            self.diagnostics.error(message + ": netc runs one circuit", span, "delete them, or pass --lenient")
        for skipped in lines:
            if skipped.words[0] == (".end" if word == ".alter" else ".enddata"):
                break

    def _unclosed(self, frame: _Frame) -> None:
        if frame.condition is not None:
            self.diagnostics.error(".if has no .endif", frame.condition.opening, "add .endif after its last card")
        elif frame.head is not None:
            self.diagnostics.error(
                f".subckt {frame.head.name} has no .ends", frame.head.span, "add .ends after its last card"
            )

    def _parse(self, line: LogicalLine, start: str) -> Any:
        return parse_line(tidied(line, self.dialect, self.diagnostics), start, self.diagnostics, self.dialect)

    def _line(self, line: LogicalLine, frames: list[_Frame]) -> None:
        letter = line.text[0]
        if letter == ".":
            self._dot(line, frames)
            return
        self._after_end(line)
        cards = frames[-1].cards
        if letter == "*":
            self._keep(parse_line(line, "directive", self.diagnostics), cards)
        elif letter in ELEMENTS:
            self._keep(self._element(line, letter), cards)
        elif letter in UNSUPPORTED_ELEMENTS:
            word = line.words[0]
            kind = UNSUPPORTED_ELEMENTS[letter]
            self.diagnostics.error(f"{word}: {kind} are not supported yet", line.span(0, len(word)), _SUPPORTED)
        elif letter in _COMMENTED and self.dialect is NGSPICE:
            message = f"ngspice takes a line that begins with {letter} for a comment"
            self.diagnostics.warning(message, line.span(0, len(line.text)))
        elif letter == "+":
            self.diagnostics.error("there is no line before this one to continue", line.span(0))
        else:
            word = line.words[0]
            hint = "a comment starts with *, an element with a letter, a card with a dot"
            self.diagnostics.error(f"'{word}' is neither an element nor a card", line.span(0, len(word)), hint)

    def _element(self, line: LogicalLine, letter: str) -> Any:
        if letter not in "vi" or not self.dialect.source_settings:
            return self._parse(line, ELEMENTS[letter])
        line, place = without_file(line)
        card = self._parse(line, ELEMENTS[letter])
        if place is None or card is None:
            return card
        return with_file(card, line, place, self.includes, self.diagnostics, self.dialect)

    def _keep(self, card: Any, cards: list[ast.Card]) -> None:
        if card is None:
            return
        if isinstance(card, tuple):
            cards.extend(card)
            return
        if isinstance(card, ast.Passive):
            self.words = self.words or isinstance(card.value, ast.Name)
        elif isinstance(card, ast.Model):
            self.models.add(card.name)
        elif isinstance(card, ast.Tran):
            self.has_tran = True
        cards.append(card)

    def _after_end(self, line: LogicalLine) -> None:
        if self.end is not None and not self.end_reported:
            self.end_reported = True
            self.diagnostics.warning(
                "this stands after .end, and ngspice reads it all the same", line.span(0, len(line.text))
            )

    # ------------------------------------------------------------------ dot cards

    def _dot(self, line: LogicalLine, frames: list[_Frame]) -> None:
        word = re.split(r"[\s,(){}=;'\"/]", line.text, maxsplit=1)[0]
        span = line.span(0, len(word))
        if word == ".end":
            self.end = self.end or span
            return
        self._after_end(line)
        cards = frames[-1].cards
        if word == ".model" and self.dialect.kinds_of_models:
            line = self.kinds.read(line)
        if word in CARDS:
            if CARDS[word] == "output" and line.words[1:2] in (["ac"], ["dc"], ["noise"], ["op"]):
                self.diagnostics.warning(f"{word} of another analysis is ignored: netc runs transients", span)
                return
            self._keep(self._observed(line) if CARDS[word] == "output" else self._parse(line, CARDS[word]), cards)
        elif word in (".meas", ".measure"):
            self._measure(line, span, cards)
        elif word in (".subckt", ".macro"):
            if self.dialect.optional_ports:
                line = self.optional.read(line)
            head = self._parse(line, "subckt")
            head = head or ast.Subcircuit("", (), (), (), line.whole)
            frames.append(_Frame(head=head, first=len(self.diagnostics.items)))
        elif word in (".ends", ".eom"):
            self._ends(line, span, frames)
        elif word in (".include", ".inc", ".lib"):
            card = self._include(line, word, span)
            if card is not None:
                cards.append(card)
        elif word == ".title":
            self.title = line.raw[len(word) :].strip(BLANKS)
        elif word in HARMLESS or word in self.dialect.harmless:
            self.diagnostics.warning(f"{word} is ignored: it changes no waveform", span)
        elif word in ANALYSES:
            self.analyses.append((word, span))
        elif word in CONDITIONS:
            self._condition(line, word, span, frames)
        elif word == ".endc":
            self.diagnostics.error(".endc without .control", span)
        else:
            elsewhere = [name for name, dialect in DIALECTS.items() if word in dialect.harmless]
            hint = dialect_hint(*elsewhere) if elsewhere else "it is not ignored, because it may change the circuit"
            self.diagnostics.error(f"unknown card {word}", span, hint)

    def _settle_analyses(self, *, beside: bool) -> None:
        """Report analyses that are no transient; ``beside`` one, those that are runs of their own do no harm."""
        for word, span in self.analyses:
            message = f"the analysis {word} is not supported: netc runs transients"
            if self.lenient or (beside and word not in SWEEPS):
                self.diagnostics.warning(message + "; ignored", span)
            else:
                self.diagnostics.error(message, span, "delete the card, or pass --lenient to ignore it")

    def _measure(self, line: LogicalLine, span: Span, cards: list[ast.Card]) -> None:
        plain, analysis = without_analysis(line)
        if analysis is None and self.dialect is NGSPICE:
            hint = "expected .measure tran name ...; " + dialect_hint("ltspice")
            self.diagnostics.warning(".measure is left out: it does not name its analysis", span, hint)
        elif analysis not in (None, "tran"):
            self.diagnostics.warning(
                f".measure of another analysis ({analysis}) is ignored: netc runs transients", span
            )
        else:
            found = Diagnostics()
            plain = tidied(plain, self.dialect, found)
            self._keep(parse_line(plain, "measure", found, self.dialect), cards)
            for problem in found:  # a result that is missing is no other circuit
                self.diagnostics.warning(f".measure is left out: {problem.message}", problem.span, problem.hint)

    def _observed(self, line: LogicalLine) -> ast.Output | None:
        """Read what to observe; of what cannot be read, the nodes and currents in it."""
        found = Diagnostics()
        line = tidied(line, self.dialect, self.diagnostics)
        card = parse_line(line, "output", found, self.dialect)
        if isinstance(card, ast.Output):
            return card
        signals = signals_in(line)
        for problem in found:  # what is written is no other circuit
            message = f"not all of this can be observed: {problem.message}"
            hint = "its nodes and currents are" if signals else "all nodes are"
            self.diagnostics.warning(message, problem.span, f"{hint} written instead")
        return ast.Output(line.words[0][1:], signals, line.whole) if signals else None

    def _condition(self, line: LogicalLine, word: str, span: Span, frames: list[_Frame]) -> None:
        if word == ".if":
            frames.append(_Frame(condition=OpenConditional(line.whole, frames[-1].condition)))
        frame = frames[-1]
        if word == ".if" and frame.condition is not None and frame.condition.depth == DEEPEST + 1:
            self.diagnostics.error(f"conditionals are nested deeper than {DEEPEST} levels", span)
        if frame.condition is None:
            self.diagnostics.error(f"{word} without .if", span)
        elif word == ".endif":
            frames.pop()
            card = frame.condition.close(frame.cards)
            if not self.dialect.free_conditions:
                always, card = moved_out(card, self.diagnostics)
                frames[-1].cards.extend(always)
            if frame.condition.depth <= DEEPEST:  # a deeper tree would be too deep for those who read it
                frames[-1].cards.append(card)
        else:
            frame.condition.branch(line, span, frame.cards, self.diagnostics, self.dialect)

    def _ends(self, line: LogicalLine, span: Span, frames: list[_Frame]) -> None:
        while frames[-1].condition is not None:
            self._unclosed(frames.pop())
        if len(frames) == 1:
            self.diagnostics.error(".ends without .subckt", span)
            return
        frame = frames.pop()
        assert frame.head is not None
        words = line.words
        if len(words) > 1 and words[1] != frame.head.name:
            self.diagnostics.warning(
                f".ends names '{words[1]}' but closes '{frame.head.name}'",
                line.span(line.text.index(words[1], 5), len(words[1])),
            )
        self.bodies.end(frame.head, frame.first)
        frames[-1].cards.append(replace(frame.head, cards=tuple(frame.cards)))

    def _include(self, line: LogicalLine, word: str, span: Span) -> ast.Include | None:
        words = re.findall(r"\"[^\"]*\"|'[^']*'|\S+", line.raw[len(word) :])
        if not words:
            self.diagnostics.error(f"{word} names no file", span, f'expected {word} "file"')
            return None
        if len(words) > (2 if word == ".lib" else 1):
            self.diagnostics.error(f"{word} has more than one file name", span, "quote a name that has spaces in it")
            return None
        start = line.raw.index(words[0], len(word))
        place = line.span(start, len(words[0]))
        section = fold(words[1].strip("\"'")) if len(words) == 2 else None
        if word == ".lib" and section is None and self.dialect is NGSPICE:
            hint = "name a section, or write .include"
            self.diagnostics.warning(".lib without a section is read as .include", span, hint)
        name = words[0].strip("\"'")
        found = self.includes.find(name, line.file, place, self.dialect.own_libraries)
        if found is None:
            return None
        with self.includes.entered(found.path, section, place) as fresh:
            if not fresh:
                return None
            lines = self.includes.lines(found, place)
            if lines is None:
                return None
            logical = logical_lines(lines, found.label, comment=self.dialect.comment)
            if section is not None:
                logical = self._section(list(logical), section, place, name)
            ended = self.end
            self.end = None
            cards = self._block(logical, found.label)
            self.end = ended
        return ast.Include(name, section, tuple(cards), line.whole)

    def _section(self, lines: list[LogicalLine], section: str, place: Span, name: str) -> Iterator[LogicalLine]:
        inside = False
        found = False
        body: list[LogicalLine] = []
        for line in lines:
            words = line.words
            if words[0] == ".lib" and len(words) == 2 and not inside:
                inside = words[1].strip("\"'") == section
                found = found or inside
            elif words[0] == ".endl":
                inside = False
            elif inside:
                body.append(line)
        if not found:
            self.diagnostics.error(f"{name} has no section '{section}'", place)
        return iter(body)

    # ------------------------------------------------------------------ title and control blocks

    def _look_at_title(self, first: str) -> None:
        """Warn where the first line looks like a card: SPICE takes it for the title."""
        line = next(logical_lines([first], self.name), None)
        if line is None or line.text[0] == "+":
            return
        word = line.words[0]
        card: Any = None
        if line.text[0] == ".":
            card = word if word in CARDS or word in (".subckt", ".include", ".inc", ".lib") else None
        elif line.text[0] in ELEMENTS and re.fullmatch(r"[a-z]([a-z_]*[0-9]\w*)?", word):
            card = parse_line(line, ELEMENTS[line.text[0]], Diagnostics())
            if isinstance(card, ast.Passive) and isinstance(card.value, ast.Name | None):
                card = None
            elif isinstance(card, ast.IndependentSource) and (card.dc is None or isinstance(card.dc, ast.Name)):
                card = card if card.waveform else None
            elif isinstance(card, ast.ControlledSource) and isinstance(card.gain, ast.Name):
                card = None
        if card is not None:
            hint = "put a title above it"
            self.diagnostics.warning(
                "SPICE takes the first line for the title, and this looks like a card", line.whole, hint
            )
