"""Countries are told apart whatever language names them."""

import pytest

from extraction.countries import country_key, is_country


@pytest.mark.parametrize(
    ("name", "code"),
    [("Brazil", "BR"), ("Brasil", "BR"), ("BRASIL", "BR"), ("Alemanha", "DE"), ("Deutschland", "DE"), ("US", "US"),
     ("U.S.A.", "US"), ("United States", "US"), ("Estados Unidos", "US"), ("UK", "GB"), ("Moçambique", "MZ"),
     ("New Zealand", "NZ"), ("Sverige", "SE")],
)  # fmt: skip
def test_names_and_codes_are_one_country(name: str, code: str) -> None:
    assert country_key(name) == code
    assert is_country(name)


@pytest.mark.parametrize("name", ["São Paulo", "Cork", "Europe", "", "Northern Region", "World"])
def test_other_places_are_none(name: str) -> None:
    assert not is_country(name)
