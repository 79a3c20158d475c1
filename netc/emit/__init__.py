"""The emit stage: a program as the source of a standalone PyTorch module."""

from netc.emit.module import emit_torch

__all__ = ["emit_torch"]
