"""Programs built by hand: the shapes the back end has to cope with."""

from __future__ import annotations

import numpy as np

from netc.diagnostics import Span
from netc.ir import build as b
from netc.ir.nodes import (
    Assemble,
    Columns,
    Concat,
    Const,
    Expr,
    Gather,
    Index,
    Input,
    Interpolate,
    MatVec,
    Parameter,
    ScatterAdd,
    Solve,
    State,
    Time,
)
from netc.ir.program import (
    Bounds,
    Coordinate,
    InputBlock,
    Observable,
    ParameterBlock,
    Program,
    StateBlock,
    Timing,
)


def at(line: int) -> tuple[Span, ...]:
    return (Span("deck.cir", line),)


def block(
    name: str, role: str, unit: str, values: list[float] | np.ndarray, trained: Bounds | None = None
) -> ParameterBlock:
    values = np.asarray(values, dtype=np.float64)
    lanes = tuple(f"{name}.{k}" for k in range(len(values)))
    return ParameterBlock(name, role, unit, values, lanes, at(3), trained)


def program(parameters, inputs, states, observables, outputs=(), title="a test", timing=None) -> Program:  # type: ignore[no-untyped-def]
    return Program(
        title, tuple(parameters), tuple(inputs), tuple(states), (), tuple(observables), tuple(outputs), (), timing
    )


def rc() -> Program:
    """A sine through R into C: the source needs no state, the capacitor no input."""
    r, c, v = Parameter("r_1"), Parameter("c_1"), State("v_1")
    source = b.unary("sin", b.mul(2 * np.pi * 100.0, Time()))
    return program(
        [block("r_1", "R", "Ohm", [1e3]), block("c_1", "C", "F", [1e-6])],
        [],
        [StateBlock("v_1", "V", ("out",), Const(0.25), b.div(b.div(b.sub(source, v), r), c), at(4))],
        [Observable("n_1", "V", ("in",), source), Observable("n_2", "V", ("out",), v)],
        ("out",),
        timing=Timing(1e-5, 1e-2),
    )


def mif_currents(v: Expr, x1: Expr, x2: Expr) -> tuple[Expr, Expr, Expr]:
    """Return the membrane current and dx/dt of both devices (Table III of the MIF paper)."""
    on, off = Parameter("on_1"), Parameter("off_1")

    def conductance(x: Expr) -> Expr:
        return b.add(b.mul(x, 1e-3), b.mul(b.sub(1.0, x), 1e-5))

    def rate(voltage: Expr, x: Expr) -> Expr:
        rise = b.unary("sigmoid", b.div(b.sub(voltage, on), 0.025))
        fall = b.unary("sigmoid", b.div(b.sub(voltage, off), 0.025))
        return b.div(b.sub(b.mul(b.sub(1.0, x), rise), b.mul(x, b.sub(1.0, b.mul(0.6, fall)))), Parameter("tau_1"))

    v2 = b.sub(0.05, v)
    current = b.sub(b.mul(conductance(x2), v2), b.mul(conductance(x1), v))
    return current, rate(v, x1), rate(v2, x2)


def mif(lanes: int = 1, drive: float = 2e-5) -> Program:
    """A bank of MIF cells fed by a constant current."""
    v, x1, x2 = State("v_1", lanes), State("x_1", lanes), State("x_2", lanes)
    current, d1, d2 = mif_currents(v, x1, x2)
    slope = b.div(b.add(current, b.mul(drive, Parameter("gain_1", lanes))), Parameter("c_1"))
    names = tuple(f"xn{k}.v" for k in range(lanes))
    return program(
        [
            block("c_1", "C", "F", [1e-7]),
            block("gain_1", "gain", "", np.linspace(1.0, 2.0, lanes)),
            block("on_1", "model", "V", [0.11]),
            block("off_1", "model", "V", [0.005]),
            block("tau_1", "model", "s", [1e-3]),
            block("x0_1", "initial", "", [0.1]),
        ],
        [],
        [
            StateBlock("v_1", "V", names, Const(0.0), slope, at(10)),
            StateBlock("x_1", "", tuple(f"xn{k}.x1" for k in range(lanes)), Parameter("x0_1"), d1, at(11)),
            StateBlock("x_2", "", tuple(f"xn{k}.x2" for k in range(lanes)), Const(0.0), d2, at(12)),
        ],
        [
            Observable("n_1", "V", names, v),
            Observable("n_2", "", tuple(f"xn{k}.x1" for k in range(lanes)), State("x_1", lanes)),
            Observable("n_3", "", tuple(f"xn{k}.x2" for k in range(lanes)), State("x_2", lanes)),
            Observable("n_4", "A", tuple(f"i(xn{k}.m)" for k in range(lanes)), current),
        ],
        names[:1],
        timing=Timing(1e-5, 1e-2),
    )


