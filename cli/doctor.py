"""``netc doctor``."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys

import click

from .common import EXIT_CHECK_FAILED

_PACKAGES = ("lark", "torch", "networkx", "numpy", "scipy", "click", "rich", "matplotlib", "scikit-learn", "PySpice")


@click.command("doctor")
def command() -> None:
    """Tell what is installed, what is missing, and what to type.  Exits 1 when something is missing.

    \b
    Example:
      netc doctor
    """
    from netc.cache import DeckCache
    from netc.data import names
    from netc.kernels.library import compiler
    from netc.ngspice.locate import INSTALL_HINT, find_ngspice

    missing = []
    _line("netc", importlib.metadata.version("netc"))
    _line("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} CPUs")
    for package in _PACKAGES:
        try:
            _line(package, importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            _line(package, "missing")
            missing.append(f"{package}: pip install {package}")
    found = find_ngspice()
    _line("ngspice", f"{found.version or 'version unknown'}: {found.executable}" if found.executable else "missing")
    _line("libngspice", found.library or "missing")
    _line("engines", ", ".join(found.engines) or "none: netc validate cannot run")
    if not found.engines:
        missing.append(f"ngspice: {INSTALL_HINT}")
    elif len(found.engines) < 2:
        click.echo(f"  one engine of two; for both: {INSTALL_HINT}")
    _line(
        "C++ compiler", compiler() or "missing: training runs on PyTorch, some fifty times slower (apt-get install g++)"
    )
    _line("data sets", ", ".join(names()) + "  (netc data fetch NAME)")
    kept = DeckCache()
    count, size = kept.size()
    _line("compiled decks", f"{count} of {size / 1e6:.1f} MB in {kept.folder}")
    for line in missing:
        click.echo(f"missing: {line}", err=True)
    if missing:
        sys.exit(EXIT_CHECK_FAILED)
    click.echo("all there")


def _line(name: str, value: str) -> None:
    click.echo(f"{name:14s} {value}")
