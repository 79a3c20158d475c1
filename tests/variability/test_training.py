"""Training on chips that differ: gradients, draws, and what it is worth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from netc.compiler import Compilation, compile_deck
from netc.ir.program import Spread
from netc.training import timing
from netc.training.engines import choose
from netc.training.options import TrainingOptions
from netc.training.variation import Variation
from netc.variability import Devices

SAMPLES, STEPS = 6, 60
ALL = Devices(spread=0.1, read_noise=0.05, stuck_at=0.02, program_noise=0.02, seed=4)
KEY = (2, 5)


@pytest.fixture(scope="module")
def compilation(tmp_path_factory: pytest.TempPathFactory) -> Compilation:
    path = tmp_path_factory.mktemp("deck") / "net.cir"
    path.write_text(
        """* two inputs, a hidden neuron, two outputs
V1 a 0 PWL(0 0 10u 1)
E1 w1 0 a 0 0.5
E2 w2 0 a 0 0.5
R1 w1 m 2k
R2 w2 m 3k
Rleak m 0 5k
Cm m 0 100n IC=0
E3 b 0 m 0 2
R3 b o1 2k
R4 b o2 4k
Co1 o1 0 100n IC=0
Co2 o2 0 100n IC=0
R5 o1 0 4k
R6 o2 0 4k
*.netc input E1 E2
*.netc output o1 o2
*.netc train R1 R2 R3 R4 min=1k max=100k
*.netc train E3 min=0.5 max=3
.tran 10u 1m 0 10u uic
.end
"""
    )
    return compile_deck(path)


def problem(
    compilation: Compilation, devices: Devices, each: int, dtype: str = "float64", backend: str = "auto", **more: Any
) -> tuple[Any, Variation, Tensor, Tensor]:
    """Return a module, its variation, samples and labels."""
    program = compilation.program
    if "spreads" in more:
        blocks = (replace(b, spreads=more["spreads"](b)) for b in program.parameters)
        program = replace(program, parameters=tuple(blocks))
    options = TrainingOptions(steps=STEPS, dtype=dtype, backend=backend)
    module = compilation.module(options.torch_dtype)
    engine = choose(program, module, options, timing.resolve(program.timing, options), print, SAMPLES)
    x = torch.rand(SAMPLES, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(options.torch_dtype)
    return module, Variation(engine, module, program, devices, each), x, torch.tensor([0, 1, 0, 1, 1, 0])


def learnt(module: Any, variation: Variation, x: Tensor, y: Tensor, first: int = 0) -> tuple[Tensor, list[Tensor]]:
    loss, _ = variation.learn(x, y, None, KEY, first)
    return loss, list(torch.autograd.grad(loss, list(module.parameters())))


@pytest.mark.parametrize("backend", ["cpp", "torch"])
@pytest.mark.parametrize("devices", [Devices(spread=0.1), ALL, Devices(spread=0.2, law="lognormal", seed=9)])
def test_gradients_are_central_differences_of_the_same_draw(
    compilation: Compilation, devices: Devices, backend: str
) -> None:
    module, variation, x, y = problem(compilation, devices, 2, backend=backend)
    _, gradients = learnt(module, variation, x, y)
    h = 1e-6
    for parameter, gradient in zip(module.parameters(), gradients, strict=True):
        for lane in range(parameter.numel()):
            losses = []
            for step in (h, -h):
                with torch.no_grad():
                    parameter[lane] += step
                losses.append(variation.learn(x, y, None, KEY)[0].item())
                with torch.no_grad():
                    parameter[lane] -= step
            wanted = (losses[0] - losses[1]) / (2 * h)
            assert gradient[lane].item() == pytest.approx(wanted, rel=1e-5, abs=1e-8)


def test_as_many_draws_as_samples_are_a_chip_each_and_parts_see_the_same_chips(compilation: Compilation) -> None:
    module, variation, x, y = problem(compilation, Devices(spread=0.3), 1)
    loss, gradients = learnt(module, variation, x, y)
    alone = [learnt(module, variation, x[k : k + 1], y[k : k + 1], k) for k in range(SAMPLES)]
    assert loss.item() == pytest.approx(sum(part.item() for part, _ in alone) / SAMPLES, rel=1e-12)
    for number, gradient in enumerate(gradients):
        torch.testing.assert_close(gradient, sum(g[number] for _, g in alone) / SAMPLES)
    # the same sample on two chips
    same = [variation.learn(x[:1], y[:1], None, KEY, first)[0].item() for first in (0, 1, 0)]
    assert same[0] == same[2] != same[1]
    assert variation.learn(x, y, None, (2, 6))[0].item() != loss.item()


def test_chips_are_shared_in_order_and_parts_may_cut_through_them(compilation: Compilation) -> None:
    module, variation, x, y = problem(compilation, ALL, 4)
    loss, gradients = learnt(module, variation, x, y)
    parts = [(slice(0, 3), 0), (slice(3, 6), 3)]  # as two workers have them
    found = [learnt(module, variation, x[part], y[part], first) for part, first in parts]
    assert loss.item() == pytest.approx(sum(part.item() for part, _ in found) / 2, rel=1e-12)
    for number, gradient in enumerate(gradients):
        torch.testing.assert_close(gradient, sum(g[number] for _, g in found) / 2)


def test_no_spread_is_the_engine_itself_and_the_module_stays_as_it_is(compilation: Compilation) -> None:
    module, variation, x, y = problem(compilation, Devices(), 2)
    before = [p.detach().clone() for p in module.parameters()]
    loss, scores = variation._nominal.learn(x, y)
    wanted = torch.autograd.grad(loss, list(module.parameters()))
    found, gradients = learnt(module, variation, x, y)
    assert found.item() == pytest.approx(loss.item(), rel=1e-12)
    for a, b in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(a, b)
    module, noisy, _, _ = problem(compilation, ALL, 2)
    learnt(module, noisy, x, y)
    assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))
    assert scores.shape == (SAMPLES, 2)


def test_what_is_not_trained_is_drawn_as_declared(compilation: Compilation) -> None:
    def spreads(block: Any) -> tuple[Spread, ...]:
        return (Spread(0.3),) if block.role == "C" else ()

    module, variation, x, y = problem(compilation, Devices(), 2, spreads=spreads)
    loss, _ = learnt(module, variation, x, y)
    nominal = variation._nominal.learn(x, y)[0].item()
    assert loss.item() != pytest.approx(nominal, rel=1e-6)
    assert learnt(module, variation, x, y)[0].item() == loss.item()


def test_single_precision_trains_too(compilation: Compilation) -> None:
    module, variation, x, y = problem(compilation, ALL, 3, dtype="float32")
    loss, gradients = learnt(module, variation, x, y)
    assert torch.isfinite(loss) and all(g.dtype == torch.float32 and bool(g.abs().sum() > 0) for g in gradients)
