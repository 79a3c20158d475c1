"""Fashion-MNIST: 70,000 pictures of clothes, 28x28, in the format of MNIST."""

from __future__ import annotations

from netc.data.download import DebianPackage
from netc.data.idx import IdxFile
from netc.data.idx_dataset import IdxDataset

FASHION_MNIST = IdxDataset(
    name="fashion-mnist",
    folder="FashionMNIST",
    files=(
        IdxFile("train-images-idx3-ubyte", (60000, 28, 28), "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
        IdxFile("train-labels-idx1-ubyte", (60000,), "9018921c3c673c538a1fc5bad174d6f9"),
        IdxFile("t10k-images-idx3-ubyte", (10000, 28, 28), "8181f5470baa50b63fa0f6fddb340f0a"),
        IdxFile("t10k-labels-idx1-ubyte", (10000,), "15d484375f8d13e6eb1aabb0c3f46965"),
    ),
    classes=(
        *("t-shirt/top", "trouser", "pullover", "dress", "coat"),
        *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
    ),
    license="MIT",
    origin="Fashion-MNIST, H. Xiao, K. Rasul and R. Vollgraf (Zalando Research)",
    mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    packages=(DebianPackage("dataset-fashion-mnist", "usr/share/datasets/fashion-mnist"),),
    places=("/usr/share/datasets/fashion-mnist", "~/.keras/datasets/fashion-mnist", "~/data/FashionMNIST/raw"),
)
