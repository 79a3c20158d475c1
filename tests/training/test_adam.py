"""Adam moves as ``torch.optim.Adam`` does, to the last bit, and reads what that has saved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from netc.training.adam import Adam

RATES = (0.02, 0.02, 0.01, 0.003, 0.0, 0.05)


def parameters(dtype: torch.dtype) -> list[torch.nn.Parameter]:
    random = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.rand(shape, generator=random).to(dtype)) for shape in ((7, 3), (5,), (1,))]


def loss(values: list[torch.nn.Parameter]) -> torch.Tensor:
    """One value has no gradient, one a gradient of 0 in places."""
    return (values[0] ** 3).sum() + torch.relu(values[1] - 0.5).sum() * values[0].sin().sum()


def moved(
    values: list[torch.nn.Parameter], optimiser: Any, rate: Callable[[float], None], rates: tuple[float, ...]
) -> None:
    for number in rates:
        rate(number)
        optimiser.zero_grad()
        loss(values).backward()
        optimiser.step()


def pair(
    dtype: torch.dtype, fused: bool = True
) -> tuple[list[torch.nn.Parameter], Adam, list[torch.nn.Parameter], torch.optim.Adam]:
    ours, theirs = parameters(dtype), parameters(dtype)
    return ours, Adam(ours, 0.1), theirs, torch.optim.Adam(theirs, lr=0.1, fused=fused)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("fused", [True, False])
def test_the_numbers_are_those_of_torch(dtype: torch.dtype, fused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not fused:
        monkeypatch.delattr(torch, "_fused_adam_")
    ours, adam, theirs, reference = pair(dtype, fused)
    moved(ours, adam, lambda x: setattr(adam, "learning_rate", x), RATES)
    moved(theirs, reference, lambda x: reference.param_groups[0].update(lr=x), RATES)
    assert not torch.equal(ours[0], parameters(dtype)[0])
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    mine, other = adam.state_dict(), reference.state_dict()
    assert mine["state"].keys() == other["state"].keys()
    for key, kept in other["state"].items():
        assert all(torch.equal(mine["state"][key][name], value) for name, value in kept.items())


def test_it_goes_on_from_a_saved_state_of_either() -> None:
    ours, adam, theirs, reference = pair(torch.float64)
    moved(theirs, reference, lambda x: reference.param_groups[0].update(lr=x), RATES)
    moved(ours, adam, lambda x: setattr(adam, "learning_rate", x), RATES[:3])
    again = [torch.nn.Parameter(p.detach().clone()) for p in ours]
    continued = Adam(again, 0.7)
    continued.load_state_dict(adam.state_dict())
    moved(ours, adam, lambda x: setattr(adam, "learning_rate", x), (0.3,))  # what was saved is not moved with it
    assert continued.learning_rate == RATES[2]
    moved(again, continued, lambda x: setattr(continued, "learning_rate", x), RATES[3:])
    assert all(torch.equal(a, b) for a, b in zip(again, theirs, strict=True))

    third = [torch.nn.Parameter(p.detach().clone()) for p in theirs]
    adopted = Adam(third, 0.7)
    adopted.load_state_dict(reference.state_dict())
    moved(third, adopted, lambda x: setattr(adopted, "learning_rate", x), RATES)
    moved(theirs, reference, lambda x: reference.param_groups[0].update(lr=x), RATES)
    assert all(torch.equal(a, b) for a, b in zip(third, theirs, strict=True))


def test_a_state_of_other_parameters_is_refused() -> None:
    adam = Adam(parameters(torch.float32), 0.1)
    with pytest.raises(ValueError, match="1 parameters, not 3"):
        adam.load_state_dict(Adam(parameters(torch.float32)[:1], 0.1).state_dict())
    values = parameters(torch.float32)[1:]
    other = Adam([*values, values[0]], 0.1)
    for value in values:
        value.grad = torch.ones_like(value)
    other.step()
    with pytest.raises(ValueError, match="shape"):
        adam.load_state_dict(other.state_dict())
    with pytest.raises(LookupError):
        adam.load_state_dict({})
