"""JAX: jit of the gradient of a scan over time steps."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from netc.bench.equations import euler_step
from netc.bench.problem import Problem
from netc.bench.registry import Outcome, Step, optional


def build(problem: Problem, *, checkpointed: bool) -> Step:
    """Return the step, compiled; ``checkpointed`` keeps about the square root of the steps and runs the rest again."""
    if problem.threads == 1:  # read when JAX starts
        os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    jax = optional("jax")
    jnp = jax.numpy
    inputs, labels = jnp.asarray(problem.amplitudes), jnp.asarray(problem.labels)
    weights = tuple(jnp.asarray(w) for w in problem.weights)
    wave = jnp.asarray(problem.wave[:-1])

    def loss_of(weights: Any) -> Any:
        once = inputs @ weights[0]

        def one(state: Any, amplitude: Any) -> Any:
            state = euler_step(state, once * amplitude, weights[1:], problem.dt, problem.neuron, jax.nn.sigmoid)
            found = jax.nn.log_softmax(state[-1][0] * problem.logit_scale, -1)
            return state, -jnp.take_along_axis(found, labels[:, None], -1).mean()

        zeros = tuple((jnp.zeros((problem.batch, n)),) * 3 for n in problem.layers[1:])
        if checkpointed:
            stretch = _divisor(problem.steps)
            stretches = wave.reshape(-1, stretch)
            many = jax.checkpoint(lambda state, amplitudes: jax.lax.scan(one, state, amplitudes))
            return jax.lax.scan(many, zeros, stretches)[1].mean()
        return jax.lax.scan(one, zeros, wave)[1].mean()

    compiled = jax.jit(jax.value_and_grad(loss_of)).lower(weights).compile()

    def step() -> Outcome:
        loss, found = jax.block_until_ready(compiled(weights))
        return Outcome(float(loss), lambda: tuple(np.asarray(g) for g in found))

    return step


def _divisor(steps: int) -> int:
    """Return the divisor of ``steps`` that is closest to its square root."""
    return min((d for d in range(1, steps + 1) if steps % d == 0), key=lambda d: abs(d - math.sqrt(steps)))
