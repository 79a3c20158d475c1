"""Read the raw file of ``ngspice -b -r``: a text header, then rows of float64, binary or in decimal."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from netc.diagnostics import NetcError

_MARK = re.compile(rb"^(Binary|Values):[ \t]*\r?\n", re.MULTILINE)


def read_raw(path: str | Path) -> tuple[list[str], np.ndarray]:
    """Read the transient plot of a raw file.

    Args:
        path: the file; where it holds several plots the last one called a transient analysis is read.

    Returns:
        The vector names as ngspice wrote them (the first is ``time``) and the values, float64,
        shape ``(vectors, points)``, in seconds, volts and amperes.

    Raises:
        NetcError: not a raw file, cut short, complex, or without a transient analysis.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise NetcError(f"cannot read the ngspice raw file: {error.strerror}") from error
    found: tuple[list[str], np.ndarray] | None = None
    position = 0
    while mark := _MARK.search(data, position):
        header = _Header(data[position : mark.start()].decode("utf-8", "replace"))
        values, position = (_binary if mark.group(1) == b"Binary" else _decimal)(data, mark.end(), header)
        if header.plot.startswith("transient"):
            found = header.names, values
    if found is None:
        raise NetcError("the ngspice raw file holds no transient analysis")
    return found


class _Header:
    def __init__(self, text: str) -> None:
        fields: dict[str, str] = {}
        lines = text.splitlines()
        names: list[str] = []
        for number, line in enumerate(lines):
            key, _, value = line.partition(":")
            fields[key.strip().lower()] = value.strip()
            if key.strip().lower() == "variables":
                names = [row.split()[1] for row in lines[number + 1 :] if len(row.split()) >= 3]
                break
        self.plot = fields.get("plotname", "").lower()
        self.names = names
        if "complex" in fields.get("flags", "").lower().split():
            raise NetcError("the ngspice raw file holds complex values, not a transient analysis")
        try:
            self.points = int(fields["no. points"])
            count = int(fields["no. variables"])
        except (KeyError, ValueError) as error:
            raise NetcError("the ngspice raw file has no readable header") from error
        if count != len(names) or count == 0 or self.points < 0:
            raise NetcError(f"the ngspice raw file announces {count} variables and lists {len(names)}")


def _binary(data: bytes, start: int, header: _Header) -> tuple[np.ndarray, int]:
    count = len(header.names) * header.points
    if len(data) - start < 8 * count:
        raise NetcError(f"the ngspice raw file is cut short: {header.points} points announced")
    values = np.frombuffer(data, dtype="<f8", count=count, offset=start)
    return np.ascontiguousarray(values.reshape(header.points, -1).T), start + 8 * count


def _decimal(data: bytes, start: int, header: _Header) -> tuple[np.ndarray, int]:
    end = data.find(b"Title:", start)
    end = len(data) if end < 0 else end
    width = len(header.names) + 1  # each point begins with its number
    words = data[start:end].split()
    if len(words) < width * header.points:
        raise NetcError(f"the ngspice raw file is cut short: {header.points} points announced")
    try:
        rows = np.array(words[: width * header.points], dtype=np.float64)
    except ValueError as error:
        raise NetcError("the ngspice raw file holds a value that is not a number") from error
    return np.ascontiguousarray(rows.reshape(header.points, width)[:, 1:].T), end
