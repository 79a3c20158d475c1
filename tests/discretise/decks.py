"""A small deck for every class of element, with something to integrate in each."""

from __future__ import annotations

_TRAN = ".tran 10u 2m uic\n.end\n"
_DRIVE = "V1 in 0 SIN(0.2 1 800)\n"

DECKS: dict[str, str] = {
    "R and C": _DRIVE + "R1 in a 1k\nC1 a 0 200n IC=0.1\nR2 a b 2k\nC2 b 0 100n\n",
    "L": _DRIVE + "R1 in a 50\nL1 a b 10m IC=1m\nC1 b 0 1u IC=0.3\n",
    "K": _DRIVE + "R1 in a 50\nL1 a 0 10m\nL2 b 0 20m\nK1 L1 L2 0.6\nR2 b 0 200\n",
    "E": _DRIVE + "R1 in a 1k\nC1 a 0 200n\nE1 e 0 a 0 2.5\nR2 e b 1k\nC2 b 0 100n\n",
    "G": _DRIVE + "R1 in a 1k\nC1 a 0 200n\nG1 0 b a 0 2m\nR2 b 0 1k\nC2 b 0 100n\n",
    "F": _DRIVE + "R1 in a 1k\nVs a s 0\nC1 s 0 200n\nF1 0 b Vs 3\nR2 b 0 1k\nC2 b 0 100n\n",
    "H": _DRIVE + "R1 in a 1k\nVs a s 0\nC1 s 0 200n\nH1 h 0 Vs 500\nR2 h b 1k\nC2 b 0 100n\n",
    "B": _DRIVE + "R1 in a 1k\nC1 a 0 200n\nB1 0 b i=1m*tanh(2*V(a))\nR2 b 0 1k\nC2 b 0 100n\n",
    "R of signals": _DRIVE + "R1 in a r={1k+500*V(b)**2}\nC1 a 0 200n\nR2 a b 2k\nC2 b 0 100n\n",
    "I": "I1 0 a EXP(0 1m 0.1m 0.2m 1m 0.3m)\nR1 a 0 1k\nC1 a 0 200n\n",
    "PULSE and PWL": "V1 p 0 PULSE(0 1 0.213m 0.1m 0.1m 0.4m 1.1m)\nR1 p a 1k\nC1 a 0 200n\n"
    "V2 q 0 PWL(0 0 0.517m 1 1.313m -1 3m 0)\nR2 q a 2k\n",
    "non-linear node": _DRIVE + "R1 in a 1k\nB1 a 0 i=1e-6*(exp(V(a)/0.1)-1)\nR2 a b 5k\nC1 b 0 100n\n",
    "D": _DRIVE + ".model dio D(IS=1e-12 N=1.2 RS=100 CJO=100n)\nR1 in a 500\nD1 a b dio\nC1 b 0 200n\nR2 b 0 5k\n",
    "S": _DRIVE + ".model sw SW(VT=0.3 VH=0.2 RON=100 ROFF=100k)\nR1 in a 1k\nS1 a b in 0 sw\nC1 b 0 200n\nR2 b 0 5k\n",
    "M": "Vd d 0 1.5\nVg g 0 SIN(1 0.5 800)\n.model nm NMOS(LEVEL=1 VTO=0.6 KP=1e-3 LAMBDA=0.02)\n"
    "M1 x g 0 0 nm W=2u L=1u\nR1 d x 1k\nC1 x 0 200n\n",
    "Q": "Vc c 0 3\nVb b0 0 SIN(0.7 0.05 800)\nRb b0 b 1k\n.model nq NPN(IS=1e-15 BF=80)\n"
    "Q1 x b 0 nq\nRc c x 1k\nC1 x 0 200n\n",
    "memristive cell": "Ic 0 m PULSE(0 60u 0.113m 0.05m 0.05m 0.6m 5m)\nCm m 0 100n IC=0\n"
    "Bm 0 x i=((1-V(x))/(1+exp((0.05-V(m))/0.025))-V(x)*(1-0.6/(1+exp((0.005-V(m))/0.025))))*1m\nCx x 0 1u IC=0.1\n"
    "Bi m 0 i=V(m)*(V(x)*1m+(1-V(x))*10u)\n",
}


def deck(name: str) -> str:
    """Return the text of a deck."""
    return f"* {name}\n{DECKS[name]}{_TRAN}"
