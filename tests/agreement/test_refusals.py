"""Where a start would not be the one of ngspice, a located message says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from netc.compiler import compile_deck
from netc.diagnostics import NetcError
from netc.ir.interpret import simulate

REFUSED = {
    "parallel inductors": ("L1 a 0 1m\nL2 a 0 2m\nR1 in a 1\n.tran 1u 1m", 4, "closes a loop of inductors"),
    "ideal transformer core": ("L1 in 0 1m\nR1 in 0 1\n.tran 1u 1m", 3, "closes a loop of inductors and voltage"),
    "floating divider": ("C1 in a 1n\nC2 a 0 1n\n.tran 1u 1m", 3, "nothing but capacitors leads to 'a'"),
    "floating section": ("C1 in a 1n\nR1 a b 1k\nC2 b 0 1n\n.tran 1u 1m", 3, "nothing but capacitors leads to"),
    "jump of a divider": ("C1 in a 1n\nC2 a 0 1n\nR1 a 0 1k\n.tran 1u 1m uic", 4, "is to start at 0 V"),
    "jump across a source": ("C1 in 0 1n IC=0.5\nC2 in a 1n\nR1 a 0 1k\n.tran 1u 1m uic", 3, "'c1'"),
    "a PWL that goes back": ("I1 0 a PWL(0 0 2u 0 1u 1)\nR1 a in 1k\n.tran 1u 1m", 3, "the times of PWL must ascend"),
}
ACCEPTED = {
    "floating divider with .ic": "C1 in a 1n\nC2 a 0 1n\n.ic v(a)=0.2\n.tran 1u 1m",
    "floating divider with uic": "C1 in a 1n IC=1\nC2 a 0 1n\n.tran 1u 1m uic",
    "parallel inductors with uic": "L1 a 0 1m\nL2 a 0 2m\nR1 in a 1\n.tran 1u 1m uic",
    "given start of a loop": "C1 in a 1n IC=0.25\nC2 a 0 1n IC=0.75\nR1 a 0 1k\n.tran 1u 1m uic",
}


def write(body: str, folder: Path) -> Path:
    path = folder / "deck.cir"
    path.write_text(f"start\nV1 in 0 1\n{body}\n.end\n")
    return path


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path) -> None:
    body, line, said = REFUSED[name]
    with pytest.raises(NetcError) as caught:
        _ = compile_deck(write(body, tmp_path)).program
    found = caught.value.diagnostics
    assert [(d.span.line if d.span else 0, said in d.message) for d in found] == [(line, True)], caught.value
    assert all(d.hint for d in found)


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(name: str, tmp_path: Path) -> None:
    assert compile_deck(write(ACCEPTED[name], tmp_path)).program.states


def test_a_node_held_by_ic_keeps_its_value_at_the_start(tmp_path: Path) -> None:
    body = "R1 in a 1k\nC1 a 0 1n\nR2 a b 1k\nC2 b 0 1n\n.ic v(a)=0.2\n.tran 1u 1m"
    rows, _ = simulate(compile_deck(write(body, tmp_path)).program, 0, 1e-6, observe=["a", "b"])
    assert rows[0, 0] == pytest.approx([0.2, 0.2])


def test_charge_inside_a_device_that_does_not_fit_the_start_is_told(tmp_path: Path) -> None:
    model = ".model nm nmos level=1 vto=0.5 cgdo=1n cgso=1n\n"
    body = model + "M1 in g 0 0 nm w=10u l=1u\nC1 g 0 10f\nR1 g 0 1meg\n.tran 1n 1u uic"
    compilation = compile_deck(write(body, tmp_path))
    _ = compilation.program
    (told,) = [d for d in compilation.diagnostics if "ngspice shares it" in d.message]
    assert "'m1#cgd'" in told.message and told.span is not None and told.span.line == 4 and told.hint
    quiet = compile_deck(write(body.replace(" uic", ""), tmp_path))
    _ = quiet.program
    assert not any("ngspice shares it" in d.message for d in quiet.diagnostics)
