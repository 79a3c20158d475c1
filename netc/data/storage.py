"""Where netc keeps data, and how a file gets there: whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from netc.diagnostics import NetcError


def cache_directory() -> Path:
    """Return netc's own data folder: ``$XDG_CACHE_HOME/netc/data`` or ``~/.cache/netc/data``."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    # the XDG specification says to ignore a relative path
    base = Path(root) if os.path.isabs(root) else Path.home() / ".cache"
    return base / "netc" / "data"


def roots(directory: Path | None) -> Iterator[Path]:
    """Yield the folders below which data are searched: ``directory``, ``NETC_DATA_DIR``, netc's cache."""
    if directory is not None:
        yield directory
    if environment := os.environ.get("NETC_DATA_DIR"):
        yield Path(environment)
    yield cache_directory()


def searched(directory: Path | None, folders: Sequence[str]) -> Iterator[Path]:
    """Yield the places where a set may be that others keep in one of ``folders``."""
    for root in roots(directory):
        yield from (root / folder for folder in folders)
        yield root


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that no reader, and no second writer, ever sees half of it.

    Raises:
        NetcError: the folder cannot be made or written.
    """
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise NetcError(
            f"cannot write {path}: {error.strerror or error}", hint="free space, or pass another folder with --data-dir"
        ) from error
