"""Newton nodes and the time step: meaning, derivatives, text, and the same numbers in PyTorch."""

import numpy as np
import pytest
import torch

from netc.ir import build, serial
from netc.ir.adjoint import adjoints
from netc.ir.derivative import tangent
from netc.ir.implicit import Newton, iterate, solution
from netc.ir.interpret import evaluate, simulate
from netc.ir.nodes import Const, Expr, Input, Parameter, State, Time, TimeStep, Unary, Unknown, postorder
from netc.ir.printer import format_expr, format_program
from netc.ir.program import InputBlock, Observable, ParameterBlock, Program, StateBlock
from netc.ir.rates import Rates
from netc.ir.verify import verify
from netc.kernels import build as build_kernel
from netc.optimise.rewriting import rewritten
from netc.runtime.load import instantiate

THERMAL = 0.02585


def diode(drive: Expr, resistance: Expr, lanes: int, guess: Expr = build.ZERO) -> Expr:
    """Voltages of diodes to ground behind resistors, a system each."""
    z, at = Unknown("z", lanes), Unknown("at", lanes)
    saturation = Const(1e-14)

    def current(v: Expr) -> Expr:
        return build.mul(saturation, build.sub(build.unary("exp", build.div(v, THERMAL)), 1.0))

    residual = build.sub(build.div(build.sub(drive, z), resistance), current(z))
    slope = build.neg(
        build.add(build.div(1.0, resistance), build.mul(1e-14 / THERMAL, build.unary("exp", build.div(at, THERMAL))))
    )
    step = build.neg(build.div(residual, Unary("detach", slope)))
    return solution(step, z, at, guess, systems=lanes, names=tuple(f"n{k}" for k in range(lanes)))


def program(lanes: int = 3) -> Program:
    """Diodes driven by amplitudes over a state that decays, which they load."""
    r = ParameterBlock("r", "R", "Ohm", np.geomspace(10.0, 1e4, lanes), tuple(f"r{k}" for k in range(lanes)), ())
    x, u = State("x", lanes), Input("u", lanes)
    drive = build.mul(u, build.add(x, build.unary("sin", build.mul(Time(), 1e3))))
    value = diode(drive, Parameter("r", lanes), lanes)
    slope = build.mul(build.sub(value, x), 1e3)
    lane_names = tuple(f"v{k}" for k in range(lanes))
    return Program(
        "diodes",
        (r,),
        (InputBlock("u", "amplitude", tuple(f"u{k}" for k in range(lanes))),),
        (StateBlock("x", "V", tuple(f"x{k}" for k in range(lanes)), Const(0.5), slope, ()),),
        (),
        (Observable("v", "V", lane_names, value),),
        (),
        (),
        None,
    )


@pytest.mark.parametrize("volts", [-1e3, -5.0, 0.0, 0.3, 5.0, 80.0, 1e4])
def test_a_diode_is_found_from_a_cold_start(volts: float):
    r = Parameter("r", 1)
    (v,) = evaluate([diode(Const(volts), r, 1)], {r: np.array([1e3])})
    assert (volts - v) / 1e3 == pytest.approx(1e-14 * np.expm1(v / THERMAL), rel=1e-9, abs=1e-15)


def test_each_system_and_sample_goes_its_own_way():
    u, r = Input("u", 4), Parameter("r", 4)
    values = np.random.default_rng(0).uniform(-20, 20, (5, 4))
    resistances = np.geomspace(1.0, 1e6, 4)
    (together,) = evaluate([diode(u, r, 4)], {u: values, r: resistances})
    one = diode(Input("u", 1), Parameter("r", 1), 1)
    for sample in range(5):
        for lane in range(4):
            here = {Input("u", 1): values[sample, lane : lane + 1], Parameter("r", 1): resistances[lane : lane + 1]}
            (alone,) = evaluate([one], here)
            assert together[sample, lane] == alone[0]


def test_what_has_no_solution_is_not_a_number():
    with np.errstate(all="ignore"):
        found = iterate(lambda z, at: -(z**2 + 1) / (2 * at), np.array([[1.0, 3.0]]), 2)
    assert np.isnan(found).all()
    with np.errstate(all="ignore"):
        mixed = iterate(lambda z, at: -(z**2 - np.array([4.0, -4.0])) / (2 * at), np.array([[1.0, 3.0]]), 2)
    assert mixed[0, 0] == 2.0 and np.isnan(mixed[0, 1])


def test_what_has_no_solution_is_given_up_early():
    """24 stalled steps a start, not all 200 with up to 40 halvings each."""
    for law in (lambda z, at: -(z**2 + 1) / (2 * at), lambda z, at: -(np.abs(z) + 1) / np.sign(at + 1e-300)):
        calls = 0

        def step(z: np.ndarray, at: np.ndarray, law=law) -> np.ndarray:
            nonlocal calls
            calls += 1
            return law(z, at)

        with np.errstate(all="ignore"):
            assert np.isnan(iterate(step, np.array([1.0]), 1)).all()
        assert calls < 4000


