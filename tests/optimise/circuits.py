"""Hand-made systems in the form lowering gives them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from netc.diagnostics import Span
from netc.ir import build
from netc.ir.nodes import Const, Expr, Gather, Index, Input, Parameter, ScatterAdd, State, Time, Unary, Unknown
from netc.ir.program import (
    AlgebraicBlock,
    Bounds,
    Coordinate,
    InputBlock,
    Observable,
    ParameterBlock,
    Program,
    StateBlock,
)


def spans(count: int, line: int = 1) -> tuple[Span, ...]:
    return tuple(Span("deck.cir", line + k) for k in range(count))


@dataclass
class Builder:
    """Collects blocks; every method returns the leaf."""

    title: str
    parameters: list[ParameterBlock] = field(default_factory=list)
    inputs: list[InputBlock] = field(default_factory=list)
    states: list[StateBlock] = field(default_factory=list)
    algebraic: list[AlgebraicBlock] = field(default_factory=list)
    observables: list[Observable] = field(default_factory=list)

    def parameter(self, name: str, values: object, role: str = "R", trained: Bounds | None = None) -> Parameter:
        array = np.atleast_1d(np.asarray(values, dtype=np.float64))
        lanes = tuple(f"x{k}.{name}" for k in range(len(array)))
        self.parameters.append(ParameterBlock(name, role, "", array, lanes, spans(len(array), 10), trained))
        return Parameter(name, len(array))

    def input(self, name: str, size: int) -> Input:
        self.inputs.append(InputBlock(name, "amplitude", tuple(f"{name}{k}" for k in range(size))))
        return Input(name, size)

    def state(self, name: str, size: int, derivative: Expr, initial: Expr | None = None) -> State:
        lanes = tuple(f"{name}{k}" for k in range(size))
        self.states.append(StateBlock(name, "V", lanes, initial or Const(0.0), derivative, spans(size, 30)))
        self.observe(name, lanes, State(name, size))
        return State(name, size)

    def observe(self, name: str, lanes: tuple[str, ...], value: Expr) -> None:
        self.observables.append(Observable(f"o_{name}", "V", lanes, value))

    def explicit(self, unknown: Unknown, value: Expr, line: int = 50) -> None:
        lanes = tuple(f"{unknown.name}{k}" for k in range(unknown.size))
        residual = build.sub(unknown, value)
        self.algebraic.append(
            AlgebraicBlock((unknown,), (residual,), value, (lanes,), (spans(unknown.size, line),)),
        )
        self.observe(unknown.name, lanes, unknown)

    def solve(self, unknowns: list[Unknown], residuals: list[Expr], line: int = 50) -> None:
        lanes = tuple(tuple(f"{u.name}{k}" for k in range(u.size)) for u in unknowns)
        where = tuple(spans(u.size, line + 10 * k) for k, u in enumerate(unknowns))
        self.algebraic.append(AlgebraicBlock(tuple(unknowns), tuple(residuals), None, lanes, where))
        for unknown, names in zip(unknowns, lanes, strict=True):
            self.observe(unknown.name, names, unknown)

    def program(self, outputs: tuple[str, ...] = ()) -> Program:
        return Program(
            self.title,
            tuple(self.parameters),
            tuple(self.inputs),
            tuple(self.states),
            tuple(self.algebraic),
            tuple(self.observables),
            outputs,
            (),
            None,
        )


def wave() -> Expr:
    """A waveform common to all inputs."""
    return Unary("sin", build.mul(Time(), Const(300.0)))


def pairs(rows: int, columns: int) -> tuple[Index, Index]:
    """Row and column number of every element of a full bank, row by row."""
    return Index(np.repeat(np.arange(rows), columns)), Index(np.tile(np.arange(columns), rows))


def resistors(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(1e3, 2e4, count)


TRAINED = Bounds(1e3, 1e5, Coordinate.RECIPROCAL)


def crossbar(rows: int = 4, columns: int = 3, *, passive: bool = False) -> Program:
    """Word lines ``amplitude * w(t)`` drive, through a bank of resistors, leaky capacitors on the bit lines."""
    b = Builder("crossbar")
    amplitude = b.input("in", rows)
    gain = b.parameter("e_1", np.ones(rows), "gain")
    r = b.parameter("r_1", resistors(rows * columns, 1), "R", TRAINED)
    c = b.parameter("c_1", np.full(columns, 1e-6), "C")
    leak = b.parameter("r_2", np.full(columns, 1e4))
    v = State("bl", columns)
    word = Unknown("wl", rows)
    b.explicit(word, build.mul(build.mul(amplitude, gain), Gather(wave(), Index(np.zeros(rows, dtype=int)))))
    i, j = pairs(rows, columns)
    low: Expr = Gather(v, j)
    current = build.div(build.sub(Gather(word, i), low), r)
    total = build.sub(ScatterAdd(current, j, columns), build.div(v, leak))
    if passive:  # the bank also loads floating inner nets behind the word lines
        series = b.parameter("r_3", resistors(rows, 2))
        inner = Unknown("inner", rows)
        through = build.div(build.sub(Gather(inner, i), low), r)
        residual = build.sub(build.div(build.sub(word, inner), series), ScatterAdd(through, i, rows))
        b.solve([inner], [residual])
        total = build.sub(ScatterAdd(through, j, columns), build.div(v, leak))
    b.state("bl", columns, build.div(total, c), Const(0.1))
    return b.program(("bl0",))


def sensed_network(inputs: int = 5, neurons: int = 3) -> Program:
    """A pair of bit lines a neuron, held and sensed by 0 V sources and mirrored into leaky membranes."""
    b = Builder("sensed")
    amplitude = b.input("in", inputs)
    lines = 2 * neurons
    r = b.parameter("r_1", resistors(inputs * lines, 3), "R", TRAINED)
    hold = b.parameter("v_1", np.zeros(lines), "source")
    mirror = b.parameter("f_1", np.tile([0.5, -0.5], neurons), "gain")
    c = b.parameter("c_1", np.full(neurons, 1e-6), "C")
    leak = b.parameter("r_2", np.full(neurons, 2e4))
    alpha = b.state("alpha", 1, build.sub(build.mul(wave(), Const(100.0)), build.mul(State("alpha", 1), Const(50.0))))
    word = Unknown("wl", inputs)
    b.explicit(word, build.mul(amplitude, Gather(alpha, Index(np.zeros(inputs, dtype=int)))))
    i, j = pairs(inputs, lines)
    current = build.div(build.sub(Gather(word, i), Gather(hold, j)), r)
    sensed = Unknown("isense", lines)
    b.explicit(sensed, ScatterAdd(current, j, lines))
    mirrored = build.mul(mirror, sensed)
    into = ScatterAdd(mirrored, Index(np.repeat(np.arange(neurons), 2)), neurons)
    v, x = State("membrane", neurons), State("x", neurons)
    switching = build.div(Const(1.0), build.add(Const(1.0), Unary("exp", build.div(build.sub(Const(0.1), v), 0.025))))
    device = build.mul(v, build.add(build.div(x, Const(1e3)), build.div(build.sub(Const(1.0), x), Const(1e5))))
    total = build.sub(build.sub(into, build.div(v, leak)), device)
    b.state("membrane", neurons, build.div(total, c))
    b.state("x", neurons, build.mul(build.sub(switching, x), Const(1e3)))
    return b.program(("membrane0", "membrane1", "membrane2"))


def divider(count: int = 3, *, dependent: bool = False) -> Program:
    """``count`` dividers between a source and a capacitor; with ``dependent``, one conductance follows the state."""
    b = Builder("divider")
    amplitude = b.input("in", count)
    high, low = b.parameter("r_1", resistors(count, 4)), b.parameter("r_2", resistors(count, 5))
    c = b.parameter("c_1", np.full(count, 1e-6), "C")
    v, u = State("v", count), Unknown("mid", count)
    conductance: Expr = build.div(1.0, low)
    if dependent:
        conductance = build.mul(conductance, build.add(Const(1.0), build.mul(v, v)))
    b.solve(
        [u],
        [
            build.sub(
                build.div(build.sub(build.mul(amplitude, wave()), u), high), build.mul(conductance, build.sub(u, v))
            )
        ],
    )
    b.state("v", count, build.div(build.mul(conductance, build.sub(u, v)), c), Const(0.2))
    return b.program(("v0",))


def ladder(length: int, copies: int = 2, *, dependent: bool = False) -> Program:
    """``copies`` chains of ``length`` nets between series resistors, each net with a leak, the end on a capacitor."""
    b = Builder("ladder")
    amplitude = b.input("in", copies)
    series = b.parameter("r_1", resistors(copies * (length + 1), 6))
    leak = b.parameter("r_2", resistors(copies * length, 7) * 10)
    c = b.parameter("c_1", np.full(copies, 1e-6), "C")
    v, u = State("v", copies), Unknown("net", copies * length)
    nets = np.arange(copies * length).reshape(copies, length)
    source = build.mul(amplitude, wave())
    g = build.div(1.0, series)
    if dependent:
        g = build.mul(g, build.add(1.0, Gather(build.mul(v, v), Index(np.repeat(np.arange(copies), length + 1)))))
    first, last = Index(np.arange(copies) * (length + 1)), Index(np.arange(copies) * (length + 1) + length)
    inner = Index((np.arange(copies)[:, None] * (length + 1) + np.arange(1, length)).ravel())
    into = build.mul(Gather(g, first), build.sub(source, Gather(u, Index(nets[:, 0]))))
    out = build.mul(Gather(g, last), build.sub(Gather(u, Index(nets[:, -1])), v))
    residual = ScatterAdd(into, Index(nets[:, 0]), u.size)
    residual = build.sub(residual, ScatterAdd(out, Index(nets[:, -1]), u.size))
    if length > 1:
        left, right = Index(nets[:, :-1].ravel()), Index(nets[:, 1:].ravel())
        between = build.mul(Gather(g, inner), build.sub(Gather(u, left), Gather(u, right)))
        residual = build.sub(ScatterAdd(between, right, u.size), build.sub(ScatterAdd(between, left, u.size), residual))
    b.solve([u], [build.sub(residual, build.div(u, leak))])
    b.state("v", copies, build.div(out, c))
    return b.program(("v0",))


ALL = {
    "crossbar": crossbar(),
    "wide crossbar": crossbar(20, 6),
    "passive crossbar": crossbar(passive=True),
    "sensed network": sensed_network(),
    "divider": divider(),
    "dependent divider": divider(dependent=True),
    "ladder of 1": ladder(1),
    "ladder of 3": ladder(3),
    "dependent ladder of 3": ladder(3, dependent=True),
    "ladder of 9": ladder(9),
    "dependent ladder of 9": ladder(9, dependent=True),
}
