"""phi1 of numbers and of matrices against the exponential of an augmented matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from netc.discretise.phi import phi1, phi1_pair
from netc.ir.interpret import evaluate
from netc.ir.nodes import State
from netc.ir.program import Observable, StateBlock
from netc.runtime.load import instantiate
from tests.emit import programs


def reference(matrix: np.ndarray) -> np.ndarray:
    n = len(matrix)
    whole = np.zeros((2 * n, 2 * n))
    whole[:n, :n], whole[:n, n:] = matrix, np.eye(n)
    return np.asarray(expm(whole)[:n, n:])


def test_phi1_of_numbers() -> None:
    z = np.array([0.0, 1e-300, -1e-9, 0.0999999, 0.1, -0.1, -0.7, 3.0, -50.0, -1e6])
    leaf = State("z", len(z))
    (found,) = evaluate([phi1(leaf)], {leaf: z[None]})
    expected = [1.0 if abs(x) < 1e-20 else float(np.expm1(x) / x) for x in z]
    np.testing.assert_allclose(found[0], expected, rtol=1e-13)


@pytest.mark.parametrize("size", [1e-8, 1e-3, 0.1, 0.4, 0.5, 0.6, 2.0, 20.0])
def test_phi1_of_matrices(size: float) -> None:
    random = np.random.default_rng(int(1e9 * size) % 1000)
    matrices = [size * random.standard_normal((2, 2)) - 0.5 * size * np.eye(2) for _ in range(60)]
    matrices += [size * np.array([[-1.0, 1.0], [0.0, -1.0]]), size * np.array([[0.0, 1.0], [-1.0, 0.0]])]
    matrices += [size * np.array([[-1.0, 0.0], [1.0, 0.0]]), np.zeros((2, 2))]
    half = np.array([np.trace(a) / 2 for a in matrices])
    square = np.array([-np.linalg.det(a - m * np.eye(2)) for a, m in zip(matrices, half, strict=True)])
    m, q = State("m", len(half)), State("q", len(half))
    u, v = evaluate(list(phi1_pair(m, q)), {m: half[None], q: square[None]})
    for k, a in enumerate(matrices):
        expected = reference(a)
        found = u[0, k] * np.eye(2) + v[0, k] * (a - half[k] * np.eye(2))
        assert np.abs(found - expected).max() < 1e-9 * np.abs(expected).max(), a


def test_gradients_of_phi1_are_finite_on_all_borders() -> None:
    m, q = State("m", 6), State("q", 6)
    u, v = phi1_pair(m, q)
    program = programs.program(
        [],
        [],
        [
            StateBlock("m", "V", tuple("abcdef"), programs.Const(0.0), u, ()),
            StateBlock("q", "V", tuple("ghijkl"), programs.Const(0.0), v, ()),
        ],
        [Observable("o", "V", tuple("ABCDEF"), u), Observable("p", "V", tuple("GHIJKL"), v)],
    )
    at = [
        torch.tensor([[0.0, 0.5, 0.5, -40.0, 0.0, 2.0]], dtype=torch.float64, requires_grad=True),
        torch.tensor([[0.0, 0.0, -0.01, 1600.0, -9.0, 0.01]], dtype=torch.float64, requires_grad=True),
    ]
    rows, _ = instantiate(program, torch.float64)(1, 1e-3, state=tuple(at))
    rows[0].sum().backward()
    for leaf in at:
        assert leaf.grad is not None and bool(torch.isfinite(leaf.grad).all())
