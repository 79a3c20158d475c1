"""Located messages: the one way netc tells a user that a deck is wrong.

Every stage collects into a :class:`Diagnostics` and raises one :class:`NetcError`
with all that is wrong at once.  Nothing here knows SPICE.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of one physical source line; line and column count from 1."""

    file: str
    line: int
    column: int = 1
    length: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Severity(Enum):
    """How grave a diagnostic is; only ``ERROR`` stops a compilation."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One sentence about one place, with an optional hint on what to do."""

    severity: Severity
    message: str
    span: Span | None = None
    hint: str | None = None

    def render(self, sources: Mapping[str, Sequence[str]] | None = None) -> str:
        """Return the message as text: place, sentence, source line with a caret, hint."""
        where = f"{printable(str(self.span))}: " if self.span else ""
        lines = [f"{where}{self.severity.value}: {_shown(self.message)}"]
        text = (sources or {}).get(self.span.file) if self.span else None
        if self.span and text and 0 < self.span.line <= len(text):
            lines += _excerpt(text[self.span.line - 1], self.span)
        if self.hint:
            lines.append(f"  hint: {_shown(self.hint)}")
        return "\n".join(lines)


_EXCERPT_WIDTH = 100
_LONGEST_LINE = 1000


def printable(text: str) -> str:
    """Return ``text`` with control characters replaced, so a deck cannot drive a terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _shown(text: str) -> str:
    """Return ``text`` fit for a terminal; of lines that are absurdly long the middle is left out."""
    half = _LONGEST_LINE // 2
    lines = map(printable, text.split("\n"))
    return "\n".join(x if len(x) <= _LONGEST_LINE else f"{x[:half]} ... {x[-half:]}" for x in lines)


def _excerpt(line: str, span: Span) -> list[str]:
    start = max(0, span.column - 1 - _EXCERPT_WIDTH // 2) if len(line) > _EXCERPT_WIDTH else 0
    shown = printable(line[start : start + _EXCERPT_WIDTH].rstrip("\r\n").replace("\t", " "))
    caret = min(span.column - 1 - start, len(shown))
    width = max(1, min(span.length, len(shown) - caret))
    gutter = f"{span.line:5d} | "
    return [gutter + shown, " " * (len(gutter) + caret) + "^" * width]


class NetcError(Exception):
    """Something a user did: a list of diagnostics, at least one of them an error.

    The command line prints it and exits with code 2.
    """

    def __init__(
        self,
        diagnostics: Sequence[Diagnostic] | str,
        sources: Mapping[str, Sequence[str]] | None = None,
        *,
        hint: str | None = None,
    ) -> None:
        if isinstance(diagnostics, str):
            diagnostics = [Diagnostic(Severity.ERROR, diagnostics, hint=hint)]
        self.diagnostics = list(diagnostics)
        self.sources = dict(sources or {})
        super().__init__("\n".join(d.render(self.sources) for d in self.diagnostics))


class CheckFailed(Exception):
    """A check ran and its figure is outside the tolerance; the command line exits with code 1."""


MOST_ERRORS = 500
"""After this many a deck is not read further: nobody reads more, and a hostile deck could have millions."""


@dataclass(slots=True)
class Diagnostics:
    """Collects diagnostics and the source lines needed to show them."""

    sources: dict[str, Sequence[str]] = field(default_factory=dict)
    items: list[Diagnostic] = field(default_factory=list)
    _errors: int = 0

    def add(self, diagnostic: Diagnostic) -> None:
        """Record a diagnostic.

        Raises:
            NetcError: all errors so far, where this is error number :data:`MOST_ERRORS`.
        """
        self.items.append(diagnostic)
        if diagnostic.severity is Severity.ERROR:
            self._errors += 1
            if self._errors >= MOST_ERRORS:
                self.items.append(Diagnostic(Severity.ERROR, "too many errors: the rest is not read"))
                self.raise_if_failed()

    def error(self, message: str, span: Span | None = None, hint: str | None = None) -> None:
        """Record an error; the stage goes on so that later errors are found too."""
        self.add(Diagnostic(Severity.ERROR, message, span, hint))

    def warning(self, message: str, span: Span | None = None, hint: str | None = None) -> None:
        """Record a warning."""
        self.items.append(Diagnostic(Severity.WARNING, message, span, hint))

    def note(self, message: str, span: Span | None = None, hint: str | None = None) -> None:
        """Record a note."""
        self.items.append(Diagnostic(Severity.NOTE, message, span, hint))

    def take_errors(self, start: int) -> list[Diagnostic]:
        """Remove and return the errors from item number ``start`` on: whether they count is not known yet."""
        taken = [item for item in self.items[start:] if item.severity is Severity.ERROR]
        if taken:
            self.items[start:] = [item for item in self.items[start:] if item.severity is not Severity.ERROR]
            self._errors -= len(taken)
        return taken

    def __iter__(self) -> Iterator[Diagnostic]:
        return iter(self.items)

    @property
    def failed(self) -> bool:
        """Whether an error has been recorded."""
        return any(d.severity is Severity.ERROR for d in self.items)

    def raise_if_failed(self) -> None:
        """Raise :class:`NetcError` with all errors, in source order, if there are any."""
        errors = [d for d in self.items if d.severity is Severity.ERROR]
        if errors:
            raise NetcError(in_source_order(errors), self.sources)


def in_source_order(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Return the diagnostics by file, line and column; those without a place last."""

    def place(diagnostic: Diagnostic) -> tuple[bool, str, int, int]:
        span = diagnostic.span
        return (True, "", 0, 0) if span is None else (False, span.file, span.line, span.column)

    return sorted(diagnostics, key=place)
