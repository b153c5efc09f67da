"""Symbolic extents: the canonical form means what was written, and what is decided holds for every size."""

from __future__ import annotations

import math
import operator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.compiler.extent_text import parse
from penstock.compiler.extents import (
    Dim,
    Extent,
    NotStatic,
    Undecided,
    bounds,
    ceildiv,
    evaluate,
    floordiv,
    largest,
    quotient,
    smallest,
    substitute,
    surely,
    symbol,
    symbols_of,
)
from penstock.compiler.limits import at_most

BATCH, SEQ, PAST = symbol("batch", 1, 64), symbol("seq"), symbol("past", 0, 4096)
SIZES = st.fixed_dictionaries({"batch": st.integers(1, 64), "seq": st.integers(1, 5000), "past": st.integers(0, 4096)})


COUNTED = symbol("count", 0, 40)


@given(
    st.recursive(
        st.sampled_from([BATCH, PAST, COUNTED]) | st.integers(-9, 9),
        lambda inner: st.tuples(st.sampled_from("+-*/<>"), inner, inner),
        max_leaves=8,
    ),
    SIZES,
    st.data(),
)
def test_a_limit_is_never_below(tree: Any, sizes: dict[str, int], data: st.DataObject) -> None:
    """Whatever is counted, up to its bound."""

    def built(node: Any) -> Extent:
        if not isinstance(node, tuple):
            return node
        kind, a, b = node[0], built(node[1]), built(node[2])
        if kind == "/":
            return floordiv(a, largest(b, 1))
        return {"+": a + b, "-": a - b, "*": a * b, "<": smallest(a, b), ">": largest(a, b)}[kind]

    extent = built(tree)
    if len(str(extent)) > 300:
        return
    (counted,) = symbols_of(COUNTED)
    most = smallest(BATCH + 2, 40)
    limit = at_most(extent, {counted: most})
    assert counted not in symbols_of(limit)
    count = data.draw(st.integers(0, evaluate(most, sizes)))
    assert evaluate(limit, sizes) >= evaluate(extent, {**sizes, "count": count})


class Written:
    """An expression as it was written: how to compute it from sizes, beside the extent."""

    def __init__(self, extent: Extent, value: Any) -> None:
        self.extent, self.value = extent, value


def _leaf(extent: Extent, name: str) -> Written:
    return Written(extent, lambda sizes: sizes[name])


LEAVES = st.one_of(
    st.sampled_from([_leaf(BATCH, "batch"), _leaf(SEQ, "seq"), _leaf(PAST, "past")]),
    st.integers(-70, 70).map(lambda number: Written(number, lambda sizes: number)),
)


