"""Measure what docs/performance.md reports and write it there: `make bench`, some ten minutes on an idle machine.

    python scripts/bench.py                  everything; JSON, tables and logs in runs/bench
    python scripts/bench.py network mnist    these parts only; the others are taken from runs/bench
    python scripts/bench.py none             write the page anew from what is in runs/bench

Parts: network, fig3-passive, rlc-ladder, mss-crossbar, sweeps, startup, mnist.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "runs" / "bench"
PAGE = ROOT / "docs" / "performance.md"
PICTURE = ROOT / "docs" / "images" / "sweeps.png"
BEGIN, END = "<!-- measured by make bench -->", "<!-- end of what make bench writes -->"

CIRCUITS = ("fig3-passive", "rlc-ladder", "mss-crossbar")
PARTS = ("network", *CIRCUITS, "sweeps", "startup", "mnist")
MNIST = ("--steps", "1000", "--batch", "64", "--lr", "5e-3", "--clip-gradient", "1", "--epochs", "3", "--seed", "0")
THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def main(asked: list[str]) -> None:
    """Run the parts that are asked for, then write the page."""
    unknown = [part for part in asked if part not in (*PARTS, "none")]
    if unknown:
        sys.exit(f"there is no part {unknown[0]}; there are {', '.join(PARTS)}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        if not asked or part in asked:
            print(f"== {part}, load average {os.getloadavg()[0]:.2f}", flush=True)
            start = time.monotonic()
            measure(part)
            print(f"   {time.monotonic() - start:.0f} s", flush=True)
    write_page()


def measure(part: str) -> None:
    """Measure one part into files of its name."""
    if part == "mnist":
        mnist()
    elif part == "startup":
        startup()
    elif part == "sweeps":
        bench(part, "--sweep", "all", "--repeat", "2", "--plot", str(PICTURE))
    elif part == "network":
        bench(part, "--threads", threads())
    else:
        variants = "netc-cpp,torch-loop" + (",ngspice-forward" if part == "rlc-ladder" else "")
        bench(part, "--circuit", part, "--threads", threads(), "--variants", variants)


def threads() -> str:
    """Return one thread and all threads, as the option takes them."""
    return "1" if THREADS == 1 else f"1,{THREADS}"


def netc(*arguments: str, **environment: str) -> str:
    """Run netc; return its standard output, or end with its status."""
    command = [sys.executable, "-m", "netc.cli", *arguments]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.stdout.write(done.stdout)
        sys.exit(f"netc {arguments[0]} ended with status {done.returncode}")
    return done.stdout


def bench(part: str, *options: str) -> None:
    """Run netc bench into ``part``.json and ``part``.md."""
    file = RESULTS / part
    netc("bench", *options, "--json", f"{file}.json", "--markdown", f"{file}.md")


def deck() -> Path:
    """Return the deck of 784-100-10, generated once."""
    path = RESULTS / "network.cir"
    if not path.exists():
        netc("generate", "--layers", "784,100,10", "-o", str(path))
    return path


def startup() -> None:
    """Time netc train from its start to the end of its first update, with empty caches and again."""
    netc("data", "fetch", "mnist")
    data = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "netc" / "data"
    with tempfile.TemporaryDirectory() as folder:
        if data.is_dir():
            (Path(folder) / "netc").mkdir()
            (Path(folder) / "netc" / "data").symlink_to(data)
        seconds = [_first_update(Path(folder), f"run{number}") for number in range(2)]
    save("startup", {"cold_s": seconds[0], "warm_s": seconds[1]})


def _first_update(folder: Path, name: str) -> float:
    limits = ("--limit-train", "64", "--limit-test", "1", "--epochs", "1", "--batch", "64", "--steps", "1000")
    command = ("train", str(deck()), "--data", "mnist", *limits, "--out", str(folder / name))
    start = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "netc.cli", *command],
        cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        found = next((time.monotonic() - start for line in process.stderr if line.startswith("epoch 1/1")), None)
        process.stderr.read()
    if process.returncode or found is None:
        sys.exit(f"netc train ended with status {process.returncode}")
    return found


def mnist() -> None:
    """Train three epochs on all of MNIST."""
    netc("data", "fetch", "mnist")
    out = RESULTS / "mnist"
    shutil.rmtree(out, ignore_errors=True)
    before = os.getloadavg()[0]
    line = netc("train", str(deck()), "--data", "mnist", *MNIST, "--out", str(out)).strip().splitlines()[-1]
    save("mnist", {**json.loads(line), "load": [round(before, 2), round(os.getloadavg()[0], 2)], "threads": THREADS})


def save(part: str, value: dict[str, Any]) -> None:
    """Write a part's JSON."""
    (RESULTS / f"{part}.json").write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def load(part: str) -> Any:
    """Return a part's JSON; ``None`` where it was not measured."""
    file = RESULTS / f"{part}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


# ---------------------------------------------------------------------- the page


