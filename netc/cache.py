"""Compiled decks, kept between runs in a folder of the user's.

An entry is a file named by a hash of all that decides what a deck compiles to: its text, the options, netc's own
source.  A deck that includes nothing means the same wherever it lies; another one's entry is also named by its path,
lists every place where an included file was looked for, and counts only while all of them look the same.

Entries are written to a name of their own and renamed, so that two processes at once do no harm; what cannot be read
is compiled anew.  They hold JSON and arrays (:mod:`netc.ir.serial`): nothing in the folder is ever executed.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from netc.diagnostics import Diagnostic
from netc.ir.program import Program
from netc.ir.serial import dump, load
from netc.ir.verify import verify
from netc.parse.ast import Search
from netc.parse.source import decode, split_lines

LIMIT = 1 << 30
"""Bytes the folder may hold; those used longest ago are removed."""
MOST = 1000
"""Entries it may hold."""

_HERE = "\0"  # stands for the deck's own name, which may be another when it is read
_SUFFIX = ".deck"
_ABANDONED = 3600.0  # s, age from which a half-written file belongs to nobody
_FORMAT = 1


def decks_folder() -> Path:
    """Return ``$XDG_CACHE_HOME/netc/decks`` or ``~/.cache/netc/decks``."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    # the XDG specification says to ignore a relative path
    base = Path(root) if os.path.isabs(root) else Path.home() / ".cache"
    return base / "netc" / "decks"


@dataclass(frozen=True, slots=True)
class Request:
    """What is compiled, and how: the deck's path as given, options of reading, passes left out, which program."""

    path: Path
    include_directories: tuple[str, ...] = ()
    lenient: bool = False
    disable: tuple[str, ...] = ()
    kind: str = "program"
    dialect: str = "ngspice"


@dataclass(slots=True)
class Compiled:
    """What is kept of a compilation; ``files`` are the lines of all files read, by their names in spans."""

    program: Program
    signals: tuple[str, ...]
    diagnostics: tuple[Diagnostic, ...]
    files: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeckCache:
    """A folder of compiled decks of at most ``limit`` bytes."""

    folder: Path = field(default_factory=decks_folder)
    limit: int = LIMIT

    def find(self, request: Request) -> Compiled | None:
        """Return what was stored for ``request`` if that still is what compiling it anew would give."""
        try:
            text = _content(request.path)
        except (OSError, ValueError):
            return None
        for key in (_key(request, text, alone=True), _key(request, text, alone=False)):
            with suppress(OSError, ValueError):  # not there, damaged, foreign, of another version
                path = self.folder / (key + _SUFFIX)
                found = _unpack(path.read_bytes(), request, text)
                os.utime(path)
                return found
        return None

    def store(self, request: Request, compiled: Compiled, searches: Sequence[Search]) -> None:
        """Keep what ``request`` compiled to; that there is no room or no permission is nothing to report.

        Nothing is stored where a file is no longer what was read.

        Args:
            request: what was compiled.
            compiled: all of it, ``files`` in the order they were read.
            searches: where included files were looked for.
        """
        with suppress(OSError, ValueError):
            label = str(request.path)
            text = _content(request.path)
            if not _is(text, compiled.files[label]):
                return
            files = {s.file: _content(Path(s.file)) for s in searches if s.label}
            if not all(_is(files[s.file], compiled.files[s.label]) for s in searches if s.label):
                return
            digests = {file: _digest(content) for file, content in files.items()}
            remarks = [part for d in compiled.diagnostics for part in (d.message, d.hint or "")]
            alone = not searches and not any(label in part for part in remarks)
            entry = (
                tuple((s.place, s.file, s.label, digests.get(s.file, "")) for s in searches),
                compiled.signals,
                compiled.diagnostics,
                compiled.program,
            )
            self._write(_key(request, text, alone=alone), dump(entry, {label: _HERE}))

    def size(self) -> tuple[int, int]:
        """Return how many entries there are, and their bytes."""
        sizes = [size for _, size, _ in self._entries()]
        return len(sizes), sum(sizes)

    def _write(self, key: str, data: bytes) -> None:
        if len(data) > self.limit // 2:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=self.folder, prefix="new-")
        try:
            with open(descriptor, "wb") as file:
                file.write(data)
            os.replace(name, self.folder / (key + _SUFFIX))
        except BaseException:
            os.unlink(name)
            raise
        self._trim()

    def _trim(self) -> None:
        """Remove the entries used longest ago until the rest fits, and what interrupted writers left."""
        entries = sorted(self._entries())
        total = sum(size for _, size, _ in entries)
        for left, (_, size, path) in zip(range(len(entries), 0, -1), entries, strict=True):
            if total <= self.limit and left <= MOST:
                break
            path.unlink(missing_ok=True)
            total -= size
        newest = max((used for used, _, _ in entries), default=0.0)
        for path in self.folder.glob("new-*"):
            with suppress(OSError):
                if path.stat().st_mtime < newest - _ABANDONED:
                    path.unlink()

    def _entries(self) -> list[tuple[float, int, Path]]:
        found = []
        for path in self.folder.glob(f"*{_SUFFIX}"):
            with suppress(OSError):  # removed by another process
                stat = path.stat()
                found.append((stat.st_mtime, stat.st_size, path))
        return found


def _unpack(data: bytes, request: Request, text: bytes) -> Compiled:
    label = str(request.path)
    searches, signals, diagnostics, program = load(data, {_HERE: label})
    if not isinstance(program, Program):
        raise ValueError("this is no program")
    verify(program)
    files = {label: _lines(text)}
    for place, file, name, digest in searches:
        if (os.path.realpath(place) if os.path.isfile(place) else "") != file:
            raise ValueError(f"{place} has changed")
        if name:
            content = _content(Path(file))
            if _digest(content) != digest:
                raise ValueError(f"{file} has changed")
            files.setdefault(name, _lines(content))
    return Compiled(program, signals, diagnostics, files)


def _key(request: Request, text: bytes, *, alone: bool) -> str:
    """Name an entry: of a deck that stands alone by its text, of another by its place as well."""
    place = [] if alone else [str(request.path), os.getcwd(), *request.include_directories]
    asked = [_FORMAT, request.kind, request.dialect, request.lenient, sorted(set(request.disable)), place]
    versions = [own_source(), sys.version, np.__version__, sys.byteorder]
    return _digest(json.dumps([*asked, *versions]).encode() + b"\0" + text)


@cache
def own_source() -> str:
    """Return a hash of netc's own files: another version of netc compiles anew."""
    found = hashlib.blake2b(digest_size=16)
    root = Path(__file__).parent
    for path in sorted(p for suffix in ("py", "lark") for p in root.rglob(f"*.{suffix}")):
        found.update(f"{path.relative_to(root)}\0{path.stat().st_size}\0".encode())
        found.update(path.read_bytes())
    return found.hexdigest()


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _content(path: Path) -> bytes:
    if not path.is_file():  # nothing that blocks, such as a pipe
        raise ValueError(f"{path} is not a regular file")
    return path.read_bytes()


def _lines(content: bytes) -> list[str]:
    text = decode(content)
    if text is None:
        raise ValueError("this is no text")
    return split_lines(text)


def _is(content: bytes, lines: Sequence[str]) -> bool:
    return _lines(content) == list(lines)
