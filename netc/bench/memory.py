"""How much memory one training step takes beyond what is there before it.

Each variant is built in a fresh process.  On Linux the peak of the process's resident memory is reset just before
the first step and read after it; the figure is that peak less what was resident before.  Compilation and weights are
not in it; trajectories and whatever pools the step fills are.  Memory that building has freed is given back to the
system first (``malloc_trim``), so that it does not hide what a step takes.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import pickle
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from netc.bench.problem import Task
from netc.bench.registry import VARIANTS, Unavailable

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_MARK = "megabytes="
_LINES = 3  # of what a failed process said


def extra_memory(task: Task, name: str) -> float | None:
    """Return 10^6 bytes; ``None`` where the system does not tell.

    Raises:
        Unavailable: the variant failed in its process.
    """
    if not _RESET.exists():
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "problem"
        path.write_bytes(pickle.dumps(replace(task, compiled=None)))
        command = [sys.executable, "-m", "netc.bench.memory", str(path), name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    words = done.stdout.split()
    if done.returncode != 0 or not words or not words[-1].startswith(_MARK):
        raise Unavailable(f"its process {_end(done.returncode)}{_last_words(done.stderr)}")
    return float(words[-1].removeprefix(_MARK))


def _end(status: int) -> str:
    """Return how a process ended, in words."""
    if status >= 0:
        return f"ended with status {status}" if status else "gave no figure"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"was ended by {name}" + (", as when memory runs out" if name == "SIGKILL" else "")


def _last_words(text: str) -> str:
    """Return the end of what a process said, on one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = "; ".join(lines[-_LINES:])
    return f": {said}" if said else ""


def _status(key: str) -> float:
    """Return a line of the process's status in 10^6 bytes."""
    line = next(line for line in _STATUS.read_text(encoding="ascii").splitlines() if line.startswith(f"{key}:"))
    return 1024e-6 * float(line.split()[1])


def _measure(task: Task, name: str) -> float:
    import torch

    torch.set_num_threads(task.threads)
    variant = VARIANTS[name]
    step = variant.build(task)
    gc.collect()
    with contextlib.suppress(AttributeError):  # a C library without it
        ctypes.CDLL(None).malloc_trim(0)
    before = _status("VmRSS")
    _RESET.write_text("5", encoding="ascii")
    step()
    return max(0.0, _status("VmHWM") - before)


if __name__ == "__main__":
    given = pickle.loads(Path(sys.argv[1]).read_bytes())  # written by the process that started this one
    try:
        print(f"{_MARK}{_measure(given, sys.argv[2])}", flush=True)
    except Unavailable as why:
        sys.exit(str(why))
