from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest
import torch

from netc.diagnostics import NetcError
from netc.training import checkpoint


def _content(number: int) -> dict[str, object]:
    return {
        "parameters": {"r": torch.full((50, 20), float(number))},
        "optimiser": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"betas": (0.9, 0.999)}]},
        "history": [{"loss": 0.1 * number, "test_accuracy": None}],
    }


def test_round_trip_keeps_one_in_reserve(tmp_path: Path) -> None:
    for number in range(3):
        checkpoint.save(tmp_path, _content(number))
    content, warning = checkpoint.load(tmp_path)
    assert warning is None
    assert checkpoint.digest(content) == checkpoint.digest(_content(2))
    assert content["optimiser"]["param_groups"][0]["betas"] == (0.9, 0.999)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.previous.pt", "checkpoint.pt"]


@pytest.mark.parametrize("size", [0, 1, 100, -1, -30])
def test_truncated_falls_back_and_warns(tmp_path: Path, size: int) -> None:
    checkpoint.save(tmp_path, _content(1))
    checkpoint.save(tmp_path, _content(2))
    path = tmp_path / "checkpoint.pt"
    content = path.read_bytes()
    path.write_bytes(content[: size if size >= 0 else len(content) + size])
    found, warning = checkpoint.load(tmp_path)
    assert checkpoint.digest(found) == checkpoint.digest(_content(1))
    assert warning is not None and str(path) in warning and "checkpoint.previous.pt" in warning
    (tmp_path / "checkpoint.previous.pt").write_bytes(b"nonsense")
    with pytest.raises(NetcError, match="no checkpoint can be read"):
        checkpoint.load(tmp_path)


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, _content(1))
    checkpoint.save(tmp_path, _content(2))
    path = tmp_path / "checkpoint.pt"
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda item: item.file_size)
    content = bytearray(path.read_bytes())
    content[content.index(bytes(torch.full((4,), 2.0).numpy().tobytes()), largest.header_offset) + 1] ^= 1
    path.write_bytes(content)
    found, warning = checkpoint.load(tmp_path)
    assert warning is not None and float(found["parameters"]["r"][0, 0]) == 1.0


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (os.mkdir, (str(tmp_path / "evil"),))

    torch.save({"format": 1, "digest": "", "content": Evil()}, tmp_path / "checkpoint.pt")
    with pytest.raises(NetcError, match="no checkpoint can be read"):
        checkpoint.load(tmp_path)
    assert not (tmp_path / "evil").exists()


def test_other_format_and_absence(tmp_path: Path) -> None:
    with pytest.raises(NetcError, match="holds no checkpoint"):
        checkpoint.load(tmp_path)
    torch.save({"format": 99, "digest": "", "content": {}}, tmp_path / "checkpoint.pt")
    with pytest.raises(NetcError, match="format 99"):
        checkpoint.load(tmp_path)


def test_a_failed_write_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(tmp_path, _content(1))

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NetcError, match="No space left"):
        checkpoint.save(tmp_path, _content(2))
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]
    assert checkpoint.digest(checkpoint.load(tmp_path)[0]) == checkpoint.digest(_content(1))
