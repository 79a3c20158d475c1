"""Training in several processes that share every batch: ``torchrun -m netc.cli train ...``.

Each worker runs its part of a batch; losses and gradients are those of the whole one after they are added up, so the
run is that of one process but for rounding.  Only the first worker writes and speaks.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as distributed
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous


def first() -> bool:
    """Return whether this process is the one that writes: the only one, or the first that torchrun started."""
    return int(os.environ.get("RANK", "0")) == 0


def restarted() -> bool:
    """Return whether torchrun has started all workers again because one had died."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


@dataclass(frozen=True, slots=True)
class Workers:
    """The processes of a run; ``number`` is this one's, from 0."""

    number: int = 0
    count: int = 1

    @classmethod
    def join(cls, device: torch.device) -> Workers:
        """Meet the workers torchrun started; be alone where it has started none."""
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count == 1:
            return cls()
        if not distributed.is_initialized():
            store, number, count = next(rendezvous("env://"))
            # torchrun keeps its store when it starts all workers again, with the addresses of the dead in it
            store = PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
            backend = "nccl" if device.type == "cuda" else "gloo"
            distributed.init_process_group(backend, store=store, rank=number, world_size=count)
        return cls(distributed.get_rank(), count)

    def leave(self) -> None:
        """Part from the others."""
        if self.count > 1:
            distributed.destroy_process_group()

    def wait(self) -> None:
        """Wait until all are here."""
        if self.count > 1:
            distributed.barrier()

    def part(self, samples: int) -> slice:
        """Return which of ``samples`` are this worker's; sizes differ by one at the most."""
        each, more = divmod(samples, self.count)
        start = self.number * each + min(self.number, more)
        return slice(start, start + each + (self.number < more))

    def add(self, values: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all workers; one message for all of one type."""
        if self.count == 1:
            return
        for dtype in dict.fromkeys(value.dtype for value in values):
            group = [value for value in values if value.dtype == dtype]
            flat = torch.cat([value.reshape(-1) for value in group])
            distributed.all_reduce(flat)
            parts = torch.split(flat, [value.numel() for value in group])
            for value, summed in zip(group, parts, strict=True):
                value.copy_(summed.reshape(value.shape))

    def any(self, wanted: bool) -> bool:
        """Return whether any worker wants to."""
        if self.count == 1:
            return wanted
        votes = torch.tensor([float(wanted)])
        self.add([votes])
        return bool(votes.item())