def _combined(children: st.SearchStrategy[Written]) -> st.SearchStrategy[Written]:
    def binary(name: str) -> Any:
        function = {"max": largest, "min": smallest}.get(name) or getattr(operator, name)
        plain = {"max": max, "min": min}.get(name) or getattr(operator, name)
        return st.tuples(children, children).map(
            lambda pair: Written(
                function(pair[0].extent, pair[1].extent),
                lambda sizes: plain(pair[0].value(sizes), pair[1].value(sizes)),
            )
        )

    def divided(pair: tuple[Written, int]) -> Written:
        return Written(floordiv(pair[0].extent, pair[1]), lambda sizes: pair[0].value(sizes) // pair[1])

    by_number = st.tuples(children, st.integers(1, 17)).map(divided)
    return st.one_of(*(binary(name) for name in ("add", "sub", "mul", "max", "min")), by_number)


EXPRESSIONS = st.recursive(LEAVES, _combined, max_leaves=6)


@given(EXPRESSIONS, SIZES)
def test_the_canonical_form_has_the_value_that_was_written(written: Written, sizes: dict[str, int]) -> None:
    assert evaluate(written.extent, sizes) == written.value(sizes)


@given(EXPRESSIONS)
def test_its_text_reads_back(written: Written) -> None:
    assert parse(str(written.extent)) == written.extent


@given(EXPRESSIONS, SIZES)
def test_values_lie_within_the_bounds(written: Written, sizes: dict[str, int]) -> None:
    low, high = bounds(written.extent)
    assert low <= written.value(sizes) <= high


@given(EXPRESSIONS, EXPRESSIONS, SIZES, st.sampled_from(["<", "<=", ">", ">="]))
def test_what_is_sure_holds(a: Written, b: Written, sizes: dict[str, int], relation: str) -> None:
    if surely(a.extent, relation, b.extent):
        names = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
        assert getattr(operator, names[relation])(a.value(sizes), b.value(sizes))


@given(EXPRESSIONS, EXPRESSIONS, SIZES)
def test_exact_quotients_are_exact(a: Written, b: Written, sizes: dict[str, int]) -> None:
    if b.extent == 0:
        return
    found = quotient(a.extent, b.extent)
    if found is not None:
        assert evaluate(found, sizes) * b.value(sizes) == a.value(sizes)
    whole = quotient(a.extent * b.extent, b.extent)
    if whole is not None:
        assert evaluate(whole, sizes) * b.value(sizes) == a.value(sizes) * b.value(sizes)


@given(EXPRESSIONS, SIZES)
def test_substituting_numbers_evaluates(written: Written, sizes: dict[str, int]) -> None:
    known = {found: sizes[found.name] for found in symbols_of(written.extent)}
    assert substitute(written.extent, known) == written.value(sizes)


@pytest.mark.parametrize(
    ("extent", "text"),
    [
        (BATCH * SEQ * 768 // 768, "batch:1..64*seq"),
        ((PAST + 1) * SEQ * 64 // (PAST + 1), "64*seq"),
        (-(-SEQ // 64), "(seq + 63) floordiv 64"),
        ((SEQ + 64) // 64, "(seq floordiv 64) + 1"),
        ((-(-SEQ // 13) + 4) // 5, "(seq + 64) floordiv 65"),
        ((SEQ - 1) // 2 + 1, "(seq + 1) floordiv 2"),
        (largest(SEQ, 1), "seq"),
        (largest(SEQ, PAST), None),
        (ceildiv(SEQ * 12, 12), "seq"),
        (SEQ - SEQ + 3, "3"),
        (0 // SEQ, "0"),
        ((SEQ - 1) // SEQ, "0"),
        ((symbol("n", 32, 63) + 32) // 32, "2"),
        (largest(0, 5 * ceildiv(SEQ // 4, 5) - SEQ // 4), "5*((seq + 16) floordiv 20) - (seq floordiv 4)"),
    ],
)
def test_simplifications(extent: Extent, text: str | None) -> None:
    assert str(extent) == text if text is not None else isinstance(extent, Dim)


def test_comparisons_are_decided_for_all_sizes_or_refused() -> None:
    assert SEQ > 0
    assert BATCH <= 64
    assert SEQ % 64 < 64
    assert SEQ + PAST >= SEQ
    assert SEQ != 1
    assert 1 not in (SEQ, BATCH)
    for undecided in (lambda: SEQ < 64, lambda: SEQ > PAST, lambda: bool(PAST), lambda: SEQ >= BATCH):
        with pytest.raises(Undecided, match="depends on the sizes"):
            undecided()


def test_a_product_of_many_sums_is_positive() -> None:
    product = 1
    for axis in range(3):
        product = product * (symbol(f"x{axis}") + symbol(f"w{axis}") - 1)
    assert bounds(product)[0] == 1


def test_either_operand_of_a_maximum_bounds() -> None:
    """Whichever it is: of 2 n - 2 max(0, n - 5) - 1, as of relative positions cut to a window, 2 n - 1 or 9."""
    assert bounds(2 * SEQ - 2 * largest(0, SEQ - 5) - 1) == (1, 9)
    assert surely(SEQ - largest(0, SEQ - 5), ">=", 1)
    assert bounds(SEQ + smallest(0, 5 - SEQ)) == (1, 5)


def test_nested_extrema_are_bounded_in_little_time() -> None:
    """Each level has the one below twice; choosing operands all the way down would visit every set of choices."""
    extent: Extent = symbol("n", 0, 50)
    for level in range(9):
        low, high = symbol(f"low{level}", 0, 40), symbol(f"high{level}", 0, 40)
        extent = BATCH - largest(extent, low) + smallest(extent, high)
    least, most = bounds(extent)
    for number in (0, 17, 40):
        sizes = {found.name: number for found in symbols_of(extent)}
        assert least <= evaluate(extent, {**sizes, "batch": 1}) <= most
        assert least <= evaluate(extent, {**sizes, "batch": 64}) <= most
    assert math.isfinite(most - least)


def test_a_symbol_is_no_number() -> None:
    for use in (lambda: range(SEQ), lambda: [0] * SEQ, lambda: int(SEQ), lambda: (1, 2)[SEQ], lambda: float(SEQ)):
        with pytest.raises((NotStatic, TypeError)):
            use()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "batch +",
        "2 batch",
        "seq floordiv 0",
        "seq floordiv (0 - seq)",
        "a:5..2",
        "(" * 50 + "a" + ")" * 50,
        "max(",
        "$",
    ],
)
def test_texts_that_are_no_extents(text: str) -> None:
    with pytest.raises(ValueError, match="is no extent"):
        parse(text)
