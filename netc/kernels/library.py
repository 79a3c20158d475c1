"""Compile a C++ file once for this machine and load it: one compiler call, cached by content.

The key is a hash of the source, the compiler's version, its flags and the processor's features, so that another
compiler or processor compiles anew.  Two processes may compile the same file at once: each writes to a name of its
own and renames it, which is atomic.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

FLAGS = (
    "-std=c++17",
    "-O3",
    "-march=native",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-fPIC",
    "-shared",
    "-pthread",
)
"""Not -ffast-math: what is not a number has to stay so."""

_WIDE = "-mprefer-vector-width=512"
_GCC = ("-fno-tree-ter", "-fno-tree-loop-distribute-patterns")  # keep lanes interleaved, and arrays of vectors whole
_TIMEOUT = 600.0  # s
_COMPILERS = ("c++", "g++", "clang++")

Notify = Callable[[str], None]


def to_stderr(message: str) -> None:
    """Print one line of notice."""
    print(f"netc: {message}", file=sys.stderr)


def cache_folder() -> Path:
    """Return ``$XDG_CACHE_HOME/netc/kernels`` or ``~/.cache/netc/kernels``."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    # the XDG specification says to ignore a relative path
    base = Path(root) if os.path.isabs(root) else Path.home() / ".cache"
    return base / "netc" / "kernels"


def compiler() -> str | None:
    """Return the C++ compiler: ``$CXX``, else the first of c++, g++, clang++ that is there."""
    chosen = os.environ.get("CXX", "")
    return next((found for name in ((chosen,) if chosen else _COMPILERS) if (found := shutil.which(name))), None)


def load(source: str, notify: Notify = to_stderr) -> ctypes.CDLL | None:
    """Return the library of a C++ source; ``None``, after one notice, where it cannot be had."""
    path = compiled(source, notify)
    if path is None:
        return None
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        notify(f"the compiled kernel cannot be loaded ({_first_line(str(error))}); PyTorch runs instead")
        return None


def compiled(source: str, notify: Notify = to_stderr) -> Path | None:
    """Return the compiled file of a C++ source, from the cache if it is there."""
    program = compiler()
    if program is None:
        notify("no C++ compiler found ($CXX, c++, g++, clang++); PyTorch runs instead of a fused kernel")
        return None
    try:
        version = _version(program, os.stat(program).st_mtime_ns)
        flags = (*FLAGS, _WIDE) if platform.machine() in ("x86_64", "AMD64") else FLAGS
        flags = flags if "clang" in version else (*flags, *_GCC)
        key = hashlib.sha256("\0".join([version, *flags, _processor(), source]).encode()).hexdigest()[:32]
        folder = cache_folder()
        target = folder / f"{key}.so"
        if target.exists():
            return target
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix="build-") as build:
            text = Path(build) / "kernel.cpp"
            text.write_text(source, encoding="utf-8")
            result = Path(build) / "kernel.so"
            done = subprocess.run(
                [program, *flags, "-o", str(result), str(text)],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_TIMEOUT,
                check=False,
            )
            if done.returncode != 0 or not result.exists():
                notify(f"{Path(program).name} failed ({_first_line(done.stderr)}); PyTorch runs instead")
                return None
            os.replace(result, target)
        return target
    except (OSError, subprocess.SubprocessError) as error:
        notify(f"no fused kernel ({_first_line(str(error))}); PyTorch runs instead")
        return None


@cache
def _version(program: str, modified: int) -> str:
    """Return what a compiler says it is; ``modified`` makes the memory of it end when it is replaced."""
    done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60.0, check=True)
    return f"{program} {modified} {done.stdout}"


@cache
def _processor() -> str:
    """Return what decides which instructions ``-march=native`` uses."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    wanted = ("model name", "flags", "Features", "CPU part", "cpu family", "model\t")
    return "\n".join(dict.fromkeys(line for line in lines if line.startswith(wanted)))


def _first_line(text: str) -> str:
    line = (
        next((line for line in text.splitlines() if "error" in line), None) or (text.splitlines() or ["no message"])[0]
    )
    return line.strip()[:200]