def network(sizes: tuple[int, int, int] = (6, 4, 3), seed: int = 0, spread: float = 1.0) -> Program:
    """Two crossbars and two layers of MIF cells; amplitudes scale one alpha current common to all samples."""
    n, h, o = sizes
    rng = np.random.default_rng(seed)
    trained = Bounds(1e3, 1e5, Coordinate.RECIPROCAL)
    shapes = {"r_1": (n, h), "r_2": (n, h), "r_3": (h, o), "r_4": (h, o)}
    parameters = [block(k, "R", "Ohm", 1 / rng.uniform(1e-5, 1e-3, a * c), trained) for k, (a, c) in shapes.items()]
    parameters += [
        block("c_1", "C", "F", [1e-7]),
        block("c_2", "C", "F", [1e-7]),
        block("scale_1", "gain", "", [spread * 0.02]),
        block("scale_2", "gain", "", [0.2]),
        block("on_1", "model", "V", [0.11]),
        block("off_1", "model", "V", [0.005]),
        block("tau_1", "model", "s", [1e-3]),
        block("taua_1", "model", "s", [6.4e-4]),
    ]
    features = InputBlock("u_1", "amplitude", tuple(f"pixel{k}" for k in range(n)))

    def weights(plus: str, minus: str) -> Expr:
        a, c = shapes[plus]
        rows, columns = np.divmod(np.arange(a * c), c)

        def matrix(name: str) -> Expr:
            return Assemble(b.div(1.0, Parameter(name, a * c)), Index(rows), Index(columns), (a, c))

        return b.sub(matrix(plus), matrix(minus))

    tau = Parameter("taua_1")
    pulse = b.binary("lt", b.sub(Time(), b.mul(1e-3, b.unary("floor", b.div(Time(), 1e-3)))), 2e-5)
    a, i = State("a_1"), State("a_2")
    states = [
        StateBlock("a_1", "A", ("alpha.a",), Const(0.0), b.div(b.sub(b.mul(20.0, pulse), a), tau), at(5)),
        StateBlock("a_2", "A", ("alpha.i",), Const(0.0), b.div(b.sub(a, i), tau), at(6)),
    ]
    observables = [Observable("n_1", "A", ("alpha",), i)]
    drive = b.mul(b.mul(MatVec(Input("u_1", n), weights("r_1", "r_2")), i), Parameter("scale_1"))
    for layer, size, cap in ((1, h, "c_1"), (2, o, "c_2")):
        v, x1, x2 = (State(f"{k}_{layer}", size) for k in ("v", "x", "y"))
        current, d1, d2 = mif_currents(v, x1, x2)
        for name, unit, leaf, slope in (
            (f"v_{layer}", "V", v, b.div(b.add(current, drive), Parameter(cap))),
            (f"x_{layer}", "", x1, d1),
            (f"y_{layer}", "", x2, d2),
        ):
            lanes = tuple(f"{name}.{k}" for k in range(size))
            states.append(StateBlock(name, unit, lanes, Const(0.0), slope, at(20 + layer)))
            observables.append(Observable(f"o_{name}", unit, lanes, leaf))
        observables.append(Observable(f"i_{layer}", "A", tuple(f"i{layer}.{k}" for k in range(size)), current))
        drive = b.mul(MatVec(v, weights("r_3", "r_4")), Parameter("scale_2")) if layer == 1 else drive
    outputs = tuple(f"v_2.{k}" for k in range(o))
    return program(parameters, [features], states, observables, outputs, timing=Timing(1e-5, 1e-2))


def waveform() -> Program:
    """Whole waveforms into three RC stages."""
    u, v, g = Input("u_1", 3), State("v_1", 3), Parameter("g_1", 3)
    lanes = ("a", "b", "c")
    slope = b.mul(1e3, b.mul(g, b.sub(u, v)))
    drop = b.sub(u, v)
    return program(
        [block("g_1", "gain", "", [1.0, 2.0, 0.5])],
        [InputBlock("u_1", "waveform", lanes)],
        [StateBlock("v_1", "V", lanes, Const(0.0), slope, at(3))],
        [Observable("n_1", "V", lanes, v), Observable("n_2", "V", ("da", "db", "dc"), b.mul(drop, drop))],
        ("a",),
    )


