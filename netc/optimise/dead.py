"""Drop the parameter blocks that nothing reads.

    parameter r_2 (10), read by no state and no observable   ->   gone

Inputs, states, observables and trained blocks stay: the user asked for them.
"""

from __future__ import annotations

from dataclasses import replace

from netc.ir.nodes import Parameter, postorder
from netc.ir.program import Program


def run(program: Program) -> Program:
    """Return ``program`` without unused parameter blocks."""
    roots = [e for s in program.states for e in (s.initial, s.derivative)] + [o.value for o in program.observables]
    for block in program.algebraic:
        roots += [*block.residuals, *((block.explicit,) if block.explicit is not None else ())]
    used = {node.name for node in postorder(*roots) if isinstance(node, Parameter)}
    kept = tuple(block for block in program.parameters if block.name in used or block.trained is not None)
    return replace(program, parameters=kept)
