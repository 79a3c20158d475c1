"""The emitted module means what the interpreter says, is plain Python, and takes no code from a deck."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from netc.diagnostics import NetcError, Span
from netc.emit import emit_torch
from netc.ir import build as b
from netc.ir import interpret
from netc.ir.nodes import Assemble, Const, Index, Input, Parameter, Solve, State
from netc.ir.program import AlgebraicBlock, Bounds, Coordinate, Observable, Program, StateBlock
from netc.runtime.load import instantiate, load
from tests.emit import programs

ALL = ["rc", "mif", "network", "waveform", "bridge", "shapes"]
STEPS = 60


def drive(program: Program, batch: int = 5) -> np.ndarray | None:
    if not program.inputs:
        return None
    random = np.random.default_rng(1)
    features = sum(block.size for block in program.inputs)
    shape = (STEPS, batch, features) if program.inputs[0].mode == "waveform" else (batch, features)
    return random.uniform(0.0, 1.0, shape)


def tensor(x: np.ndarray | None, dtype: torch.dtype = torch.float64) -> torch.Tensor | None:
    return None if x is None else torch.as_tensor(x, dtype=dtype)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_agrees_with_the_interpreter(name: str, dtype: torch.dtype, tolerance: float) -> None:
    program = getattr(programs, name)()
    u = drive(program)
    expected, end = interpret.simulate(program, STEPS, 2e-5, u)
    found, state = instantiate(program, dtype)(STEPS, 2e-5, tensor(u, dtype))
    assert found.dtype == dtype
    # float32 may fall on the other side of a comparison or a jump; those signals are the operators' test, not this one
    smooth = [
        k for k, n in enumerate(interpret.signal_names(program)) if dtype == torch.float64 or not n.startswith("s")
    ]
    span = np.maximum(np.abs(expected).max((0, 1)), 1e-12)
    assert (np.abs(found.detach().numpy() - expected)[..., smooth] / span[smooth]).max() < tolerance
    for ours, theirs in zip(state, end, strict=True):
        np.testing.assert_allclose(ours.detach().expand(theirs.shape), theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ALL)
def test_compiling_twice_gives_the_same_bytes(name: str) -> None:
    assert emit_torch(getattr(programs, name)()) == emit_torch(getattr(programs, name)())


@pytest.mark.parametrize("name", ["network", "waveform", "bridge", "shapes"])
def test_a_batch_is_its_samples_one_by_one(name: str) -> None:
    program = getattr(programs, name)()
    circuit, u = instantiate(program, torch.float64), tensor(drive(program))
    assert u is not None
    together = circuit(STEPS, 1e-5, u)[0]
    for k in range(u.shape[-2]):
        alone = circuit(STEPS, 1e-5, u[..., k : k + 1, :])[0]
        torch.testing.assert_close(together[:, k : k + 1], alone, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("name", ALL)
def test_a_run_in_two_parts_is_the_run(name: str) -> None:
    program = getattr(programs, name)()
    # float32 asinh over a whole array rounds by the place in the array: signals of `shapes` compare in float64
    dtype = torch.float64 if name == "shapes" else torch.float32
    circuit, u = instantiate(program, dtype), tensor(drive(program), dtype)
    first, last = (u[:25], u[25:]) if u is not None and u.ndim == 3 else (u, u)
    whole, end = circuit(STEPS, 1e-5, u)
    one, state = circuit(25, 1e-5, first)
    two, after = circuit(STEPS - 25, 1e-5, last, state=state, first_step=25)
    assert torch.equal(whole, torch.cat((one[:-1], two)))
    assert all(torch.equal(x, y) for x, y in zip(end, after, strict=True))


def test_only_what_is_asked_for_in_the_order_asked() -> None:
    program = programs.network()
    circuit, u = instantiate(program), tensor(drive(program), torch.float32)
    everything = circuit(STEPS, 1e-5, u)[0]
    names = ["v_2.2", "alpha", "x_1.3", "v_2.0", "i1.1"]
    picked = circuit(STEPS, 1e-5, u, observe=names)[0]
    assert torch.equal(picked, everything[..., [circuit.NODES.index(n) for n in names]])


def test_lines_do_not_grow_with_lanes() -> None:
    small, large = (emit_torch(programs.network(sizes)).splitlines() for sizes in ((40, 20, 18), (90, 70, 30)))
    assert len(small) == len(large)


def test_the_file_runs_alone(tmp_path: Path) -> None:
    file = tmp_path / "rc.py"
    file.write_text(emit_torch(programs.rc()))
    command = [sys.executable, "-I", str(file)]
    table = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert "1000 steps of 1e-05 s" in table and "out" in table
    subprocess.run([*command, "out.csv"], capture_output=True, check=True, cwd=tmp_path)
    rows = (tmp_path / "out.csv").read_text().splitlines()
    assert rows[0] == "time,in,out" and len(rows) == 1002


def test_imports_nothing_but_torch_and_the_standard_library() -> None:
    tree = ast.parse(emit_torch(programs.shapes()))
    found = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    found |= {str(n.module) for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in found} - set(sys.stdlib_module_names) == {"torch"}


HOSTILE = [
    '"""\nimport os; os.system("touch /tmp/owned")\n"""',
    "'); raise SystemExit('x') #",
    "__import__('os').system('x')",
    "a\\\nimport os",
    "\u202e\u2028import os\x00\r",
    "{} % {0} \\N{BULLET} \\",
    "class",
    "self",
    "torch",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_names_cannot_become_code(text: str) -> None:
    program = programs.mif(2)
    lanes = (text, text + "2")
    hostile = replace(
        program,
        title=text,
        notes=(text,),
        outputs=(text,),
        parameters=tuple(
            replace(p, unit=text, role=text, lanes=(text,) * len(p.values), spans=(Span(text, 3),))
            for p in program.parameters
        ),
        states=tuple(replace(s, lanes=lanes, unit=text, spans=(Span(text, 1),)) for s in program.states),
        observables=(replace(program.observables[0], lanes=lanes, unit=text), *program.observables[1:]),
    )
    source = emit_torch(hostile, source_name=text, version=text)
    assert _skeleton(source) == _skeleton(emit_torch(program))
    assert source.isascii()
    circuit: Any = load(source).Circuit(torch.float64)
    assert circuit.NODES[:2] == lanes
    found = circuit(5, 1e-5, observe=[text])[0]
    assert torch.equal(found, instantiate(program, torch.float64)(5, 1e-5, observe=["xn0.v"])[0])


@pytest.mark.parametrize("text", HOSTILE)
def test_block_names_cannot_become_code(text: str) -> None:
    leaf = State(text, 1)
    value = Parameter(text, 1)
    program = programs.program(
        [programs.block(text, "R", "", [2.0], Bounds(1.0, 3.0, Coordinate.LINEAR))],
        [],
        [StateBlock(text, "V", ("a",), Const(1.0), b.neg(b.mul(value, leaf)), ())],
        [Observable(text, "V", ("a",), leaf)],
    )
    circuit = instantiate(program, torch.float64)
    assert circuit(2, 0.1)[0].flatten().tolist() == pytest.approx([1.0, 0.8, 0.64])
    assert list(circuit.values()) == [text]


def _skeleton(source: str) -> list[str]:
    """Return the code with all string literals, docstrings included, blanked."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
    return ast.dump(tree).split("),")


