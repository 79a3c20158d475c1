"""Text that is safe to stand in generated source: identifiers, literals, comments, docstrings, packed arrays."""

from __future__ import annotations

import ast
import base64
import json
import keyword
import os
import re
import zlib
from collections.abc import Collection, Sequence
from importlib import resources

import numpy as np

from netc.diagnostics import Span

LONGEST_LITERAL = 16
_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]*\Z")


class Names:
    """Hands out identifiers, each only once.  Nothing a deck says becomes one unless it is plainly harmless."""

    def __init__(self, reserved: Collection[str] = ()) -> None:
        self._used = set(reserved) | set(keyword.kwlist) | set(keyword.softkwlist)

    def fresh(self, wish: str, fallback: str) -> str:
        """Return ``wish`` if it is a free, plain, lower-case ASCII identifier, else a numbered ``fallback``."""
        base = wish if len(wish) <= 32 and _IDENTIFIER.match(wish) else fallback
        name, count = base, 1
        while name in self._used:
            count += 1
            name = f"{base}_{count}"
        self._used.add(name)
        return name

    def numbered(self, base: str) -> str:
        """Return ``base_1``, ``base_2``, ..."""
        count = 1
        while f"{base}_{count}" in self._used:
            count += 1
        self._used.add(f"{base}_{count}")
        return f"{base}_{count}"


def plain(text: str, width: int = 60) -> str:
    """Return ``text`` as a short line of printable ASCII without quotes or backslashes, for comments and docstrings."""
    shown = "".join(c if " " <= c <= "~" and c not in "\"'\\`" else "?" for c in text)
    return shown if len(shown) <= width else shown[: width - 3] + "..."


def literal(value: object) -> str:
    """Return the Python literal of a string, number or tuple of these, in ASCII."""
    if isinstance(value, tuple):
        inner = ", ".join(literal(v) for v in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, float):
        return number(value)
    return ascii(value)


def number(value: float) -> str:
    """Return a float64 as source text that reads back to the same bits."""
    if value != value:
        return "math.nan"
    if value in (float("inf"), float("-inf")):
        return "math.inf" if value > 0 else "-math.inf"
    return repr(float(value))


def pack_floats(values: np.ndarray) -> str:
    """Return the text :func:`netc.emit.support.floats` unpacks."""
    return base64.b64encode(zlib.compress(np.ascontiguousarray(values, "<f8").tobytes(), 6)).decode()


def pack_integers(values: np.ndarray) -> str:
    """Return the text :func:`netc.emit.support.integers` unpacks."""
    return base64.b64encode(zlib.compress(np.ascontiguousarray(values, "<i8").tobytes(), 6)).decode()


def pack_words(values: Sequence[str]) -> str:
    """Return the text :func:`netc.emit.support.words` unpacks."""
    return base64.b64encode(zlib.compress(json.dumps(list(values)).encode(), 6)).decode()


def place(spans: Sequence[Span]) -> str:
    """Return where these lanes stand in the netlist, briefly: ``mif.cir:12`` or ``net.cir:12..345``."""
    if not spans:
        return ""
    by_path: dict[str, list[int]] = {}
    for span in spans:
        by_path.setdefault(span.file, []).append(span.line)
    files: dict[str, list[int]] = {}
    for path, numbers in by_path.items():
        files.setdefault(os.path.basename(path.replace("\\", "/")), []).extend(numbers)
    shown = []
    for file, lines in list(files.items())[:2]:
        first, last = min(lines), max(lines)
        shown.append(f"{plain(file, 40)}:{first}" + (f"..{last}" if last > first else ""))
    return ", ".join(shown) + (", ..." if len(files) > len(shown) else "")


def lanes_text(names: Sequence[str]) -> str:
    """Return a few of the lane names for a comment."""
    if len(names) <= 3:
        return ", ".join(plain(n, 24) for n in names)
    return f"{plain(names[0], 24)}, {plain(names[1], 24)}, ..., {plain(names[-1], 24)}"


def _carried() -> dict[str, tuple[ast.FunctionDef | ast.ClassDef, list[str]]]:
    """Return definition and lines of all that an emitted module may carry, by name."""
    found = {}
    for name in ("support.py", "stepping.py"):
        source = resources.files("netc.emit").joinpath(name).read_text(encoding="utf-8")
        tree, lines = ast.parse(source), source.splitlines()
        _IMPORTED.update(a.name for s in tree.body if isinstance(s, ast.Import) for a in s.names)
        for part in tree.body:
            if isinstance(part, ast.FunctionDef | ast.ClassDef):
                first = min([part.lineno, *(d.lineno for d in part.decorator_list)])
                found[part.name] = part, lines[first - 1 : part.end_lineno]
    return found


_IMPORTED: set[str] = set()
_CARRIED = _carried()
SUPPORT = frozenset(_CARRIED)
"""Names of the functions and classes an emitted module may carry."""


def support_functions(wanted: set[str]) -> tuple[str, set[str]]:
    """Return the source of what is wanted of :mod:`netc.emit.support` and of :mod:`netc.emit.stepping`.

    What that calls comes with it; returned besides are the modules it imports.
    """
    uses = {name: _names_in(definition) for name, (definition, _) in _CARRIED.items()}
    found: set[str] = set()
    stack = [*wanted & SUPPORT]
    while stack:
        name = stack.pop()
        if name not in found:
            found.add(name)
            stack.extend(uses[name] & SUPPORT)
    texts = ["\n".join(lines) for name, (_, lines) in _CARRIED.items() if name in found]
    return "\n\n\n".join(texts), set().union(*(uses[name] for name in found)) & _IMPORTED


def _names_in(definition: ast.FunctionDef | ast.ClassDef) -> set[str]:
    """Return the names that code below a definition reads, not those of its annotations."""
    found = {n.id for d in definition.decorator_list for n in ast.walk(d) if isinstance(n, ast.Name)}
    own = {a.arg for a in ast.walk(definition) if isinstance(a, ast.arg)}
    for statement in definition.body:
        if isinstance(statement, ast.FunctionDef):
            found |= _names_in(statement)
        else:
            found |= {n.id for n in ast.walk(statement) if isinstance(n, ast.Name)}
    return found - own
