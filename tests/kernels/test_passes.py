"""Passes: each can be left out and changes nothing but rounding; what they rewrite keeps its value."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from netc.ir.build import add, div, mul, neg, sub
from netc.ir.nodes import Const, Expr, Parameter, State, postorder
from netc.kernels import PASSES, build
from netc.kernels.interleave import interleaved, widened
from netc.kernels.outside import Evaluator
from netc.kernels.polynomials import regrouped
from netc.runtime.load import instantiate
from tests.kernels import decks

STEPS, DT = 40, 1e-5


def test_unknown_pass_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no pass 'fusion'"):
        build(decks.program("buffered", tmp_path), disable=["fusion"])


def test_each_pass_keeps_loss_and_gradients(tmp_path: Path) -> None:
    program = decks.program("buffered", tmp_path)
    module = instantiate(program, torch.float64)
    inputs = torch.rand(21, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.arange(21) % 4

    def found(*disable: str) -> list[torch.Tensor]:
        kernel = build(program, torch.float64, threads=1, disable=disable)
        assert kernel is not None
        loss = kernel.loss(module, inputs, labels, STEPS, DT, 20.0)
        return [loss.detach(), *torch.autograd.grad(loss, list(module.parameters()))]

    want = found()
    for name, _ in PASSES:
        for have, expected in zip(found(name), want, strict=True):
            assert float((have - expected).abs().max()) <= 1e-9 * float(expected.abs().max()), name


def test_threads_do_not_change_a_bit(tmp_path: Path) -> None:
    program = decks.program("buffered", tmp_path)
    module = instantiate(program, torch.float32)
    inputs = torch.rand(70, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(70) % 4
    results = []
    for threads in (1, 2, 2, 3):
        kernel = build(program, torch.float32, threads=threads)
        assert kernel is not None
        loss = kernel.loss(module, inputs, labels, STEPS, DT, 20.0)
        results.append([loss.detach(), *torch.autograd.grad(loss, list(module.parameters()))])
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0], strict=True))


def test_regrouped_sums_keep_their_value() -> None:
    v, x, y = (State(name, 3) for name in "vxy")
    a, p, q, r, s = (Parameter(name) for name in "apqrs")
    current = Parameter("current", 3)
    first = mul(sub(v, p), add(mul(q, x), r))
    second = mul(sub(s, v), add(mul(q, y), r))
    root = add(v, mul(a, add(sub(current, first), second)))
    fixed = {a, p, q, r, s}

    def is_fixed(expr: Expr) -> bool:
        return all(leaf in fixed or isinstance(leaf, Const) or leaf.children for leaf in postorder(expr)) and not any(
            isinstance(leaf, State) or leaf is current for leaf in postorder(expr)
        )

    (result,) = regrouped([root], is_fixed)
    assert result is not root
    leaves = [v, x, y, a, p, q, r, s, current]
    random = torch.Generator().manual_seed(1)
    values = {leaf: torch.rand(leaf.size, generator=random, dtype=torch.float64) for leaf in leaves}
    want, have = Evaluator([root, result], leaves)(values, torch.float64)
    assert torch.allclose(have, want, rtol=1e-13)
    (same,) = regrouped([div(neg(v), x)], is_fixed)
    assert same is div(neg(v), x)


def test_lanes_advance_statement_by_statement() -> None:
    lines = ["    const V v0 = x0[i];", "    const V v1 = v0 * p0_all;", "    const V v2 = v0 + v0;", "    y0[i] = v2;"]
    lines += ["    if constexpr (KEEP) k0[i] = v1;"]
    made = interleaved(lines)
    assert made[0] == "V v0[B]; EACH v0[b] = x0[(lane + b)];"
    assert "if constexpr (KEEP) EACH k0[(lane + b)] = v1[b];" in made
    assert "EACH y0[(lane + b)] = v2[b];" in made
    place = {text.split("[B]")[0]: k for k, text in enumerate(made)}
    assert place["V v0"] < min(place["V v1"], place["V v2"])


def test_what_is_replaced_is_read_before() -> None:
    lines = ["    const V v0 = n1[i];", "    const V v1 = n0[i];", "    const V v2 = v1 * v0;", "    n0[i] = v2;"]
    lines += ["    const V v3 = n2[i];", "    const V v4 = n3[i];", "    n3[i] = v3;", "    n1[i] = v4;"]
    made = interleaved(lines)
    for name in ("n0", "n1", "n3"):
        places = [k for k, text in enumerate(made) if f"{name}[b]" in text]
        stores = [k for k, text in enumerate(made) if text.startswith(f"EACH {name}[")]
        assert max(places) == stores[0], name


def test_only_long_loops_are_widened() -> None:
    short = ["for (long i = 0; i < 8; ++i) {", "    const V v0 = x0[i];", "    y0[i] = v0;", "}"]
    assert widened(short) == short
    long = [short[0], "    const V v0 = x0[i];", "    const V v1 = apply_exp(v0);", "    y0[i] = v1;", "}"]
    assert widened(long)[:2] == ["for (Size lane = 0; lane < 8; lane += 4) {", "    constexpr int B = 4;"]
    summed = [long[0], *long[1:3], "    gp0[table0[i]] += v1;", "}"]
    assert "    EACH gp0[table0[(lane + b)]] += v1[b];" in widened(summed)  # one lane after the other
