"""Countries are told apart whatever language names them, and cities from states and countries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.places import (
    city_key,
    city_name,
    country_key,
    is_city,
    is_country,
    is_division,
    is_state,
    names_state,
)


@pytest.mark.parametrize(
    ("name", "code"),
    [("Brazil", "BR"), ("Brasil", "BR"), ("BRASIL", "BR"), ("Federative Republic of Brazil", "BR"),
     ("Alemanha", "DE"), ("Deutschland", "DE"), ("US", "US"), ("U.S.A.", "US"), ("United States", "US"),
     ("United States of America", "US"), ("Estados Unidos", "US"), ("EUA", "US"), ("UK", "GB"), ("Scotland", "GB"),
     ("Moçambique", "MZ"), ("New Zealand", "NZ"), ("Sverige", "SE"), ("Hong Kong", "HK"), ("Korea", "KR"),
     ("Republic of Ireland", "IE"), ("The Netherlands", "NL"), ("Jersey", "JE")],
)  # fmt: skip
def test_names_and_codes_are_one_country(name: str, code: str) -> None:
    assert country_key(name) == code
    assert is_country(name)


@pytest.mark.parametrize(
    "name", ["São Paulo", "Cork", "Europe", "", "Northern Region", "World", "Brasília", "Salvador", "Norfolk"]
)
def test_other_places_are_none(name: str) -> None:
    assert not is_country(name)


@pytest.mark.parametrize(
    "city",
    ["São Paulo", "São Paulo - SP", "Portland, Oregon", "City of Industry", "New York", "Québec", "Singapore",
     "Singapura", "Luxembourg", "Rio de Janeiro/RJ", "Salvador", "Brasília", "Zug", "Lisboa", "Kansas City",
     "Washington, D.C.", "Tel Aviv-Yafo", "St. Paul,", "東京", "L'Aquila", "New Brunswick", "Mexico City",
     "Curitiba (PR)"],
)  # fmt: skip
def test_cities_are_cities(city: str) -> None:
    assert is_city(city)


@pytest.mark.parametrize(
    "text",
    ["Delaware", "Oregon", "CA", "SP", "NSW", "Minas Gerais", "Paraná", "Bavaria", "Bayern", "Ontario", "Brazil",
     "Deutschland", "Georgia", "US", "Europe", "América Latina", "World", "Remote", "N/A", "", "-", "98109",
     "Seattle 98109", "info@acme.example", "https://acme.example"],
)  # fmt: skip
def test_states_countries_and_other_texts_are_none(text: str) -> None:
    assert not is_city(text)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("São Paulo - SP", "São Paulo"),
        ("São Paulo/SP", "São Paulo"),
        ("Portland, Oregon", "Portland"),
        ("Austin TX", "Austin"),
        ("Curitiba (PR), Brasil", "Curitiba"),
        ("City of Industry", "City of Industry"),
        ("Tel Aviv-Yafo", "Tel Aviv-Yafo"),
        ("Lantern Falls,", "Lantern Falls"),
    ],
)
def test_a_city_is_named_without_its_state(written: str, name: str) -> None:
    assert city_name(written) == name
    assert city_key(written) == city_key(name)


def test_cities_have_one_key_by_any_of_their_names() -> None:
    assert city_key("New York City") == city_key("New York, NY") == city_key("Nova York")
    assert city_key("St. Paul") == city_key("Saint Paul, MN")
    assert city_key("Xi'an") == city_key("Xian")
    assert city_key("Kansas City") != city_key("Kansas")


def test_a_state_is_no_city_of_the_same_name() -> None:
    assert is_state("Delaware") and is_state("Bavaria")
    assert not is_state("New York") and not is_state("São Paulo") and not is_state("Acme")


def test_a_state_is_named_by_its_code_in_capitals_whatever_else_is_called_so() -> None:
    assert names_state("New York") and names_state("NY") and names_state("D.C.")
    assert not names_state("or") and not names_state("Acme")


def test_a_division_is_one_of_its_country() -> None:
    assert is_division("Jiangsu", "CN") and is_division("Värmland", "SE")
    assert not is_division("Jiangsu", "SE")
    assert not is_division("Texas", "US")  # known as a state


TEXTS = (
    st.text()
    | st.integers()
    | st.lists(st.sampled_from(["St", "Acme", "SP", "-", ",", "/", "(", "D.C."])).map(" ".join)
)


@given(TEXTS)
def test_any_value_has_an_answer(value: str | int) -> None:
    for check in (is_city, is_country, is_state):
        assert isinstance(check(value), bool)
    assert city_name(city_name(value)) in city_name(value)
    assert isinstance(country_key(value), str) and isinstance(city_key(value), str)


@given(st.sampled_from(["são paulo", "québec", "zürich", "new york"]), st.sampled_from(["", ", X", " - SP", "/SP"]))
def test_case_and_state_change_no_city(city: str, state: str) -> None:
    assert city_key(city.upper() + state) == city_key(city) == city_key(city_key(city))
