"""Programs as bytes, and back to the last bit: plain JSON and raw arrays, nothing of which can be executed.

::

    netc program 1\\n | BLAKE2b of the rest | length of the JSON | JSON | arrays, 8-byte aligned

The JSON holds tables of expressions (operands before those who use them), array shapes and file names, and the value
itself, which refers to them.  Tuples are lists; what JSON has no form for is an object of one key: ``e`` an
expression, ``a`` an array, ``w`` words, ``s`` spans, ``m`` a member of an enumeration, ``d`` a dataclass.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from itertools import repeat
from typing import Any

import numpy as np

from netc.diagnostics import Diagnostic, Severity, Span
from netc.ir.nodes import Assemble, Columns, Concat, Const, Expr, Index, Leaf, postorder
from netc.ir.program import (
    AlgebraicBlock,
    Bounds,
    Coordinate,
    InputBlock,
    Observable,
    ParameterBlock,
    Program,
    Spread,
    StateBlock,
    Timing,
)

_MAGIC = b"netc program 1\n"
_DIGEST_BYTES = 32
_ALIGNMENT = 8
_DTYPES = frozenset({"<f8", "<i8", "<i4"})
_SPAN_FIELDS = ("line", "column", "length")
_DATACLASSES: dict[str, type] = {
    c.__name__: c
    for c in (
        *(AlgebraicBlock, Bounds, InputBlock, Observable, ParameterBlock, Program, Spread, StateBlock, Timing),
        Diagnostic,
    )
}
_ENUMERATIONS: dict[str, type[Enum]] = {c.__name__: c for c in (Coordinate, Severity)}


def _expressions(base: type[Expr] = Expr) -> dict[str, type[Expr]]:
    found = {base.__name__: base}
    for kind in base.__subclasses__():
        found |= _expressions(kind)
    return found


def dump(value: Any, rename: Mapping[str, str] | None = None) -> bytes:
    """Return a value made of programs, diagnostics, arrays, tuples and plain values as bytes.

    ``rename`` gives files other names in spans.

    Raises:
        ValueError: for a value of another kind.
    """
    writer = _Writer(rename or {})
    body = writer.encode(value)
    text = json.dumps(
        {"arrays": writer.shapes, "files": writer.names(), "expressions": writer.expressions, "value": body},
        separators=(",", ":"),
    ).encode()
    parts = [len(text).to_bytes(8, "little"), text]
    at = len(parts[0]) + len(text)
    for array in writer.arrays:
        parts += [bytes(-at % _ALIGNMENT), array]
        at += -at % _ALIGNMENT + len(array)
    content = b"".join(parts)
    return _MAGIC + _digest(content) + content


def load(data: bytes, rename: Mapping[str, str] | None = None) -> Any:
    """Return what :func:`dump` was given; ``rename`` gives files other names in spans.

    Raises:
        ValueError: for bytes that are not what :func:`dump` wrote.
    """
    start = len(_MAGIC) + _DIGEST_BYTES
    content = memoryview(data)[start:]
    if data[: len(_MAGIC)] != _MAGIC or data[len(_MAGIC) : start] != _digest(content):
        raise ValueError("this is no program, or it is damaged")
    end = 8 + int.from_bytes(content[:8], "little")
    try:
        return _Reader(json.loads(bytes(content[8:end])), content, end, rename or {}).value()
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"this is a program of another version: {error}") from error


def _digest(content: bytes | memoryview) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()


class _Writer:
    def __init__(self, rename: Mapping[str, str]) -> None:
        self._rename = rename
        self.arrays: list[bytes] = []
        self.shapes: list[tuple[str, tuple[int, ...]]] = []
        self.files: dict[str, int] = {}
        self.expressions: list[list[Any]] = []
        self._numbers: dict[Expr, int] = {}
        self._indices: dict[Index, int] = {}

    def encode(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, float):
            return {"f": value.hex()}
        if isinstance(value, Expr):
            return {"e": self.expression(value)}
        if isinstance(value, Index):
            if value not in self._indices:
                self._indices[value] = self.array(value.array)
            return {"i": self._indices[value]}
        if isinstance(value, np.ndarray):
            return {"a": self.array(value)}
        if isinstance(value, Span):
            return {"p": self.spans((value,))}
        if isinstance(value, tuple):
            if all(isinstance(item, str) for item in value):
                return {"w": value}
            if all(isinstance(item, Span) for item in value):
                return {"s": self.spans(value)}
            return [self.encode(item) for item in value]
        if isinstance(value, Enum) and type(value).__name__ in _ENUMERATIONS:
            return {"m": [type(value).__name__, value.value]}
        if is_dataclass(value) and type(value).__name__ in _DATACLASSES:
            return {"d": [type(value).__name__, {f.name: self.encode(getattr(value, f.name)) for f in fields(value)}]}
        raise ValueError(f"a {type(value).__name__} cannot be written")

    def expression(self, root: Expr) -> int:
        for node in postorder(root, known=self._numbers):
            if node not in self._numbers:
                own = [self.encode(getattr(node, name)) for name in node.fields]
                self._numbers[node] = len(self.expressions)
                self.expressions.append([type(node).__name__, node.shape, *own])
        return self._numbers[root]

    def array(self, value: np.ndarray) -> int:
        plain = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<"))
        if plain.dtype.str not in _DTYPES:
            raise ValueError(f"an array of {value.dtype} cannot be written")
        self.arrays.append(plain.tobytes())
        self.shapes.append((plain.dtype.str, value.shape))
        return len(self.arrays) - 1

    def names(self) -> list[str]:
        return [self._rename.get(name, name) for name in self.files]

    def spans(self, spans: tuple[Span, ...]) -> int:
        number = self.files
        rows = [[number.setdefault(s.file, len(number)), s.line, s.column, s.length] for s in spans]
        return self.array(np.array(rows, dtype=np.int64).astype(np.int32, casting="same_kind").T)


class _Reader:
    def __init__(self, header: dict[str, Any], content: memoryview, start: int, rename: Mapping[str, str]) -> None:
        self._header = header
        self._files = [rename.get(name, name) for name in header["files"]]
        self._arrays: list[np.ndarray] = []
        for dtype, shape in header["arrays"]:
            if dtype not in _DTYPES:
                raise ValueError(f"an array of {dtype} cannot be read")
            start += -start % _ALIGNMENT
            flat = np.frombuffer(content, dtype, int(np.prod(shape, dtype=np.int64)), start)
            self._arrays.append(flat.reshape(shape))
            start += flat.nbytes
        if start != len(content):
            raise ValueError("the arrays have another size")
        self._indices: dict[int, Index] = {}
        self._expressions: list[Expr] = []
        kinds = _expressions()
        for name, shape, *values in header["expressions"]:
            self._expressions.append(self._expression(kinds[name], tuple(shape), [self.decode(v) for v in values]))

    def value(self) -> Any:
        return self.decode(self._header["value"])

    def decode(self, value: Any) -> Any:
        if isinstance(value, list):
            return tuple([self.decode(item) for item in value])
        if not isinstance(value, dict):
            return value
        ((kind, what),) = value.items()
        match kind:
            case "f":
                return float.fromhex(what)
            case "e":
                return self._expressions[what]
            case "i":
                if what not in self._indices:
                    self._indices[what] = Index(self._arrays[what])
                return self._indices[what]
            case "a":
                return self._arrays[what].copy()  # one that can be written to, like that of the original
            case "w":
                return tuple(what)
            case "s":
                return self._spans(self._arrays[what])
            case "p":
                return self._spans(self._arrays[what])[0]
            case "m":
                return _ENUMERATIONS[what[0]](what[1])
            case "d":
                return _DATACLASSES[what[0]](**{name: self.decode(item) for name, item in what[1].items()})
        raise ValueError(f"unknown kind {kind!r}")

    def _spans(self, table: np.ndarray) -> tuple[Span, ...]:
        file, line, column, length = table.tolist()
        names = map(self._files.__getitem__, file) if len(set(file)) > 1 else repeat(self._files[file[0]])
        return tuple(map(Span, names, line, column, length))

    @staticmethod
    def _expression(kind: type[Expr], shape: tuple[int, ...], values: list[Any]) -> Expr:
        found: Expr
        if issubclass(kind, Leaf):
            found = kind(values[0], shape[0])
        elif issubclass(kind, Concat | Columns):
            found = kind(*values[0])
        elif issubclass(kind, Assemble):
            found = Assemble(values[0], values[1], values[2], (shape[0], shape[1]))
        elif issubclass(kind, Const):
            found = Const(values[0])
        else:
            found = kind(*values)
        if found.shape != shape:
            raise ValueError(f"a {kind.__name__} of shape {found.shape} was one of {shape}")
        return found
