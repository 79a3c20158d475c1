"""Checkpoints: written whole or not at all, checked when read, one older one kept in reserve."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from netc.diagnostics import NetcError

CURRENT = "checkpoint.pt"
PREVIOUS = "checkpoint.previous.pt"
_FORMAT = 1
# What reading a file that others made may raise, torch's own unpickler included (it walks whatever it is given).
_DAMAGED = (
    *(OSError, RuntimeError, EOFError, ValueError, TypeError, LookupError, AttributeError, AssertionError),
    *(MemoryError, OverflowError, ImportError, struct.error, pickle.UnpicklingError),
)


def save(directory: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint; the one before it becomes the reserve.

    At every moment, and after a power cut, ``checkpoint.pt`` is a whole checkpoint.

    Args:
        directory: the run folder.
        content: tensors and plain values, nested in dictionaries, lists and tuples.

    Raises:
        NetcError: the folder cannot be written.
    """
    current = directory / CURRENT
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{CURRENT}.", dir=directory)
        with os.fdopen(handle, "wb") as file:
            torch.save({"format": _FORMAT, "digest": digest(content), "content": dict(content)}, file)
            file.flush()
            os.fsync(file.fileno())
        if current.exists():
            reserve = Path(temporary + ".previous")
            _duplicate(current, reserve)
            os.replace(reserve, directory / PREVIOUS)
        os.replace(temporary, current)
        _sync(directory)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise NetcError(f"cannot write {current}: {error}", hint="free space, or pass another --out") from error


def load(directory: Path) -> tuple[dict[str, Any], str | None]:
    """Return the newest readable checkpoint, and a warning if it is not the newest.

    Raises:
        NetcError: there is none, or none can be read.
    """
    problems: list[str] = []
    for name in (CURRENT, PREVIOUS):
        path = directory / name
        if not path.exists():
            continue
        try:
            content = _read(path)
        except _DAMAGED as error:
            problems.append(f"{path} is damaged ({(str(error).splitlines() or ['no reason given'])[0][:120]})")
            continue
        return content, f"{problems[0]}; going on from {path.name}" if problems else None
    if problems:
        raise NetcError("no checkpoint can be read: " + "; ".join(problems), hint="train again into a new folder")
    raise NetcError(f"{directory} holds no checkpoint", hint="train without --resume, or pass the folder of a run")


def exists(directory: Path) -> bool:
    """Whether the folder holds a checkpoint, whole or not."""
    return (directory / CURRENT).exists() or (directory / PREVIOUS).exists()


def digest(content: Any) -> str:
    """Return a SHA-256 over all names, values and tensors."""
    running = hashlib.sha256()
    _feed(running, content)
    return running.hexdigest()


def _feed(running: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        array = value.detach().cpu().contiguous()
        running.update(f"tensor {array.dtype} {tuple(array.shape)};".encode())
        running.update(array.reshape(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, Mapping):
        running.update(f"mapping {len(value)};".encode())
        for key in sorted(value, key=repr):
            running.update(f"{key!r}:".encode())
            _feed(running, value[key])
    elif isinstance(value, list | tuple):
        running.update(f"sequence {len(value)};".encode())
        for item in value:
            _feed(running, item)
    else:
        running.update(f"{value!r};".encode())


def _read(path: Path) -> dict[str, Any]:
    # weights_only: a checkpoint is data, it must not be able to run code
    stored = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(stored, dict) or not isinstance(stored.get("content"), dict):
        raise ValueError("it is no checkpoint")
    if stored["format"] != _FORMAT:
        raise ValueError(f"format {stored['format']!r}, this version reads {_FORMAT}")
    content: dict[str, Any] = stored["content"]
    if digest(content) != stored["digest"]:
        raise ValueError("its checksum does not fit its content")
    return content


def _duplicate(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)


def _sync(directory: Path) -> None:
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
