"""Netlists used by several tests, and their Euler solutions written out by hand."""

from __future__ import annotations

import numpy as np

RC = """rc
V1 in 0 SIN(0 1 1k)
R1 in out 1k
C1 out 0 1u
.tran 10u 5m 0 10u
.end
"""

RLC = """series rlc, step
V1 in 0 PULSE(0 1 0 1n 1n 1 2)
R1 in a 100
L1 a out 10m
C1 out 0 1u
.tran 2u 2m 0 2u
.end
"""

# The published device: Ron 500, Roff 1500, Von = Voff = 0.27 V, tau 0.1 ms, 298.5 K, x(0) = 0.
KNOWM = """mean metastable switch
.param Ron=500 Roff=1500 Von=0.27 Voff=0.27 tau=0.1m beta={1/(8.617333262e-5*298.5)}
V1 p 0 SIN(0 0.5 100)
Gm p 0 value={v(p)*(v(x)/Ron+(1-v(x))/Roff)}
Bx 0 x i=((1-v(x))/(1+exp(-beta*(v(p)-Von)))-v(x)*(1-1/(1+exp(-beta*(v(p)+Voff)))))/tau
Cx x 0 1
.ic v(x)=0
.tran 2u 40m 0 2u uic
.end
"""

MIF = """mif cell with a smooth current, spiking
.param vt=25m von=110m voff=5m tau=1m k=0.6
.subckt device p n x params: ron=1k roff=100k
Gm p n value={v(p,n)*(v(x)/ron+(1-v(x))/roff)}
Bx 0 x i=((1-v(x))/(1+exp(-(v(p,n)-von)/vt))-v(x)*(1-k/(1+exp(-(v(p,n)-voff)/vt))))/tau
Cx x 0 1 ic=0
.ends
Bin 0 v i=60u*(1-cos(2*3.14159265358979*200*time))
Cm v 0 100n ic=0
V2 e2 0 50m
X1 v 0 x1 device
X2 e2 v x2 device
.tran 10u 20m 0 10u uic
.end
"""


def simulate_rc(dt: float, steps: int) -> tuple[np.ndarray, list[str], np.ndarray]:
    """RC above, explicit Euler from the operating point (0 V)."""
    times = np.arange(steps + 1) * dt
    drive = np.sin(2 * np.pi * 1e3 * times)
    out = np.zeros(steps + 1)
    for n in range(steps):
        out[n + 1] = out[n] + dt * (drive[n] - out[n]) / 1e-3
    return times, ["in", "out"], np.stack([drive, out], axis=1)


def simulate_mif(dt: float, steps: int) -> tuple[np.ndarray, list[str], np.ndarray]:
    """MIF above, explicit Euler from zero; columns v, x1, x2."""
    times = np.arange(steps + 1) * dt
    drive = 60e-6 * (1 - np.cos(2 * np.pi * 200 * times))
    states = np.zeros((steps + 1, 3))

    def conductance(x: float) -> float:
        return x / 1e3 + (1 - x) / 1e5

    def slope(x: float, v: float) -> float:
        on, hold = 1 / (1 + np.exp(-(v - 0.11) / 0.025)), 1 / (1 + np.exp(-(v - 0.005) / 0.025))
        return float(((1 - x) * on - x * (1 - 0.6 * hold)) / 1e-3)

    for n in range(steps):
        v, x1, x2 = states[n]
        current = drive[n] - conductance(x1) * v + conductance(x2) * (0.05 - v)
        states[n + 1] = states[n] + dt * np.array([current / 1e-7, slope(x1, v), slope(x2, 0.05 - v)])
    return times, ["v", "x1", "x2"], states
