"""A netlist file as it is on the disk, and changes to it that leave every other character alone."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from netc.diagnostics import NetcError, Span
from netc.parse.source import split_lines

_LINE = re.compile(r"([^\r\n]*)(\r\n|\r|\n|\Z)")
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))

Changes = Mapping[Span, str]
"""What stands in the place of some stretches of text."""


@dataclass(frozen=True, slots=True)
class Copy:
    """Lines ``first`` to ``last``, counted from 1, once more after the last of them, with changes of their own."""

    first: int
    last: int
    changes: Changes


@dataclass(slots=True)
class SourceFile:
    """A file's lines without their ends, the ends, and how it is encoded."""

    lines: list[str]
    ends: list[str]
    encoding: str
    mark: bytes = b""

    @classmethod
    def read(cls, path: Path, expected: Sequence[str]) -> SourceFile:
        """Read a file that the parser has read as ``expected``.

        Raises:
            NetcError: it cannot be read, or is another one by now.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise NetcError(f"{path} cannot be read: {error.strerror or error}") from error
        found = cls._decoded(data)
        if found.lines != list(expected):
            raise NetcError(f"{path} has changed while it was read")
        return found

    @classmethod
    def _decoded(cls, data: bytes) -> SourceFile:
        mark, encoding = next(((m, e) for m, e in _MARKS if data.startswith(m)), (b"", "utf-8"))
        try:
            text = data[len(mark) :].decode(encoding)
        except UnicodeDecodeError:
            mark, encoding = b"", "latin-1"
            text = data.decode(encoding)
        ends = [end for _, end in _LINE.findall(text)]
        lines = split_lines(text)
        return cls(lines, ends[: len(lines)], encoding, mark)

    def changed(self, changes: Changes, copies: Iterable[Copy] = ()) -> bytes:
        """Return the file with some text replaced, and some lines once more."""
        lines = self._replaced(changes)
        after: dict[int, list[str]] = {}
        for copy in copies:
            again = self._replaced({**changes, **copy.changes})
            after.setdefault(copy.last, []).append("".join(again[copy.first - 1 : copy.last]))
        if after:
            lines = [_ended(line, after.get(number, ())) for number, line in enumerate(lines, 1)]
        return self.mark + "".join(lines).encode(self.encoding)

    def _replaced(self, changes: Changes) -> list[str]:
        lines = list(self.lines)
        for span in sorted(changes, key=lambda s: (s.line, -s.column)):  # from the right: columns before it stay
            line = lines[span.line - 1]
            start = span.column - 1
            lines[span.line - 1] = line[:start] + changes[span] + line[start + span.length :]
        return [line + end for line, end in zip(lines, self.ends, strict=True)]


def _ended(line: str, more: Sequence[str]) -> str:
    """Return a line with what follows it, even if it is the last one and has no end."""
    return "".join([line if not more or line.endswith(("\r", "\n")) else line + "\n", *more])


@dataclass(slots=True)
class Revision:
    """All changes to a deck's files, by the names that spans have for them."""

    changes: dict[str, dict[Span, str]] = field(default_factory=dict)
    copies: dict[str, list[Copy]] = field(default_factory=dict)

    def replace(self, place: Span, text: str) -> None:
        """Put ``text`` into a place."""
        self.changes.setdefault(place.file, {})[place] = text

    def copy(self, file: str, copy: Copy) -> None:
        """Have lines of a file once more."""
        self.copies.setdefault(file, []).append(copy)

    def apply(self, label: str, source: SourceFile) -> bytes:
        """Return a file as it is now."""
        return source.changed(self.changes.get(label, {}), self.copies.get(label, ()))
