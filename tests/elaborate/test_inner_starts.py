"""Charges inside of devices start where ``.ic`` puts the terminals."""

from __future__ import annotations

from pathlib import Path

import pytest

from netc.compiler import compile_deck

DECK = """t
V1 vcc 0 5
R1 vcc b 10k
Q1 vcc b e qn
Re e 0 1k
Ce e 0 1n
.model qn npn(cje=5p cjc=3p rb=100 re=1 rc=1)
.ic v(b)=0.7 v(vcc)=5
.tran 1n 1u{uic}
"""


@pytest.mark.parametrize(("uic", "start"), [(" uic", 0.7), ("", None)])
def test_inner_nodes_start_at_their_terminals(uic: str, start: float | None, tmp_path: Path) -> None:
    file = tmp_path / "deck.cir"
    file.write_text(DECK.format(uic=uic), encoding="utf-8")
    compilation = compile_deck(file)
    circuit = compilation.circuit
    inner = circuit.nets.index("q1#base")
    assert circuit.nets[circuit.internal[inner]] == "b"
    given = circuit.initial_voltages.get(inner)
    assert (circuit.number(given[0]) if given else None) == start
    assert compilation.program.states and "#" not in str(compilation.diagnostics)
