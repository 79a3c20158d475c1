"""The error of the model by itself, and that of the task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netc.compiler import Compilation, compile_deck
from netc.diagnostics import NetcError
from netc.ngspice.grid import model_error
from netc.ngspice.locate import find_ngspice
from netc.ngspice.task import compare_task, scaled
from netc.runtime import transient
from netc.runtime.simulate import simulate

needs_ngspice = pytest.mark.skipif(not find_ngspice().engines, reason="ngspice is not installed")

RLC = "V1 in 0 PULSE(0 1 10u 1u 1u 200u 400u)\nR1 in a 50\nL1 a b 10m IC=0\nC1 b 0 1u IC=0.3\nR2 b 0 1k\n"
CURVED = "V1 in 0 SIN(0 1 1k)\nR1 in a 1k\nB1 a 0 i=1e-6*(exp(V(a)/0.1)-1)\nR2 a b 2k\nC1 b 0 100n IC=0\n"
NETWORK = (
    "Va in1 0 PULSE(0 1 10u 1u 1u 300u 1)\nIb 0 in2 PULSE(0 1m 10u 1u 1u 300u 1)\nRi in2 0 1k\n"
    "R1 in1 o1 1k\nR2 in1 o2 5k\nR3 in2 o1 5k\nR4 in2 o2 1k\nC1 o1 0 50n IC=0\nC2 o2 0 50n IC=0\n"
    "*.netc input Va Ib\n*.netc output o*\n"
)


def compiled(body: str, folder: Path) -> Compilation:
    path = folder / "deck.cir"
    path.write_text(f"* deck\n{body}.tran 5u 1m uic\n.end\n")
    return compile_deck(path)


@needs_ngspice
@pytest.mark.ngspice
@pytest.mark.parametrize(("body", "largest"), [(RLC, 1e-9), (CURVED, 1e-5)])
def test_on_the_same_points_only_the_model_is_left(body: str, largest: float, tmp_path: Path) -> None:
    compilation = compiled(body, tmp_path)
    timing = compilation.circuit.timing
    assert timing is not None

    def on_grid(times: np.ndarray, names: object) -> np.ndarray:
        return transient.on_grid(compilation.system, times, compilation.signals)

    found = model_error(compilation.deck, on_grid, timing, compilation.signals, dt=5e-6, tstop=1e-3)
    assert found.nrmse is not None and found.nrmse < largest
    assert found.points > 200

    def other(times: np.ndarray, names: object) -> np.ndarray:
        return on_grid(times, names) * 1.001

    wrong = model_error(compilation.deck, other, timing, compilation.signals, dt=5e-6, tstop=1e-3)
    assert wrong.nrmse is not None and wrong.nrmse > 1e-4 and wrong.node


@needs_ngspice
@pytest.mark.ngspice
def test_samples_find_the_same_class_in_both(tmp_path: Path) -> None:
    compilation = compiled(NETWORK, tmp_path)
    circuit = compilation.circuit
    assert circuit.timing is not None
    kinds = {circuit.branches[d.branch].name: circuit.branches[d.branch].law.kind for d in circuit.driven}
    assert kinds == {"va": "V", "ib": "I"}

    def forward(amplitudes: np.ndarray, names: object) -> tuple[np.ndarray, np.ndarray]:
        found = simulate(compilation.program, dt=5e-6, steps=200, inputs=amplitudes, observe=["o1", "o2"])
        return found.times, found.values.numpy()

    def task(swap: bool) -> tuple[list[tuple[int, int]], float]:
        found = compare_task(
            compilation.deck,
            lambda u, names: forward(u[:, ::-1].copy() if swap else u, names),
            circuit.timing,  # type: ignore[arg-type]  # checked above
            kinds,
            ["o1", "o2"],
            ["o1", "o2"],
            np.array([[1.0, 0.2], [0.1, 0.8]]),
            [0, 1],
            dt=5e-6,
            logit_scale=100.0,
            threshold=0.3,
        )
        return [s.classes for s in found.samples], found.spike_difference

    assert task(swap=False) == ([(0, 0), (1, 1)], 0.0)
    assert task(swap=True)[0] == [(1, 0), (0, 1)]


def test_a_driven_source_is_scaled_and_keeps_its_lines() -> None:
    text = "* t\nV1 a 0 PULSE(0 1\n+ 0 1n)\nGin 0 m b 0 {2*k}\n.tran 1u 1m\n.end\n"
    lines = scaled(text, {"v1": "V", "gin": "I"}, [0.25, 0.5]).split("\n")
    assert lines[1:4] == ["V1 netc_drive0 0 PULSE(0 1", "+ 0 1n)", "enetc_drive0 a 0 netc_drive0 0 0.25"]
    assert lines[4:7] == [
        "Gin 0 netc_drive1 b 0 {2*k}",
        "rnetc_drive1 netc_drive1 0 1",
        "gnetc_drive1 0 m netc_drive1 0 0.5",
    ]


def test_a_plain_number_is_scaled_where_it_stands() -> None:
    text = "* t\nEin w 0 alpha 0 2.5\nF1 0 m Ein 4\nV1 a 0 DC 1k\nI1 0 a 3\nE2 b 0 a 0 2\n+ m=1\n.tran 1u 1m\n.end\n"
    lines = scaled(text, {"ein": "V", "f1": "I", "v1": "V", "i1": "I", "e2": "V"}, [0.5, 0.25, 2, 0, 3]).split("\n")
    assert lines[1:5] == ["Ein w 0 alpha 0 1.25", "F1 0 m Ein 1.0", "V1 a 0 DC 2000.0", "I1 0 a 0.0"]
    assert lines[5:8] == ["E2 netc_drive4 0 a 0 2", "+ m=1", "enetc_drive4 b 0 netc_drive4 0 3.0"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (".subckt s a\nV1 a 0 1\n.ends\nX1 a s\n", "not an element of the deck itself"),
        ("V1 a 0 PULSE(0 1)\nF1 b 0 V1 2\n", "senses the current"),
        ("V1 a 0 PULSE(0 1)\nB1 b 0 v=i(V1)\n", "senses the current"),
        ("V1 netc_drive0 0 1\n", "names that begin with netc_drive"),
    ],
)
def test_what_cannot_be_scaled_is_refused(text: str, message: str) -> None:
    with pytest.raises(NetcError, match=message):
        scaled(f"* t\n{text}.end\n", {"v1": "V"}, [1.0])
