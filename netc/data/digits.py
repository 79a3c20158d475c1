"""The 1,797 handwritten 8x8 digits that come with scikit-learn.  This is not MNIST."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from netc.data.dataset import Dataset
from netc.data.idx import md5
from netc.diagnostics import NetcError

_TRAIN = 1437
_MD5 = "7696c07daa6d85010f8268703ab8b067"
_WHITE = 16.0


@dataclass(frozen=True)
class Digits:
    """UCI "Optical recognition of handwritten digits", its test part, as scikit-learn ships it."""

    name: str = "digits"

    def fetch(self, directory: Path | None) -> Path:
        """Return where scikit-learn keeps the file; there is nothing to download.

        Raises:
            NetcError: scikit-learn's copy is not the one this version of netc knows.
        """
        import sklearn.datasets

        self.load(directory)
        return Path(sklearn.datasets.__file__).parent / "data" / "digits.csv.gz"

    def load(self, directory: Path | None) -> Dataset:
        """Return the data set, split 1,437 to 360.

        The split is a permutation by numpy's ``RandomState(0)``, whose stream never changes: the order of
        the file goes by writer, so its end would be a harder test than its middle.

        Raises:
            NetcError: scikit-learn's copy is not the one this version of netc knows.
        """
        from sklearn.datasets import load_digits

        bunch = load_digits()
        pixels = np.asarray(bunch.data, np.uint8)
        labels = np.asarray(bunch.target, np.int64)
        found = md5(pixels.tobytes() + labels.astype(np.uint8).tobytes())
        if found != _MD5:
            raise NetcError(f"scikit-learn's digits have md5 {found}, expected {_MD5}: reinstall scikit-learn")
        order = np.random.RandomState(0).permutation(len(labels))
        features = (pixels[order] / _WHITE).astype(np.float32)
        labels = labels[order]
        return Dataset(
            train_x=features[:_TRAIN],
            train_y=labels[:_TRAIN],
            test_x=features[_TRAIN:],
            test_y=labels[_TRAIN:],
            name=self.name,
            classes=tuple(str(digit) for digit in range(10)),
            source="sklearn.datasets.load_digits: UCI optical recognition of handwritten digits (Alpaydin, Kaynak)",
            license="CC BY 4.0",
            order="netc's split: permuted by numpy RandomState(0), first 1437 train, last 360 test",
            train_available=_TRAIN,
            test_available=len(labels) - _TRAIN,
            checksums={"digits": found},
        )