def test_positions_project_and_take_values() -> None:
    circuit: Any = instantiate(programs.network(), torch.float64)
    assert circuit.r_1_position.min() >= 0.0 and circuit.r_1_position.max() <= 1.0
    circuit.set_values({"r_1": torch.linspace(1e3, 1e5, 24), "c_1": torch.tensor([2e-7], dtype=torch.float64)})
    assert circuit.r_1_position.detach()[[0, -1]].tolist() == pytest.approx([1.0, 0.0])
    torch.testing.assert_close(
        circuit.values()["r_1"], torch.linspace(1e3, 1e5, 24, dtype=torch.float64), rtol=1e-6, atol=0
    )
    assert circuit.values()["c_1"].item() == 2e-7
    with torch.no_grad():
        circuit.r_1_position.add_(5.0)
    circuit.project()
    assert (circuit.r_1_position == 1.0).all()
    with pytest.raises(ValueError, match="no block"):
        circuit.set_values({"nope": torch.zeros(1)})


def test_values_round_once_whatever_the_type() -> None:
    circuit: Any = instantiate(programs.rc(), torch.float32).to(torch.float64)
    assert circuit.c_1_value.dtype == torch.float64 and circuit.c_1_value.item() == 1e-6
    expected = interpret.simulate(programs.rc(), 20, 1e-5)[0]
    np.testing.assert_allclose(circuit(20, 1e-5)[0].detach(), expected, rtol=1e-12)


def test_time_does_not_round_in_float32() -> None:
    """A million steps in, a sine is still on time."""
    start = 1_000_000
    expected = interpret.simulate(programs.rc(), 3, 1e-5, first_step=start)[0]
    found = instantiate(programs.rc(), torch.float32)(3, 1e-5, first_step=start)[0]
    np.testing.assert_allclose(found.detach(), expected, atol=1e-6)


