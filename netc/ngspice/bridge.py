"""Run a netlist in ngspice, in a process of its own.

Two engines give the same numbers to the last bit: ``pyspice`` (libngspice through PySpice, in
:mod:`netc.ngspice.worker`) and ``batch`` (``ngspice -b -r``).  Each run has a fresh folder, an environment with nothing
of the user's in it (no ``.spiceinit``, no ``spinit``), a time limit and its own process, so a crash of ngspice, or a
netlist that eats memory, ends that run and not netc.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import site
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import numpy as np

from netc.diagnostics import NetcError
from netc.ngspice.locate import Installation, find_ngspice, require_engine
from netc.ngspice.rawfile import read_raw

DEFAULT_TIMEOUT = 600.0
DEFAULT_MEMORY_LIMIT = 8 << 30

_PATIENCE = 0.2  # seconds between looks at whether to stop

_TRAN = re.compile(r"^\.tran\s+(\S+)\s+(\S+)", re.IGNORECASE | re.MULTILINE)
_COMMAND = re.compile(
    r"^\s*(\.(control|exec|inc\w*|lib|hdl|pre_\w+|shell|source|write\w*|wrdata|measure|meas)\b|\*\s*#|\*ng_script\S*)",
    re.IGNORECASE | re.MULTILINE,
)
_CURRENT = re.compile(r"(?:i\((?P<raw>.+)\)|(?P<shared>.+)#branch|(?P<device>@.+))\Z")
_COMPLAINT = re.compile(r"error|doanalyses|fatal|undefined|cannot|no such|unknown|singular|too many|out of range", re.I)
_NOISE = re.compile(
    r"simulation interrupted|there aren't any circuits|circuit not parsed|no active circuit|fatal error in ngspice"
    r"|cannot recover|run simulation|transient op|gmin|source stepping|cannot compute substitute",
    re.I,
)


@dataclass(frozen=True, slots=True, eq=False)
class Waveforms:
    """What ngspice computed.

    Attributes:
        times: seconds, float64, shape ``(points,)``, not decreasing; at its own steps.  With ``uic`` the first is
            later than 0.
        values: by signal, float64, shape ``(points,)``: nodes by their lower-case name (``xn.x1``) in volts,
            currents as ``i(xn.v1)`` in amperes.
        engine: ``pyspice`` or ``batch``.
        seconds: wall time of the run.
        notes: what the user should know, such as that the other engine failed.
    """

    times: np.ndarray
    values: dict[str, np.ndarray]
    engine: str
    seconds: float
    notes: tuple[str, ...] = field(default=())


class _EngineFailed(Exception):
    """This engine could not do the job for a reason of its own; the other one may."""


def run(
    text: str,
    *,
    nodes: Sequence[str] | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    engine: str = "auto",
    memory_limit: int = DEFAULT_MEMORY_LIMIT,
    installation: Installation | None = None,
    stopped: Event | None = None,
) -> Waveforms:
    """Simulate ``text`` and return its waveforms.

    Args:
        text: a netlist with a ``.tran`` card, from :func:`netc.ngspice.netlist.ngspice_text`.  Whatever would make
            ngspice run a command or open a file is refused.
        nodes: the signals to return, all of which must be there; whatever ngspice gives when ``None``.
        timeout: wall seconds after which the process is killed.
        engine: ``pyspice``, ``batch``, or ``auto``: PySpice, and batch where PySpice itself fails.
        memory_limit: bytes of address space (and of file) the process may use.
        installation: where ngspice is; looked up when ``None``.
        stopped: once it is set, by another thread, the process is killed.

    Raises:
        NetcError: ngspice is absent, rejects the netlist (its own sentence is quoted), stops before the end,
            crashes, runs out of time or is stopped, or a wanted signal is not among its vectors.
    """
    if match := _COMMAND.search(text):
        raise NetcError(f"refused to pass '{match.group(0).strip()}' to ngspice: it runs commands or reads files")
    installation = installation or find_ngspice()
    notes: list[str] = []
    engines = require_engine(installation, engine)
    for place, name in enumerate(engines):
        start = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="netc-ngspice-") as folder:
            job = _Job(Path(folder), text, timeout, memory_limit, installation, stopped)
            try:
                names, values = job.pyspice() if name == "pyspice" else job.batch()
            except _EngineFailed as failure:
                if place + 1 == len(engines):
                    raise NetcError(str(failure)) from failure
                notes.append(f"{failure}; ran ngspice -b instead")
                continue
        return _waveforms(names, values, nodes, name, time.perf_counter() - start, tuple(notes), text)
    raise AssertionError("require_engine returned no engine")


@dataclass(slots=True)
class _Job:
    folder: Path
    text: str
    timeout: float
    memory_limit: int
    installation: Installation
    stopped: Event | None

    def pyspice(self) -> tuple[list[str], np.ndarray]:
        worker = Path(__file__).with_name("worker.py")
        # -P: the worker's own folder must not shadow modules.
        status, _ = self._start([sys.executable, "-P", str(worker)])
        try:
            answer = json.loads((self.folder / "names.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise _EngineFailed(f"the PySpice worker {_ending(status)}{self._last_words()}") from error
        said = [_without_stream(line) for line in answer["said"]]
        names = answer["names"]
        values = np.load(self.folder / "values.npy", allow_pickle=False) if names else np.empty((0, 0))
        _refuse_incomplete(names, values, said, self.text)
        return names, values

    def batch(self) -> tuple[list[str], np.ndarray]:
        executable = str(self.installation.executable)
        status, said = self._start([executable, "-n", "-b", "-r", "result.raw", "deck.cir"])
        if status < 0:
            raise _EngineFailed(f"ngspice {_ending(status)}")
        raw = self.folder / "result.raw"
        names: list[str] = []
        values = np.empty((0, 0))
        if raw.is_file() and raw.stat().st_size and not (status and _complaints(said)):
            names, values = read_raw(raw)
        _refuse_incomplete(names, values, said, self.text)
        return names, values

    def _start(self, command: list[str]) -> tuple[int, list[str]]:
        (self.folder / "deck.cir").write_text(self.text, encoding="utf-8")
        scripts = self.folder / "scripts"
        scripts.mkdir()
        settings = ["* no settings but ngspice's own", *(f"codemodel {path}" for path in self.installation.code_models)]
        (scripts / "spinit").write_text("\n".join(settings) + "\n", encoding="utf-8")
        output = self.folder / "said.txt"
        with output.open("wb") as sink:
            try:
                process = subprocess.Popen(
                    command,
                    cwd=self.folder,
                    env=self._environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise _EngineFailed(f"{command[0]} cannot be started: {error.strerror}") from error
            try:
                _limit(process.pid, self.timeout, self.memory_limit)
                status = self._wait(process)
            except subprocess.TimeoutExpired:
                raise NetcError(
                    f"ngspice did not finish within {self.timeout:g} s and was stopped",
                    hint="allow more time, a shorter tstop or a larger step",
                ) from None
            finally:
                _kill(process)
        return status, output.read_text(encoding="utf-8", errors="replace").splitlines()

    def _wait(self, process: subprocess.Popen[bytes]) -> int:
        if self.stopped is None:
            return process.wait(self.timeout)
        end = time.monotonic() + self.timeout
        while True:
            try:
                return process.wait(min(_PATIENCE, max(0.0, end - time.monotonic())))
            except subprocess.TimeoutExpired:
                if self.stopped.is_set():
                    raise NetcError("ngspice was stopped") from None
                if time.monotonic() >= end:
                    raise

    def _environment(self) -> dict[str, str]:
        folder = str(self.folder)
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": folder,
            "TMPDIR": folder,
            "SPICE_SCRIPTS": str(self.folder / "scripts"),
            "SPICE_LIB_DIR": folder,
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",  # each of its threads would reserve address space
            "PYTHONUSERBASE": site.getuserbase(),  # HOME is another one
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        if self.installation.library:
            environment["NGSPICE_LIBRARY_PATH"] = self.installation.library
        libraries = [*self.installation.library_folders, *os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)]
        if kept := [str(Path(path).absolute()) for path in libraries if path]:
            environment["LD_LIBRARY_PATH"] = os.pathsep.join(kept)
        if modules := [str(Path(p).absolute()) for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]:
            environment["PYTHONPATH"] = os.pathsep.join(modules)
        return environment

    def _last_words(self) -> str:
        said = (self.folder / "said.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f": {said[-1].strip()[:200]}" if said else ""


def _limit(pid: int, seconds: float, memory: int) -> None:
    # So that a process whose parent has been killed ends too, and one that grows stops before the machine does.
    if not hasattr(resource, "prlimit"):
        return
    cpu = int(seconds) + 5
    for kind, limit in (
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, memory),
        (resource.RLIMIT_CORE, 0),
    ):
        try:
            hard = resource.prlimit(pid, kind)[1]
            limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
            resource.prlimit(pid, kind, (limit, limit))
        except ProcessLookupError:
            return  # it is already done


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _ending(status: int) -> str:
    if status < 0:
        try:
            return f"was ended by {signal.Signals(-status).name}"
        except ValueError:
            return f"was ended by signal {-status}"
    return f"ended with status {status} and no result"


def _without_stream(line: str) -> str:
    stream, _, content = line.partition(" ")
    return content if stream in ("stdout", "stderr") else line


def _complaints(said: Sequence[str]) -> list[str]:
    found: list[str] = []
    lines = iter(said)
    for line in lines:
        if line.strip().lower().startswith("error on line"):  # then the line itself, then what is wrong with it
            culprit = " ".join(next(lines, "").split())
            found.append(f"{next(lines, '').strip()}: {culprit}")
        elif _COMPLAINT.search(line):
            found.append(line[max(0, line.find("Error:")) :].strip())
    telling = [line for line in found if not _NOISE.search(line) and not line.lower().startswith(("warning", "note"))]
    return list(dict.fromkeys(telling or found))


def _refuse_incomplete(names: Sequence[str], values: np.ndarray, said: Sequence[str], text: str) -> None:
    points = values.shape[1] if names else 0
    asked = _asked_stop(text)
    if points:
        lower = [name.lower() for name in names]
        reached = float(values[lower.index("time"), -1])
        if asked is None or reached >= asked * (1 - 1e-9):
            return
        where = f"ngspice stopped at {reached:.6g} s of {asked:.6g} s"
    elif asked is None:
        raise NetcError("the netlist given to ngspice has no .tran analysis")
    else:
        where = "ngspice gave no waveform"
    complaints = _complaints(said)
    raise NetcError(f"{where}: {'; '.join(complaints[:3])}" if complaints else where)


def _asked_stop(text: str) -> float | None:
    match = _TRAN.search(text)
    if match is None:
        return None
    try:
        return float(match.group(2))
    except ValueError:  # a unit or an expression: ngspice_text writes plain numbers
        return 0.0


def _waveforms(
    names: Sequence[str],
    values: np.ndarray,
    nodes: Sequence[str] | None,
    engine: str,
    seconds: float,
    notes: tuple[str, ...],
    text: str,
) -> Waveforms:
    signals: dict[str, np.ndarray] = {}
    for name, row in zip(names, values, strict=True):
        signals.setdefault(signal_name(name), row)
    times = signals.pop("time")
    if nodes is not None:
        missing = [name for name in nodes if name not in signals]
        if missing:
            raise NetcError(f"ngspice has no signal called {', '.join(repr(name) for name in missing[:5])}")
        signals = {name: signals[name] for name in nodes}
    return Waveforms(times, signals, engine, seconds, notes)


def signal_name(vector: str) -> str:
    """Return netc's name of an ngspice vector: ``out`` for ``v(out)``, ``i(xn.v1)`` for ``v.xn.v1#branch``."""
    name = vector.lower()
    if match := _CURRENT.match(name):
        element = match.group("raw") or match.group("shared") or match.group("device")
        if element.startswith("@"):
            element = element[1:].partition("[")[0]
        kind, dot, path = element.partition(".")
        if dot and len(kind) == 1 and path.rsplit(".", 1)[-1].startswith(kind):
            element = path
        return f"i({element})"
    return name[2:-1] if name.startswith("v(") and name.endswith(")") else name
