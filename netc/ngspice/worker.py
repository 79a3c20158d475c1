"""The process that talks to ngspice through PySpice: one job, then it ends.

It is run as a file, not imported: PySpice (GPL) is loaded here and nowhere else in netc.  ngspice reads the netlist
``deck.cir`` in the current folder; the answer goes to ``names.json`` (vector names and ngspice's messages) and
``values.npy`` (float64, shape (vectors, points)).  ngspice may end this process or be killed with it: whoever
started it looks at the exit status and at what has been written.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import signal
import sys
from pathlib import Path

import numpy as np


def main() -> int:
    """Simulate ``deck.cir`` of the current folder and write the answer beside it; the exit status is 0 if done."""
    _die_with_parent()
    from PySpice.Spice.NgSpice.Shared import NgSpiceShared

    class Recorder(NgSpiceShared):  # type: ignore[misc]  # PySpice has no types
        """Keeps every line ngspice says; PySpice forgets them with each command."""

        def __init__(self) -> None:
            self.said: list[str] = []
            super().__init__()

        def send_char(self, message: str, ngspice_id: int) -> int:
            self.said.append(message)
            return 0

    simulator = Recorder()
    # PySpice takes every line on stderr for an error, gmin stepping too, and every line with the word "error".
    # Whether the run is good is judged by what it produced.
    with contextlib.suppress(NameError):  # the base of PySpice's errors
        simulator.load_circuit(Path("deck.cir").read_text(encoding="utf-8"))
    with contextlib.suppress(NameError):
        simulator.run()
    answer: dict[str, object] = {"plot": "", "names": [], "said": simulator.said}
    plot_name = simulator.last_plot
    if plot_name.startswith("tran"):  # without an analysis the last plot is "const"
        vectors = {name.lower(): np.asarray(vector._data) for name, vector in simulator.plot(None, plot_name).items()}
        points = len(vectors["time"])
        vectors = {name: values for name, values in vectors.items() if len(values) == points}  # unknown ones are empty
        values = np.lib.format.open_memmap("values.npy", mode="w+", dtype=np.float64, shape=(len(vectors), points))
        for row, vector in enumerate(vectors.values()):
            values[row] = vector
        values.flush()
        answer["plot"], answer["names"] = plot_name, list(vectors)
    Path("names.json").write_text(json.dumps(answer), encoding="utf-8")
    return 0


def _die_with_parent() -> None:
    """Have Linux end this process when the one that started it is gone."""
    pr_set_pdeathsig = 1
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
