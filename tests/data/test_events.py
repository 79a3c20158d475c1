"""Event data: files in the exact formats of N-MNIST and DVS128 Gesture, written here and read back."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from netc.data import load
from netc.data.aedat import read as read_aedat
from netc.data.dvs_gesture import DvsGesture
from netc.data.events import EventOptions, Recording, frames
from netc.data.n_mnist import NMnist
from netc.data.n_mnist import read as read_n_mnist
from netc.diagnostics import NetcError

Event = tuple[int, int, int, int]  # column, row, polarity, microseconds


def _recording(events: list[Event]) -> Recording:
    x, y, polarity, time = np.array(events, dtype=np.int64).reshape(-1, 4).T
    return Recording(x, y, polarity > 0, time)


def _events(count: int, sensor: int, seed: int, last: int = 300_000) -> list[Event]:
    draw = np.random.default_rng(seed)
    times = np.sort(draw.integers(0, last, count))
    return [(*map(int, draw.integers(0, sensor, 2)), int(draw.integers(2)), int(t)) for t in times]


def _n_mnist_bytes(events: list[Event]) -> bytes:
    return b"".join(bytes([x, y]) + (p << 23 | t).to_bytes(3, "big") for x, y, p, t in events)


def _aedat(packets: list[tuple[int, int, list[Event]]], version: bytes = b"#!AER-DAT3.1") -> bytes:
    """Return a file of packets (type, overflow, events) in which polarity packets have room for two events more."""
    content = version + b"\r\n#Format: RAW\r\n#!END-HEADER\r\n"
    for kind, overflow, events in packets:
        capacity = len(events) + 2
        body = b"".join(struct.pack("<II", x << 17 | y << 2 | p << 1 | 1, t) for x, y, p, t in events)
        header = struct.pack("<HHIIIIII", kind, 1, 8, 4, overflow, capacity, len(events), len(events))
        content += header + body + bytes(16)
    return content


def test_frames_count_events_of_equal_shares_of_time() -> None:
    recording = _recording([(0, 0, 1, 100), (1, 1, 1, 100), (0, 0, 0, 149), (3, 3, 1, 150), (3, 2, 1, 199)])
    made = frames([recording], 2, 4, EventOptions(size=2, cap=2))
    assert made.shape == (1, 2, 8)
    dense = made[:]
    assert dense.dtype == np.float32
    # feature = (bright * 2 + row) * 2 + column of 2 x 2 squares
    np.testing.assert_array_equal(dense[0], [[0.5, 0, 0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 1]])


def test_counts_are_cut_at_the_cap() -> None:
    recording = _recording([(0, 0, 1, t) for t in range(5)])
    assert frames([recording], 1, 1, EventOptions(size=1, cap=1))[:].max() == 1
    assert frames([recording], 1, 1, EventOptions(size=1, cap=10))[:].max() == np.float32(0.5)


def test_a_sensor_is_cropped_evenly() -> None:
    recording = _recording([(0, 5, 1, 0), (1, 1, 1, 0), (32, 32, 1, 0), (33, 5, 1, 0)])
    dense = frames([recording], 1, 34, EventOptions(size=32))[:].reshape(2, 32, 32)
    assert dense.sum() == 2 and dense[1, 0, 0] == 1 and dense[1, 31, 31] == 1


def test_a_duration_leaves_later_events_out() -> None:
    recording = _recording([(0, 0, 1, 1000), (1, 0, 1, 1500), (2, 0, 1, 2100)])
    dense = frames([recording], 1, 4, EventOptions(size=4, duration=1e-3))[:]
    assert dense.sum() == 2


def test_the_filter_keeps_what_a_loop_over_events_keeps() -> None:
    events = _events(400, 12, seed=3, last=20_000)
    window = 900
    kept = [
        number
        for number, (x, y, _, t) in enumerate(events)
        if any(
            (abs(x - u), abs(y - v)) != (0, 0) and max(abs(x - u), abs(y - v)) == 1 and t - window <= s <= t
            for u, v, _, s in events
        )
    ]
    assert 20 < len(kept) < 380
    whole, cleaned = _recording(events), _recording([events[k] for k in kept])
    options = EventOptions(size=12, cap=255)
    lasting = EventOptions(size=12, cap=255, denoise=window * 1e-6)
    found = frames([whole], 1, 12, lasting)[:]
    np.testing.assert_array_equal(found, frames([cleaned], 1, 12, options)[:])


def test_some_samples_are_those_of_the_whole() -> None:
    made = frames([_recording(_events(50 + k, 8, seed=k)) for k in range(6)], 5, 8, EventOptions(size=8, cap=3))
    whole = made[:]
    np.testing.assert_array_equal(made[np.array([4, 1, 1])], whole[[4, 1, 1]])
    np.testing.assert_array_equal(made.first(2)[:], whole[:2])
    assert whole.sum() * 3 <= 50 * 6 + 15


def test_no_events_make_empty_frames() -> None:
    assert frames([_recording([])], 3, 4, EventOptions(size=2, denoise=1e-3))[:].sum() == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (EventOptions(frames=0), "--frames must be at least 1, not 0"),
        (EventOptions(cap=256), "--event-cap must be at most 255"),
        (EventOptions(denoise=-1.0), "--event-denoise must be a positive time"),
        (EventOptions(size=64), "the sensor has 34 x 34 pixels"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: EventOptions, said: str) -> None:
    with pytest.raises(NetcError, match=said):
        frames([_recording([])], 1, 34, options)


def test_n_mnist_events_are_read(tmp_path: Path) -> None:
    events = _events(200, 34, seed=1)
    path = tmp_path / "00001.bin"
    path.write_bytes(_n_mnist_bytes(events))
    found = read_n_mnist(path)
    assert list(zip(found.x, found.y, found.brighter.astype(int), found.time, strict=True)) == events


def test_an_n_mnist_clock_may_run_over(tmp_path: Path) -> None:
    path = tmp_path / "00001.bin"
    path.write_bytes(_n_mnist_bytes([(1, 2, 1, 8000), (0, 240, 0, 0), (3, 4, 0, 5)]))
    found = read_n_mnist(path)
    assert found.time.tolist() == [8000, 8192 + 5] and found.x.tolist() == [1, 3]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"1234", "4 bytes are no whole number of events"),
        (_n_mnist_bytes([(34, 0, 0, 1)]), "event 1 is in column 34 of 34"),
        (_n_mnist_bytes([(1, 1, 0, 9), (1, 1, 0, 3)]), "times fall after event 1"),
    ],
)
def test_a_damaged_n_mnist_file_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "00001.bin"
    path.write_bytes(content)
    with pytest.raises(NetcError, match=said):
        read_n_mnist(path)


def _n_mnist_tree(root: Path, train: int, test: int) -> None:
    for part, count in (("Train", train), ("Test", test)):
        for number in range(count):
            folder = root / part / str(number % 10)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number + 1:05}.bin").write_bytes(_n_mnist_bytes(_events(60, 34, seed=number)))


def test_an_n_mnist_tree_is_a_data_set(tmp_path: Path) -> None:
    _n_mnist_tree(tmp_path, 12, 3)
    data = NMnist("some", 12, 3).configured(frames=20, test_frames=30).load(tmp_path)
    assert data.train_x.shape == (12, 20, 2048) and data.test_x.shape == (3, 30, 2048) and data.changing
    assert data.train_y.tolist() == [k % 10 for k in range(12)]  # by number, not by digit
    assert data.features == 2048 and data.limited(5, 1).train_x.shape == (5, 20, 2048)


def test_the_real_subset_of_n_mnist() -> None:
    try:
        data = load("n-mnist-small", presented={"frames": 10, "cap": 8})
    except NetcError as absent:
        pytest.skip(str(absent).splitlines()[0])
    assert np.bincount(data.train_y).tolist() == [97, 116, 99, 93, 105, 92, 94, 117, 87, 100]
    assert data.train_x.shape == (1000, 10, 2048) and data.test_x.shape == (100, 10, 2048)
    # the counts of MNIST's first digits, and a digit in the middle of the picture
    picture = data.train_x[:200].sum((0, 1)).reshape(2, 32, 32).sum(0)
    assert picture[8:24, 8:24].mean() > 10 * picture[:4].mean()


def test_a_part_is_not_taken_for_the_whole(tmp_path: Path) -> None:
    _n_mnist_tree(tmp_path, 2, 1)
    with pytest.raises(NetcError, match="with 2 and 1 recordings"):
        load("n-mnist", directory=tmp_path)


def test_static_data_have_no_frames() -> None:
    with pytest.raises(NetcError, match="digits holds no recordings"):
        load("digits", presented={"frames": 10})


def test_aedat_packets_are_read(tmp_path: Path) -> None:
    events = _events(100, 128, seed=5)
    later = [(7, 9, 1, 11)]
    path = tmp_path / "user01_lab.aedat"
    path.write_bytes(_aedat([(0, 0, []), (1, 0, events), (2, 0, [(1, 1, 1, 1)]), (1, 1, later)]))
    found = read_aedat(path)
    assert len(found.time) == 101
    assert list(zip(found.x, found.y, found.brighter.astype(int), found.time, strict=True))[:100] == events
    assert found.time[-1] == 11 + 2**31 and found.x[-1] == 7


def test_invalid_events_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.aedat"
    content = bytearray(_aedat([(1, 0, [(5, 6, 1, 1), (7, 8, 0, 2)])]))
    at = content.index(struct.pack("<II", 5 << 17 | 6 << 2 | 3, 1))
    content[at] &= 0xFE
    path.write_bytes(content)
    assert read_aedat(path).x.tolist() == [7]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (_aedat([], version=b"#!AER-DAT2.0"), "is no AEDAT 3.1 file"),
        (b"#!AER-DAT3.1\r\n#Format: RAW\r\n", "does not end with"),
        (_aedat([(1, 0, [(1, 1, 1, 1)])])[:-3], "ends within the packet"),
    ],
)
def test_a_damaged_aedat_file_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.aedat"
    path.write_bytes(content)
    with pytest.raises(NetcError, match=said):
        read_aedat(path)


def test_gestures_as_arrays(tmp_path: Path) -> None:
    for part, people in (("ibmGestureTrain", ("user02_led", "user01_lab")), ("ibmGestureTest", ("user24_led",))):
        for person in people:
            folder = tmp_path / "DVSGesture" / part / person
            folder.mkdir(parents=True)
            for label in (10, 2):
                events = np.array(_events(80, 128, seed=label), dtype=np.float64)
                events[:, 3] /= 1000
                np.save(folder / f"{label}.npy", events)
    data = DvsGesture().load(tmp_path)
    assert data.train_x.shape == (4, 100, 2048) and data.test_x.shape == (2, 360, 2048)
    assert data.train_y.tolist() == [2, 10, 2, 10] and len(data.classes) == 11
    expected = frames([_recording(_events(80, 128, seed=2))], 100, 128, EventOptions())
    np.testing.assert_array_equal(data.train_x[:1], expected[:])


def test_gestures_as_the_camera_wrote_them(tmp_path: Path) -> None:
    events = _events(300, 128, seed=8)
    (tmp_path / "user01_lab.aedat").write_bytes(_aedat([(1, 0, events)]))
    (tmp_path / "user01_lab_labels.csv").write_text(
        "class,startTime_usec,endTime_usec\n3,1000,90000\n11,90000,200000\n"
    )
    (tmp_path / "trials_to_train.txt").write_text("user01_lab.aedat\n")
    (tmp_path / "trials_to_test.txt").write_text("user01_lab.aedat\n")
    data = DvsGesture().load(tmp_path)
    assert data.train_y.tolist() == [2, 10]
    inside = [event for event in events if 1000 <= event[3] < 90000]
    np.testing.assert_array_equal(data.train_x[:1], frames([_recording(inside)], 100, 128, EventOptions())[:])


def test_gesture_files_that_are_wrong_are_named(tmp_path: Path) -> None:
    (tmp_path / "user01_lab.aedat").write_bytes(_aedat([(1, 0, _events(30, 128, seed=8))]))
    (tmp_path / "user01_lab_labels.csv").write_text("class,startTime_usec,endTime_usec\n12,0,9\n")
    (tmp_path / "trials_to_test.txt").write_text("user01_lab.aedat\n")
    (tmp_path / "trials_to_train.txt").write_text("user01_lab.aedat\n")
    with pytest.raises(NetcError, match=r"user01_lab_labels\.csv:2: there is no gesture 12"):
        load("dvs-gesture", directory=tmp_path)
    (tmp_path / "trials_to_train.txt").write_text("../user01_lab.aedat\n")
    with pytest.raises(NetcError, match="which is not in"):
        load("dvs-gesture", directory=tmp_path)
    with pytest.raises(NetcError, match="dvs-gesture is not on this machine"):
        load("dvs-gesture", directory=tmp_path / "nothing")
