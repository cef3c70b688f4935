"""Numbers in texts, by their digits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.grounding.amounts import NO_DIGIT, NUMERALS, amount_key, numerals


@pytest.mark.parametrize(
    ("text", "digits", "spans"),
    [
        ("1,200 people", "1200", [(0, 5)]),
        ("1.200,00 EUR", "1200", [(0, 8)]),
        ("12 345 people", "12345", [(0, 6)]),
        ("12 345 people", "345", [(3, 6)]),
        ("12 345 people", "2345", []),
        ("1 234 567", "1234", []),
        ("in 1987, 1987", "1987", [(3, 7), (9, 13)]),
        ("12.03.1994", "1994", [(6, 10)]),
        ("1994.03.12", "1994", [(0, 4)]),
        ("1.5", "1", []),
        ("v1987x", "1987", [(1, 5)]),
    ],
)
def test_where_numbers_stand(text: str, digits: str, spans: list[tuple[int, int]]) -> None:
    assert list(numerals(digits, text)) == spans


@given(st.text(alphabet="0129٣ ,.'’\u00a0-x½", max_size=24), st.from_regex("[0129]{1,6}", fullmatch=True))
def test_numbers_are_those_of_the_patterns_over_the_whole_text(text: str, another: str) -> None:
    """Looking only where digits stand together leaves none out."""
    found: dict[str, set[tuple[int, int]]] = {}
    for pattern in NUMERALS:
        for match in pattern.finditer(text):
            found.setdefault(NO_DIGIT.sub("", match["digits"]), set()).add(match.span())
    for digits in {*filter(str.isascii, found), another}:
        assert list(numerals(digits, text)) == sorted(found.get(digits, ()))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("US$ 4.2 million", "US$4.20 Million"),
        ("R$ 1,3 bilhões", "R$ 1,3 BILHÕES"),
        ("USD 4,200,000", "4200000 USD"),
        ("CHF 1'000", "CHF 1000"),
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
