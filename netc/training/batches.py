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


def relabelled(labels: Tensor, classes: int, share: float, seed: int, epoch: int, batch: int) -> Tensor:
    """Return labels ``(batch,)``, a share of them drawn anew from all classes.

    In the mean over draws the loss is that of labels smoothed by ``share`` (C. Szegedy et al., Rethinking the Inception
    architecture for computer vision, CVPR 2016, section 7), and a kernel needs no other loss.
    """
    if share == 0:
        return labels
    source = generator(seed, "labels", epoch, batch)
    drawn = torch.rand(len(labels), generator=source) < share
    others = torch.randint(classes, (len(labels),), generator=source)
    return torch.where(drawn, others, labels.cpu()).to(labels.device)
