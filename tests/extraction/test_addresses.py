"""An address ends with its city and country, as far as that is certain."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.addresses import address_key, seat
from extraction.places import is_city, is_country


@pytest.mark.parametrize(
    ("address", "city", "country"),
    [
        ("410 Lantern Avenue North\nSeattle, Washington 98109-5210\n", "Seattle", None),
        ("300 Beacon Center,\tDetroit,\tMichigan\t48265\t-3000\n", "Detroit", None),
        ("1095 Avenue of the Lanterns\t10036\nNew York,\tNew York", "New York", None),
        ("P.O. Box 89\t94128\nSan Francisco,\nCalifornia", "San Francisco", None),
        ("2000 Beacon Street\nPurchase,\nNY\n10577\n", "Purchase", None),
        ("3 Mill Center, St. Paul, Minnesota\n55144", "St. Paul", None),
        ("22 Lantern Avenue, N.W., Suite 800W\nWashington, D.C. 20037", "Washington", None),
        ("Bellevue, WA, US", "Bellevue", "US"),
        ("Kitchener, Canada, CA", "Kitchener", "Canada"),
        ("Oslo, Norway, NO", "Oslo", "Norway"),
        ("Singapore, Singapore, SG", "Singapore", "SG"),
        ("New York, US", "New York", "US"),
        ("Rua das Lanternas, 1000, Recife - PE", "Recife", None),
        ("São Paulo/SP", "São Paulo", None),
        ("km 7, s/n, CEP 38799-990, Patos de Minas, UF MG, Brasil", "Patos de Minas", "Brasil"),
        ("75008 Paris, France", "Paris", "France"),
        ("1015 CS Amsterdam, Netherlands", "Amsterdam", "Netherlands"),
        ("London SW1A 1AA, United Kingdom", "London", "United Kingdom"),
        ("Mill Lane 12, Bautzen, Saxony, Germany", "Bautzen", "Germany"),
        ("Atlanta, Georgia 30303", "Atlanta", None),
        ("Two Lantern Quay, Cork, Ireland, X99 A1B2", "Cork", "Ireland"),
    ],
)
def test_the_part_before_a_state_or_country_is_the_city(address: str, city: str, country: str | None) -> None:
    found = seat(address)
    assert (found.city and found.city.value, found.country and found.country.value) == (city, country)


@pytest.mark.parametrize(
    ("address", "country"),
    [
        ("Remote", None),
        ("Remote, US", "US"),
        ("12 Main Street, US", "US"),
        ("Wuxi, Jiangsu, China", "China"),
        ("Karlstad, Värmland, Sweden", "Sweden"),
        ("Kinsale, Cork, Ireland", "Ireland"),
        ("on the second floor", None),
        ("San Francisco", None),
        ("open or closed, come in", None),
    ],
)
def test_what_is_open_is_left_open(address: str, country: str | None) -> None:
    found = seat(address)
    assert found.city is None
    assert (found.country and found.country.value) == country


PARTS = st.sampled_from(["Recife", "PE", "Brasil", "Jiangsu", "12", "US", "Georgia", "Main Street", "N.W.", "é"])
SIGNS = st.sampled_from([", ", "\n", "\t", " - ", " ", "/"])


@given(st.text() | st.lists(st.tuples(PARTS, SIGNS).map("".join)).map("".join))
def test_what_is_found_stands_in_the_address_and_is_one(address: str) -> None:
    found = seat(address)
    for taken, check in ((found.city, is_city), (found.country, is_country)):
        if taken:
            assert " ".join(address[taken.start : taken.end].split()) == taken.value
            assert check(taken.value)


def test_an_address_is_its_number_street_and_city() -> None:
    one = {"street": "410 Lantern Avenue North", "city": "Seattle", "postal_code": "98109"}
    other = {"street": "410 Lantern Ave. N.", "city": "Seattle, WA", "postal_code": None}
    assert address_key(one) == address_key(other)
    assert address_key(one) != address_key({**one, "street": "412 Lantern Avenue"})
    assert address_key(one) != address_key({**one, "street": "410 Beacon Avenue"})
    assert address_key({"street": "Av. das Lanternas, 1000", "city": "São Paulo - SP"}) == address_key(
        {"street": "Avenida das Lanternas 1000", "city": "Sao Paulo"}
    )
    assert address_key({"street": None, "city": "Cork", "postal_code": "T12 AB34"}) == "cork t12ab34"
    assert address_key({"kind": "branch", "region": "Ohio"}) == "branch ohio"


TEXTS = st.text() | st.integers() | st.lists(st.sampled_from(["St", "Acme", "SP", "-", ",", "("])).map(" ".join)


@given(st.dictionaries(st.sampled_from(["street", "city", "postal_code", "region"]), st.none() | TEXTS) | TEXTS)
def test_any_address_has_a_key(value: object) -> None:
    assert isinstance(address_key(value), str)
