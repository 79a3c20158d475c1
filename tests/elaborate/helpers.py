"""Decks from text, numbers from laws, node voltages from ngspice."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from netc.diagnostics import NetcError
from netc.elaborate import elaborate
from netc.elaborate.circuit import Branch, Circuit, Value
from netc.ir.nodes import (
    BINARY,
    UNARY,
    Binary,
    Columns,
    Const,
    Expr,
    Interpolate,
    Parameter,
    Select,
    Slot,
    Time,
    Unary,
    postorder,
)
from netc.parse import parse_text


def circuit_of(body: str, *, lenient: bool = False) -> Circuit:
    """Elaborate a title line and ``body``."""
    return elaborate(parse_text("title\n" + body), lenient=lenient)


def errors_of(body: str) -> list[tuple[int, str, str]]:
    """Return (line in ``body``, message, hint) of each error of a deck that must have some."""
    with pytest.raises(NetcError) as caught:
        circuit_of(body)
    return [
        (d.span.line - 1 if d.span else 0, d.message, d.hint or "")
        for d in caught.value.diagnostics
        if d.severity.value == "error"
    ]


def messages_of(circuit: Circuit, severity: str) -> list[str]:
    return [d.message for d in circuit.diagnostics if d.severity.value == severity]


def branch_of(circuit: Circuit, name: str) -> Branch:
    return next(branch for branch in circuit.branches if branch.name == name)


def number_of(circuit: Circuit, value: Value) -> float:
    return value if not isinstance(value, Expr) else float(_evaluate(circuit, value, {}))


def law_of(
    circuit: Circuit,
    name: str,
    volts: Mapping[str, float] | None = None,
    amperes: Mapping[str, float] | None = None,
    time: float = 0.0,
) -> float:
    """Return what a branch's law gives at these node voltages, branch currents and time."""
    branch = branch_of(circuit, name)
    net = {circuit.nets.index(node): value for node, value in (volts or {}).items()} | {0: 0.0}
    holes = {("value", k): number_of(circuit, value) for k, value in enumerate(branch.values)}
    holes |= {("voltage", k): net[p] - net[n] for k, (p, n) in enumerate(branch.voltages)}
    holes |= {
        ("current", k): (amperes or {})[circuit.branches[number].name] for k, number in enumerate(branch.currents)
    }
    return float(_evaluate(circuit, branch.law.template, holes, time))


def _evaluate(
    circuit: Circuit, root: Expr, holes: Mapping[tuple[str, int], float], time: float = 0.0
) -> np.ndarray | float:
    done: dict[int, np.ndarray | float] = {}
    with np.errstate(all="ignore"):
        for node in postorder(root):
            x = [done[id(child)] for child in node.children]
            match node:
                case Const():
                    result: np.ndarray | float = node.value
                case Parameter():
                    result = circuit.parameters[node.name].value
                case Slot():
                    result = holes[node.kind, node.index]
                case Time():
                    result = time
                case Unary():
                    result = UNARY[node.op](x[0])
                case Binary():
                    result = BINARY[node.op](x[0], x[1])
                case Select():
                    result = x[1] if x[0] else x[2]
                case Columns():
                    result = np.array(x)
                case Interpolate():
                    result = np.interp(x[0], x[1], x[2])
                case _:
                    raise TypeError(type(node).__name__)
            done[id(node)] = result
    return done[id(root)]


def ngspice_operating_point(folder: Path, body: str, nodes: list[str]) -> dict[str, float]:
    """Return node voltages of ngspice's operating point; a node ngspice does not give is missing."""
    deck = folder / "deck.cir"
    prints = "".join(f"print v({node})\n" for node in nodes)
    deck.write_text(f"title\n{body}\n.control\nset numdgt=12\nop\n{prints}.endc\n.end\n")
    done = subprocess.run(["ngspice", "-b", str(deck)], capture_output=True, text=True, timeout=30, check=False)
    values = {}
    for line in done.stdout.splitlines():
        name, found, number = line.partition(" = ")
        if found and name.strip().startswith("v("):
            values[name.strip()[2:-1]] = float(number)
    return values


def ngspice_transient(folder: Path, body: str, node: str, tran: str, points: np.ndarray) -> np.ndarray:
    """Return a node's voltage at ``points`` seconds."""
    deck, table = folder / "deck.cir", folder / "table.txt"
    deck.write_text(
        f"title\n{body}\n.tran {tran}\n.control\nset numdgt=12\nset wr_singlescale\nrun\n"
        f"wrdata {table} v({node})\n.endc\n.end\n"
    )
    subprocess.run(["ngspice", "-b", str(deck)], capture_output=True, text=True, timeout=30, check=False)
    columns = np.loadtxt(table)
    return np.interp(points, columns[:, 0], columns[:, 1])
