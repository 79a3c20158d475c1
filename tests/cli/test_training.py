"""``netc train`` and ``netc evaluate`` on scikit-learn's digits."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest

from tests.cli.runner import NETLISTS, RC, TRAN, Outcome, netc

_DECK = NETLISTS / "digits.cir"
_SMALL = ("--data", "digits", "--steps", "50", "--limit-train", "64", "--limit-test", "40", "--epochs", "1")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    directory = tmp_path_factory.mktemp("training") / "run"
    return directory, netc("train", _DECK, *_SMALL, "--out", directory)


def test_the_last_line_is_the_json_of_the_contract(run: tuple[Path, Outcome]) -> None:
    directory, done = run
    assert done.code == 0, done.err
    trained = json.loads(done.out.splitlines()[-1])
    assert 0.0 <= trained["test_accuracy"] <= 1.0
    assert trained["train_seconds"] > 0
    assert (trained["epochs"], trained["samples"]) == (1, 64)

    evaluated = netc("evaluate", directory, "--data", "digits", "--limit-test", "40")
    assert evaluated.code == 0, evaluated.err
    again = json.loads(evaluated.out.splitlines()[-1])
    assert set(again) == set(trained)
    assert again["test_accuracy"] == trained["test_accuracy"]


def test_the_run_folder_has_what_a_reader_needs(run: tuple[Path, Outcome]) -> None:
    directory, _ = run
    names = {path.name for path in directory.iterdir()}
    assert {"config.json", "versions.json", "metrics.jsonl", "result.json", "checkpoint.pt", "circuit.py"} <= names
    assert any(name.endswith(".png") for name in names)
    assert json.loads((directory / "metrics.jsonl").read_text().splitlines()[0])


def test_a_run_is_not_overwritten(run: tuple[Path, Outcome]) -> None:
    directory, _ = run
    told = netc("train", _DECK, *_SMALL, "--out", directory).refused()
    assert "already holds a run" in told
    assert "--resume" in told


def test_another_data_set_does_not_fit(run: tuple[Path, Outcome], rc: Path) -> None:
    told = netc("train", rc, *_SMALL, "--out", rc.parent / "run").refused()
    for words in ("nothing to train", "no input for data", "no output for the loss"):
        assert words in told
    assert not (rc.parent / "run").exists()


def test_no_tran(tmp_path: Path) -> None:
    path = tmp_path / "deck.cir"
    path.write_text("".join(line for line in _DECK.open() if not line.startswith(".tran")))
    told = netc("train", path, "--data", "digits", "--out", tmp_path / "run").refused()
    assert "has no .tran" in told


def test_resume_needs_a_run(tmp_path: Path) -> None:
    told = netc("train", _DECK, *_SMALL, "--out", tmp_path / "run", "--resume").refused()
    assert "hint: " in told


@pytest.mark.parametrize("length", [0, 100, 3000])
def test_a_truncated_checkpoint(run: tuple[Path, Outcome], tmp_path: Path, length: int) -> None:
    directory = tmp_path / "run"
    shutil.copytree(run[0], directory)
    checkpoints = list(directory.glob("checkpoint*.pt"))
    for path in checkpoints:
        path.write_bytes(path.read_bytes()[:length])
    for arguments in (
        ("evaluate", directory, "--data", "digits"),
        ("train", _DECK, *_SMALL, "--epochs", "2", "--out", directory, "--resume"),
    ):
        told = netc(*arguments).refused()
        assert "checkpoint.pt is damaged" in told


@pytest.mark.parametrize("name", ["config.json"])
def test_a_damaged_run_folder(run: tuple[Path, Outcome], tmp_path: Path, name: str) -> None:
    directory = tmp_path / "run"
    shutil.copytree(run[0], directory)
    for content in ("", "{", "[]", "{}", "\0"):
        (directory / name).write_text(content)
        assert name in netc("evaluate", directory, "--data", "digits").refused()


def test_a_corrupt_data_file(tmp_path: Path) -> None:
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (tmp_path / f"{name}-ubyte.gz").write_bytes(gzip.compress(b"\0\0\x08\x01\0\0\0\x01\x07"))
    for arguments in (("data", "fetch", "mnist"), ("train", _DECK, "--data", "mnist")):
        done = netc(*arguments, "--data-dir", tmp_path)
        told = done.refused()
        assert str(tmp_path) in told
        assert "md5" in told
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"not gzip at all")
    assert "train-images-idx3-ubyte.gz" in netc("data", "fetch", "mnist", "--data-dir", tmp_path).refused()


def test_a_deck_that_is_wrong_is_refused_before_the_data_are_read(tmp_path: Path) -> None:
    path = tmp_path / "deck.cir"
    path.write_text("title\n" + RC + "R2 out 0 0\n" + TRAN)
    assert f"{path}:5:1" in netc("train", path, "--data", "digits").refused()
