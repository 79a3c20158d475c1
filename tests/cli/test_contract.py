"""What the commands promise: formats, names, exit codes, the same bytes twice."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pytest
from netc.cli.main import COMMANDS, cli

from tests.cli.runner import NETLISTS, RC, TRAN, netc

Write = Callable[[str], Path]
SHIPPED = sorted(NETLISTS.glob("*.cir"))


def _table(text: str) -> tuple[list[str], np.ndarray]:
    rows = list(csv.reader(io.StringIO(text)))
    return rows[0], np.array(rows[1:], dtype=np.float64)


# ---------------------------------------------------------------------- simulate


def test_simulate_writes_a_row_a_step_of_every_node(rc: Path) -> None:
    done = netc("simulate", rc)
    assert done.code == 0
    header, rows = _table(done.out)
    assert header == ["time", "in", "out"]
    assert rows.shape == (101, 3)
    np.testing.assert_allclose(rows[:, 0], np.arange(101) * 1e-5, rtol=1e-12)
    np.testing.assert_allclose(rows[:, 2], 1 - (1 - 0.01) ** np.arange(101), rtol=1e-12)


def test_simulate_names_nodes_as_ngspice_prints_them() -> None:
    header, rows = _table(netc("simulate", NETLISTS / "mif.cir", "--tstop", "25u").out)
    assert header == ["time", "pulse", "a", "abuf", "b", "m", "xn.e1", "xn.e2", "xn.xm1.x", "xn.xm2.x"]
    assert len(rows) == 11, "the deck's maximum step is 2.5 us"


@pytest.mark.parametrize("card", [".save out i(V1)", ".print tran v(out) i(V1)"])
def test_simulate_writes_what_save_and_print_name(deck: Write, card: str) -> None:
    header, rows = _table(netc("simulate", deck(RC + card + "\n" + TRAN)).out)
    assert header == ["time", "out", "i(v1)"]
    np.testing.assert_allclose(rows[:, 2], -(1 - rows[:, 1]) / 1e3, rtol=1e-9)


def test_options_of_simulate(rc: Path) -> None:
    target = rc.parent / "x.csv"
    picture = rc.parent / "x.png"
    done = netc(
        "simulate", rc, "-o", target, "--dt", "0.1m", "--tstop", "3e-4", "--dtype", "float32", "--plot", picture
    )
    assert done.code == 0
    assert done.out == ""
    _, rows = _table(target.read_text())
    assert rows.shape == (4, 3)
    assert picture.read_bytes().startswith(b"\x89PNG")
    np.testing.assert_allclose(rows[:, 2], [0, 0.1, 0.19, 0.271], rtol=1e-6)
    assert abs(rows[1, 2] - 0.1) > 1e-12, "float32 was asked for"


def test_every_double_survives_the_csv(rc: Path) -> None:
    _, rows = _table(netc("simulate", rc).out)
    v = 0.0
    for value in rows[:, 2]:
        assert abs(value - v) <= 1e-15
        v += 1e-5 * (1 - v) / 1e3 / 1e-6


# ---------------------------------------------------------------------- validate


@pytest.mark.ngspice
def test_validate_writes_the_json_of_the_contract(tmp_path: Path) -> None:
    target, picture = tmp_path / "rc.json", tmp_path / "rc.png"
    done = netc("validate", NETLISTS / "rc.cir", "--json", target, "--plot", picture)
    assert done.code == 0, done.err
    found = json.loads(target.read_text())
    assert set(found) == {"nodes", "worst_nrmse", "order", "dt", "model_nrmse"}
    assert set(found["nodes"]) == {"in", "out"}
    for node in found["nodes"].values():
        assert set(node) == {"nrmse", "max_abs", "spikes", "spike_shift_s"}
        assert len(node["spikes"]) == 2
    assert found["worst_nrmse"] == max(node["nrmse"] for node in found["nodes"].values())
    assert 0 < found["worst_nrmse"] <= 0.01
    assert 0.9 <= found["order"] <= 1.1
    assert found["dt"] == pytest.approx(1e-5)
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.ngspice
def test_validate_exits_1_above_the_tolerance(tmp_path: Path) -> None:
    target = tmp_path / "rc.json"
    done = netc("validate", NETLISTS / "rc.cir", "--tol", "1e-6", "--json", target)
    assert done.code == 1
    assert "is above" in done.err
    assert json.loads(target.read_text())["worst_nrmse"] > 1e-6


@pytest.mark.ngspice
def test_validate_takes_dt() -> None:
    coarse, fine = (netc("validate", NETLISTS / "rc.cir", "--dt", dt) for dt in ("100u", "20u"))
    assert (coarse.code, fine.code) == (1, 0)


def test_validate_reports_table_iii_as_unstable_at_10_us(tmp_path: Path) -> None:
    target = tmp_path / "table3.json"
    done = netc("validate", NETLISTS / "mif_table3.cir", "--dt", "10u", "--json", target)
    assert done.code == 1
    assert "v(m) needs dt <= 100 ns" in done.err
    assert json.loads(target.read_text())["worst_nrmse"] is None


# ---------------------------------------------------------------------- check-grad


def test_check_grad_passes_and_fails_by_its_tolerance(rc: Path) -> None:
    done = netc("check-grad", rc)
    assert done.code == 0
    assert {line.split()[0] for line in done.out.splitlines()[1:]} == {"R", "C", "source", "initial"}
    assert netc("check-grad", rc, "--tol", "1e-300").code == 1


# ---------------------------------------------------------------------- compile


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_every_stage_of_every_shipped_netlist_can_be_printed(path: Path) -> None:
    texts = []
    for stage in ("ast", "graph", "dae", "ir", "py"):
        done = netc("compile", path, "--emit", stage)
        assert done.code == 0, done.err
        assert done.out.endswith("\n")
        texts.append(done.out)
    assert len(set(texts)) == 5
    compile(texts[-1], path.name, "exec")


_COMPILE_ALL = """
import sys
from netc.cli.main import main
for name in sys.argv[1:]:
    for stage in ("graph", "dae", "ir", "py"):
        try:
            main(["compile", name, "--emit", stage])
        except SystemExit as done:
            assert done.code == 0
