"""The numbers of Radau IIA of order 5 as netc steps it, for Python and for C++ alike.

E. Hairer, G. Wanner, Solving Ordinary Differential Equations II, IV.8.
"""

from __future__ import annotations

import math

import numpy as np

from netc.ir.interpret import Array

_ROOT = math.sqrt(6.0)
NODES = np.array([(4 - _ROOT) / 10, (4 + _ROOT) / 10, 1.0])
"""Where in a step the stages lie."""


def _weights() -> Array:
    """The matrix ``a_ij``: integrals from 0 to ``c_i`` of the polynomials that are 1 at ``c_j``."""
    powers = np.arange(1, 4)
    return np.asarray((NODES[:, None] ** powers / powers) @ np.linalg.inv(NODES[:, None] ** (powers - 1)))


INVERSE = np.linalg.inv(_weights())
"""The inverse of ``a_ij``, which has one real and two complex eigenvalues."""
_VALUES, _VECTORS = np.linalg.eig(INVERSE)
_REAL = int(np.argmin(np.abs(_VALUES.imag)))
_COMPLEX = int(np.argmax(_VALUES.imag))
MU, NU = float(_VALUES[_REAL].real), complex(_VALUES[_COMPLEX])
"""The real eigenvalue, and one of the others."""
_TO = np.linalg.inv(_VECTORS)[[_REAL, _COMPLEX]]
TO_REAL, TO_COMPLEX = (_TO[0] * _VECTORS[2, _REAL]).real, _TO[1]
"""From stages to eigenvectors."""
FROM_REAL, FROM_COMPLEX = (_VECTORS[:, _REAL] / _VECTORS[2, _REAL]).real, _VECTORS[:, _COMPLEX]
"""And back."""
ERROR = np.array([-13 - 7 * _ROOT, -13 + 7 * _ROOT, -1.0]) / 3
"""Weights of the stages in the difference from the embedded formula."""
POLYNOMIAL = np.linalg.inv(NODES[:, None] ** np.arange(1, 4))
"""Coefficients of s, s^2, s^3 of the polynomial through 0 and the three stages."""

MOST_ITERATIONS = 8
SMALLEST, LARGEST = 0.1, 8.0
"""Least and most that a step changes by from one to the next."""
DEFECT = 0.3
"""Most that the end of a step may be off its equations, as a share of the error allowed."""
CREPT = 0.03
"""Defect from which the next step has a new Jacobian: one that is stiffer than the circuit lets errors gather."""
MOST_FULL_ITERATIONS = 20
MOST_SHORTEST = 100
"""Most steps one after the other that are as short as the time can tell, whatever their error: rates jump there."""
SETTLING = 100
"""Most Newton steps for the unknowns."""
ROUNDING = 64 * float(np.finfo(np.float64).eps)
"""Residual, as a share of its largest terms, that is no more than what is left when they cancel."""
STALLED = 1e-12
"""The same where no Newton step makes it less: rounding that an operational amplifier amplifies."""
HELD_GROWTH = 8.0
"""How often an error grows e-fold at a place before a state that stays there is held (:mod:`netc.runtime.held`)."""
HELD_WITHIN = 1e-3
"""How close a state stays to be held, as a share of its largest value."""
HELD_LOST = 100 * float(np.finfo(np.float64).eps)
"""Distance from a place, as a share of its value, that is no more than rounding."""
HELD_ZERO = 1e-12
"""Share of the distance from a place that is rounding of a place at 0."""

CONSTANTS = {
    "NODES": NODES,
    "INVERSE": INVERSE,
    "MU": MU,
    "NU_REAL": NU.real,
    "NU_IMAGINARY": NU.imag,
    "TO_REAL": TO_REAL,
    "TO_COMPLEX_REAL": TO_COMPLEX.real,
    "TO_COMPLEX_IMAGINARY": TO_COMPLEX.imag,
    "FROM_REAL": FROM_REAL,
    "FROM_COMPLEX_REAL": FROM_COMPLEX.real,
    "FROM_COMPLEX_IMAGINARY": FROM_COMPLEX.imag,
    "ERROR": ERROR,
    "POLYNOMIAL": POLYNOMIAL,
    "MOST_ITERATIONS": MOST_ITERATIONS,
    "SMALLEST": SMALLEST,
    "LARGEST": LARGEST,
    "DEFECT": DEFECT,
    "CREPT": CREPT,
    "MOST_FULL_ITERATIONS": MOST_FULL_ITERATIONS,
    "MOST_SHORTEST": MOST_SHORTEST,
    "SETTLING": SETTLING,
    "ROUNDING": ROUNDING,
    "STALLED": STALLED,
    "HELD_GROWTH": HELD_GROWTH,
    "HELD_WITHIN": HELD_WITHIN,
    "HELD_LOST": HELD_LOST,
    "HELD_ZERO": HELD_ZERO,
}
"""What the C++ has of them, by name."""
