"""The page of a run: what it says, that nothing of a deck gets into it unescaped, and that a browser shows it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from netc.compiler import compile_deck
from netc.data import load
from netc.generate import generate
from netc.report.page import confusion, write
from netc.training import TrainingOptions, train
from netc.training.saved import open_run

_TITLE = "<script>document.title='x'</script> & 64-6-10"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    text = generate((64, 6, 10))
    deck = folder / "small.cir"
    deck.write_text(_TITLE + text[text.index("\n") :])
    data = load("digits", limit_train=60, limit_test=40)
    options = TrainingOptions(epochs=1, batch=20, steps=100, dt=5e-5, threads=1)
    train(compile_deck(deck), data, options, directory=folder / "run")
    return write(open_run(folder / "run"), data)


def test_the_page_agrees_with_the_run(page: Path) -> None:
    found = json.loads(page.with_suffix(".json").read_text())
    result = json.loads((page.parent / "result.json").read_text())
    assert found["accuracy"] == pytest.approx(result["test_accuracy"])
    table = np.array(found["confusion"])
    assert table.shape == (10, 10) and table.sum() == 40
    assert table.trace() / 40 == pytest.approx(result["test_accuracy"])
    assert found["hardware"]["layers"] == [64, 6, 10] and found["hardware"]["cells"] == 2 * (64 * 6 + 60)
    assert found["conductances"]["r1_#_#p"]["devices"] == 64 * 6


def test_the_page_stands_alone_and_is_escaped(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "<script" not in text and "&lt;script&gt;" in text
    assert text.count("data:image/png;base64,") >= 3
    assert "http://" not in text.replace("http://www.w3.org", "") and "https://" not in text


def test_rows_are_what_is_right() -> None:
    assert confusion(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0]), 3) == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]


def test_a_browser_shows_it(page: Path, tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no browser")
    words = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", f"--user-data-dir={tmp_path}"]
    shown = subprocess.run([*words, page.as_uri()], capture_output=True, text=True, timeout=120, check=True).stdout
    assert "<title>&lt;script&gt;" in shown  # the title is text: no script has run
    assert shown.count("<tr>") > 20 and shown.count("<img") >= 3