def write_page() -> None:
    """Put what was measured between the marks of the page."""
    text = PAGE.read_text(encoding="utf-8")
    before, mark, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (mark and end):
        sys.exit(f"{PAGE.name} has no marks {BEGIN} and {END}")
    body = "\n\n".join(section.strip() for section in sections() if section.strip())
    PAGE.write_text(f"{before}{BEGIN}\n\n{body}\n\n{END}{after}", encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


def sections() -> list[str]:
    """Return the measured sections."""
    found = []
    if network := load("network"):
        found += [machine_line(network["machine"]), "### The network", table("network")]
    found += ["### What netc aims at", aims()]
    found.append("### Other circuits")
    found += [table(name) for name in CIRCUITS if load(name)]
    if load("sweeps"):
        found += [
            "### Sizes",
            "![CPU time of a training step over steps, samples, neurons and synapses](images/sweeps.png)",
        ]
        found.append(table("sweeps"))
    if trained := load("mnist"):
        found += ["### MNIST", mnist_line(trained)]
    return found


def table(part: str) -> str:
    """Return what netc bench wrote of a part."""
    return (RESULTS / f"{part}.md").read_text(encoding="utf-8")


def machine_line(about: dict[str, Any]) -> str:
    """Return the machine and the versions in a sentence."""
    versions = [f"{name} {about[name]}" for name in ("torch", "numpy", "jax", "brian2") if about.get(name)]
    return (
        f"{about['processor']}, {about['processors']} processors, {about['system']}; Python {about['python']}, "
        f"{about['compiler']}, {', '.join(versions)}."
    )


def mnist_line(trained: dict[str, Any]) -> str:
    """Return the figures of training in a sentence."""
    epoch = trained["train_seconds"] / trained["epochs"]
    return (
        f"`netc train network.cir --data mnist {' '.join(MNIST)}`: 784-100-10, all {trained['samples']:,} training "
        f"images, T = {trained['steps']}, {trained['threads']} threads: {epoch:.1f} s an epoch; test accuracy after "
        f"{trained['epochs']} epochs {100 * trained['test_accuracy']:.2f} % on all {trained['test_samples']:,} test "
        "images, which nothing was tuned on. "
        f"Load average {trained['load'][0]} before, {trained['load'][1]} after."
    )


def aims() -> str:
    """Return what was aimed at and what was measured."""
    rows = ["| aim | measured |", "|---|---|"]
    if network := load("network"):
        rows += network_aims(network)
    for name in CIRCUITS:
        if found := load(name):
            one = found["variants"]
            rows.append(row(f"{name}: `netc-cpp` at least 20x `torch-loop`", ratio(one, "torch-loop", "netc-cpp"), "x"))
    if started := load("startup"):
        rows.append(row("`netc train` to the end of the first update, cold: at most 15 s", started["cold_s"], " s"))
        rows.append(row("the same, with filled caches: at most 5 s", started["warm_s"], " s"))
    return "\n".join(rows)


def network_aims(network: dict[str, Any]) -> list[str]:
    """Return rows about the layered network."""
    variants = network["variants"]
    timed = {name: v["cpu_ms"] for name, v in variants.items() if v["cpu_ms"]}
    rivals = [name for name in ("torch-compile", "jax", "jax-checkpoint") if name in timed]
    rows = [
        row("`netc-cpp` at least 50x `torch-eager-hoisted`", ratio(variants, "torch-eager-hoisted", "netc-cpp"), "x")
    ]
    if rivals:
        best = min(rivals, key=timed.__getitem__)
        found = ratio(variants, best, "netc-cpp")
        rows.append(row(f"at least 7x the best of JAX and `torch.compile` (`{best}`)", found, "x"))
    if "handwritten" in timed:
        rows.append(row("at most 1.2x `handwritten`", ratio(variants, "netc-cpp", "handwritten"), "x"))
    rows.append(row("at most 30 MB extra memory", variants["netc-cpp"]["extra_mb"], " MB"))
    for count, gains in network.get("scaling", {}).items():
        rows.append(row(f"{count} threads at least {0.9 * int(count):.1f}x one, wall time", gains.get("netc-cpp"), "x"))
    torch = ratio(variants, "torch-eager-hoisted", "netc-torch")
    rows.append(row("`netc-torch` at least 5x `torch-eager-hoisted`", torch, "x"))
    rows.append(row("generate and compile the kernel: at most 8 s", variants["netc-cpp"]["compile_s"], " CPU s"))
    return rows


def ratio(variants: dict[str, Any], above: str, below: str) -> float | None:
    """Return how many times the CPU time of one is that of the other."""
    a, b = (variants.get(name, {}).get("cpu_ms") for name in (above, below))
    return a / b if a and b else None


def row(aim: str, value: float | None, unit: str) -> str:
    """Return a row of the table of aims."""
    return f"| {aim} | {'not measured' if value is None else f'{value:.3g}{unit}'} |"


if __name__ == "__main__":
    main(sys.argv[1:])
