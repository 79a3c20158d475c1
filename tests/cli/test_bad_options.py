"""Options that are wrong, places that cannot be written: exit code 2, the option named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.runner import NETLISTS, netc

_DIGITS = ("train", NETLISTS / "digits.cir", "--data", "digits")
_GENERATE = ("generate", "-o", "{}/g.cir", "--layers")

# arguments ("{}" is a folder), words the message must have
BAD = [
    (("simulate", "{}/rc.cir", "--dt", "0"), "--dt"),
    (("simulate", "{}/rc.cir", "--dt", "-1u"), "--dt"),
    (("simulate", "{}/rc.cir", "--dt", "abc"), "'abc' is not a positive number such as 10u or 1e-5"),
    (("simulate", "{}/rc.cir", "--dt", "nan"), "--dt"),
    (("simulate", "{}/rc.cir", "--dt", "inf"), "--dt"),
    (("simulate", "{}/rc.cir", "--dt", "10u 10u"), "--dt"),
    (("simulate", "{}/rc.cir", "--tstop", "0"), "--tstop"),
    (("simulate", "{}/rc.cir", "--tstop", "1n"), "longer than the whole simulation"),
    (("simulate", "{}/rc.cir", "--tstop", "1e9", "--dt", "1n"), "more than any machine"),
    (("simulate", "{}/rc.cir", "--dtype", "float16"), "--dtype"),
    (("simulate",), "DECK"),
    ((*_DIGITS, "--out", "{}/rc.cir"), "cannot write into"),
    (("simulate", "{}/rc.cir", "{}/rc.cir"), "unexpected extra argument"),
    (("validate", "{}/rc.cir", "--tol", "nonsense"), "--tol"),
    (("validate", "{}/rc.cir", "--tol", "nan"), "--tol"),
    (("validate", "{}/rc.cir", "--tol", "0"), "--tol"),
    (("validate", "{}/rc.cir", "--dt", "1"), "longer than the whole simulation"),
    (("check-grad", "{}/rc.cir", "--tol", "nonsense"), "--tol"),
    (("check-grad", "{}/rc.cir", "--steps", "0"), "--steps"),
    (("compile", "{}/rc.cir", "--emit", "llvm"), "--emit"),
    (("compile", "{}/rc.cir", "--no-such-option"), "--no-such-option"),
    ((*_GENERATE, "1"), "two layers or more"),
    ((*_GENERATE, "a,b"), "--layers"),
    ((*_GENERATE, ""), "--layers"),
    ((*_GENERATE, "4,0,2"), "layer size"),
    ((*_GENERATE, "4,-2,2"), "layer size"),
    ((*_GENERATE, "4,2", "--ron", "10k", "--roff", "1k"), "roff"),
    ((*_GENERATE, "4,2", "--step", "0"), "--step"),
    ((*_GENERATE, "4,2", "--attenuation", "1,2,3"), "attenuation"),
    ((*_GENERATE, "4,2", "--attenuation", "x"), "--attenuation"),
    ((*_DIGITS, "--epochs", "0"), "--epochs must be at least 1"),
    ((*_DIGITS, "--epochs", "many"), "--epochs"),
    ((*_DIGITS, "--batch", "0"), "--batch"),
    ((*_DIGITS, "--lr", "-1"), "--lr"),
    ((*_DIGITS, "--lr", "nan"), "--lr"),
    ((*_DIGITS, "--steps", "0"), "--steps"),
    ((*_DIGITS, "--seed", "-1"), "--seed"),
    ((*_DIGITS, "--threads", "0"), "--threads"),
    ((*_DIGITS, "--limit-train", "0"), "1 to 1437"),
    ((*_DIGITS, "--limit-train", "100000"), "1 to 1437"),
    ((*_DIGITS, "--limit-test", "-3"), "1 to 360"),
    ((*_DIGITS, "--device", "abacus"), "unknown device"),
    ((*_DIGITS, "--dt", "1", "--steps", "3", "--out", "{}/run"), "v(m1_1) needs dt <= 100 us"),
    (("train", "{}/rc.cir"), "--data"),
    (("train", "{}/rc.cir", "--data", "digit"), "netc knows mnist, fashion-mnist, digits"),
    (("evaluate", "{}/nowhere", "--data", "digits"), "is not a run folder"),
    (("evaluate", "{}", "--data", "digits"), "is not a run folder"),
    (("evaluate", "{}/rc.cir", "--data", "digits"), "is not a run folder"),
    (("data", "fetch", "digit"), "unknown data set 'digit'"),
    (("data", "fetch"), "NAME"),
    (("data", "fetch", "mnist", "--data-dir", "{}/rc.cir"), "rc.cir is not a folder"),
    (("simulat",), "did you mean 'simulate'?"),
    (("frobnicate",), "commands are compile, info, convert, simulate"),
]


@pytest.mark.parametrize(("arguments", "words"), BAD, ids=lambda v: " ".join(map(str, v))[-60:] if v else None)
def test_bad_option(rc: Path, arguments: tuple[str | Path, ...], words: str) -> None:
    rc.rename(rc.with_name("rc.cir"))
    told = netc(*(str(a).replace("{}", str(rc.parent)) for a in arguments)).refused()
    assert words in told
    assert not (rc.parent / "run").exists()


def test_no_command_shows_the_help() -> None:
    done = netc()
    assert done.code == 2
    assert "validate" in done.err


UNWRITABLE = [
    ("compile", "{deck}", "-o"),
    ("simulate", "{deck}", "-o"),
    ("simulate", "{deck}", "--plot"),
    ("validate", "{deck}", "--json"),
    ("validate", "{deck}", "--plot"),
    ("generate", "--layers", "4,2", "-o"),
    (*map(str, _DIGITS), "--limit-train", "8", "--steps", "2", "--out"),
]


@pytest.mark.parametrize("arguments", UNWRITABLE, ids=lambda a: f"{a[0]} {a[-1]}")
def test_a_place_under_a_file_cannot_be_written(rc: Path, arguments: tuple[str, ...]) -> None:
    told = netc(*(a.replace("{deck}", str(rc)) for a in arguments), rc / "folder" / "file").refused()
    assert "cannot write" in told
    assert "deck.cir" in told


@pytest.mark.parametrize("arguments", UNWRITABLE[:-1], ids=lambda a: f"{a[0]} {a[-1]}")
def test_a_folder_is_not_overwritten(rc: Path, arguments: tuple[str, ...]) -> None:
    told = netc(*(a.replace("{deck}", str(rc)) for a in arguments), rc.parent).refused()
    assert "it is a folder" in told


def test_output_makes_missing_folders(rc: Path) -> None:
    target = rc.parent / "new" / "folder" / "rc.py"
    assert netc("compile", rc, "-o", target).code == 0
    assert target.is_file()
