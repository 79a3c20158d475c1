"""Drawn chips as decks: the numbers that netc draws are those that stand in the text, and ngspice agrees on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from netc.compiler import Compilation, compile_deck
from netc.diagnostics import NetcError
from netc.export import export, set_values, trained_values
from netc.ngspice.locate import find_ngspice
from netc.ngspice.validate import validate
from netc.variability import Devices, draw

CELL = ".subckt cell a b r=2k c=100n q=agauss(5k,900,1)\nR1 a b {r}\nR2 b 0 {q}\nC1 b 0 {c} IC=0\n.ends\n"
DECK = f"""two cells in a row
.param gain=agauss(2,0.3,1)
{CELL}V1 a 0 PULSE(0 1 10u 1u 1u 1 2)
X1 a b cell
E1 c 0 b 0 2
B1 d 0 v={{gain*v(c)}}
X2 d e cell
X3 d f cell r=3k
R1 e f 4k
*.netc train R1 min=1k max=10k
*.netc spread x*.r by=10%
*.netc spread x[12].c by=20% law=lognormal
*.netc spread R1 by=15%
*.netc spread E1 by=5% each=cycle
.tran 2u 1m 0 2u uic
.end
"""


@pytest.fixture(scope="module")
def compilation(tmp_path_factory: pytest.TempPathFactory) -> Compilation:
    path = tmp_path_factory.mktemp("deck") / "deck.cir"
    path.write_text(DECK)
    return compile_deck(path)


def drawn(compilation: Compilation, trial: int, sample: int = 0) -> dict[str, np.ndarray]:
    learnt = {b.name: b.values for b in compilation.program.parameters if b.trained}
    return draw(compilation.program, learnt, Devices(spread=0.05, seed=2), trial, sample)


def test_a_deck_has_the_drawn_numbers_to_the_last_bit(compilation: Compilation, tmp_path: Path) -> None:
    values = drawn(compilation, 1)
    written = export(compilation, values, tmp_path / "chip.cir")
    circuit = compile_deck(written.path).circuit
    found = sorted(circuit.number(value) for b in circuit.branches for value in b.values)
    for array in values.values():
        for number in array.tolist():
            assert number in found or any(p.value == number for p in circuit.parameters.values())
    # instances that are not drawn keep what they had: x3.c
    capacitors = {b.name: circuit.number(b.values[0]) for b in circuit.branches if b.law.kind == "C"}
    assert capacitors["x3.c1"] == 1e-7 and capacitors["x1.c1"] != capacitors["x2.c1"] != 1e-7
    assert "agauss" not in (tmp_path / "chip.cir").read_text()


def test_the_program_of_that_deck_gives_what_the_drawn_module_gives(compilation: Compilation, tmp_path: Path) -> None:
    values = drawn(compilation, 3, sample=2)
    written = export(compilation, values, tmp_path / "chip.cir")
    module = compilation.module(torch.float64)
    nominal, _ = module(200, 2e-6, observe=("e", "f"))
    set_values(module, values)
    here, _ = module(200, 2e-6, observe=("e", "f"))
    there, _ = compile_deck(written.path).module(torch.float64)(200, 2e-6, observe=("e", "f"))
    torch.testing.assert_close(here, there, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(here, nominal, rtol=1e-3)
    # what is read back from the module is what was set, also of values that are not trained
    again = trained_values(module, compilation.program)
    assert again.keys() == values.keys()
    for name, array in values.items():
        np.testing.assert_allclose(again[name], array, rtol=1e-12)


@pytest.mark.skipif(find_ngspice().executable is None, reason="needs ngspice")
def test_ngspice_computes_the_same_chip(compilation: Compilation, tmp_path: Path) -> None:
    values = drawn(compilation, 5)
    written = export(compilation, values, tmp_path / "chip.cir")
    module, timing = compilation.module(torch.float64), compilation.program.timing
    set_values(module, values)

    def simulate(dt: float, steps: int) -> tuple[np.ndarray, Sequence[str], np.ndarray]:
        names = ("b", "e", "f")
        volts, _ = module(steps, dt, observe=names)
        return np.arange(steps + 1) * dt, names, volts[:, 0].detach().numpy()

    assert timing is not None
    found = validate(compile_deck(written.path).deck, simulate, timing, engine="batch")
    assert found.worst_nrmse < 0.01
    set_values(module, drawn(compilation, 6))  # another chip is another circuit
    assert validate(compile_deck(written.path).deck, simulate, timing, engine="batch").worst_nrmse > 0.02


def test_what_is_one_value_for_all_instances_cannot_be_written_beside_values_of_each(tmp_path: Path) -> None:
    path = tmp_path / "deck.cir"
    path.write_text(DECK.replace("*.netc spread R1", "*.netc spread cell.c R1").replace("spread x[12].c", "spread V1"))
    compilation = compile_deck(path)
    with pytest.raises(NetcError) as caught:
        export(compilation, drawn(compilation, 1), tmp_path / "chip.cir")
    assert "one value for all instances" in caught.value.diagnostics[0].message
