"""``netc bench``: options, files, exit codes."""

import json
from pathlib import Path

import click
import pytest
from netc.cli.bench import command

from netc.bench import CIRCUITS, LAYERED
from netc.bench.sweep import AXES
from tests.cli.runner import netc, process

TINY = ("--layers", "6,5,3", "--batch", "4", "--steps", "10", "--repeat", "1")
PLAIN = ("--variants", "netc-torch,torch-eager-hoisted")


def test_it_writes_figures(tmp_path: Path) -> None:
    file, text = tmp_path / "bench.json", tmp_path / "bench.md"
    done = process("bench", *TINY, *PLAIN, "--no-memory", "--json", file, "--markdown", text)
    assert done.code == 0, done.err
    assert "against torch-eager-hoisted" in done.out and text.read_text() == done.out
    found = json.loads(file.read_text())
    assert set(found["variants"]) == {"netc-torch", "torch-eager-hoisted"}
    assert {"cpu_ms", "wall_ms", "extra_mb", "compile_s"} <= set(found["variants"]["netc-torch"])
    assert found["variants"]["netc-torch"]["cpu_ms"] > 0 and found["machine"]["processor"]
    assert "roofline" in found


def test_passes_can_be_left_out(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    left_out = ("--disable-pass", "fission", "--disable-pass", "uniform_parameters")
    done = netc("bench", *TINY, "--variants", "netc-cpp,torch-eager-hoisted", *left_out, "--no-memory", "--json", file)
    assert done.code == 0, done.err
    assert "without fission, uniform_parameters" in done.out
    assert json.loads(file.read_text())["problem"]["disable"] == ["fission", "uniform_parameters"]


def test_it_sweeps(tmp_path: Path) -> None:
    file, picture = tmp_path / "sweep.json", tmp_path / "sweep.png"
    done = netc("bench", *TINY, *PLAIN, "--sweep", "synapses", "--json", file, "--plot", picture)
    assert done.code == 0, done.err
    found = json.loads(file.read_text())["sweeps"]["synapses"]
    assert found["values"] == sorted(found["values"])
    assert all(t > 0 for t in found["variants"]["netc-torch"]["cpu_ms"])
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_choices_are_those_there_are() -> None:
    types = {p.name: p.type for p in command.params}
    circuits, axes = types["circuit"], types["sweep"]
    assert isinstance(circuits, click.Choice) and set(circuits.choices) == {LAYERED, *CIRCUITS}
    assert isinstance(axes, click.Choice) and set(axes.choices) == {*AXES, "all"}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--variants", "netc-cpp,fortran"), "fortran"),
        (("--variants", "netc-cpp,netc-cpp"), "twice"),
        (("--layers", "784,ten"), "784,ten"),
        (("--layers", "784"), "two layers"),
        (("--layers", "784,0,10"), "from 1"),
        (("--batch", "0"), "--batch"),
        (("--steps", "-5"), "--steps"),
        (("--threads", "0"), "from 1"),
        (("--threads", "1,1"), "twice"),
        (("--repeat", "0"), "--repeat"),
        (("--circuit", "rlc-ladder", "--layers", "784,10"), "has no layers"),
        (("--circuit", "rlc-ladder", "--sweep", "N"), "one size"),
        (("--circuit", "op-amp"), "op-amp"),
        (("--sweep", "T", "--threads", "1,2"), "one number of --threads"),
        (("--plot", "x.png"), "--sweep"),
        (("--disable-pass", "magic"), "magic"),
    ],
)
def test_what_cannot_be_done_is_refused(given: tuple[str, ...], told: str) -> None:
    done = netc("bench", *given)
    assert done.code == 2 and told in done.err and "Traceback" not in done.err


def test_a_package_that_is_not_there_is_said_in_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "jax", None)
    done = netc("bench", *TINY, "--variants", "torch-eager-hoisted,jax", "--no-memory")
    assert done.code == 0, done.err
    assert "| jax | " in done.out and "pip install" in done.out
