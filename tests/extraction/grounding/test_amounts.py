"""Spellings of one amount have one key; other amounts have others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.grounding.amounts import amount_key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("US$ 4.2 million", "US$4.20 Million"),
        ("R$ 1,3 bilhões", "R$ 1,3 BILHÕES"),
        ("USD 4,200,000", "4200000 USD"),
    ],
)
def test_spellings_of_one_amount_have_one_key(one: str, other: str) -> None:
    assert amount_key(one) == amount_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("US$ 4 million", "US$ 4 billion"), ("€ 5", "$ 5"), ("12,5 miljoner kronor", "12 miljoner kronor")],
)
def test_other_amounts_have_other_keys(one: str, other: str) -> None:
    assert amount_key(one) != amount_key(other)


@given(st.text() | st.integers() | st.text(st.sampled_from("0123456789.,' -$€R million%²٣")))
def test_any_value_has_a_key(value: str | int) -> None:
    assert isinstance(amount_key(value), str)
