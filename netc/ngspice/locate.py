"""Where ngspice is on this machine: the executable, the shared library, PySpice.

Looked up in this order: the folder named by ``NETC_NGSPICE_DIR``, what the system offers (``NGSPICE_LIBRARY_PATH``, the
loader's own search, ``PATH``), then ``.tools/ngspice`` beside the virtual environment or in the checkout.  A folder may
look like an unpacked Debian package (``usr/bin``, ``usr/lib/<triplet>``) or have ``bin`` and ``lib``.
"""

from __future__ import annotations

import ctypes.util
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from netc.diagnostics import NetcError

INSTALL_HINT = (
    "as root: apt-get install ngspice libngspice0; without root: apt-get download ngspice libngspice0, then "
    "dpkg-deb -x FILE .tools/ngspice for both; or set NETC_NGSPICE_DIR to a folder "
    "that holds bin/ngspice and lib/libngspice.so"
)


_BINARIES = ("usr/bin/ngspice", "bin/ngspice")
_LIBRARIES = ("usr/lib/*/libngspice.so*", "usr/lib/libngspice.so*", "lib/libngspice.so*")
_CODE_MODELS = ("spice2poly.cm", "analog.cm")
_LIBRARY_FOLDERS = ("usr/lib", "usr/lib/*-linux-*", "lib")


@dataclass(frozen=True, slots=True)
class Installation:
    """What was found; ``None`` stands for what was not.

    ``executable`` and ``library`` are paths (the library may be a bare name the loader resolves), ``version`` is
    what ``ngspice -v`` says, ``pyspice`` the version of the installed PySpice, ``library_folders`` what the loader
    must search besides its own folders, ``code_models`` the files that hold POLY and TABLE.
    """

    executable: str | None
    library: str | None
    version: str | None
    pyspice: str | None
    library_folders: tuple[str, ...] = ()
    code_models: tuple[str, ...] = ()

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
    named, local = _named_folders(), _local_folders()
    executable = _first(named, _BINARIES) or shutil.which("ngspice") or _first(local, _BINARIES)
    library = (
        _first(named, _LIBRARIES)
        or os.environ.get("NGSPICE_LIBRARY_PATH")
        or ctypes.util.find_library("ngspice")
        or _first(local, _LIBRARIES)
    )
    used = [f for f in (*named, *local) if any(path and Path(path).is_relative_to(f) for path in (executable, library))]
    library_folders = tuple(
        str(path) for folder in used for pattern in _LIBRARY_FOLDERS for path in sorted(folder.glob(pattern))
    )
    try:
        pyspice: str | None = importlib.metadata.version("PySpice")
    except importlib.metadata.PackageNotFoundError:
        pyspice = None
    version = _version(executable, library_folders) if executable else None
    return Installation(executable, library, version, pyspice, library_folders, _code_models(executable))


def _code_models(executable: str | None) -> tuple[str, ...]:
    if executable is None:
        return ()
    prefix = Path(executable).resolve().parents[1]
    found = (_first([prefix], [f"lib/*/ngspice/{name}", f"lib/ngspice/{name}"]) for name in _CODE_MODELS)
    return tuple(path for path in found if path is not None and not any(c.isspace() for c in path))


def require_engine(installation: Installation, engine: str) -> tuple[str, ...]:
    """Return the engines to try, in order, for ``engine`` (``pyspice``, ``batch`` or ``auto``).

    Raises:
        NetcError: the engine is unknown, or what it needs is not on this machine.
    """
    if engine not in ("auto", "pyspice", "batch"):
        raise NetcError(f"unknown ngspice engine '{engine}'", hint="use pyspice, batch or auto")
    if engine == "auto":
        if not installation.engines:
            raise NetcError("ngspice was not found on this machine", hint=INSTALL_HINT)
        return installation.engines
    if engine not in installation.engines:
        if engine == "batch":
            raise NetcError("the ngspice executable was not found", hint=INSTALL_HINT)
        if installation.library is None:
            raise NetcError("the ngspice shared library (libngspice) was not found", hint=INSTALL_HINT)
        raise NetcError("PySpice is not installed", hint="pip install PySpice, or use the batch engine")
    return (engine,)


def _named_folders() -> list[Path]:
    named = os.environ.get("NETC_NGSPICE_DIR")
    return [Path(named).absolute()] if named else []


def _local_folders() -> list[Path]:
    candidates = [Path(sys.prefix).parent]
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").is_file():
        candidates.append(checkout)
    return [path / ".tools" / "ngspice" for path in dict.fromkeys(candidates)]


def _first(folders: Iterable[Path], patterns: Iterable[str]) -> str | None:
    found = (path for folder in folders for pattern in patterns for path in sorted(folder.glob(pattern)))
    return next((str(path) for path in found if path.is_file()), None)


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
