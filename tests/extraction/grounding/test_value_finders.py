"""Values of a standard are found in any text, with where they stand."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.grounding.contacts import is_url
from extraction.grounding.value_finders import (
    BETWEEN_DIGITS,
    DIGIT_RUN,
    DIGIT_SHAPES,
    WEB,
    Finder,
    Hints,
    find_emails,
    find_identifiers,
    find_phones,
    find_tax_ids,
    find_websites,
)

FINDERS = [find_emails, find_identifiers, find_phones, find_tax_ids, find_websites]


@pytest.mark.parametrize(
    ("find", "text", "countries", "values"),
    [
        (
            find_phones,
            "Téléphone : (+33) 3 44 06 12 60, fax +33 344061261.",
            (),
            ["(+33) 3 44 06 12 60", "+33 344061261"],
        ),
        (find_phones, "Tel. (312) 555-0142, no. 2021-12-31", (), []),
        (find_phones, "Tel. (408) 996-1010, no. 2021-12-31", ("US",), ["(408) 996-1010"]),
        (
            find_emails,
            "Write to <sales@acme.example>, or a@b; info@acme.co.uk.",
            (),
            ["sales@acme.example", "info@acme.co.uk"],
        ),
        (
            find_websites,
            "See https://www.acme.example/en. And www.acme.de, acme.fr",
            (),
            ["https://www.acme.example/en", "www.acme.de"],
        ),
        (find_tax_ids, "CNPJ nº 12.345.678/0001-95, LEI 5299ACMEXY0000000Q64", (), ["12.345.678/0001-95"]),
    ],
)  # fmt: skip
def test_what_a_text_holds(find: Finder, text: str, countries: tuple[str, ...], values: list[str]) -> None:
    found = list(find(text, Hints(countries)))
    assert [one.value for one in found] == values
    assert all(text[one.start : one.end] == one.value for one in found)


def test_an_identifier_is_found_with_its_scheme() -> None:
    (one,) = find_identifiers("LEI 5299ACMEXY0000000Q64", Hints())
    assert one.value == {"scheme": "LEI", "value": "5299ACMEXY0000000Q64", "issuer": None}


@given(st.text() | st.text(st.sampled_from("0123456789@.+-/() acmeACME:w\n")), st.sampled_from([(), ("US", "BR")]))
def test_whatever_is_found_is_a_place_of_the_text(text: str, countries: tuple[str, ...]) -> None:
    for find in FINDERS:
        for one in find(text, Hints(countries)):
            assert 0 <= one.start < one.end <= len(text)


@given(st.text(st.sampled_from("0123٣४-x –—．\u00a0()[]./~∼+ab漢\nA\ud800,")))
def test_digits_that_stand_together_are_those_of_a_pattern(text: str) -> None:
    runs = re.finditer(rf"\d(?:[{re.escape(BETWEEN_DIGITS)}]{{0,4}}\d){{6,}}", text)
    assert [match.span() for match in DIGIT_RUN.finditer(DIGIT_SHAPES.of(text))] == [match.span() for match in runs]


@given(st.lists(st.sampled_from(["www.", "http://", "hTTps://", *"Wws:/ )é", "acme.de"])).map("".join))
def test_web_addresses_are_those_of_a_pattern(text: str) -> None:
    values = [match[0].rstrip(".,;:!?") for match in WEB.finditer(text)]
    assert [one.value for one in find_websites(text, Hints())] == [value for value in values if is_url(value)]
