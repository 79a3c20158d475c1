"""Decks of different kinds, small enough to compare in a second."""

from __future__ import annotations

from pathlib import Path

import netc.netlists

from netc.compiler import compile_deck
from netc.generate import generate
from netc.ir.program import Program

SHIPPED = Path(next(iter(netc.netlists.__path__)))


def ladder(sections: int) -> str:
    """Return a ladder of series R and L and shunt C, driven at one end."""
    lines = ["RLC ladder", "V1 n0 0 SIN(0 1 2k)"]
    for k in range(1, sections + 1):
        lines += [f"R{k} n{k - 1} a{k} {10 + k}", f"L{k} a{k} n{k} 1m IC=0", f"C{k} n{k} 0 {100 + k}n IC=0"]
    lines += [f"Rload n{sections} 0 100", "*.netc input V1", f"*.netc output n1 n{sections}"]
    return "\n".join([*lines, "*.netc train R* min=5 max=1k", ".tran 1u 200u uic", ".end", ""])


def crossbar(rows: int, columns: int) -> str:
    """Return a crossbar of full MSS devices whose states move, with capacitance on every line."""
    lines = ["MSS crossbar", ".include knowm_mss.lib"]
    for i in range(1, rows + 1):
        lines += [f"V{i} d{i} 0 SIN(0 0.8 {2 + i}k)", f"RD{i} d{i} w{i} 50", f"CW{i} w{i} 0 20n IC=0"]
    for j in range(1, columns + 1):
        lines += [f"CB{j} b{j} 0 20n IC=0", f"RS{j} b{j} 0 100"]
        lines += [f"X{i}_{j} w{i} b{j} knowm_mss x0=0.{(i * j) % 9 + 1} tau=1e-4" for i in range(1, rows + 1)]
    names = " ".join(f"b{j}" for j in range(1, columns + 1))
    lines += ["*.netc input V*", f"*.netc output {names}", "*.netc train RS* min=50 max=500"]
    return "\n".join([*lines, ".tran 0.5u 100u uic", ".end", ""])


def program(name: str, folder: Path) -> Program:
    """Return the program of one of the decks of :data:`NAMES`."""
    if name.endswith(".cir"):
        return compile_deck(SHIPPED / name).program
    text = {
        "buffered": lambda: generate((8, 6, 4), seed=1),
        "wide": lambda: generate((30, 10, 5), seed=3),
        "passive": lambda: generate((7, 6, 5), passive=True, seed=2),
        "wires": lambda: generate((10, 9, 4), wire_resistance=2.0, line_resistance=10.0, seed=4),
        "ladder": lambda: ladder(12),
        "crossbar": lambda: crossbar(6, 5),
    }[name]()
    path = folder / f"{name}.cir"
    path.write_text(text, encoding="utf-8")
    models = SHIPPED.parent / "models"
    return compile_deck(path, include_directories=[models]).program


NAMES = ("mif.cir", "fig3_passive.cir", "fig3_buffered.cir", "buffered", "passive", "wires", "ladder", "crossbar")
