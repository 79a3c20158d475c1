"""The loss beside the time loop, where it is not fused into it.

z[t] = outputs of step t, all stored                 for each step: z, exp(z) and their sum while z is in registers;
log_softmax(z), gathered, averaged; its gradient  -> the sums of log-probabilities; on the way back the seeds
stored for all steps; the adjoint reads it           softmax(z) - [right class], made where the adjoint reads them

On the right is what the templates do (``Classes`` and ``seed_of_loss`` in ``templates/loop.cpp.j2``); the left is here.
"""

from __future__ import annotations

import torch
from torch import Tensor


def smoothed(log_probabilities: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Return the mean over the batch of minus the log-probability of the labels, smoothed.

    Args:
        log_probabilities: ``(batch, classes)``.
        labels: class numbers ``(batch,)``.
        smoothing: share of each label that is spread evenly over all classes, 0 to below 1 (C. Szegedy et al.,
            Rethinking the Inception architecture for computer vision, CVPR 2016, section 7).
    """
    loss = -log_probabilities.gather(1, labels.unsqueeze(1)).mean()
    return loss if smoothing == 0 else (1 - smoothing) * loss - smoothing * log_probabilities.mean()


def from_outputs(outputs: Tensor, labels: Tensor, logit_scale: float, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """Return the loss and, without gradients, the mean log-probabilities ``(batch, classes)``.

    Args:
        outputs: ``(steps + 1, batch, classes)`` volts; the first row does not count.
        labels: class numbers ``(batch,)``.
        logit_scale: 1/V.
        smoothing: of the labels, see :func:`smoothed`.
    """
    found = torch.log_softmax(outputs[1:] * logit_scale, dim=-1).double().mean(0)
    loss = smoothed(found, labels, smoothing)
    return loss.to(outputs.dtype), found.detach().to(outputs.dtype)
