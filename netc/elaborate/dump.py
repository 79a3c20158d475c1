"""The circuit as text, for ``netc compile --emit graph``."""

from __future__ import annotations

from collections.abc import Iterator

from netc.diagnostics import printable
from netc.elaborate.circuit import Branch, Circuit, Law, Value
from netc.ir.nodes import Binary, Columns, Const, Expr, Interpolate, Leaf, Select, Slot, Time, Unary, postorder

_SHOWN = 20
_SHOWN_NETS = 200
_LONGEST = 2000
_SYMBOLS = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "div": "/",
    "and": "&&",
    "or": "||",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
    "eq": "==",
    "ne": "!=",
}
_HOLES = {"value": "p", "voltage": "v", "current": "i"}


def formula(expr: Expr) -> str:
    """Return an expression as text, cut where long: value slots are ``p0``, voltages ``v0``, currents ``i0``."""
    texts: dict[int, str] = {}
    for node in postorder(expr):
        text = _formula(node, [texts[id(child)] for child in node.children])
        texts[id(node)] = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
    return texts[id(expr)]


def _formula(node: Expr, parts: list[str]) -> str:
    match node:
        case Const():
            return f"{node.value:.12g}"
        case Slot():
            return f"{_HOLES[node.kind]}{node.index}"
        case Leaf():
            return node.name
        case Time():
            return "time"
        case Unary():
            return f"-{parts[0]}" if node.op == "neg" else f"{node.op}({parts[0]})"
        case Binary():
            return f"({parts[0]} {_SYMBOLS[node.op]} {parts[1]})" if node.op in _SYMBOLS else _call(node.op, parts)
        case Select():
            return f"({parts[0]} ? {parts[1]} : {parts[2]})"
        case Columns():
            return f"[{_shortened(parts)}]"
        case Interpolate():
            return _call("pwl", parts)
    raise TypeError(f"{type(node).__name__} in an elaborated circuit")


def _call(function: str, arguments: list[str]) -> str:
    return f"{function}({', '.join(arguments)})"


def dump(circuit: Circuit) -> str:
    """Return nets, laws with how many branches follow each, and branches (the first few of each law), as text."""
    return "".join(printable(line) + "\n" for line in _lines(circuit))


def _lines(circuit: Circuit) -> Iterator[str]:
    yield f"circuit {circuit.title}"
    yield f"nets {len(circuit.nets)}: {_shortened(circuit.nets, _SHOWN_NETS)}"
    if circuit.timing is not None:
        timing = circuit.timing
        maximum = "" if timing.tmax is None else f" tmax {timing.tmax:g} s"
        yield (
            f"tran tstep {timing.tstep:g} s tstop {timing.tstop:g} s tstart {timing.tstart:g} s{maximum}"
            f"{' uic' if timing.uic else ''}"
        )
    yield f"temperature {circuit.temperature:g} degC"
    for name, shared in circuit.parameters.items():
        yield f"parameter {name} = {shared.value:.12g}"
    for name, paths in circuit.instances.items():
        yield f"subcircuit {name} x {len(paths)}: {_shortened(paths)}"
    families: dict[int, tuple[Law, list[Branch]]] = {}
    for branch in circuit.branches:
        families.setdefault(id(branch.law), (branch.law, []))[1].append(branch)
    yield f"branches {len(circuit.branches)} in {len(families)} laws"
    for number, (law, branches) in enumerate(families.values()):
        roles = ", ".join(
            f"p{k} {role or 'literal'}{f' [{unit}]' if unit else ''}"
            for k, (role, unit) in enumerate(zip(law.roles[:_SHOWN], law.units[:_SHOWN], strict=True))
        )
        yield f"law {number}: {law.letter} x {len(branches)}: {law.kind} = {formula(law.template)}"
        if roles:
            yield f"  {roles}{', ...' if len(law.roles) > _SHOWN else ''}"
        for branch in branches[:_SHOWN]:
            yield "  " + _branch(circuit, branch)
        if len(branches) > _SHOWN:
            yield f"  ... {len(branches) - _SHOWN} more"
    for word, table in (("ic", circuit.initial_voltages), ("nodeset", circuit.nodeset)):
        for position, (net, (value, _)) in enumerate(table.items()):
            if position == _SHOWN:
                yield f"{word} ... {len(table) - _SHOWN} more"
                break
            yield f"{word} v({circuit.nets[net]}) = {_value(value)}"
    yield from _purpose(circuit)


def _purpose(circuit: Circuit) -> Iterator[str]:
    if circuit.driven:
        names = [f"{circuit.branches[d.branch].name} ({d.mode})" for d in circuit.driven]
        yield f"input {len(names)}: {_shortened(names)}"
    if circuit.outputs:
        yield f"output {len(circuit.outputs)}: {_shortened([circuit.nets[net] for net in circuit.outputs])}"
    if circuit.trained:
        names = [
            f"{t.parameter if t.branch is None else circuit.branches[t.branch].name} in {t.minimum:g} .. {t.maximum:g}"
            for t in circuit.trained
        ]
        yield f"train {len(names)}: {_shortened(names)}"
    if circuit.varied:
        names = [
            f"{v.parameter if v.branch is None else circuit.branches[v.branch].name} by "
            + (f"{v.spread.share:.3%}" if v.spread.share else f"{v.spread.amount:g}")
            for v in circuit.varied
        ]
        yield f"spread {len(names)}: {_shortened(names)}"
    if circuit.selected:
        yield f"observe {len(circuit.selected)}: {_shortened(circuit.selected)}"


def _branch(circuit: Circuit, branch: Branch) -> str:
    nets = circuit.nets
    text = f"{branch.name} {nets[branch.nets[0]]} {nets[branch.nets[1]]}"
    if branch.values:
        text += f" ({_shortened([_value(value) for value in branch.values])})"
    text += "".join(f" v({nets[p]},{nets[n]})" for p, n in branch.voltages)
    text += "".join(f" i({circuit.branches[number].name})" for number in branch.currents)
    return text if branch.initial is None else f"{text} ic={_value(branch.initial)}"


def _value(value: Value) -> str:
    return formula(value) if isinstance(value, Expr) else f"{value:.12g}"


def _shortened(items: list[str], most: int = _SHOWN) -> str:
    shown = ", ".join(items[:most])
    return shown if len(items) <= most else f"{shown}, ... {len(items) - most} more"
