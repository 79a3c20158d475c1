"""One chip: the values that a program has where its devices are not alike."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from netc.ir.program import Program
from netc.variability.devices import Devices


def draw(
    program: Program, values: Mapping[str, np.ndarray], devices: Devices, trial: int = 0, sample: int = 0
) -> dict[str, np.ndarray]:
    """Return the values that chip number ``trial`` has while it runs sample number ``sample``.

    A pure function: the same arguments give the same numbers to the last bit, in any order and in any process.  They go
    into a module by ``netc.export.set_values(module, drawn)`` and into a deck by ``netc.export.export(compilation,
    drawn, path)``, so netc and ngspice run the same chip::

        learnt = trained_values(saved.module, program)
        for trial in range(chips):
            drawn = draw(program, learnt, devices, trial)
            set_values(saved.module, drawn)               # what netc simulates: rounded to the module's type
            export(saved.compilation, drawn, path)        # what ngspice simulates

    ``sample`` matters only where ``devices.changes_by_sample(program)``: then each sample wants a draw, and a deck, of
    its own; else one draw serves all samples of a trial.  ``devices.differs(program)`` tells whether trials differ.

    Args:
        program: the compiled program; it has the bounds of trained values and the spreads that the deck declares.
        values: physical values of all trained blocks, by name, float64, ``(lanes,)``.
        devices: how devices differ.
        trial: number of the chip.
        sample: number of the sample.

    Returns:
        Physical values by block: all trained ones, and the others that the deck declares a spread of.
    """
    return devices.programmed(program, values, trial, sample)
