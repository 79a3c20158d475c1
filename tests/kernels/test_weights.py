"""Large arrays of trained values: the same as torch's, from wherever a module keeps them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from netc.kernels import build
from netc.kernels.binding import bind
from netc.runtime.load import instantiate
from tests.kernels import decks
from tests.kernels.test_agreement import Values

STEPS, DT, SCALE = 20, 1e-5, 20.0


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return decks.program("wide", tmp_path_factory.mktemp("decks"))


def test_a_module_and_its_values_give_the_same(wide: Any) -> None:
    module: Any = instantiate(wide, torch.float64)
    kernel = build(wide, torch.float64, threads=1)
    assert kernel is not None
    inputs = torch.rand(4, 30, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 3])
    direct = kernel.loss(module, inputs, labels, STEPS, DT, SCALE)
    through = kernel.loss(Values(module.values()), inputs, labels, STEPS, DT, SCALE)
    torch.testing.assert_close(direct, through, rtol=1e-12, atol=0.0)
    parameters = list(module.parameters())
    for a, b in zip(torch.autograd.grad(direct, parameters), torch.autograd.grad(through, parameters), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10 * float(b.abs().max()))


def test_values_changed_between_calls_count(wide: Any) -> None:
    module: Any = instantiate(wide)
    kernel = build(wide, threads=1)
    assert kernel is not None
    inputs, labels = torch.rand(4, 30), torch.tensor([0, 1, 2, 3])
    seen = set()
    for _ in range(3):
        loss = kernel.loss(module, inputs, labels, STEPS, DT, SCALE)
        seen.add(loss.item())
        scores = torch.log_softmax(module(STEPS, DT, inputs, observe=module.OUTPUTS)[0][1:] * SCALE, -1).mean(0)
        assert loss.item() == pytest.approx(torch.nn.functional.nll_loss(scores, labels).item(), rel=1e-6)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.mul_(0.9)
    module.set_values({"p_vt": [0.03]})  # not trained: kept from call to call
    seen.add(kernel.loss(module, inputs, labels, STEPS, DT, SCALE).item())
    other: Any = instantiate(wide)
    seen.add(kernel.loss(other, inputs * 0.5, labels, STEPS, DT * 1.5, SCALE).item())
    assert len(seen) == 5


def test_a_module_that_makes_its_values_otherwise_is_asked_for_them(wide: Any) -> None:
    module: Any = instantiate(wide)
    assert bind(module, wide) is not None

    class Noisy(type(module)):  # type: ignore[misc]
        def values(self) -> dict[str, torch.Tensor]:
            return {name: value * (1.0 + 0.01 * torch.rand(())) for name, value in super().values().items()}

    noisy: Any = Noisy()
    assert bind(noisy, wide) is None
    kernel = build(wide, threads=1)
    assert kernel is not None
    inputs, labels = torch.rand(4, 30), torch.tensor([0, 1, 2, 3])
    assert len({kernel.loss(noisy, inputs, labels, STEPS, DT, SCALE).item() for _ in range(3)}) == 3


def test_equal_blocks_are_not_mixed_up(tmp_path: Path) -> None:
    program = decks.program("wide", tmp_path)
    module: Any = instantiate(program)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(0.5)
    found = bind(module, program)
    assert found is not None
    assert {block: name.removesuffix("_position") for block, name in found.positions.items()} == {
        block: block for block in found.positions
    }
