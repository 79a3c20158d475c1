"""Which samples make up which batch: a function of seed and epoch alone, so a run can go on anywhere."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def generator(seed: int, *what: object) -> torch.Generator:
    """Return a random generator of its own for each purpose."""
    digest = hashlib.sha256(repr((seed, *what)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def permutation(samples: int, seed: int, epoch: int) -> Tensor:
    """Return the order of samples in an epoch, ``(samples,)``."""
    return torch.randperm(samples, generator=generator(seed, "order", epoch))


def drop(amplitudes: Tensor, share: float, seed: int, epoch: int, batch: int) -> Tensor:
    """Return ``(..., batch, FEATURES)`` with a share of each sample's features zeroed and the others scaled up."""
    if share == 0:
        return amplitudes
    kept = torch.rand(amplitudes.shape[-2:], generator=generator(seed, "dropout", epoch, batch)) >= share
    return amplitudes * kept.to(amplitudes.dtype).to(amplitudes.device) / (1 - share)
