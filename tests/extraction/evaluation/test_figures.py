"""Shares and their intervals."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.evaluation.scoring import f1, mean, shares

ROWS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=30)


@given(ROWS)
def test_a_share_lies_in_its_interval_and_both_between_0_and_1(rows: list[tuple[int, int]]) -> None:
    right, wrong = (np.array([row[n] for row in rows]).reshape(-1, 1) for n in (0, 1))
    share = shares(right, right + wrong)[0]
    if (right + wrong).sum() == 0:
        assert all(map(math.isnan, share))
    else:
        assert share.value == right.sum() / (right + wrong).sum()
        assert 0 <= share.low <= share.high <= 1


def test_an_interval_is_that_of_the_binomial_where_each_company_says_one_thing() -> None:
    right = np.array([1] * 80 + [0] * 20).reshape(-1, 1)
    share = shares(right, np.ones_like(right))[0]
    spread = 1.96 * math.sqrt(0.8 * 0.2 / 100)
    assert share.low == pytest.approx(0.8 - spread, abs=0.02)
    assert share.high == pytest.approx(0.8 + spread, abs=0.02)


def test_companies_are_drawn_not_values() -> None:
    """Ten companies that give ten values each are ten draws, not a hundred."""
    right = np.array([10] * 5 + [0] * 5).reshape(-1, 1)
    share = shares(right, np.full_like(right, 10))[0]
    assert share.high - share.low > 0.5


def test_the_same_figures_each_time() -> None:
    column = np.arange(20).reshape(-1, 1)
    assert shares(column, column + 1) == shares(column, column + 1)


def test_a_column_of_its_own_for_each_field() -> None:
    one, other = shares([[1, 0], [1, 0]], [[1, 2], [1, 2]])
    assert (one.value, other.value) == (1, 0)


def test_mean() -> None:
    assert mean([0.0, 0.5, 1.0]).value == 0.5


def test_f1() -> None:
    assert f1(0.5, 1.0) == pytest.approx(2 / 3)
    assert f1(0.0, 0.0) == 0
    assert f1(math.nan, 0.0) == 0
    assert math.isnan(f1(1.0, math.nan))
