"""Systems solved by Newton's method in kernels: values and gradients are those of interpreter and emitted module."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from netc.compiler import compile_deck
from netc.diagnostics import NetcError
from netc.generate import generate
from netc.ir import interpret
from netc.ir.program import Program
from netc.kernels import Kernel, build, systems
from netc.kernels.circuit import KernelCircuit
from netc.runtime.load import instantiate
from netc.runtime.simulate import simulate
from tests.discretise import decks as elements
from tests.kernels.test_agreement import Values

STEPS, SCALE = 30, 20.0

_CLAMP = (
    "V1 in 0 SIN(0 2 1k)\nR1 in a 1k\nD1 a 0 dm\nD2 0 a dm\n.model dm D(IS=1e-14 N=1.2)\nR2 a b 10k\nC1 b 0 10n\n"
    "*.netc input V1\n*.netc output b a\n*.netc train R* min=100 max=50k\n.tran 5u 200u uic\n"
)
_CELL = (
    "V1 w 0 SIN(0 1.2 2k)\nVg g 0 3.3\nRx w a 5k\nM1 a g b 0 nm W=1u L=0.2u\n"
    ".model nm NMOS(LEVEL=1 VTO=0.5 KP=2e-4 LAMBDA=0.05 GAMMA=0.3)\nCb b 0 20n\nRb b 0 20k\n"
    "*.netc input V1\n*.netc output b a\n*.netc train R* min=1k max=100k\n.tran 5u 200u uic\n"
)
_STAGE = (
    "Vc c 0 3\nV1 in 0 SIN(0.7 0.06 2k)\nRb in b 2k\n.model nq NPN(IS=1e-15 BF=80 VAF=50)\nQ1 x b e nq\nRe e 0 50\n"
    "Rc c x 1k\nRl x y 5k\nCy y 0 10n\n"
    "*.netc input V1\n*.netc output y x\n*.netc train R* min=10 max=20k\n.tran 5u 200u uic\n"
)
_INVERTER = (
    "Vd d 0 1.8\nV1 g 0 SIN(0.9 0.7 2k)\n.model nm NMOS(LEVEL=1 VTO=0.5 KP=2e-4 LAMBDA=0.05)\n"
    ".model pm PMOS(LEVEL=1 VTO=-0.5 KP=1e-4 LAMBDA=0.05)\nM1 x g 0 0 nm W=1u L=0.2u\nM2 x g d d pm W=2u L=0.2u\n"
    "Rl x y 50k\nCy y 0 1n\n*.netc input V1\n*.netc output y x\n*.netc train R* min=1k max=100k\n.tran 5u 200u uic\n"
)
_MIF = (
    "V1 in 0 1\nB1 0 m i=V(in)*60u*(1+sin(3k*time))\nCm m 0 100n IC=0\nRl m 0 20k\n"
    "Bm 0 x i=((1-V(x))/(1+exp((0.05-V(m))/0.025))-V(x)*(1-0.6/(1+exp((0.005-V(m))/0.025))))*1m\nCx x 0 1u IC=0.1\n"
    "Bi m 0 i=V(m)*(V(x)*1m+(1-V(x))*10u)\n"
    "*.netc input V1\n*.netc output m x\n*.netc train R* min=1k max=100k\n.tran 10u 1m uic\n"
)
_RLC = (
    "V1 in 0 SIN(0 1 2k)\nR1 in a 30\nL1 a b 1m IC=0\nC1 b 0 1u IC=0\nR2 b c 200\nC2 c 0 100n IC=0\n"
    "*.netc input V1\n*.netc output b c\n*.netc train R* min=5 max=1k\n.tran 10u 1m uic\n"
)
# the conductance between the two nodes follows from states, so that the matrix of an implicit step does
_MOVING = (
    "V1 in 0 SIN(0 1 2k)\n"
    + "".join(f"R{k} n{k - 1} n{k} r={{1k+500*V(s{k})**2}}\nC{k} n{k} 0 20n IC=0\n" for k in range(1, 7))
    + "".join(f"Bs{k} 0 s{k} i=(V(n{k})-V(s{k}))*1m\nCs{k} s{k} 0 1u IC=0.2\n" for k in range(1, 7))
    + "R0 in n0 100\n*.netc input V1\n*.netc output n3 n6\n*.netc train R0 min=10 max=1k\n.tran 5u 200u uic\n"
)

TEXTS: dict[str, Callable[[], str]] = {
    "clamp": lambda: _CLAMP,
    "cell": lambda: _CELL,
    "stage": lambda: _STAGE,
    "inverter": lambda: _INVERTER,
    "mif": lambda: _MIF,
    "rlc": lambda: _RLC,
    "moving": lambda: _MOVING,
    "1t1r": lambda: generate((5, 4, 3), selector="1t1r", seed=1),
    "passive 1t1r": lambda: generate((4, 3, 2), passive=True, selector="1t1r", seed=2),
    "diodes": lambda: generate((4, 3, 2), selector="diode", seed=3),
    "wires": lambda: generate((3, 2, 2), wire_resistance=2.0, sense_resistance=100.0, selector="1t1r", seed=4),
}
CASES = (
    ("clamp", "euler"),
    ("cell", "euler"),
    ("stage", "euler"),
    ("inverter", "euler"),
    ("1t1r", "euler"),
    ("passive 1t1r", "euler"),
    ("diodes", "heun"),
    ("wires", "euler"),
    ("mif", "backward-euler"),
    ("mif", "trapezoidal"),
    ("mif", "bdf2"),
    ("rlc", "bdf2"),
    ("cell", "trapezoidal"),
    ("moving", "backward-euler"),
)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Program]:
    folder, known = tmp_path_factory.mktemp("decks"), dict[tuple[str, str], Program]()

    def get(name: str, integrator: str = "euler") -> Program:
        if (name, integrator) not in known:
            path = folder / f"{name.replace(' ', '-')}.cir"
            text = TEXTS[name]()
            path.write_text(text if text.rstrip().endswith(".end") else f"* {name}\n{text}.end\n", encoding="utf-8")
            known[name, integrator] = compile_deck(path, integrator=integrator).program
        return known[name, integrator]

    return get


def kernel_of(program: Program, dtype: torch.dtype = torch.float64, **more: Any) -> Kernel:
    kernel = build(program, dtype, **{"threads": 1, "gradients": False, **more})
    assert kernel is not None
    return kernel


def step_of(program: Program) -> float:
    assert program.timing is not None
    return program.timing.tmax or program.timing.tstep


def drive(program: Program, batch: int = 5) -> torch.Tensor:
    features = sum(block.size for block in program.inputs)
    values = np.random.default_rng(3).uniform(0.2, 1.0, (batch, features)).astype(np.float32)  # the same in both types
    return torch.as_tensor(values, dtype=torch.float64)


def gradients(total: torch.Tensor, leaves: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    return {name: torch.zeros_like(x) if g is None else g for (name, x), g in zip(leaves.items(), found, strict=True)}


def close(have: dict[str, torch.Tensor], want: dict[str, torch.Tensor], relative: float) -> None:
    for name, gradient in want.items():
        error = float((have[name] - gradient).abs().max())
        assert error <= relative * float(gradient.abs().max()) + 1e-30, name


@pytest.mark.parametrize(("name", "integrator"), CASES)
def test_loss_signals_and_gradients_agree(name: str, integrator: str, compiled: Callable[..., Program]) -> None:
    program = compiled(name, integrator)
    module, dt = instantiate(program, torch.float64), step_of(program)
    inputs = drive(program)
    labels = torch.arange(5) % len(module.OUTPUTS)
    kernel = kernel_of(program)
    steps = 6 if name == "wires" else STEPS
    expected, _ = interpret.simulate(program, steps, dt, inputs.numpy())
    with torch.no_grad():
        found = kernel.simulate(module, steps, dt, inputs)
    span = np.maximum(np.abs(expected).max((0, 1)), 1e-12)
    assert (np.abs(found.numpy() - expected) / span).max() < 1e-9

    blocks = {n: v.detach().clone() for n, v in module.values().items()}
    trained = {b.name for b in program.parameters if b.trained}
    leaves = {n: v.requires_grad_() for n, v in blocks.items() if name != "wires" or n in trained}
    leaves["inputs"] = inputs.requires_grad_()
    rows = module(steps, dt, inputs, observe=module.OUTPUTS, values=blocks)[0]
    scores = torch.log_softmax(rows[1:] * SCALE, -1).mean(0)
    want = gradients(torch.nn.functional.nll_loss(scores, labels), leaves)
    loss, log_probabilities = kernel.classify(Values(blocks), inputs, labels, steps, dt, SCALE)
    torch.testing.assert_close(log_probabilities, scores.detach(), rtol=1e-9, atol=1e-12)
    close(gradients(loss, leaves), want, 1e-9)


@pytest.mark.parametrize("name", ["clamp", "wires"])
def test_float32_is_float64_but_for_rounding(name: str, compiled: Callable[..., Program]) -> None:
    program = compiled(name)
    dt, inputs = step_of(program), drive(program)
    labels = torch.arange(5) % 2
    found = []
    for dtype in (torch.float64, torch.float32):
        module, kernel = instantiate(program, dtype), kernel_of(program, dtype, gradients=True)
        loss = kernel.loss(module, inputs.to(dtype), labels, STEPS, dt, SCALE)
        moved = gradients(loss, dict(module.named_parameters()))
        found.append((loss.item(), {n: g.double() for n, g in moved.items()}))
    (want, expected), (have, rounded) = found
    assert have == pytest.approx(want, rel=2e-6)
    close(rounded, expected, 1e-4)


@pytest.mark.parametrize("name", ["clamp", "wires"])
def test_gradients_are_central_differences(name: str, compiled: Callable[..., Program]) -> None:
    program = compiled(name)
    module, dt, inputs = instantiate(program, torch.float64), step_of(program), drive(program)
    labels = torch.arange(5) % len(module.OUTPUTS)
    kernel = kernel_of(program, gradients=True)
    for parameter in module.parameters():
        loss = kernel.loss(module, inputs, labels, STEPS, dt, SCALE)
        (slope,) = torch.autograd.grad(loss, [parameter])
        direction = torch.sign(slope)
        start, differences = parameter.detach().clone(), []
        for size in (1e-3, 5e-4):
            ends = []
            for sign in (1.0, -1.0):
                with torch.no_grad():
                    parameter.copy_(start + sign * size * direction)
                ends.append(kernel.loss(module, inputs, labels, STEPS, dt, SCALE).item())
            differences.append((ends[0] - ends[1]) / (2 * size))
        with torch.no_grad():
            parameter.copy_(start)
        extrapolated = (4 * differences[1] - differences[0]) / 3
        assert float(slope.abs().sum()) == pytest.approx(extrapolated, rel=1e-5)


def test_samples_are_solved_as_if_alone_and_threads_change_no_bit(compiled: Callable[..., Program]) -> None:
    program = compiled("1t1r")
    module, dt, inputs = instantiate(program, torch.float32), step_of(program), drive(program, 40).float()
    labels = torch.arange(40) % 3
    runs = []
    for threads in (1, 1, 2):
        kernel = kernel_of(program, torch.float32, threads=threads, gradients=True)
        loss, scores = kernel.classify(module, inputs, labels, STEPS, dt, SCALE)
        runs.append([loss.detach(), scores, *torch.autograd.grad(loss, list(module.parameters()))])
    for run in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(run, runs[0], strict=True))
    together = kernel.log_probabilities(module, inputs, STEPS, dt, SCALE)
    for k in (0, 17, 39):
        assert torch.equal(kernel.log_probabilities(module, inputs[k : k + 1], STEPS, dt, SCALE)[0], together[k])


def test_passes_change_nothing(compiled: Callable[..., Program]) -> None:
    program = compiled("clamp")
    module, dt, inputs = instantiate(program, torch.float64), step_of(program), drive(program)
    labels = torch.arange(5) % 2

    def found(*disable: str) -> list[torch.Tensor]:
        kernel = kernel_of(program, disable=disable, gradients=True)
        loss = kernel.loss(module, inputs, labels, STEPS, dt, SCALE)
        return [loss.detach(), *torch.autograd.grad(loss, list(module.parameters()))]

    want = found()
    for name in ("collapse", "factoring", "loss_fusion", "checkpoints"):
        for have, expected in zip(found(name), want, strict=True):
            assert float((have - expected).abs().max()) <= 1e-9 * float(expected.abs().max()), name


def test_what_has_no_solution_is_said(tmp_path: Path) -> None:
    path = tmp_path / "none.cir"
    path.write_text(
        "* no solution once the input is large\nV1 in 0 PULSE(0 1 50u 1u 1u 1 2)\nR1 in b 1k\nC1 b 0 10n\n"
        "R2 in a 1k\nB1 a 0 i={1m*(exp(V(a))-2*V(a)-2+4*V(in))}\n*.netc input V1\n*.netc output b\n"
        ".tran 5u 200u uic\n.end\n",
        encoding="utf-8",
    )
    program = compile_deck(path).program
    module = instantiate(program, torch.float64)
    kernel = kernel_of(program)
    rows = kernel.simulate(module, STEPS, 5e-6, torch.tensor([[0.0], [1.0]], dtype=torch.float64))
    a = module.NODES.index("a")
    assert bool(torch.isfinite(rows[:, 0]).all())
    assert bool(rows[-1, 1, a].isnan())
    with pytest.raises(NetcError, match=r"Newton's method does not converge at step \d+ .* for a"):
        circuit: Any = KernelCircuit(module, kernel)  # called like a module
        simulate(circuit, dt=5e-6, steps=STEPS)


def test_what_is_too_large_is_refused_in_a_line(
    compiled: Callable[..., Program], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systems, "LARGEST", 10)
    told: list[str] = []
    assert build(compiled("wires"), torch.float64, notify=told.append) is None
    assert len(told) == 1
    assert "unknowns hang together at every step; kernels solve for at most 10; PyTorch runs instead" in told[0]


@pytest.mark.parametrize("name", ["non-linear node", "Q", "M", "S"])
def test_nodes_common_to_all_samples(name: str, tmp_path: Path) -> None:
    path = tmp_path / "deck.cir"
    path.write_text(elements.deck(name), encoding="utf-8")
    program = compile_deck(path, integrator="trapezoidal").program
    expected, _ = interpret.simulate(program, STEPS, 1e-5)
    found = kernel_of(program).simulate(instantiate(program, torch.float64), STEPS, 1e-5).detach().numpy()
    assert (np.abs(found - expected) / np.maximum(np.abs(expected).max((0, 1)), 1e-12)).max() < 1e-9
