"""Programs come back from bytes to the last bit, and nothing else passes for one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from netc.compiler import compile_deck
from netc.diagnostics import Diagnostic, Severity, Span
from netc.emit import emit_torch
from netc.ir import nodes
from netc.ir.adjoint import adjoints
from netc.ir.implicit import Hole, Newton, Solution, newton, shares_joined
from netc.ir.network import Response
from netc.ir.nodes import Const, Expr, Index, Parameter
from netc.ir.serial import dump, load

NETLISTS = Path(__file__).resolve().parents[2] / "netlists"


@pytest.mark.parametrize("name", sorted(p.name for p in NETLISTS.glob("*.cir")))
def test_programs_of_the_shipped_netlists_come_back(name: str) -> None:
    program = compile_deck(NETLISTS / name).program
    data = dump(program)
    again = load(data)
    assert dump(again) == data
    assert emit_torch(again) == emit_torch(program)
    for before, after in zip(program.parameters, again.parameters, strict=True):
        assert before.values.tobytes() == after.values.tobytes()
        assert before.spans == after.spans
        assert after.values.flags.writeable
    # hash-consed: an expression that is alive is the same object again
    assert [s.derivative for s in again.states] == [s.derivative for s in program.states]


def every_kind() -> Iterator[Expr]:
    a, b = Parameter("a", 3), Parameter("b", 3)
    matrix = nodes.Assemble(Parameter("m", 9), Index([0, 0, 0, 1, 1, 1, 2, 2, 2]), Index([0, 1, 2] * 3), (3, 3))
    yield from (
        a,
        nodes.Input("u", 2),
        nodes.State("x", 3),
        nodes.Unknown("z"),
        nodes.Time(),
        nodes.TimeStep(),
        nodes.Slot("value", 1),
    )
    yield from (
        nodes.Slot("value", 1),
        nodes.Unary("exp", a),
        nodes.Binary("add", a, b),
        nodes.Select(a, b, Const(1.5)),
    )
    yield from (nodes.Gather(a, Index([2, 0])), nodes.ScatterAdd(a, Index([0, 1, 0]), 4), nodes.Concat(a, b))
    yield from (matrix, nodes.MatVec(a, matrix), nodes.Solve(matrix, b), nodes.Transpose(matrix), nodes.Outer(a, b))
    yield nodes.Interpolate(a, nodes.Columns(a, b), nodes.Columns(b, a))
    yield nodes.Entries(matrix, Index([0, 2]), Index([1, 1]))
    yield Response(a, Index([0, 1, 0]), Index([0, 1, 1]), b, Index([0, 1, 1]), Index([0, 0, 2]), (3, 2))
    found = newton(
        nodes.Binary("mul", a, nodes.Unknown("z", 3)),
        nodes.Unknown("z", 3),
        nodes.Unknown("z0", 3),
        b,
        systems=3,
        names=("p", "q"),
    )
    solved = Solution(found.step, found.systems, found.names, found.guess, found.operands)
    share = adjoints({solved: Const(1.0)}, [a])[a]
    yield from (found, solved, share, *shares_joined([share]))


def kinds(base: type[Expr]) -> set[type[Expr]]:
    """All kinds of expressions that are no base of others."""
    below = base.__subclasses__()
    return set().union(*map(kinds, below)) if below else {base}


def test_every_kind_of_expression_comes_back_as_the_same_object() -> None:
    expressions = tuple(every_kind())
    reached = {type(node) for e in expressions for node in nodes.postorder(e)} | {Hole}
    assert {kind for kind in kinds(Expr) if kind.__module__.startswith("netc.ir.")} | {Newton} == reached
    again = load(dump(expressions))
    assert all(x is y for x, y in zip(expressions, again, strict=True))


@pytest.mark.parametrize("value", [0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324, 0.1, 1 / 3, 1e300])
def test_numbers_keep_every_bit(value: float) -> None:
    (constant, plain, array) = load(dump((Const(value), value, np.array([value]))))
    assert constant is Const(value)
    assert plain.hex() == value.hex() == float(array[0]).hex()


def test_diagnostics_and_odd_names_come_back() -> None:
    remark = Diagnostic(Severity.WARNING, "müß\0ig \udc80", Span("näme \udcff.cir", 3, 4, 5), None)
    assert load(dump((remark, "", (), ("a", "b")))) == (remark, "", (), ("a", "b"))


def test_files_can_be_renamed_on_the_way() -> None:
    spans = (Span("here.cir", 1), Span("part.lib", 2))
    assert load(dump((spans,), {"here.cir": "?"}), {"?": "there.cir"})[0] == (Span("there.cir", 1), Span("part.lib", 2))


def test_damage_is_noticed_wherever_it_is() -> None:
    data = dump(compile_deck(NETLISTS / "rc.cir").program)
    for at in range(0, len(data), 97):
        with pytest.raises(ValueError):
            load(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(ValueError):
            load(data[:at])
    with pytest.raises(ValueError):
        load(data + b"\0")


def test_what_has_no_form_is_refused() -> None:
    with pytest.raises(ValueError, match="function cannot be written"):
        dump(((lambda: 1),))
    with pytest.raises(ValueError, match="cannot be written"):
        dump(np.array([object()]))
