"""Pictures raised to a power and centred: what circuits are driven with, in training and ever after."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from netc.data import load
from netc.data.images import ImageOptions, Images
from netc.diagnostics import NetcError
from netc.training.augmentation import warped
from netc.training.batches import generator
from tests.cli.runner import NETLISTS, netc

_HALF = {"gamma": 0.5, "centred": True}


def test_features_are_powers_less_their_mean_over_the_whole_training_set() -> None:
    plain, data = load("digits"), load("digits", presented=_HALF)
    mean = np.sqrt(plain.train_x[:]).mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(data.train_x[:], np.sqrt(plain.train_x[:]) - mean, atol=1e-6)
    np.testing.assert_allclose(data.test_x[:], np.sqrt(plain.test_x[:]) - mean, atol=1e-6)
    few = load("digits", presented=_HALF, limit_train=3, limit_test=2)
    assert few.train_x.shape == (3, 64) and few.test_x.shape == (2, 64)
    np.testing.assert_array_equal(few.test_x[:], data.test_x[:2])
    assert data.describe()["images"] == _HALF and plain.describe()["images"] is None


def test_only_one_of_both_is_done_where_only_one_is_asked_for() -> None:
    plain = load("digits")
    np.testing.assert_allclose(load("digits", presented={"gamma": 2.0}).test_x[:], plain.test_x[:] ** 2, atol=1e-6)
    centred = load("digits", presented={"centred": True}).train_x[:]
    assert abs(centred.mean(axis=0)).max() < 1e-6 and abs(centred).max() > 0.5


def test_pictures_are_warped_before_they_are_encoded() -> None:
    from netc.training.session import Session

    data = load("digits", presented=_HALF)
    samples = data.train_x
    assert isinstance(samples, Images)

    class Options:
        augment = ("shift=2",)
        torch_dtype = torch.float64

    class Training:
        train_x, options = samples, Options

    found = Session._warped(Training, torch.arange(5), generator(0, "some"))  # type: ignore[arg-type]  # all it reads
    raw = torch.from_numpy(samples.brightness[:5]).double()
    expected = warped(raw, Options.augment, generator(0, "some")).sqrt() - torch.from_numpy(samples.mean).double()
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("name", "presented", "told"),
    [
        ("digits", {"gamma": 0.0}, "--image-gamma must be above 0"),
        ("digits", {"gamma": float("nan")}, "--image-gamma must be above 0"),
        ("n-mnist-small", {"centred": True}, "holds recordings, not pictures"),
    ],
)
def test_what_makes_no_sense_is_refused(name: str, presented: dict[str, Any], told: str) -> None:
    with pytest.raises(NetcError, match=told):
        load(name, presented=presented)


def test_a_run_is_tested_with_the_features_it_learnt_from(tmp_path: Path) -> None:
    run = tmp_path / "run"
    small = ("--data", "digits", "--limit-train", "300", "--epochs", "2", "--steps", "100", "--lr", "2e-2")
    encoded = ("--image-gamma", "0.3", "--image-centred")
    done = netc("train", NETLISTS / "digits.cir", *small, *encoded, "--out", run)
    assert done.code == 0, done.err
    trained = json.loads(done.out.splitlines()[-1])
    again = netc("evaluate", run, "--data", "digits")
    assert json.loads(again.out.splitlines()[-1])["test_loss"] == trained["test_loss"]
    other = netc("evaluate", run, "--data", "digits", "--image-gamma", "1")
    assert json.loads(other.out.splitlines()[-1])["test_loss"] != trained["test_loss"]
    told = netc("train", NETLISTS / "digits.cir", *small, "--out", run, "--resume").refused()
    assert "data images was {'gamma': 0.3, 'centred': True}, is None" in told


def test_what_is_done_is_told_in_words() -> None:
    assert ImageOptions(0.5, True).words() == "brightness to the power 0.5, less the mean training picture"
    assert ImageOptions(1.0, True).words() == "brightness, less the mean training picture"
