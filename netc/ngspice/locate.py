"""Where ngspice is on this machine: the executable, the shared library, PySpice.

Looked up in this order: the folder named by ``NETC_NGSPICE_DIR``, then ``.tools/ngspice`` beside the virtual
environment or in the checkout (what an unpacked Debian package looks like: ``usr/bin``, ``usr/lib/<triplet>``),
then what the system offers (``NGSPICE_LIBRARY_PATH``, the loader's own search, ``PATH``).
"""

from __future__ import annotations

import ctypes.util
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from netc.diagnostics import NetcError

_INSTALL_HINT = (
    "as root: apt-get install ngspice libngspice0; without root: apt-get download ngspice libngspice0, then "
    "dpkg-deb -x FILE .tools/ngspice for both; or set NETC_NGSPICE_DIR to a folder "
    "that holds bin/ngspice and lib/libngspice.so"
)


@dataclass(frozen=True, slots=True)
class Installation:
    """What was found; ``None`` stands for what was not.

    ``executable`` and ``library`` are paths (the library may be a bare name the loader resolves), ``version`` is
    what ``ngspice -v`` says, ``pyspice`` the version of the installed PySpice, ``library_folders`` what the loader
    must search besides its own folders.
    """

    executable: str | None
    library: str | None
    version: str | None
    pyspice: str | None
    library_folders: tuple[str, ...] = ()

    @property
    def engines(self) -> tuple[str, ...]:
        """The engines of :func:`netc.ngspice.bridge.run` that can work here, best first."""
        found = []
        if self.library and self.pyspice:
            found.append("pyspice")
        if self.executable:
            found.append("batch")
        return tuple(found)


def find_ngspice() -> Installation:
    """Look for ngspice and PySpice; never raises, imports neither."""
    folders = list(_local_folders())
    executable = _first(folder / binary for folder in folders for binary in ("usr/bin/ngspice", "bin/ngspice"))
    local_library = _first(path for folder in folders for path in _libraries(folder))
    system_library = os.environ.get("NGSPICE_LIBRARY_PATH") or ctypes.util.find_library("ngspice")
    library = local_library or system_library
    library_folders = tuple(
        dict.fromkeys(
            str(path)
            for folder in folders
            for pattern in ("usr/lib", "usr/lib/*-linux-*", "lib")
            for path in sorted(folder.glob(pattern))
        )
    )
    executable = executable or shutil.which("ngspice")
    try:
        pyspice: str | None = importlib.metadata.version("PySpice")
    except importlib.metadata.PackageNotFoundError:
        pyspice = None
    version = _version(executable, library_folders) if executable else None
    return Installation(executable, library, version, pyspice, library_folders)


def require_engine(installation: Installation, engine: str) -> tuple[str, ...]:
    """Return the engines to try, in order, for ``engine`` (``pyspice``, ``batch`` or ``auto``).

    Raises:
        NetcError: the engine is unknown, or what it needs is not on this machine.
    """
    if engine not in ("auto", "pyspice", "batch"):
        raise NetcError(f"unknown ngspice engine '{engine}'", hint="use pyspice, batch or auto")
    if engine == "auto":
        if not installation.engines:
            raise NetcError("ngspice was not found on this machine", hint=_INSTALL_HINT)
        return installation.engines
    if engine not in installation.engines:
        if engine == "batch":
            raise NetcError("the ngspice executable was not found", hint=_INSTALL_HINT)
        if installation.library is None:
            raise NetcError("the ngspice shared library (libngspice) was not found", hint=_INSTALL_HINT)
        raise NetcError("PySpice is not installed", hint="pip install PySpice, or use the batch engine")
    return (engine,)


def _local_folders() -> Iterator[Path]:
    named = os.environ.get("NETC_NGSPICE_DIR")
    candidates = [Path(named)] if named else []
    candidates += [Path(sys.prefix).parent / ".tools" / "ngspice"]
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").is_file():
        candidates.append(checkout / ".tools" / "ngspice")
    for candidate in dict.fromkeys(path.absolute() for path in candidates):
        if candidate.is_dir():
            yield candidate


def _libraries(folder: Path) -> Iterator[Path]:
    for pattern in ("usr/lib/*/libngspice.so*", "usr/lib/libngspice.so*", "lib/libngspice.so*"):
        yield from sorted(folder.glob(pattern))


def _first(paths: Iterator[Path]) -> str | None:
    return next((str(path) for path in paths if path.is_file()), None)


def _version(executable: str, library_folders: tuple[str, ...]) -> str | None:
    environment = dict(os.environ)
    if library_folders:
        environment["LD_LIBRARY_PATH"] = os.pathsep.join(library_folders)
    try:
        told = subprocess.run(
            [executable, "-v"], capture_output=True, text=True, errors="replace", timeout=20, env=environment
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"ngspice-(\S+)", told.stdout)
    return match.group(1) if match else None
