"""However a module runs through time (stretches, recomputation, compiled blocks), it finds the same."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from netc.emit import emit_torch
from netc.emit.layers import common_layer, layers
from netc.emit.schedule import schedule
from netc.ir.program import Program
from netc.kernels import library
from netc.runtime.load import instantiate
from tests.emit import programs

ALL = ["many", "rc", "mif", "network", "waveform", "bridge", "shapes"]
STEPS = 47  # no multiple of a block or a stretch
DT = 2e-5


def make(name: str) -> Program:
    """Return a program of :mod:`tests.emit.programs`; ``many`` lanes common to all samples fill blocks too."""
    program: Program = programs.mif(70) if name == "many" else getattr(programs, name)()
    return program


Gradients = dict[str, torch.Tensor]


def drive(program: Program, steps: int = STEPS) -> torch.Tensor | None:
    if not program.inputs:
        return None
    features = sum(block.size for block in program.inputs)
    shape = (steps, 3, features) if program.inputs[0].mode == "waveform" else (3, features)
    return torch.as_tensor(np.random.default_rng(1).uniform(0.2, 1.0, shape))


def learn(circuit: Any, program: Program, observe: tuple[str, ...] | None = None) -> tuple[torch.Tensor, Gradients]:
    """Return signals and the gradients of a weighted sum of them and of the last state by all values."""
    values = {
        block.name: torch.tensor(block.values, dtype=torch.float64, requires_grad=True) for block in program.parameters
    }
    dtype = circuit.precision.dtype
    u = drive(program)
    rows, state = circuit(STEPS, DT, None if u is None else u.to(dtype), values=values, observe=observe)
    weights = torch.as_tensor(np.random.default_rng(2).normal(size=rows.shape), dtype=dtype)
    total = (rows * weights).sum() + sum((k + 1.0) * x.sum() for k, x in enumerate(state))
    found = torch.autograd.grad(total, list(values.values()), allow_unused=True)
    return rows.detach(), {n: g for n, g in zip(values, found, strict=True) if g is not None}


def same(found: tuple[torch.Tensor, Gradients], expected: tuple[torch.Tensor, Gradients], tolerance: float) -> None:
    scale = expected[0].abs().amax().clamp(min=1e-30)
    assert ((found[0] - expected[0]).abs().max() / scale) <= tolerance
    assert found[1].keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        assert (found[1][name] - gradient).norm() <= tolerance * gradient.norm().clamp(min=1e-30), name


@pytest.mark.parametrize("name", ALL)
def test_blocks_find_what_single_steps_find(name: str) -> None:
    program = make(name)
    expected = learn(instantiate(program, torch.float64), program)
    circuit: Any = instantiate(program, torch.float64)
    circuit.compiled, circuit.stretch = True, 20
    with torch.compiler.set_stance("force_eager"):
        same(learn(circuit, program), expected, 1e-9)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("compiled", [False, True])
def test_recomputed_stretches_find_what_kept_ones_find(name: str, compiled: bool) -> None:
    program = make(name)
    expected = learn(instantiate(program, torch.float64), program)
    circuit: Any = instantiate(program, torch.float64)
    circuit.recompute, circuit.compiled, circuit.stretch = True, compiled, 10
    with torch.compiler.set_stance("force_eager"):
        same(learn(circuit, program), expected, 1e-9)


@pytest.mark.parametrize("name", ["network", "mif", "shapes"])
def test_a_few_signals_have_the_gradients_of_all(name: str) -> None:
    """Histories that nothing asks for have no gradient to give."""
    program = make(name)
    plain, circuit = (instantiate(program, torch.float64) for _ in range(2))
    observe = program.outputs or plain.NODES[:3]
    circuit.compiled = True
    with torch.compiler.set_stance("force_eager"):
        same(learn(circuit, program, observe), learn(plain, program, observe), 1e-9)


def test_torch_compile_finds_what_eager_finds() -> None:
    program = programs.waveform()
    circuit: Any = instantiate(program, torch.float32)
    circuit.compiled = True
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = learn(circuit, program)
    failed = [str(w.message) for w in said if "torch.compile failed" in str(w.message)]
    if failed and library.compiler() is None:
        pytest.skip(failed[0])
    assert not failed
    same(found, learn(instantiate(program, torch.float32), program), 2e-5)


def test_where_torch_compile_fails_a_warning_says_so_and_the_numbers_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = programs.network()
    expected = learn(instantiate(program, torch.float64), program)

    def fail(*given: Any, **options: Any) -> Any:
        raise RuntimeError("no compiler\nsecond line")

    monkeypatch.setattr(torch, "compile", fail)
    circuit: Any = instantiate(program, torch.float64)
    circuit.compiled = True
    with pytest.warns(UserWarning, match="torch.compile failed, running without: RuntimeError: no compiler$"):
        found = learn(circuit, program)
    same(found, expected, 1e-9)


def test_a_layer_reads_earlier_layers_through_one_product_for_all_steps() -> None:
    program = programs.network()
    first, second = layers(schedule(program))
    assert [program.states[k].name for k in first.numbers] == ["v_1", "x_1", "y_1"]
    assert [program.states[k].name for k in second.numbers] == ["v_2", "x_2", "y_2"]
    source = emit_torch(program)
    steps = source[source.index("\ndef step_1") : source.index("\ndef unpacked")]
    assert "v_1_rows[:-1] @" in source and "@" not in steps


def test_states_that_read_each_other_are_one_layer() -> None:
    (only,) = layers(schedule(programs.bridge()))
    assert only.numbers == (0,)
    assert common_layer(schedule(programs.mif(200))).block > 1
    assert common_layer(schedule(programs.mif())).block == 0, "not worth a compiled graph"


class LargestTensor(TorchDispatchMode):
    """Notes the elements of the largest tensor that any operation returns."""

    elements = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for x in result if isinstance(result, tuple | list) else (result,):
            if isinstance(x, torch.Tensor) and x.numel() > self.elements and "expand" not in str(function):
                self.elements = x.numel()
        return result


def test_inference_keeps_no_trajectory_that_nobody_asks_for() -> None:
    program = programs.network((6, 40, 3))
    circuit: Any = instantiate(program)
    steps, batch = 1000, 4
    with torch.no_grad(), LargestTensor() as largest:
        circuit(steps, DT, torch.ones(batch, 6), observe=program.outputs)
    assert largest.elements <= max((steps + 1) * batch * 3, (circuit.stretch + 1) * batch * 40)


@pytest.mark.parametrize("name", ALL)
def test_runs_where_the_module_is(name: str) -> None:
    """Any tensor made on the CPU on the way would meet one that is not."""
    program = make(name)
    circuit: Any = instantiate(program).to("meta")
    u = drive(program)
    found, state = circuit(STEPS, DT, None if u is None else u.to("meta", torch.float32))
    assert found.device.type == "meta" and found.shape == (STEPS + 1, 1 if u is None else 3, len(circuit.NODES))
    assert all(x.device.type == "meta" for x in state)
    assert circuit(STEPS, DT, None if u is None else u.to("meta"), observe=())[0].device.type == "meta"
