"""A built wheel works away from the checkout and puts nothing but ``netc`` into site-packages."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]


def _run(*command: str | Path, folder: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON") and k != "VIRTUAL_ENV"}
    done = subprocess.run(list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a wheel from a copy of the sources; return an environment with it and this one's libraries."""
    folder = tmp_path_factory.mktemp("packaging")
    source = folder / "source"
    source.mkdir()
    for name in ("netc", "cli", "models", "netlists"):
        shutil.copytree(CHECKOUT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        if (CHECKOUT / name).exists():
            shutil.copy(CHECKOUT / name, source / name)
    build = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    _run(*build, "--wheel-dir", folder, source, folder=folder)
    (wheel,) = folder.glob("netc-*.whl")

    environment = folder / "environment"
    _run(sys.executable, "-m", "venv", "--without-pip", environment, folder=folder)
    python = environment / "bin" / "python"
    install = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index")
    _run(*install, wheel, folder=folder)
    # the libraries netc needs come from this environment; its own editable netc does not follow, because .pth files
    # in a folder named by a .pth file are not read
    _site_packages(environment).joinpath("libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment


def _site_packages(environment: Path) -> Path:
    (folder,) = environment.glob("lib/python3*/site-packages")
    return folder


def test_site_packages_get_one_package(installed: Path) -> None:
    names = {entry.name for entry in _site_packages(installed).iterdir()}
    version = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]
    assert names == {"netc", f"netc-{version}.dist-info", "libraries.pth"}


def test_command_runs_away_from_the_checkout(installed: Path, tmp_path: Path) -> None:
    help_text = _run(installed / "bin" / "netc", "--help", folder=tmp_path)
    for command in ("compile", "validate", "train", "generate", "doctor"):
        assert command in help_text


def test_models_and_netlists_are_resources(installed: Path, tmp_path: Path) -> None:
    program = """
from importlib.resources import files
import netc
print(netc.__file__)
for package, suffix in (("netc.models", ".lib"), ("netc.netlists", ".cir")):
    print(*sorted(entry.name for entry in files(package).iterdir() if entry.name.endswith(suffix)))
text = (files("netc.netlists") / "mif.cir").read_text()
(include,) = [line.split()[1] for line in text.splitlines() if line.startswith(".include")]
print((files("netc.netlists") / include).is_file())
"""
    lines = _run(installed / "bin" / "python", "-c", program, folder=tmp_path).splitlines()
    assert Path(lines[0]).is_relative_to(installed)
    assert lines[1].split() == sorted(path.name for path in (CHECKOUT / "models").glob("*.lib"))
    assert lines[2].split() == sorted(path.name for path in (CHECKOUT / "netlists").glob("*.cir"))
    assert lines[3] == "True"


def test_grammar_is_packed(installed: Path) -> None:
    packed = {path.name for path in (_site_packages(installed) / "netc").rglob("*.lark")}
    assert packed == {path.name for path in (CHECKOUT / "netc").rglob("*.lark")} != set()


def test_generated_network_needs_no_checkout(installed: Path, tmp_path: Path) -> None:
    program = "from netc.generate import generate; print(generate((3, 2)))"
    assert ".subckt mif_neuron" in _run(installed / "bin" / "python", "-c", program, folder=tmp_path)