def test_bad_calls_say_what_is_wrong() -> None:
    circuit: Any = instantiate(programs.network())
    with pytest.raises(ValueError, match=r"no node 'v_2\.00'; close: .*v_2\.0"):
        circuit(3, 1e-5, observe=["v_2.00"])
    for steps in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match="steps must be"):
            circuit(steps, 1e-5)
    for dt in (0.0, -1e-5, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="dt must be"):
            circuit(3, dt)
    with pytest.raises(ValueError, match="inputs have shape"):
        circuit(3, 1e-5, torch.zeros(2, 5))
    with pytest.raises(ValueError, match="takes no inputs"):
        instantiate(programs.rc())(3, 1e-5, torch.zeros(2, 5))
    with pytest.raises(ValueError, match="whole waveforms"):
        instantiate(programs.waveform())(3, 1e-5)


def test_unsolved_equations_are_refused() -> None:
    program = replace(programs.rc(), algebraic=(AlgebraicBlock((), (), None, (), ()),))
    with pytest.raises(NetcError, match="have not been solved"):
        emit_torch(program)


def guarded(value: Any, start: float) -> float:
    """Return d (sum of the signal) / d p of one observable of a state that starts at p and stands still."""
    leaf = State("v_1", 1)
    program = programs.program(
        [programs.block("p_1", "initial", "V", [start])],
        [],
        [StateBlock("v_1", "V", ("v",), Parameter("p_1"), b.mul(0.0 * start, leaf), ())],
        [Observable("n_1", "V", ("n",), value(leaf))],
    )
    p = torch.tensor([start], dtype=torch.float64, requires_grad=True)
    result = instantiate(program, torch.float64)(1, 1e-3, values={"p_1": p})[0][0].sum()
    return float(torch.autograd.grad(result, p)[0])


@pytest.mark.parametrize(
    ("value", "start", "slope"),
    [
        (lambda v: b.select(b.binary("gt", v, 0.0), b.unary("sqrt", v), 0.0), -1.0, 0.0),
        (lambda v: b.select(b.binary("gt", v, 0.0), b.unary("sqrt", v), 0.0), 0.0, 0.0),
        (lambda v: b.select(b.binary("gt", v, 0.0), b.unary("log", v), b.mul(3.0, v)), -1.0, 3.0),
        (lambda v: b.select(b.binary("ne", v, 0.0), b.div(1.0, v), b.mul(2.0, v)), 0.0, 2.0),
        (lambda v: b.select(b.binary("lt", v, 0.0), v, b.binary("pow", v, 0.5)), -1.0, 1.0),
        (lambda v: b.binary("pow", v, 2.0), 0.0, 0.0),
        (lambda v: b.unary("abs", v), 0.0, 0.0),
        (lambda v: b.div(1.0, b.add(1.0, b.unary("exp", v))), 1e4, 0.0),
        (lambda v: b.unary("sigmoid", v), -1e4, 0.0),
    ],
)
def test_gradients_stay_finite_where_the_limit_is(value: Any, start: float, slope: float) -> None:
    assert guarded(value, start) == pytest.approx(slope)


def test_a_constant_matrix_is_factored_outside_the_loop() -> None:
    source = emit_torch(programs.bridge())
    prepare, forward = source.split("def forward(self, steps")
    assert prepare.count("torch.linalg.inv") == 1
    assert "linalg.inv" not in forward and forward.count("solve(") >= 1


def test_a_matrix_in_odd_order_is_a_permutation() -> None:
    random = np.random.default_rng(0)
    order = random.permutation(12)
    rows, columns = np.divmod(order, 4)
    matrix = Assemble(Parameter("g_1", 12), Index(rows), Index(columns), (3, 4))
    eye = Assemble(Const(2.0), Index([0, 1, 2]), Index([0, 1, 2]), (3, 3))
    from netc.ir.nodes import MatVec

    program = programs.program(
        [programs.block("g_1", "R", "", np.arange(12.0))],
        [programs.InputBlock("u_1", "amplitude", ("a", "b", "c"))],
        [],
        [
            Observable("n_1", "", ("p", "q", "r", "s"), MatVec(Input("u_1", 3), matrix)),
            Observable("n_2", "", ("x", "y", "z"), Solve(eye, Input("u_1", 3))),
        ],
    )
    u = random.normal(size=(2, 3))
    found = instantiate(program, torch.float64)(2, 1.0, tensor(u))[0].detach()
    np.testing.assert_allclose(found, interpret.simulate(program, 2, 1.0, u)[0], atol=1e-12)
