"""Turn emitted source into a live module."""

from __future__ import annotations

import linecache
import types
import zlib
from typing import TYPE_CHECKING

import torch

from netc.emit import emit_torch
from netc.ir.program import Program

if TYPE_CHECKING:
    from torch import nn


def load(source: str, name: str = "netc_circuit") -> types.ModuleType:
    """Execute emitted source in a fresh module; tracebacks through it show its lines."""
    filename = f"<{name}-{zlib.crc32(source.encode()):08x}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    module = types.ModuleType(name)
    module.__file__ = filename
    exec(
        compile(source, filename, "exec", dont_inherit=True), module.__dict__
    )  # our own output: no text of a deck is code in it
    return module


def instantiate(program: Program | str, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Return the ``Circuit`` of a program, or of source already emitted, in the given floating type."""
    source = program if isinstance(program, str) else emit_torch(program)
    circuit: nn.Module = load(source).Circuit(dtype=dtype)
    return circuit
