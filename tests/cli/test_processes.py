"""Real processes: a closed pipe, a full disk, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from tests.cli.runner import NETLISTS, command, process


def test_exit_codes(tmp_path: Path) -> None:
    assert process("--help").code == 0
    assert process("check-grad", NETLISTS / "rc.cir", "--steps", "20", "--tol", "1e-300").code == 1
    missing = process("simulate", tmp_path / "nosuch.cir")
    assert missing.refused().startswith("error: ")


@pytest.mark.parametrize("arguments", [("mif.cir",), ("rc.cir", "--tstop", "20u")], ids=["much", "little"])
def test_a_closed_pipe_ends_quietly(arguments: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        command("simulate", NETLISTS / arguments[0], *arguments[1:]), stdout=writer, stderr=subprocess.PIPE, timeout=120
    )
    os.close(writer)
    assert done.returncode == 0
    assert b"rror" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_is_told_in_a_sentence() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command("simulate", NETLISTS / "rc.cir"), stdout=full, stderr=subprocess.PIPE, text=True, timeout=120
        )
    assert done.returncode == 2
    assert done.stderr == "error: stdout: No space left on device\n"


def _train(directory: Path, *more: str) -> list[str]:
    options = ("--steps", "50", "--batch", "16", "--limit-train", "64", "--limit-test", "40", "--threads", "1")
    return command("train", NETLISTS / "digits.cir", "--data", "digits", *options, "--out", str(directory), *more)


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    running = subprocess.Popen(
        _train(directory, "--epochs", "100000"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    metrics = directory / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.exists() and metrics.read_text()):
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=120)
    assert running.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert "--resume" in err.splitlines()[-1], err
    epochs = len(metrics.read_text().splitlines())

    resumed = subprocess.run(
        _train(directory, "--epochs", str(epochs + 1), "--resume"), capture_output=True, text=True, timeout=120
    )
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout.splitlines()[-1])["epochs"] == epochs + 1


def test_ctrl_c_elsewhere_is_no_traceback(tmp_path: Path) -> None:
    deck = tmp_path / "deck.cir"
    deck.write_text("long\nV1 in 0 1\nR1 in out 1\nC1 out 0 1n IC=0\n.tran 1u 100m uic\n.end\n")
    running = subprocess.Popen(
        command("simulate", deck, "--integrator", "euler", "-o", tmp_path / "x.csv"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell has what it runs in the background ignore Ctrl-C
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert running.stderr is not None
    assert "Euler limit" in running.stderr.readline()  # it is about to begin
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=120)
    assert running.returncode == 130, (out, err)
    assert err.splitlines()[-1] == "netc: interrupted"
    assert "Traceback" not in err
    assert not (tmp_path / "x.csv").exists()


def test_help_does_not_wait_for_torch() -> None:
    script = (
        "import sys, netc.cli.main as m\ntry: m.main(['--help'])\nexcept SystemExit: sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=120).returncode == 0
