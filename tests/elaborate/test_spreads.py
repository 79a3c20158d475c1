"""Spread as a deck declares it: ``*.netc spread``, and random functions that are a whole value."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netc.compiler import compile_deck
from netc.diagnostics import NetcError
from netc.ir.program import ParameterBlock, Spread
from netc.ir.serial import dump, load
from netc.variability import Devices, draw

CELL = ".subckt cell a b r=2k q=agauss(5k,500,1)\nR1 a b {r}\nR2 a b {q}\n.ends\n"


def deck(path: Path, body: str) -> Path:
    path.write_text(f"* t\nV1 a 0 1\nC1 b 0 1u IC=0\n{body}.tran 1u 1m uic\n.end\n")
    return path


def blocks(tmp_path: Path, body: str) -> dict[str, ParameterBlock]:
    """Return the block of every lane that has a spread."""
    program = compile_deck(deck(tmp_path / "deck.cir", body)).program
    assert load(dump(program)).parameters[0].spreads == program.parameters[0].spreads
    return {lane: block for block in program.parameters if block.spreads for lane in block.lanes}


def test_elements_have_it_in_conductance_and_others_in_their_value(tmp_path: Path) -> None:
    found = blocks(
        tmp_path,
        "R1 a b 1k\nR2 a b 1k\nR3 a b 1k\n*.netc spread R[12] C1 by=10%\n"
        "*.netc spread R1 by=0.02 each=cycle law=lognormal\n*.netc spread V1 by={0.5/10} law=uniform\n",
    )
    assert set(found) == {"r1", "r2", "c1", "v1"}
    assert found["r2"].spreads == (Spread(0.1, reciprocal=True),)
    cycle = Spread(0.02, law="lognormal", cycle=True, reciprocal=True)
    assert found["r1"].spreads == (Spread(0.1, reciprocal=True), cycle)
    assert found["c1"].spreads == (Spread(0.1),)
    assert found["v1"].spreads == (Spread(0.05, law="uniform"),)


def test_parameters_of_instances_have_one_each_and_those_of_definitions_one_for_all(tmp_path: Path) -> None:
    body = CELL + "X1 a b cell\nX2 a b cell r=3k\nX3 a b cell\n*.netc spread x*.r by=5%\n"
    found = blocks(tmp_path, body)
    assert found["x1.r"] is found["x2.r"] is found["x3.r"]
    assert found["x1.r"].values.tolist() == [2e3, 3e3, 2e3]
    assert found["x1.r"].spreads == (Spread(0.05),)
    assert found["x2.q"].spreads == (Spread(0.1),)
    shared = blocks(tmp_path, body.replace("x*.r", "cell.r"))
    assert shared["cell.r"].lanes == ("cell.r",)


def test_random_functions_that_are_a_whole_value_describe_a_spread(tmp_path: Path) -> None:
    found = blocks(
        tmp_path,
        ".param p={agauss(1k,90,3)} z=agauss(0,10m,2)\nR1 a b {p}\nR2 a b {gauss(1k,0.3,3)}\nR3 a b {aunif(1k,100)}\n"
        "R4 a b {unif(1k,0.1)}\nR5 a b {2*agauss(1k,90,3)}\nR6 a b {agauss(1k,0,3)}\nB1 c 0 v={z}\nR7 c 0 1\n",
    )
    assert set(found) == {"p", "z", "r2", "r3", "r4"}
    assert found["p"].spreads == (Spread(0.03),)
    assert found["z"].spreads == (Spread(0.0, 0.005),)
    assert found["r2"].spreads[0].share == pytest.approx(0.1)
    for name in ("r3", "r4"):
        assert found[name].spreads[0].law == "uniform"
        assert found[name].spreads[0].share == pytest.approx(0.1 / 3**0.5)


def test_draws_have_the_declared_deviation(tmp_path: Path) -> None:
    rows = "".join(f"X{k} a b cell\n" for k in range(2000))
    program = compile_deck(deck(tmp_path / "deck.cir", CELL + rows + "*.netc spread x*.r by=8%\n")).program
    drawn = draw(program, {}, Devices(seed=3))
    by_lane = {b.lanes[0].partition(".")[2]: drawn[b.name] / b.values for b in program.parameters if b.spreads}
    assert by_lane["r"].std() == pytest.approx(0.08, rel=0.06)
    assert by_lane["q"].std() == pytest.approx(0.1, rel=0.06)
    assert abs(np.corrcoef(by_lane["r"], by_lane["q"])[0, 1]) < 0.1


def test_parameters_that_differ_in_what_is_learnt_are_no_lanes_of_one_block(tmp_path: Path) -> None:
    body = ".param p=1k q=2k r=3k s=4k\nR1 a b {p}\nR2 a b {q}\nR3 a b {r}\nR4 a b {s}\n"
    body += "*.netc train p q min=100 max=10k\n*.netc spread q r by=10%\n"
    program = compile_deck(deck(tmp_path / "deck.cir", body)).program
    lanes = {lane: block for block in program.parameters for lane in block.lanes}
    assert [(bool(lanes[n].trained), len(lanes[n].spreads)) for n in "pqrs"] == [(1, 0), (1, 1), (0, 1), (0, 0)]
    both = compile_deck(deck(tmp_path / "both.cir", body.partition("*.netc spread")[0])).program
    assert next(b.lanes for b in both.parameters if b.trained) == ("p", "q")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("spread R1", "needs by="),
        ("spread R1 by=10", "share of the value"),
        ("spread R1 by=0", "share of the value"),
        ("spread R1 by=-5%", "share of the value"),
        ("spread R1 by=10% each=year", "each= is"),
        ("spread R1 by=10% law=cauchy", "law= is"),
        ("spread R1 by=10% sigma=3", "no key 'sigma'"),
        ("spread R9 by=10%", "matches 'r9'"),
        ("spread by=10%", "names nothing"),
        ("spread R2 by=10%", "is an expression of parameters"),
        ("spread R1 R1 by=10%", "has a spread already"),
        ("spread B1 by=10%", "matches 'b1'"),
    ],
)
def test_nonsense_is_refused_where_it_stands(tmp_path: Path, line: str, message: str) -> None:
    body = f".param p=1k\nR1 a b 1k\nR2 a b {{p}}\nB1 c 0 v={{v(b)}}\nR3 c 0 1\n*.netc {line}\n"
    with pytest.raises(NetcError) as caught:
        _ = compile_deck(deck(tmp_path / "deck.cir", body)).program
    found = caught.value.diagnostics
    assert [d.span.line for d in found if d.span] == [9]
    assert message in found[0].message
