"""What it takes to compile large crossbars: CPU time and peak memory of each stage, and how they grow with cards.

    python benchmarks/crossbar_scale.py                      # 100, 316 and 1,000 lines each way, without wires
    python benchmarks/crossbar_scale.py --wires 32,64,128    # with wires: also the condensation and its gradient

Every size is compiled in a process of its own, on one core, without the cache of compiled decks.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def measure(size: int, wired: bool) -> dict[str, Any]:
    """Return CPU seconds by stage, cards and peak memory in MB of a crossbar of ``size`` x ``size``."""
    import torch

    from netc.compiler import compile_deck
    from netc.generate import generate, write

    torch.set_num_threads(1)
    text = generate(
        (size, size),
        passive=True,
        neurons=False,
        source_resistance=10.0,
        sense_resistance=100.0,
        wire_resistance=2.0 if wired else 0.0,
        ron=10e3,
        roff=1e6,
        steps=10,
    )
    times: dict[str, float] = {}

    def timed(name: str, work: Callable[[], T]) -> T:
        start = time.process_time()
        found = work()
        times[name] = time.process_time() - start
        return found

    with tempfile.TemporaryDirectory() as folder:
        compiled = compile_deck(write(Path(folder) / "crossbar.cir", text))
        timed("parse", lambda: compiled.deck)
        timed("elaborate", lambda: compiled.circuit)
        timed("lower", lambda: compiled.dae)
        timed("optimise", lambda: compiled.program)
        timed("emit", lambda: compiled.source)
        module: Any = timed("load", lambda: compiled.module(torch.float64))
        times["all"] = sum(times.values())
        if wired:
            inputs = torch.rand(1, size, dtype=torch.float64)

            def read() -> torch.Tensor:
                found: torch.Tensor = module(10, 1e-5, inputs, observe=module.OUTPUTS)[0]
                return found

            def differentiate(signals: torch.Tensor) -> None:
                torch.autograd.backward(signals.sum())

            differentiate(read())  # so that nothing is loaded for the first time below
            total = timed("condense", read)
            timed("gradient", lambda: differentiate(total))
    cards = sum(1 for line in text.splitlines() if line[:1].isalpha())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return {"size": size, "cards": cards, "peak": peak, "times": times}


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a Markdown table, with the order in which the whole grows."""
    stages = list(rows[0]["times"])
    head = ["lines", "cards", *(f"{stage} (s)" for stage in stages), "us a card", "peak (MB)"]
    text = ["| " + " | ".join(head) + " |", "|" + "---:|" * len(head)]
    for row in rows:
        cells = [f"{row['size']:,}", f"{row['cards']:,}", *(f"{row['times'][s]:.2f}" for s in stages)]
        cells += [f"{1e6 * row['times']['all'] / row['cards']:.0f}", f"{row['peak']:,.0f}"]
        text.append("| " + " | ".join(cells) + " |")
    for before, after in pairwise(rows):
        order = math.log(after["times"]["all"] / before["times"]["all"]) / math.log(after["cards"] / before["cards"])
        text.append(f"\n{before['cards']:,} to {after['cards']:,} cards: CPU time grows as cards^{order:.2f}")
    return "\n".join(text)


def main() -> None:
    """Measure each size in a process of its own and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="100,316,1000", help="lines each way, without wires")
    parser.add_argument("--wires", help="lines each way, with wires, instead")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one, given.wires is not None)))
        return
    rows = []
    for size in map(int, (given.wires or given.sizes).split(",")):
        command = [sys.executable, __file__, "--one", str(size), *(["--wires", "1"] if given.wires else [])]
        done = subprocess.run(
            command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True, check=True
        )
        rows.append(json.loads(done.stdout))
    print(table(rows))
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
