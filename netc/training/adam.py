"""Adam: D. P. Kingma and J. Ba, Adam: a method for stochastic optimization, ICLR 2015, algorithm 1.

::

    m = b1 m + (1 - b1) g,   v = b2 v + (1 - b2) g^2,   p = p - lr m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)

The numbers and the saved state are those of ``torch.optim.Adam``, on a CPU of its fused form.  That class loads all of
``torch.compile`` when it is made: a second, more than everything between a compiled deck and its first step takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


class Adam:
    """Moves parameters against their gradients, each by its own scale.

    Attributes:
        learning_rate: what a parameter moves by in a step, at most about.
    """

    def __init__(
        self,
        parameters: Iterable[torch.nn.Parameter],
        learning_rate: float,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        self.learning_rate = learning_rate
        self._parameters = list(parameters)
        self._betas = betas
        self._eps = eps
        self._steps = [0] * len(self._parameters)
        self._means = [torch.zeros_like(p) for p in self._parameters]
        self._squares = [torch.zeros_like(p) for p in self._parameters]

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    def step(self) -> None:
        """Move every parameter that has a gradient."""
        given = [k for k, parameter in enumerate(self._parameters) if parameter.grad is not None]
        for k in given:
            self._steps[k] += 1
        fused = getattr(torch, "_fused_adam_", None)  # what torch.optim.Adam calls where it is told to be fused
        with torch.no_grad():
            if fused is not None and given and all(self._parameters[k].device.type == "cpu" for k in given):
                self._move_at_once(fused, given)
            else:
                for k in given:
                    self._move(k)

    def _move_at_once(self, fused: Callable[..., None], given: Sequence[int]) -> None:
        """Move parameters in one pass over memory: a quarter of what :meth:`_move` takes."""
        first, second = self._betas
        parameters = [self._parameters[k] for k in given]
        fused(
            parameters,
            [p.grad for p in parameters],
            [self._means[k] for k in given],
            [self._squares[k] for k in given],
            [],
            [torch.tensor(float(self._steps[k])) for k in given],
            lr=self.learning_rate,
            beta1=first,
            beta2=second,
            weight_decay=0.0,
            eps=self._eps,
            amsgrad=False,
            maximize=False,
        )

    def _move(self, k: int) -> None:
        first, second = self._betas
        parameter, mean, square = self._parameters[k], self._means[k], self._squares[k]
        gradient = parameter.grad
        if gradient is None:
            return
        mean.lerp_(gradient, 1 - first)
        square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        scale = (1 - second ** self._steps[k]) ** 0.5
        size = self.learning_rate / (1 - first ** self._steps[k])
        parameter.addcdiv_(mean, (square.sqrt() / scale).add_(self._eps), value=-size)

    def state_dict(self) -> dict[str, Any]:
        """Return what :meth:`load_state_dict` needs, as ``torch.optim.Adam`` writes it."""
        columns = zip(self._steps, self._means, self._squares, strict=True)
        state = {
            k: {"step": torch.tensor(float(step)), "exp_avg": mean, "exp_avg_sq": square}
            for k, (step, mean, square) in enumerate(columns)
            if step
        }
        group = {"lr": self.learning_rate, "betas": self._betas, "eps": self._eps, "params": [*range(len(self._steps))]}
        return {"state": state, "param_groups": [group]}

    def load_state_dict(self, stored: Mapping[str, Any]) -> None:
        """Go back to where :meth:`state_dict` was taken, of this class or of ``torch.optim.Adam``.

        Raises:
            ValueError: the state is that of other parameters.
            LookupError: something is missing.
        """
        (group,) = stored["param_groups"]
        if len(group["params"]) != len(self._parameters):
            raise ValueError(f"it has {len(group['params'])} parameters, not {len(self._parameters)}")
        for k, parameter in enumerate(self._parameters):
            kept = stored["state"].get(k)
            fresh = torch.zeros_like(parameter)
            mean, square = (fresh, fresh) if kept is None else (kept["exp_avg"], kept["exp_avg_sq"])
            if mean.shape != parameter.shape or square.shape != parameter.shape:
                raise ValueError(f"parameter {k} has shape {tuple(parameter.shape)}, not {tuple(mean.shape)}")
            self._steps[k] = 0 if kept is None else int(kept["step"])
            self._means[k], self._squares[k] = (self._own(x, parameter) for x in (mean, square))
        self.learning_rate = float(group["lr"])

    @staticmethod
    def _own(value: Tensor, parameter: Tensor) -> Tensor:
        return value.detach().to(parameter.device, parameter.dtype, copy=True)
