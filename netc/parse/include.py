"""Included files: where they may lie, which is read, and that none includes itself."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from netc.diagnostics import Diagnostics, NetcError, Span
from netc.parse.ast import Search
from netc.parse.source import read_lines

_DEPTH_LIMIT = 50
_COUNT_LIMIT = 2000
_LINE_LIMIT = 10_000_000


@dataclass(frozen=True, slots=True)
class Found:
    """An included file: its real path, and the name it has in spans."""

    path: Path
    label: str


class Includes:
    """Finds and reads the files a deck includes, within the directories the user allowed."""

    def __init__(self, home: Path, directories: Sequence[Path], diagnostics: Diagnostics) -> None:
        self.home = home
        self.directories = list(directories)
        self.models = Path(str(files("netc.models")))
        self.diagnostics = diagnostics
        self.searches: dict[Search, None] = {}
        self._roots = [Path(os.path.realpath(d)) for d in (home, Path(), *directories, self.models)]
        self._folders: dict[str, Path] = {}  # of included files, by label
        self._open: list[tuple[Path, str | None]] = []
        self._count = 0
        self._lines = 0

    def find(self, name: str, label: str, place: Span, own: re.Pattern[str] | None = None) -> Found | None:
        """Find the file ``name`` included from the file ``label``; ``None`` with an error if there is none.

        ``own`` matches the names of libraries that come with another simulator: a warning is enough for those.
        """
        if self._count > _COUNT_LIMIT:
            return None  # reported when it was reached
        directory = self._folders.get(label, self.home)
        if not name.strip() or "\0" in name:
            self.diagnostics.error("this is no file name", place)
            return None
        outside = False
        for folder in (directory, self.home, Path(), *self.directories, self.models):
            candidate = folder / name
            real = Path(os.path.realpath(candidate))
            try:
                there = real.is_file()
            except (OSError, ValueError):
                continue
            if not there or not any(real.is_relative_to(root) for root in self._roots):
                outside = outside or there
                self._searched(candidate, str(real) if there else "", "")
                continue
            inside_models = real.is_relative_to(self._roots[-1])
            label = f"netc/models/{real.relative_to(self._roots[-1])}" if inside_models else os.path.normpath(candidate)
            self._folders[label] = candidate.parent
            self._searched(candidate, str(real), label)
            self._warn_of_another(name, real, place)
            return Found(real, label)
        if outside:
            self.diagnostics.error(
                f"'{name}' lies outside the directories a deck may include from",
                place,
                "allow its directory with -I DIR",
            )
        elif any((folder / name).is_dir() for folder in (directory, self.home)):
            self.diagnostics.error(f"'{name}' is a directory, not a netlist", place)
        elif own is not None and own.fullmatch(re.split(r"[/\\]", name.lower())[-1]):
            message = (
                f"'{name}', a library of the simulator the deck is written for, is not here: its models are missing"
            )
            self.diagnostics.warning(message, place, "name where it is with -I DIR")
        else:
            self.diagnostics.error(f"'{name}' is not found", place, "name where it is with -I DIR")
        return None

    def _warn_of_another(self, name: str, found: Path, place: Span) -> None:
        """Say so where ngspice, which looks into the current folder first, would read another file."""
        other = Path(os.path.realpath(name))
        if other != found and other.is_file():
            self.diagnostics.warning(
                f"'{name}' beside this file is read; ngspice would read the one in the current folder", place
            )

    def _searched(self, candidate: Path, file: str, label: str) -> None:
        self.searches[Search(os.path.abspath(candidate), file, label)] = None

    def lines(self, found: Found, place: Span) -> list[str] | None:
        """Read an included file; ``None`` with an error if it cannot be read."""
        try:
            lines = read_lines(found.path)
        except NetcError as error:
            message = error.diagnostics[0].message.replace(str(found.path), found.label)
            self.diagnostics.error(message, place)
            return None
        self.diagnostics.sources[found.label] = lines
        self._lines += len(lines)
        if self._lines > _LINE_LIMIT:
            self.diagnostics.error(f"the included files have more than {_LINE_LIMIT:,} lines", place)
            self._count = _COUNT_LIMIT + 1
            return None
        return lines

    @contextmanager
    def entered(self, path: Path | None, section: str | None = None, place: Span | None = None) -> Iterator[bool]:
        """Hold a file open for the time it is read; gives whether it may be read at all."""
        key = (Path(os.path.realpath(path)) if path is not None else Path(), section)
        self._count += 1
        if path is not None and key in self._open:
            self.diagnostics.error(f"{path.name} includes itself", place)
            yield False
            return
        if len(self._open) > _DEPTH_LIMIT or self._count > _COUNT_LIMIT:
            if self._count <= _COUNT_LIMIT + 1:
                self.diagnostics.error("too many files are included", place, "files may include one another 50 deep")
            yield False
            return
        self._open.append(key)
        try:
            yield True
        finally:
            self._open.pop()
