"""Calls of the loss after the first, which go a shorter way: the same numbers, from whatever has changed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from netc.kernels import Kernel, build
from netc.runtime.load import instantiate
from tests.kernels import decks
from tests.kernels.test_agreement import Values

STEPS, DT, SCALE = 20, 1e-5, 20.0
LABELS = torch.tensor([0, 1, 2, 3])


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return decks.program("wide", tmp_path_factory.mktemp("decks"))


@pytest.fixture(scope="module")
def kernel(wide: Any) -> Kernel:
    found = build(wide, torch.float64, threads=2)
    assert found is not None
    return found


def _inputs(seed: int, samples: int = 4) -> Tensor:
    return torch.rand(samples, 30, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _both(kernel: Kernel, module: Any, values: Any, inputs: Tensor, labels: Tensor) -> list[tuple[Tensor, ...]]:
    """Return loss, scores and gradients of a call with a module and of one with values, through torch's graph."""
    result = []
    for given in (module, values):
        loss, scores = kernel.classify(given, inputs, labels, STEPS, DT, SCALE)
        result.append((loss, scores, *torch.autograd.grad(loss, list(module.parameters()))))
    return result


def test_whatever_changes_between_calls_counts(wide: Any, kernel: Kernel) -> None:
    module: Any = instantiate(wide, torch.float64)

    def agree(inputs: Tensor, labels: Tensor) -> float:
        found, wanted = _both(kernel, module, Values(module.values()), inputs, labels)
        for a, b in zip(found, wanted, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10 * float(b.detach().abs().max()))
        return found[0].item()

    seen = [agree(_inputs(1), LABELS), agree(_inputs(2), LABELS), agree(_inputs(2), LABELS.flip(0))]
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(0.9)
    seen.append(agree(_inputs(2), LABELS))
    module.set_values({"p_vt": [0.03]})  # not trained
    seen.append(agree(_inputs(2), LABELS))
    seen.append(agree(_inputs(2, 3), LABELS[:3]))
    assert len(set(seen)) == len(seen)


def test_repeated_calls_give_the_same_bits(wide: Any, kernel: Kernel) -> None:
    module: Any = instantiate(wide, torch.float64)
    again = [kernel.loss(module, _inputs(3), LABELS, STEPS, DT, SCALE).grad_fn for _ in range(2)]
    assert all("Repeated" in type(x).__name__ for x in again)  # or this file tests nothing
    first, second = (_both(kernel, module, module, _inputs(3), LABELS) for _ in range(2))
    for a, b in zip((*first[0], *first[1]), (*second[0], *second[1]), strict=True):
        assert torch.equal(a, b)


def test_the_number_of_threads_changes_no_bit(wide: Any) -> None:
    inputs, labels = _inputs(7, 70).float(), torch.arange(70) % 4  # several tiles, the last one not full
    module: Any = instantiate(wide)
    found = []
    for threads in (1, 2, 5):
        kernel = build(wide, threads=threads)
        assert kernel is not None
        for _ in range(5):
            loss = kernel.loss(module, inputs, labels, STEPS, DT, SCALE)
            found.append((loss.detach(), *torch.autograd.grad(loss, list(module.parameters()))))
    for later in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], later, strict=True))


def test_a_loss_that_counts_three_times_has_three_times_the_gradients(wide: Any, kernel: Kernel) -> None:
    module: Any = instantiate(wide, torch.float64)
    parameters = list(module.parameters())
    loss = kernel.loss(module, _inputs(4), LABELS, STEPS, DT, SCALE)
    once = torch.autograd.grad(loss, parameters, retain_graph=True)
    kept = [g.clone() for g in once]
    for g in once:
        g.zero_()  # whoever asked for them may do so
    thrice = torch.autograd.grad(3.0 * loss, parameters, retain_graph=True)
    for a, b in zip(kept, thrice, strict=True):
        torch.testing.assert_close(3.0 * a, b, rtol=1e-14, atol=0.0)
    with torch.no_grad():
        parameters[0].mul_(0.5)
    with pytest.raises(RuntimeError, match="have changed"):
        loss.backward()  # type: ignore[no-untyped-call]  # torch's


def test_what_does_not_fit_is_refused_after_calls_that_did(wide: Any, kernel: Kernel) -> None:
    module: Any = instantiate(wide, torch.float64)
    kernel.loss(module, _inputs(5), LABELS, STEPS, DT, SCALE)
    with pytest.raises(ValueError, match="labels must be"):
        kernel.loss(module, _inputs(5), torch.tensor([0, 1, 2, 40]), STEPS, DT, SCALE)
    with pytest.raises(ValueError, match="labels must be"):
        kernel.loss(module, _inputs(5), LABELS[:2], STEPS, DT, SCALE)
    with pytest.raises(ValueError, match="inputs have shape"):
        kernel.loss(module, _inputs(5)[:, :7], LABELS, STEPS, DT, SCALE)


def test_inputs_may_want_gradients_after_calls_without(wide: Any, kernel: Kernel) -> None:
    module: Any = instantiate(wide, torch.float64)
    inputs = _inputs(6)
    plain = kernel.loss(module, inputs, LABELS, STEPS, DT, SCALE)
    asked = inputs.clone().requires_grad_()
    loss = kernel.loss(module, asked, LABELS, STEPS, DT, SCALE)
    torch.testing.assert_close(loss, plain, rtol=1e-12, atol=0.0)
    (gradient,) = torch.autograd.grad(loss, asked)
    assert gradient.abs().max() > 0


def test_what_samples_drive_is_watched_wherever_one_asks_for_it(wide: Any, kernel: Kernel) -> None:
    module: Any = instantiate(wide, torch.float64)
    plain = torch.autograd.grad(kernel.loss(module, _inputs(1), LABELS, STEPS, DT, SCALE), list(module.parameters()))
    seen: list[torch.Size] = []

    def watch(value: Tensor) -> None:
        value.register_hook(lambda gradient: seen.append(gradient.shape) or 0.5 * gradient)

    loss, _ = kernel.classify(module, _inputs(1), LABELS, STEPS, DT, SCALE, watch)
    halved = torch.autograd.grad(loss, list(module.parameters()))
    assert seen
    assert any(not torch.allclose(a, b) for a, b in zip(plain, halved, strict=True))
