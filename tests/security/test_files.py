"""Files others made: checkpoints, run folders and data archives end in a sentence, whatever is in them."""

from __future__ import annotations

import gzip
import random
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from netc import data
from netc.data.idx import decode, unzipped
from netc.data.mnist import MNIST
from netc.diagnostics import NetcError
from netc.training import checkpoint
from netc.training.run_folder import RunFolder


def test_damaged_checkpoints(tmp_path: Path) -> None:
    """Bytes changed, cut off or doubled anywhere: the reserve is read, or a sentence says why not."""
    checkpoint.save(tmp_path, {"parameters": {"r": torch.arange(50.0)}, "epoch": 1, "history": [{"loss": 0.5}]})
    whole = (tmp_path / checkpoint.CURRENT).read_bytes()
    chance = random.Random(1)
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 8)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        content = content[: chance.randrange(len(content))] if chance.random() < 0.3 else content
        (tmp_path / checkpoint.CURRENT).write_bytes(bytes(content))
        try:
            checkpoint.load(tmp_path)
        except NetcError as error:
            assert "no checkpoint can be read" in str(error)


@pytest.mark.parametrize("content", [[], 3, torch.zeros(2), {}, {"format": 1}, {"format": 1, "content": [1]}, None])
def test_checkpoints_of_another_kind(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / checkpoint.CURRENT)
    with pytest.raises(NetcError, match="no checkpoint can be read"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("text", ["", "[", "[]", "3", '{"a":', "\x00", '"x"', "[" * 100_000])
def test_hostile_run_folders(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(NetcError):
        RunFolder(tmp_path).read_json("config.json")


@pytest.mark.parametrize("name", ["../mnist", "/etc/passwd", "mnist/../..", "a\x1b[31m", "x" * 10_000, "", "MNIST\0"])
def test_data_names_are_no_paths(name: str, tmp_path: Path) -> None:
    with pytest.raises(NetcError, match="unknown data set") as caught:
        data.load(name, directory=tmp_path)
    assert len(str(caught.value)) < 3000 and "\x1b" not in str(caught.value)


def npy(header: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


HEADERS = {
    "a huge shape": npy(b"{'descr': '|u1', 'fortran_order': False, 'shape': (9999999999999, 28, 28), }\n"),
    "a pickle": npy(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n") + b"cos\nsystem\n(S'touch x'\ntR.",
    "code": npy(b"__import__('os').system('touch x')\n"),
    "brackets": npy(b"(" * 9000 + b"\n"),
    "nothing": b"",
    "odd dimensions": npy(b"{'descr': '|u1', 'fortran_order': False, 'shape': (0, 8589934592), }\n"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_hostile_archives(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "mnist.npz", "w") as archive:
        for key in ("x_train", "y_train", "x_test", "y_test"):
            archive.writestr(f"{key}.npy", HEADERS[name])
    with pytest.raises(NetcError, match="not a Keras archive"):
        MNIST.load(tmp_path)


def test_archives_that_unzip_without_end(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "mnist.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x_train.npy", bytes(1_000_000_000))
    with pytest.raises(NetcError, match="larger than"):
        MNIST.load(tmp_path)
    bomb = tmp_path / "bomb.gz"
    bomb.write_bytes(gzip.compress(bytes(50_000_000)))
    assert len(unzipped(bomb, 100)) == 101


def test_idx_headers() -> None:
    for content in (b"", b"\0\0\x08", b"\0\0\x08\xff", b"\0\0\x08\x03" + b"\xff" * 12, b"\0\0\x09\x01\0\0\0\0"):
        with pytest.raises(NetcError):
            decode(content)


def test_an_honest_array_still_decodes() -> None:
    assert decode(b"\0\0\x08\x01\0\0\0\x02ab").tolist() == [97, 98]
