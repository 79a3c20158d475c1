import pytest
from hypothesis import given
from hypothesis import strategies as st

from netc.diagnostics import NetcError
from netc.parse import ast, parse_expression
from netc.parse.dump import show

GOLDEN = {
    "-2^2": "(-(2.0 ^ 2.0))",
    "2^3^2": "((2.0 ^ 3.0) ^ 2.0)",
    "2**3**2": "((2.0 ^ 3.0) ^ 2.0)",
    "2^-1": "(2.0 ^ (-1.0))",
    "2*-3": "(2.0 * (-3.0))",
    "!0+1": "((!0.0) + 1.0)",
    "!2^2": "(!(2.0 ^ 2.0))",
    "2-3-4": "((2.0 - 3.0) - 4.0)",
    "8/4/2": "((8.0 / 4.0) / 2.0)",
    "2>1>0": "((2.0 > 1.0) > 0.0)",
    "1<>2": "(1.0 != 2.0)",
    "1||0&&0": "(1.0 || (0.0 && 0.0))",
    "1-1||1": "((1.0 - 1.0) || 1.0)",
    "0?2:0?4:5": "(0.0 ? 2.0 : (0.0 ? 4.0 : 5.0))",
    "1?2:3?4:5": "(1.0 ? 2.0 : (3.0 ? 4.0 : 5.0))",
    "a<b?c+1:d": "((a < b) ? (c + 1.0) : d)",
    "V(A)-V(B)": "(v(a) - v(b))",
    "V(in+, out-1)*2": "(v(in+,out-1) * 2.0)",
    "v( gnd ) + i(X1.R1)": "(v(0) + i(x1.r1))",
    "V*v1": "(v * v1)",
    "'a + {b}'*2": "((a + b) * 2.0)",
    "if(time>1m, pwr(x,3), 0)": "if((time > 0.001), pwr(x, 3.0), 0.0)",
    "f()": "f()",
    "10pF*1Meg": "(1e-11 * 1000000.0)",
    "v(n#x)/v(9)+v(a/b)*v(out!)": "((v(n#x) / v(9)) + (v(a/b) * v(out!)))",
}


@pytest.mark.parametrize("text", GOLDEN)
def test_golden(text: str) -> None:
    assert show(parse_expression(text)) == GOLDEN[text]


def test_long_sum_is_shallow_and_keeps_its_signs() -> None:
    signs = ["+" if k % 3 else "-" for k in range(1000)]
    tree = parse_expression("1" + "".join(f"{sign}{k}" for k, sign in enumerate(signs)))

    def value(node: ast.Expression, depth: int = 0) -> float:
        assert depth < 20
        if isinstance(node, ast.Binary):
            left, right = value(node.left, depth + 1), value(node.right, depth + 1)
            return left + right if node.operator == "+" else left - right
        assert isinstance(node, ast.Number)
        return node.value

    assert value(tree) == 1 + sum(k if sign == "+" else -k for k, sign in enumerate(signs))


@pytest.mark.parametrize(
    "text",
    [
        "(" * 200 + "1" + ")" * 200,
        "f(" * 200 + "1" + ")" * 200,
        "-" * 200 + "1",
        "2" + "^2" * 200,
        "1?2:" * 200 + "3",
        "(" * 20_000 + "1" + ")" * 20_000,
        "-" * 20_000 + "1",
    ],
)
def test_nesting_limit(text: str) -> None:
    with pytest.raises(NetcError, match="nested deeper than 150 levels"):
        parse_expression(text)


def test_nesting_within_the_limit() -> None:
    parse_expression("(" * 149 + "1" + ")" * 149)


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("1+", 2, "expected a value"),
        ("a*(b+1", 3, "'(' is never closed"),
        ("a)", 2, "')' closes nothing"),
        ("{(a}", 4, "'(' is not closed before this '}'"),
        ("'a", 1, "this quote is never closed"),
        ("3%2", 2, "found '%'"),
        ("1&0", 2, "'&' is no operator of ngspice"),
        ("1k5", 1, "write 1.5k"),
        ("a=b", 2, "equality is =="),
        ("a?b", 3, "and the value otherwise"),
        ("v(a,b,c)", 6, "expected"),
        ("1 \N{MINUS SIGN} 2", 3, "Unicode minus"),
        ("", 1, "expected a value"),
    ],
)
def test_errors(text: str, column: int, words: str) -> None:
    with pytest.raises(NetcError) as caught:
        parse_expression(text)
    assert caught.value.diagnostics[0].span.column == column
    assert words in str(caught.value)
    assert not any(token in str(caught.value) for token in ("RPAR", "WORD", "NUMBER", "$END", "Token", "EQUAL"))


@given(
    st.recursive(
        st.sampled_from(["1", "x", "v(a)", "i(r1)"]),
        lambda inner: st.one_of(
            st.builds("({}{}{})".format, inner, st.sampled_from(["+", "-", "*", "^", "<", "==", "&&", "||"]), inner),
            st.builds("(-{})".format, inner),
            st.builds("({} ? {} : {})".format, inner, inner, inner),
            st.builds("f({}, {})".format, inner, inner),
        ),
    )
)
def test_printed_expression_reads_back(text: str) -> None:
    printed = show(parse_expression(text))
    assert show(parse_expression(printed)) == printed
