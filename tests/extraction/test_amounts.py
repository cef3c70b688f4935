"""Amounts in several languages come to one currency and number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.amounts import amount_key, is_amount


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("US$ 4.2 million", "USD 4200000"),
        ("$4.2M", "USD 4200000"),
        ("USD 4,200,000", "USD 4200000"),
        ("R$ 1,3 bilhões", "BRL 1300000000"),
        ("R$ 1.3 bilhão em 2022", "BRL 1300000000"),
        ("R$ 1,234 milhões", "BRL 1234000"),
        ("US$1,234 million", "USD 1234000000"),
        ("1.234.567,89 reais", "BRL 1234567.89"),
        ("EUR 12.5m", "EUR 12500000"),
        ("12,5 Mio. EUR", "EUR 12500000"),
        ("3,5 Mrd. Euro", "EUR 3500000000"),
        ("3 mil milhões de euros", "EUR 3000000000"),
        ("2 mil millones de euros", "EUR 2000000000"),
        ("4,5 milliards d'euros", "EUR 4500000000"),
        ("Rs. 500 crore", "INR 5000000000"),
        ("CHF 1'200'000", "CHF 1200000"),
        ("1 234 567 €", "EUR 1234567"),
        ("C$3m", "CAD 3000000"),
        ("revenue of approximately $3.5 billion", "USD 3500000000"),
        ("($5.2) million", "USD -5200000"),
        ("-$5 million", "USD -5000000"),
        ("4.2 million", "4200000"),
    ],
)
def test_an_amount_is_its_currency_and_number(text: str, key: str) -> None:
    assert amount_key(text) == key
    assert is_amount(text)


@pytest.mark.parametrize(
    "text",
    ["", "$", "1994", "2,500", "12%", "100 employees", "4.2 million users", "12-3456780", "(312) 555-0142", "large",
     "December 31, 2023", "US$ 5 to 10 million"],
)  # fmt: skip
def test_other_texts_are_no_amounts(text: str) -> None:
    assert not is_amount(text)


def test_a_range_keeps_both_of_its_numbers() -> None:
    assert amount_key("US$ 5-10 million") != amount_key("US$ 5 million")


@given(st.text() | st.integers() | st.text(st.sampled_from("0123456789.,' -$€R million bimrd%²٣")))
def test_any_value_has_an_answer(value: str | int) -> None:
    assert isinstance(is_amount(value), bool)
    assert amount_key(str(value).upper().lower()) == amount_key(str(value).lower())


@given(st.integers(min_value=1, max_value=10**9).filter(lambda number: not 1900 <= number < 2100))
def test_grouping_changes_no_amount(number: int) -> None:
    plain = amount_key(f"USD {number}")
    assert plain == amount_key(f"US$ {number:,}") == amount_key(f"{number:,} dollars".replace(",", " "))
    assert plain == f"USD {number}"
