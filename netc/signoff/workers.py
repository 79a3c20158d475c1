"""Samples through ngspice, several at a time, each in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Event

import numpy as np

from netc.diagnostics import NetcError
from netc.ngspice.bridge import run
from netc.ngspice.locate import Installation
from netc.ngspice.task import Judge
from netc.signoff.curves import on_grid
from netc.signoff.netlists import ChipASample, OneChip
from netc.signoff.store import Found, Store

_ATTEMPTS = 2
_PATIENCE = 0.5  # seconds between looks at whether to stop


@dataclass(frozen=True, slots=True)
class Bench:
    """All that running one sample takes but the sample.

    Attributes:
        chip: gives the netlist of a sample.
        judge: what is looked at.
        times: netc's grid, seconds, ``(rows,)``.
        store: where results go.
        engine, timeout, installation: see :func:`netc.ngspice.bridge.run`.
    """

    chip: OneChip | ChipASample
    judge: Judge
    times: np.ndarray
    store: Store
    engine: str
    timeout: float
    installation: Installation

    def measure(self, number: int, sample: np.ndarray, stopped: Event) -> Found:
        """Run a sample, once more where ngspice died or hung, and keep what it gave.

        Raises:
            NetcError: it failed every time, or was stopped.
        """
        for attempt in range(_ATTEMPTS):
            started = time.perf_counter()
            try:
                waves = run(
                    self.chip.netlist(number, sample),
                    nodes=self.judge.names,
                    timeout=self.timeout,
                    engine=self.engine,
                    installation=self.installation,
                    stopped=stopped,
                )
            except NetcError:
                if stopped.is_set() or attempt + 1 == _ATTEMPTS:
                    raise
                continue
            values = on_grid(self.times, waves.times, [waves.values[name] for name in self.judge.names])
            onto = dict(zip(self.judge.names, values, strict=True))
            found = Found(self.judge.read(self.times, onto), time.perf_counter() - started)
            self.store.save(number, sample, found)
            return found
        raise AssertionError("every attempt returns or raises")


def measure_all(
    bench: Bench,
    samples: np.ndarray,
    numbers: Sequence[int],
    jobs: int,
    done: Callable[[int, Found | NetcError], None],
    wanted: Callable[[], bool],
) -> bool:
    """Run the samples with these numbers, ``jobs`` at a time; return whether all have been tried.

    Args:
        bench: what runs one.
        samples: ``(samples, features)``, recordings ``(samples, frames, features)``.
        numbers: which of them.
        jobs: processes at once.
        done: is told each result as it comes, or why there is none.
        wanted: whether to stop; what runs is then ended, and nothing else begun.
    """
    stopped = Event()
    with ThreadPoolExecutor(jobs, thread_name_prefix="netc-signoff") as pool:
        pending: dict[Future[Found], int] = {
            pool.submit(bench.measure, number, samples[number], stopped): number for number in numbers
        }
        try:
            while pending:
                finished, _ = wait(pending, _PATIENCE, FIRST_COMPLETED)
                for future in finished:
                    number = pending.pop(future)
                    try:
                        done(number, future.result())
                    except NetcError as error:
                        done(number, error)
                if wanted():
                    return False
        finally:
            stopped.set()
            pool.shutdown(wait=True, cancel_futures=True)
    return True
