"""Random decks that follow SPICE's grammar: what a fuzzer feeds to every stage."""

from __future__ import annotations

from hypothesis import strategies as st

_UNARY = ("exp", "abs", "sqrt", "sin", "cos", "tanh", "atan", "sgn", "u", "uramp", "log", "floor")
_NUMBERS = ("0", "1", "-1", "0.5", "2", "3", "1e-3", "1k", "1meg", "-2.5", "1e-12", "4.7u", "1e30")
_NODES = ("0", "a", "b", "c", "d", "e", "f")


@st.composite
def expressions(draw: st.DrawFn, names: tuple[str, ...], signals: tuple[str, ...], depth: int = 3) -> str:
    """Return an expression over parameters ``names`` and accessors ``signals``."""
    if depth == 0 or draw(st.integers(0, 4)) == 0:
        return draw(st.sampled_from((*_NUMBERS, *names, *signals, *signals)))
    below = expressions(names, signals, depth - 1)
    form = draw(st.integers(0, 7))
    if form <= 3:
        return f"({draw(below)}{draw(st.sampled_from(('+', '-', '*', '/')))}{draw(below)})"
    if form == 4:
        return f"{draw(st.sampled_from(_UNARY))}({draw(below)})"
    if form == 5:
        return f"({draw(below)})^{draw(st.sampled_from(('2', '3', '0', '-1', '0.5')))}"
    if form == 6:
        return f"{draw(st.sampled_from(('min', 'max', 'pow')))}({draw(below)},{draw(below)})"
    comparison = draw(st.sampled_from((">", "<", ">=", "==", "&&", "||")))
    return f"(({draw(below)}{comparison}{draw(below)})?{draw(below)}:{draw(below)})"


@st.composite
def _sources(draw: st.DrawFn) -> str:
    return draw(
        st.sampled_from(
            (
                "1",
                "dc 0.3",
                "pulse(0 1 1u 1u 1u 5u 20u)",
                "sin(0.1 1 20k)",
                "exp(0 1 1u 2u 10u 3u)",
                "pwl(0 0 1u 1 3u -1 9u 0.5)",
                "0",
            )
        )
    )


@st.composite
def _bodies(draw: st.DrawFn, nodes: tuple[str, ...], names: tuple[str, ...], subcircuits: int) -> list[str]:
    """Return element cards; most nodes get a capacitor, so that most decks have states."""
    cards: list[str] = []
    node = st.sampled_from(nodes)
    inner = [n for n in nodes if n != "0"]
    for k, name in enumerate(inner):
        if draw(st.integers(0, 3)):
            initial = draw(st.sampled_from(("", " ic=0.2", " ic={p1*0.1}")))
            cards.append(f"cg{k} {name} 0 {draw(st.sampled_from(('1u', '100n', '{1u*p0}', '10p')))}{initial}")
        if draw(st.integers(0, 2)):
            cards.append(f"rg{k} {name} 0 {draw(st.sampled_from(('1k', '10k', '{p0*1k}')))}")
    for k in range(draw(st.integers(1, 7))):
        kind = draw(st.sampled_from("rrrrclvibbegfhxx"))
        a, b = draw(node), draw(node)
        accessors = (f"v({draw(node)})", f"v({draw(node)})", f"v({draw(node)},{draw(node)})", "time")
        if kind == "r":
            cards.append(f"r{k} {a} {b} {draw(st.sampled_from(('1k', '47', '{p0*10k}', '-1k', '1meg')))}")
        elif kind in "cl":
            cards.append(f"{kind}{k} {a} {b} {draw(st.sampled_from(('1u', '10n', '1m')))}")
        elif kind in "vi":
            cards.append(f"{kind}{k} {a} {b} {draw(_sources())}")
        elif kind == "b":
            quantity = draw(st.sampled_from("iiv"))
            cards.append(f"b{k} {a} {b} {quantity}={draw(expressions(names, accessors))}")
        elif kind in "eg":
            if draw(st.booleans()):
                cards.append(
                    f"{kind}{k} {a} {b} {draw(node)} {draw(node)} {draw(st.sampled_from(('1', '1m', '-0.5')))}"
                )
            else:
                cards.append(f"{kind}{k} {a} {b} value={{{draw(expressions(names, accessors))}}}")
        elif kind in "fh":
            cards.append(f"{kind}{k} {a} {b} vs {draw(st.sampled_from(('1', '0.1', '-2')))}")
        elif subcircuits:
            number = draw(st.integers(0, subcircuits - 1))
            override = draw(st.sampled_from(("", " p1=2", " p1={p0+1}")))
            cards.append(f"x{k} {a} {b} s{number}{override}")
    cards.append(f"vs {draw(node)} {draw(node)} 0" if draw(st.booleans()) else f"vs s 0 1\nrs s {draw(node)} 1k")
    return cards


@st.composite
def decks(draw: st.DrawFn) -> str:
    """Return a whole deck: parameters, functions, nested subcircuits, sources, a transient."""
    names = ("p0", "p1")
    lines = ["* random", f".param p0={draw(st.sampled_from(('1', '2', '0.5')))} p1={{p0*{draw(st.integers(1, 3))}}}"]
    lines.append(f".func g0(x) {{{draw(expressions((*names, 'x'), (), 2))}}}")
    lines.append(f".func g1(x,y) {{g0(x)+{draw(expressions(('x', 'y'), (), 2))}}}")
    called = (*names, "g0(v(a))", "g1(v(b),p0)")
    count = draw(st.integers(0, 2))
    for number in range(count):
        lines.append(f".subckt s{number} a b p1=1")
        lines += draw(_bodies(("a", "b", "c", "0"), names, number))
        lines.append(".ends")
    lines += draw(_bodies(_NODES[: draw(st.integers(3, 7))], called, count))
    if draw(st.booleans()):
        lines.append(f".ic v({draw(st.sampled_from(('a', 'b')))})={draw(st.sampled_from(('0.1', '{p0}', '1')))}")
    if draw(st.integers(0, 3)) == 0:
        lines += ["*.netc input vs", "*.netc train rg* min=100 max=100k", "*.netc output a b"]
    lines.append(f".tran 1u 20u{draw(st.sampled_from(('', ' uic', ' uic')))}")
    return "\n".join(lines) + "\n"
