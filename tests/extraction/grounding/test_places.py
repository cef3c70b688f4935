"""Countries are the same whatever language names them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.grounding.places import country_code, country_key, country_spellings


@pytest.mark.parametrize(
    ("name", "code"),
    [("Brazil", "BR"), ("BRASIL", "BR"), ("Federative Republic of Brazil", "BR"), ("Alemanha", "DE"),
     ("Deutschland", "DE"), ("Niemcy", "DE"), ("ドイツ", "DE"), ("US", "US"), ("U.S.A.", "US"), ("UK", "GB"),
     ("England", "GB"), ("Moçambique", "MZ"), ("Sverige", "SE"), ("South Korea", "KR"), ("Bolivia", "BO")],
)  # fmt: skip
def test_names_and_codes_are_one_country(name: str, code: str) -> None:
    assert country_key(name) == code == country_code(name)


@pytest.mark.parametrize("name", ["São Paulo", "Cork", "Europe", "", "World", "Bavaria"])
def test_other_places_are_none(name: str) -> None:
    assert country_code(name) is None


def test_a_text_may_write_a_country_in_many_ways() -> None:
    assert {"USA", "US", "Vereinigte Staaten", "Estados Unidos"} <= set(country_spellings("United States"))
    assert country_spellings("Atlantis") == ()


@given(st.text() | st.integers())
def test_any_value_has_a_key_that_is_its_own(value: str | int) -> None:
    assert country_key(country_key(value)) == country_key(value) or country_code(value) is not None
