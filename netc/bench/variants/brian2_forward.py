"""Brian2, forward only: it has no gradients."""

from __future__ import annotations

from netc.bench.problem import Problem
from netc.bench.registry import Outcome, Step, Unavailable, optional

_EQUATIONS = """
dv/dt = (into - (v - reset) * (x1 / ron + (1 - x1) / roff) + (rest - v) * (x2 / ron + (1 - x2) / roff)) / c / second : 1
dx1/dt = ((1 - x1) * s1on - x1 * (1 - k * s1off)) / tau / second : 1
dx2/dt = ((1 - x2) * s2on - x2 * (1 - k * s2off)) / tau / second : 1
s1on = 1 / (1 + exp(-(v - reset - von) / vt)) : 1
s1off = 1 / (1 + exp(-(v - reset - voff) / vt)) : 1
s2on = 1 / (1 + exp(-(rest - v - von) / vt)) : 1
s2off = 1 / (1 + exp(-(rest - v - voff) / vt)) : 1
"""


def build(problem: Problem) -> Step:
    """Return a forward run of the whole batch; the current into the first layer is multiplied out before it."""
    brian2 = optional("brian2")
    if len(problem.layers) != 3:
        raise Unavailable("written for networks with one hidden layer")
    brian2.prefs.codegen.target = "auto"
    n = problem.neuron
    _, hidden, classes = problem.layers
    names = {
        "c": n.capacitance,
        "reset": n.reset,
        "rest": n.rest,
        "ron": n.ron,
        "roff": n.roff,
        "von": n.von,
        "voff": n.voff,
        "vt": n.thermal,
        "tau": n.tau,
        "k": n.volatility,
    }
    clock = problem.dt * brian2.second
    names["wave"] = brian2.TimedArray(problem.wave, dt=clock)
    first = brian2.NeuronGroup(
        problem.batch * hidden,
        _EQUATIONS + "into = amplitude * wave(t) : 1\namplitude : 1",
        method="euler",
        namespace=names,
        dt=clock,
    )
    second = brian2.NeuronGroup(
        problem.batch * classes, _EQUATIONS + "into : 1", method="euler", namespace=names, dt=clock
    )
    first.amplitude = (problem.amplitudes @ problem.weights[0]).reshape(-1)
    synapses = brian2.Synapses(first, second, "w : 1\ninto_post = w * v_pre : 1 (summed)", dt=clock)
    synapses.connect(condition="i // hidden == j // classes", namespace={"hidden": hidden, "classes": classes})
    synapses.w = problem.weights[1][synapses.i[:] % hidden, synapses.j[:] % classes]
    network = brian2.Network(first, second, synapses)
    network.store()
    network.run(clock)  # compiles

    def step() -> Outcome:
        network.restore()
        network.run(problem.steps * clock)
        return Outcome(None, samples=problem.batch)

    return step
