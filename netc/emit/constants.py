"""Arrays in generated source: in a table at the end, long ones packed; regular index arrays as formulas."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from netc.emit.text import LONGEST_LITERAL, number, pack_floats, pack_integers, pack_words
from netc.ir.nodes import Index


@dataclass(slots=True)
class Constants:
    """Collects what the generated file needs besides code."""

    helpers: set[str] = field(default_factory=set)
    rows: dict[str, str] = field(default_factory=dict)  # of the table ARRAYS
    indices: dict[Index, str] = field(default_factory=dict)
    tables: dict[bytes, str] = field(default_factory=dict)
    buffers: list[str] = field(default_factory=list)  # statements of Circuit.__init__
    steps: dict[tuple[object, ...], tuple[str, list[str]]] = field(default_factory=dict)  # of Newton: name, buffers
    functions: list[str] = field(default_factory=list)  # their text
    iterated: dict[str, None] = field(default_factory=dict)  # names of what Newton's method finds, in order

    def helper(self, name: str) -> str:
        """Ask for a function of :mod:`netc.emit.support` and return its name."""
        self.helpers.add(name)
        if name in ("floats", "integers", "words"):
            self.helpers.add("unpacked")
        return name

    def floats(self, values: np.ndarray) -> str:
        """Return an expression for a float64 vector."""
        values = np.asarray(values, dtype=np.float64).ravel()
        if len(values) > 1 and (values[0] == values).all() and not np.signbit(values).any():
            return f"torch.full(({len(values)},), {number(float(values[0]))}, dtype=torch.float64)"
        literal = f"[{', '.join(number(float(v)) for v in values[:LONGEST_LITERAL])}]"
        if len(values) == 1:
            return f"torch.tensor({literal}, dtype=torch.float64)"
        # short or long, it stands at the same place: the number of lines must not depend on the number of lanes
        text = literal if len(values) <= LONGEST_LITERAL else f'"{pack_floats(values)}"'
        return f"{self.helper('floats')}({self._row(text)})"

    def words(self, values: tuple[str, ...]) -> str:
        """Return an expression for a tuple of names."""
        literal = f"({', '.join(map(ascii, values))}{',' * (len(values) == 1)})"
        if len(values) <= 1:
            return literal
        short = len(values) <= LONGEST_LITERAL and sum(map(len, values)) < 400
        return f"{self.helper('words')}({self._row(literal if short else repr(pack_words(values)))})"

    def index(self, index: Index) -> str:
        """Return an expression for an index array, kept as a buffer of the module."""
        if index not in self.indices:
            name = f"index_{len(self.indices) + 1}"
            self.indices[index] = f"self.{name}"
            self.buffers.append(f'self.register_buffer("{name}", {self._index_text(index.array)}, persistent=False)')
        return self.indices[index]

    def table(self, values: np.ndarray) -> str:
        """Return an expression for a constant float64 matrix, kept as a buffer of the module."""
        key = values.tobytes() + bytes(str(values.shape), "ascii")
        if key not in self.tables:
            name = f"table_{len(self.tables) + 1}"
            self.tables[key] = f"self.{name}"
            text = f"{self.floats(values)}.reshape{values.shape}"
            self.buffers.append(f'self.register_buffer("{name}", {text}, persistent=False)')
        return self.tables[key]

    def _index_text(self, array: np.ndarray) -> str:
        if len(array) <= LONGEST_LITERAL:
            return f"torch.tensor({array.tolist()})"
        steps = np.diff(array)
        if (steps == steps[0]).all() and steps[0] != 0:
            return _arange(array)
        grid = _grid(array)
        if grid is not None:
            slow, fast = grid
            return f"({_arange(slow)}[:, None] + {_arange(fast)}).flatten()"
        return f"{self.helper('integers')}({self._row(repr(pack_integers(array)))})"

    def _row(self, text: str) -> str:
        """Put ``text`` into the table at the end of the file, once, and return what reads it."""
        for name, known in self.rows.items():
            if known == text:
                return f'ARRAYS["{name}"]'
        name = f"a{len(self.rows) + 1}"
        self.rows[name] = text
        return f'ARRAYS["{name}"]'


def _arange(array: np.ndarray) -> str:
    first, count = int(array[0]), len(array)
    step = int(array[1] - array[0]) if count > 1 else 1
    if step == 0:
        return f"torch.full(({count},), {first})"
    stop = first + step * count
    return f"torch.arange({first}, {stop})" if step == 1 else f"torch.arange({first}, {stop}, {step})"


def _grid(array: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Split ``array[i * m + j] = slow[i] + fast[j]`` with both evenly spaced, if it is such a grid."""
    steps = np.diff(array)
    breaks = np.flatnonzero(steps != steps[0])
    if not len(breaks):
        return None
    width = int(breaks[0]) + 1
    if width == 1 or len(array) % width:
        return None
    blocks = array.reshape(-1, width)
    slow, fast = blocks[:, 0], blocks[0] - blocks[0, 0]
    if len(slow) > 2 and len(set(np.diff(slow).tolist())) > 1:
        return None
    return (slow, fast) if (slow[:, None] + fast == blocks).all() else None
