"""How often each expression of a program changes: what may leave the time loop, and what may leave the batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from netc.ir.nodes import Expr, Input, Rate, Slot, State, Time, Unknown, postorder
from netc.ir.program import Program


def state_rates(program: Program) -> dict[str, Rate]:
    """Return the rate of every state block: ``STEP``, or ``TIME`` where it is common to all samples.

    A state is ``TIME`` if neither its derivative nor its initial value depends on an input, directly or through
    other states; found as the least fixpoint from "all are common".
    """
    states, _ = _leaf_rates(program)
    return states


class Rates:
    """Memoised rates of the expressions of one program.

    An unknown of a system not yet solved takes the rate of all that its block reads.
    """

    def __init__(self, program: Program) -> None:
        self._inputs = _input_rates(program)
        self._states, self._unknowns = _leaf_rates(program)
        self._known: dict[Expr, Rate] = {}

    def declare(self, leaf: State | Unknown, rate: Rate) -> None:
        """Let expressions read a state or unknown that the program does not have yet."""
        (self._states if isinstance(leaf, State) else self._unknowns)[leaf.name] = rate

    def __call__(self, expr: Expr) -> Rate:
        """Return the rate of ``expr``; raises ``ValueError`` for a leaf the program does not have."""
        found = self._known.get(expr)
        if found is None:
            found = _rate(expr, self._inputs, self._states, self._unknowns, self._known)
        return found


def _input_rates(program: Program) -> dict[str, Rate]:
    return {block.name: Rate.SAMPLE if block.mode == "amplitude" else Rate.STEP for block in program.inputs}


def _leaf_rates(program: Program) -> tuple[dict[str, Rate], dict[str, Rate]]:
    inputs = _input_rates(program)
    states = {block.name: Rate.TIME for block in program.states}
    unknowns = {u.name: Rate.PARAMETER for b in program.algebraic for u in b.unknowns if isinstance(u, Unknown)}
    while True:
        known: dict[Expr, Rate] = {}
        changed = False
        for block in program.algebraic:
            roots = block.residuals if block.explicit is None else (block.explicit,)
            rate = _join(_rate(root, inputs, states, unknowns, known) for root in roots)
            for unknown in block.unknowns:
                if isinstance(unknown, Unknown) and unknowns[unknown.name] != rate:
                    unknowns[unknown.name] |= rate
                    changed = True
        for state in program.states:
            rate = _join(_rate(root, inputs, states, unknowns, known) for root in (state.derivative, state.initial))
            if rate & Rate.SAMPLE and states[state.name] is not Rate.STEP:
                states[state.name] = Rate.STEP
                changed = True
        if not changed:
            return states, unknowns


def _join(rates: Iterable[Rate]) -> Rate:
    result = Rate.PARAMETER
    for rate in rates:
        result |= rate
    return result


def _rate(
    root: Expr,
    inputs: Mapping[str, Rate],
    states: Mapping[str, Rate],
    unknowns: Mapping[str, Rate],
    known: dict[Expr, Rate],
) -> Rate:
    for node in postorder(root, known=known):
        try:
            if isinstance(node, Time):
                rate = Rate.TIME
            elif isinstance(node, Input):
                rate = inputs[node.name]
            elif isinstance(node, State):
                rate = states[node.name]
            elif isinstance(node, Unknown):
                rate = unknowns[node.name]
            elif isinstance(node, Slot):
                raise ValueError(f"slot {node.kind} {node.index} of a law template is left in the program")
            else:
                rate = _join(known[child] for child in node.children)
        except KeyError:
            raise ValueError(
                f"the program has no {type(node).__name__.lower()} {getattr(node, 'name', '')!r}"
            ) from None
        known[node] = rate
    return known[root]
