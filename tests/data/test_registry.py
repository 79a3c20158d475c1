"""The registered data sets: real digits, and real MNIST where it is on this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import netc.data
from netc.data.fashion_mnist import FASHION_MNIST
from netc.data.idx_dataset import IdxDataset
from netc.data.mnist import MNIST
from netc.diagnostics import NetcError


def test_digits_are_whole_and_split_as_stated() -> None:
    data = netc.data.load("digits")
    assert data.train_x.shape == (1437, 64) and data.test_x.shape == (360, 64)
    assert data.train_x.dtype == np.float32 and data.train_x.min() >= 0 and data.train_x.max() == 1
    assert set(data.train_y) == set(data.test_y) == set(range(10))
    assert data.train_y[:10].tolist() == [2, 8, 2, 6, 6, 7, 1, 9, 8, 5]
    every = np.vstack([data.train_x, data.test_x])
    assert len(np.unique(every, axis=0)) == 1797, "no picture is in both parts"
    assert "mnist" not in str(data.describe()).lower()


def test_limits_take_the_first_and_say_so() -> None:
    whole, part = netc.data.load("digits"), netc.data.load("digits", limit_train=100, limit_test=7)
    np.testing.assert_array_equal(part.train_x, whole.train_x[:100])
    np.testing.assert_array_equal(part.test_y, whole.test_y[:7])
    described = part.describe()
    assert (described["train_samples"], described["train_available"]) == (100, 1437)
    assert (described["test_samples"], described["test_available"]) == (7, 360)


@pytest.mark.parametrize("limit", [0, -3, 1438])
def test_limits_that_cannot_be_met(limit: int) -> None:
    with pytest.raises(NetcError, match="has 1437 training samples"):
        netc.data.load("digits", limit_train=limit)


def test_unknown_name_and_bad_folder(tmp_path: Path) -> None:
    with pytest.raises(NetcError, match=r"unknown data set 'nist\S*'(.|\n)*mnist, fashion-mnist, digits"):
        netc.data.load("nist\n")
    (tmp_path / "file").write_text("")
    with pytest.raises(NetcError, match="is not a folder"):
        netc.data.load("mnist", directory=tmp_path / "file")


@pytest.mark.parametrize("source", [MNIST, FASHION_MNIST], ids=lambda source: source.name)
def test_real_files_where_they_are_on_this_machine(source: IdxDataset) -> None:
    try:
        data = replace(source, mirrors=(), packages=()).load(None)
    except NetcError as error:
        if "is not on this machine" not in str(error):
            raise
        pytest.skip(f"{source.name} is not on this machine")
    assert data.train_x.shape == (60000, 784) and data.test_x.shape == (10000, 784)
    assert np.bincount(data.test_y).size == len(data.classes) == 10
    assert 0.1 < float(data.train_x[:1000].mean()) < 0.3
