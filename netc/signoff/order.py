"""The cards of large crossbars in an order that suits ngspice's memory: the same circuit, set up and solved faster.

ngspice numbers unknowns, and lays out its matrix, in the order of the cards.  To find pivots it then walks along whole
columns for each row it exchanges, and every iteration walks along them again; where a column's elements lie far apart
each step misses the processor's caches.  With resistors in tiles of columns, behind all other cards, 158,800 of them
are set up in a third of the time.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from netc.diagnostics import NetcError

_RESISTOR = re.compile(r"r\S*\s+(\S+)\s+(\S+)\s+[-+.\w]+", re.IGNORECASE)
_SENTENCE = re.compile(r"\.(if|elseif|else|endif)\b", re.IGNORECASE)
_FEWEST = 1000  # below, there is nothing to gain
_ROWS, _COLUMNS = 16, 16


def ordered(text: str) -> str:
    """Return a netlist whose plain resistors outside of subcircuits are its last cards, tile by tile.

    Args:
        text: of a whole netlist, its first line the title, its last card ``.end``.

    Returns:
        The same lines, each once, in another order; ``text`` itself where cards are conditional, or resistors few.
    """
    lines = text.split("\n")
    found = [(number, match) for number in plain_lines(lines) if (match := _RESISTOR.fullmatch(lines[number]))]
    if len(found) < _FEWEST or any(_SENTENCE.match(line) for line in lines):
        return text
    ends = [(number, match[1].lower(), match[2].lower()) for number, match in found]
    degree = Counter(node for _, first, second in ends for node in (first, second))
    # the node with more resistors is taken for the column
    crossings = [(n, b, a) if degree[a] > degree[b] else (n, a, b) for n, a, b in ends]
    row = _places([row for _, row, _ in crossings])
    column = _places([column for _, _, column in crossings])

    def place(crossing: tuple[int, str, str]) -> tuple[int, int, int, int]:
        r, c = row[crossing[1]], column[crossing[2]]
        return c // _COLUMNS, r // _ROWS, c, r

    moved = [number for number, _, _ in sorted(crossings, key=place)]
    gone = set(moved)
    kept = [line for number, line in enumerate(lines) if number not in gone]
    end = end_card(kept)
    return "\n".join([*kept[:end], *(lines[number] for number in moved), *kept[end:]])


def end_card(lines: Sequence[str]) -> int:
    """Return the number of the ``.end`` line.

    Raises:
        NetcError: there is none.
    """
    for number in range(len(lines) - 1, -1, -1):
        if lines[number].strip().lower() == ".end":
            return number
    raise NetcError("the netlist for ngspice has no .end")


def plain_lines(lines: Sequence[str]) -> list[int]:
    """Return the numbers of the element lines outside of subcircuits that have no continuation."""
    found, depth = [], 0
    for number, line in enumerate(lines):
        word = line.split(None, 1)[0].lower() if line.strip() else ""
        depth += (word in (".subckt", ".macro")) - (word in (".ends", ".eom"))
        continued = number + 1 < len(lines) and lines[number + 1].startswith("+")
        if number and word and not depth and word[0] not in ".+*" and not continued:
            found.append(number)
    return found


def _places(names: Sequence[str]) -> dict[str, int]:
    return {name: place for place, name in enumerate(dict.fromkeys(names))}
