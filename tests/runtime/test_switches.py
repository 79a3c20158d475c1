"""A switch that closes into a load, while everything around it is stiff."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from netc.runtime import transient
from tests.runtime.test_transient import compiled

# a transformer, a bridge and a regulator of two transistors with charges in their junctions
SUPPLY = """Vac l n SIN(0 325 50)
Rgnd n 0 1meg
Rp l p1 12
L1 p1 n 4
L2 sa sb 40m
L3 sb sc 40m
K12 L1 L2 0.998
K13 L1 L3 0.998
K23 L2 L3 0.999
Rs1 sa a .2
Rs2 sc c .2
Rx sb 0 1u
Csn a c 47n
Rsn1 a c 2.2k
D1 a raw D4007
D2 c raw D4007
.model D4007 D(IS=7.03n RS=.034 N=1.81 BV=1000 IBV=5u )
Cr raw 0 2200uF
Rb raw b 680
Dz 0 b DZ12
.model DZ12 D(IS=1e-14 RS=2 BV=12 IBV=5m)
Cz b 0 10u
Q1 raw b q2b TIP
Q2 raw q2b out TIPP
.model TIP NPN(IS=2e-14 BF=150 VAF=100 CJE=50p CJC=20p RB=10 TF=1n)
.model TIPP NPN(IS=1e-12 BF=60 VAF=80 RC=.05 CJE=400p CJC=150p TF=20n RE=.02)
Co out 0 47u
Rl out 0 47
Sload out l2 ctl 0 SL
Rl2 l2 0 22
Vctl ctl 0 PULSE(0 5 8m 10u 10u 1m 2m)
.model SL SW(VT=2.5 VH=.5 RON=10m ROFF=10meg)
"""


def test_rounding_of_rates_does_not_stop_the_step_that_a_switch_needs(tmp_path: Path) -> None:
    circuit = compiled(SUPPLY, tmp_path, tran="20u 12m 0 20u")
    times = np.linspace(0.0, 12e-3, 1201)
    solved = transient.solve(circuit.system, times, ("out", "l2"), wanted=0.0)
    loaded = (times > 8.02e-3) & (times < 9e-3)
    np.testing.assert_allclose(solved.values[loaded, 1], solved.values[loaded, 0], rtol=1e-2)
    assert abs(solved.values[times < 8e-3, 1]).max() < 1e-3 < abs(solved.values[loaded, 1]).min()