"""


def test_compiling_twice_gives_the_same_bytes() -> None:
    names = [NETLISTS / name for name in ("mif.cir", "fig3_buffered.cir", "fig3_passive.cir", "crossbar_parasitic.cir")]
    texts = [
        subprocess.run(
            [sys.executable, "-c", _COMPILE_ALL, *names],
            env={**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            check=True,
            timeout=300,
        ).stdout
        for seed in ("1", "2")
    ]
    assert texts[0] == texts[1]
    assert netc("compile", names[-1]).out.encode() in texts[0]


_ONLY_TORCH = """
import importlib.abc, runpy, sys
refused = "netc cli lark networkx scipy click rich matplotlib sklearn PySpice".split()
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in refused:
            raise ModuleNotFoundError(name)
import torch
sys.meta_path.insert(0, Refuse())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_the_emitted_file_runs_with_only_torch(tmp_path: Path) -> None:
    target, table = tmp_path / "mif.py", tmp_path / "mif.csv"
    done = netc("compile", NETLISTS / "mif.cir", "-o", target)
    assert (done.code, done.out) == (0, "")
    arguments = [sys.executable, "-I", "-c", _ONLY_TORCH, target]
    shown = subprocess.run(arguments, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert shown.returncode == 0, shown.stderr
    assert "xn.xm1.x" in shown.stdout
    subprocess.run([*arguments, table], check=True, capture_output=True, cwd=tmp_path, timeout=120)
    header, rows = _table(table.read_text())
    expected_header, expected = _table(netc("simulate", NETLISTS / "mif.cir", "--integrator", "euler").out)
    order = [header.index(name) for name in expected_header]
    np.testing.assert_allclose(rows[:, order], expected, rtol=1e-9, atol=1e-12)


def test_the_emitted_code_does_not_grow_with_the_network(tmp_path: Path) -> None:
    lines = []
    for layers in ("8,4,2", "40,20,10"):
        network = tmp_path / "network.cir"
        assert netc("generate", "--layers", layers, "-o", network).code == 0
        done = netc("compile", network)
        assert done.code == 0, done.err
        lines.append(done.out.count("\n"))
    assert lines[0] == lines[1]


def test_generate_takes_the_same_seed_to_the_same_deck(tmp_path: Path) -> None:
    texts = []
    for number, seed in enumerate(("3", "3", "4")):
        path = tmp_path / f"{number}.cir"
        assert netc("generate", "--layers", "4,3,2", "--seed", seed, "-o", path).code == 0
        texts.append(path.read_bytes())
    assert texts[0] == texts[1] != texts[2]


# ---------------------------------------------------------------------- all


@pytest.mark.parametrize("words", [*((name,) for name in COMMANDS), ("data", "fetch"), ("data", "list")], ids=" ".join)
def test_the_help_of_every_command_has_an_example(words: tuple[str, ...]) -> None:
    done = netc(*words, "--help")
    assert done.code == 0
    assert "Example" in done.out
    assert f"\n  netc {' '.join(words)}" in done.out.replace("\n    netc", "\n  netc")


def test_every_option_is_explained() -> None:
    context = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{name} {parameter.opts[0]}"


def test_info_counts() -> None:
    done = netc("info", NETLISTS / "mif.cir")
    assert done.code == 0
    assert "time constants" in done.out
    assert "xn.xm1.x" in done.out


def test_doctor_and_data_list() -> None:
    done = netc("doctor")
    assert "ngspice" in done.out
    assert done.code in (0, 1)
    assert {"mnist", "fashion-mnist", "digits", "n-mnist", "dvs-gesture"} <= set(netc("data", "list").out.split())


def test_version() -> None:
    assert netc("--version").out.startswith("netc, version ")
