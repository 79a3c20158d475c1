"""What a run leaves on disk: enough to repeat it, go on with it, and judge it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch

from netc.diagnostics import NetcError
from netc.parse.source import read_lines
from netc.training import checkpoint
from netc.training.contract import Compilation

CONFIG, VERSIONS, METRICS, RESULT = "config.json", "versions.json", "metrics.jsonl", "result.json"
SOURCE, DECK = "circuit.py", "deck"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run folder: config, versions, deck, emitted source, metrics, checkpoints, result, pictures.

    Of several workers only one ``writes``; what the others are told to write is left out.
    """

    directory: Path
    writes: bool = True

    def create(self) -> None:
        """Make the folder.

        Raises:
            NetcError: it cannot be made or written.
        """
        if not self.writes:
            return
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.directory):
                pass
        except OSError as error:
            blocked = isinstance(error, FileExistsError | NotADirectoryError)
            reason = "a file is in its place or above it" if blocked else error.strerror or error
            raise NetcError(
                f"cannot write into {self.directory}: {reason}", hint="pass another folder with --out"
            ) from error

    def write_text(self, name: str, text: str) -> None:
        """Write a file whole or not at all; raises as :meth:`create` does."""
        self.write_bytes(name, text.encode("utf-8"))

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a file whole or not at all; raises as :meth:`create` does."""
        if not self.writes:
            return
        path = self.directory / name
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            os.replace(temporary, path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise NetcError(f"cannot write {path}: {error.strerror or error}") from error

    def save(self, state: Mapping[str, Any]) -> None:
        """Write a checkpoint; raises as :meth:`create` does."""
        if self.writes:
            checkpoint.save(self.directory, state)

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a JSON object; raises as :meth:`create` does."""
        self.write_text(name, json.dumps(value, indent=2, allow_nan=False) + "\n")

    def read_json(self, name: str) -> dict[str, Any]:
        """Read a JSON object.

        Raises:
            NetcError: the file is missing or damaged.
        """
        path = self.directory / name
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise NetcError(
                f"{self.directory} is not a run folder: cannot read {name} ({error.strerror or error})",
                hint="pass the folder that netc train wrote (its --out)",
            ) from error
        except (ValueError, RecursionError) as error:
            raise NetcError(f"{path} is damaged: {error}") from error
        if not isinstance(value, dict):
            raise NetcError(f"{path} is damaged: not a JSON object")
        return value

    def write_metrics(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Write the metrics of all epochs so far, one JSON line each; raises as :meth:`create` does."""
        self.write_text(METRICS, "".join(json.dumps(line, allow_nan=False) + "\n" for line in history))

    def write_deck(self, compilation: Compilation) -> str:
        """Copy the deck with all it includes, and the emitted source; return the deck's place in the folder.

        The files keep their places relative to each other, so that relative includes still lead from one to the next,
        and their line ends and encodings.
        """
        self.write_text(SOURCE, compilation.source)
        files = {Path(name).absolute(): lines for name, lines in compilation.sources.items()}
        deck = Path(compilation.path).absolute()
        root = Path(os.path.commonpath([deck.parent, *(path.parent for path in files)]))
        for path, lines in files.items():
            self.write_bytes(str(Path(DECK) / path.relative_to(root)), _as_read(path, lines))
        return str(Path(DECK) / deck.relative_to(root))


def _as_read(path: Path, lines: Sequence[str]) -> bytes:
    """Return a file of the deck as it is, or, where it is no longer what was read, its lines as they were."""
    try:
        data = path.read_bytes()
        if list(read_lines(path)) == [line.rstrip("\r\n") for line in lines]:
            return data
    except (OSError, NetcError):
        pass  # such as a model of netc's own, which has no place beside the deck
    return "".join(line if line.endswith("\n") else line + "\n" for line in lines).encode("utf-8")


def deck_digest(compilation: Compilation) -> str:
    """Return a SHA-256 over the lines of the deck and all it includes."""
    running = hashlib.sha256()
    for lines in compilation.sources.values():
        for line in lines:
            running.update(line.rstrip("\r\n").encode() + b"\n")
        running.update(b"\0")
    return running.hexdigest()


def versions() -> dict[str, Any]:
    """Return what produced a run's numbers."""
    try:
        own = importlib.metadata.version("netc")
    except importlib.metadata.PackageNotFoundError:
        own = "unknown"
    return {
        "netc": own,
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "platform": platform.platform(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
    }


def presented(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return how samples became features, as :func:`netc.data.load` takes it, of what a run says of its data."""
    found = data.get("events") or data.get("images")
    return dict(found) if isinstance(found, dict) else {}


def presented_in(directory: Path | str, data: str) -> dict[str, Any]:
    """Return how samples of the data set ``data`` became features in a run's training; nothing where another's did.

    Raises:
        NetcError: the folder is no run.
    """
    stored = RunFolder(Path(directory)).read_json(CONFIG).get("data")
    if not isinstance(stored, dict) or stored.get("name") != data:
        return {}
    return presented(stored)
