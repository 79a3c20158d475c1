"""Reading a deck's bytes: encodings, and one clear sentence for every file that is no deck."""

from __future__ import annotations

import codecs
from pathlib import Path

from netc.diagnostics import NetcError

_BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def read_lines(path: Path) -> list[str]:
    """Return the physical lines of ``path`` without their ends.

    UTF-8, UTF-16 with a byte order mark, else Latin-1, which every byte sequence is.

    Raises:
        NetcError: missing, a directory, unreadable, empty or binary.
    """
    try:
        if path.is_dir():
            raise NetcError(f"{path} is a directory, not a netlist")
        if not path.exists():
            raise NetcError(f"{path} does not exist")
        if not path.is_file():
            raise NetcError(f"{path} is not a regular file")
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise NetcError(f"{path} cannot be read: {reason.lower()}") from error
    if not data.strip():
        raise NetcError(f"{path} is empty")
    text = decode(data)
    if text is None:
        raise NetcError(f"{path} is a binary file, not a netlist")
    return split_lines(text)


def decode(data: bytes) -> str | None:
    """Return ``data`` as text, or ``None`` if it is no text."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            try:
                return data[len(mark) :].decode(encoding)
            except UnicodeDecodeError:
                return None
    if b"\0" in data:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def split_lines(text: str) -> list[str]:
    """Split at LF, CRLF and CR only: other separators of Unicode are no line ends to SPICE."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if lines[-1] == "":
        lines.pop()
    return lines