def bridge() -> Program:
    """Four capacitors hang on a resistive network that is solved: a matrix of parameters, and one that moves."""
    v, g = State("v_1", 4), Parameter("g_1", 4)
    eye = Index(np.arange(4))
    fixed = Assemble(Concat(g, Const(-0.1), Const(-0.1)), Index([0, 1, 2, 3, 0, 1]), Index([0, 1, 2, 3, 1, 0]), (4, 4))
    moving = Assemble(b.add(2.0, b.mul(v, v)), eye, eye, (4, 4))
    first = Solve(fixed, b.add(b.mul(g, v), b.mul(0.1, Input("u_1", 4))))
    second = Solve(moving, first)
    lanes = tuple(f"m{k}" for k in range(4))
    return program(
        [block("g_1", "R", "S", [1.0, 2.0, 3.0, 1.5])],
        [InputBlock("u_1", "amplitude", tuple("abcd"))],
        [
            StateBlock(
                "v_1",
                "V",
                tuple(f"v{k}" for k in range(4)),
                Gather(g, Index([1, 1, 0, 2])),
                b.mul(100.0, b.sub(second, v)),
                at(7),
            )
        ],
        [
            Observable("n_1", "V", lanes, first),
            Observable("n_2", "V", tuple(f"k{k}" for k in range(4)), second),
            Observable("n_3", "V", ("sum",), ScatterAdd(second, Index([0, 0, 0, 0]), 1)),
            Observable("n_4", "V", tuple(f"p{k}" for k in range(4)), b.mul(2.0, g)),
        ],
        ("sum",),
    )


def shapes() -> Program:
    """One of every operator, lane shuffles, selects and an interpolated source."""
    v, t, u = State("v_1", 6), Time(), Input("u_1", 6)
    g = Parameter("g_1", 6)
    xs = Columns(Const(0.0), Const(1e-3), Const(2e-3))
    ys = Columns(Const(0.0), Parameter("top_1"), Const(0.5))
    pwl = Interpolate(t, xs, ys)
    picks = [
        Gather(v, Index([0, 1, 2])),
        Gather(v, Index([0, 2, 4])),
        Gather(v, Index([5, 0, 3, 3])),
        Gather(v, Index([2, 2, 2])),
        ScatterAdd(v, Index([0, 0, 0, 1, 1, 1]), 2),
        ScatterAdd(v, Index([0, 1, 0, 1, 0, 1]), 2),
        ScatterAdd(v, Index([4, 1, 0, 1, 0, 3]), 5),
        ScatterAdd(Gather(v, Index([0, 1])), Index([1, 2]), 4),
        Concat(v, pwl, Const(3.0), g),
        MatVec(v, Assemble(b.mul(g, u), Index([0, 1, 2, 3, 4, 5]), Index([1, 1, 0, 0, 1, 0]), (6, 2))),
    ]
    safe = b.select(b.binary("gt", v, 0.1), b.unary("sqrt", b.sub(v, 0.1)), b.unary("log", b.sub(1.1, v)))
    swing = [b.unary(op, b.mul(0.4, v)) for op in ("exp", "abs", "sin", "cos", "tan", "asin", "acos", "atan", "sinh")]
    swing += [b.unary(op, b.mul(0.4, v)) for op in ("cosh", "tanh", "asinh", "atanh", "floor", "ceil", "round", "sign")]
    swing += [b.unary("acosh", b.add(2.0, b.mul(v, v))), b.unary("not", b.binary("lt", v, 0.2)), b.neg(v)]
    swing += [b.binary(op, v, g) for op in ("min", "max", "lt", "le", "gt", "ge", "eq", "ne", "and", "or")]
    swing += [b.binary("min", v, 0.2), b.binary("max", 0.2, v), b.binary("pow", v, 3.0), b.binary("pow", 2.0, v)]
    swing += [b.binary("pow", g, v), safe, b.select(v, 1.0, 0.1)]
    slope = b.mul(50.0, b.sub(b.add(b.mul(b.unary("sin", b.mul(1e3, t)), u), pwl), b.mul(g, b.unary("tanh", v))))
    observables = [
        Observable(f"n_{k}", "", tuple(f"s{k}.{j}" for j in range(e.shape[0])), e)
        for k, e in enumerate([*picks, *swing])
    ]
    observables.append(Observable("n_time", "s", ("clock",), t))
    observables.append(Observable("n_const", "V", ("vdd",), Const(1.8)))
    observables.append(Observable("n_input", "V", tuple(f"in{k}" for k in range(6)), u))
    return program(
        [block("g_1", "gain", "", [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]), block("top_1", "source", "V", [1.0])],
        [InputBlock("u_1", "amplitude", tuple("abcdef"))],
        [StateBlock("v_1", "V", tuple(f"v{k}" for k in range(6)), Const(0.05), slope, at(2))],
        observables,
    )