def test_the_guess_decides_between_solutions():
    def step(z: np.ndarray, at: np.ndarray) -> np.ndarray:
        return -(z - np.tanh(3 * z)) / (1 - 3 / np.cosh(3 * at) ** 2)

    found = iterate(step, np.array([-0.8, 0.0, 1.2]), 3)
    np.testing.assert_allclose(found, [-found[2], 0.0, np.tanh(3 * found[2])], atol=1e-15)
    assert found[2] > 0.9


def test_derivatives_are_those_of_the_implicit_function():
    drive, r = Parameter("drive", 3), Parameter("r", 3)
    value = diode(drive, r, 3)
    here = {drive: np.array([-1.0, 0.6, 5.0]), r: np.array([1e3, 50.0, 2e4])}
    (v,) = evaluate([value], here)
    conductance = 1e-14 / THERMAL * np.exp(v / THERMAL)
    expected = (here[drive] - v) / here[r] ** 2 / -(1 / here[r] + conductance)
    (forward,) = evaluate([tangent(value, {r: Const(1.0)})], here)
    (reverse,) = evaluate([adjoints({value: Const(1.0)}, [r])[r]], here)
    np.testing.assert_allclose(forward, expected, rtol=1e-12)
    np.testing.assert_allclose(reverse, expected, rtol=1e-12)


def test_the_step_is_closed_and_operands_are_computed_once():
    (node,) = [n for n in postorder(program().observables[0].value) if isinstance(n, Newton)]
    assert Parameter("r", 3) in {leaf for o in node.operands for leaf in postorder(o)}
    assert not any(isinstance(n, Parameter | State | Input | Time) for n in postorder(node.step))
    verify(program())
    assert rewritten(program(), lambda _: None).observables[0].value is program().observables[0].value


def test_rate_text_and_bytes():
    p = program()
    assert Rates(p)(p.observables[0].value) == 3
    text = format_program(p)
    assert ", z -> " in text and "newton(" in text and "z0" in text
    assert format_program(p) == text
    assert format_program(serial.load(serial.dump(p))) == text
    assert format_expr(build.mul(TimeStep(), 2.0)) == "dt * 2"


def test_torch_says_the_same_as_the_interpreter_and_differentiates():
    p = program()
    inputs = np.random.default_rng(1).uniform(-8, 8, (4, 3))
    rows, _ = simulate(p, 30, 1e-4, inputs)
    circuit = instantiate(p, torch.float64)
    resistances = torch.tensor(p.parameters[0].values, requires_grad=True)
    found, _ = circuit(30, 1e-4, torch.tensor(inputs), values={"r": resistances})
    np.testing.assert_allclose(found.detach().numpy(), rows, rtol=1e-12, atol=1e-14)
    found.sum().backward()
    for lane in range(3):
        h = 1e-5 * p.parameters[0].values[lane]
        sides = []
        for sign in (1, -1):
            moved = p.parameters[0].values.copy()
            moved[lane] += sign * h
            sides.append(simulate(p, 30, 1e-4, inputs, values={"r": moved})[0].sum())
        assert resistances.grad[lane].item() == pytest.approx((sides[0] - sides[1]) / (2 * h), rel=1e-6)
    single, _ = instantiate(p, torch.float32)(30, 1e-4, torch.tensor(inputs, dtype=torch.float32))
    np.testing.assert_allclose(single.numpy(), rows, rtol=2e-4, atol=2e-5)


def test_a_kernel_finds_the_same():
    p = program()
    inputs = torch.rand(4, sum(block.size for block in p.inputs), dtype=torch.float64) if p.inputs else None
    kernel = build_kernel(p, torch.float64)
    assert kernel is not None
    module = instantiate(p, torch.float64)
    with torch.no_grad():
        found, expected = kernel.simulate(module, 30, 1e-4, inputs), module(30, 1e-4, inputs)[0]
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_the_time_step_is_the_same_everywhere():
    x = State("x", 2)
    tau = Parameter("tau", 1)
    slope = build.div(
        build.mul(x, build.sub(build.unary("exp", build.neg(build.div(TimeStep(), tau))), 1.0)), TimeStep()
    )
    p = Program(
        "exact decay",
        (ParameterBlock("tau", "C", "s", np.array([0.3]), ("tau",), ()),),
        (),
        (StateBlock("x", "V", ("a", "b"), build.concat([Const(1.0), Const(2.0)]), slope, ()),),
        (),
        (Observable("v", "V", ("a", "b"), build.mul(x, 1.0)),),
        (),
        (),
        None,
    )
    verify(p)
    exact = np.outer(np.exp(-np.arange(11) * 0.1 / 0.3), [1.0, 2.0])
    np.testing.assert_allclose(simulate(p, 10, 0.1)[0][:, 0], exact, rtol=1e-13)
    np.testing.assert_allclose(instantiate(p, torch.float64)(10, 0.1)[0][:, 0].numpy(), exact, rtol=1e-13)
    kernel = build_kernel(p, torch.float64, threads=1)
    assert kernel is not None
    module = instantiate(p, torch.float64)
    np.testing.assert_allclose(kernel.run(module, 10, 0.1)[0][:, 0].numpy(), exact, rtol=1e-13)
