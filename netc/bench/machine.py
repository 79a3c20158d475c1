"""Which machine and which versions a run was made with."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from netc.kernels.library import compiler

_PACKAGES = ("netc", "torch", "numpy", "jax", "jaxlib", "brian2")


def machine() -> dict[str, Any]:
    """Return processor, system, versions and the load average now."""
    found: dict[str, Any] = {
        "processor": _processor(),
        "processors": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "compiler": _compiler(),
        "load": [round(x, 2) for x in os.getloadavg()] if hasattr(os, "getloadavg") else None,
    }
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    pairs = (line.partition(":") for line in lines)
    fields = {key.strip(): value.strip() for key, _, value in pairs}
    name = fields.get("model name", platform.processor())
    numbers = [f"{key} {fields[key]}" for key in ("cpu family", "model") if key in fields]
    return f"{name} ({', '.join(numbers)})" if numbers else name


def _compiler() -> str | None:
    program = compiler()
    if program is None:
        return None
    done = subprocess.run([program, "--version"], capture_output=True, text=True, errors="replace", check=False)
    return (done.stdout.splitlines() or [Path(program).name])[0]
