"""A plain sentence about the company says what needs no model, and one about another says nothing."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction import sentences
from extraction.sentences import said

NAMES = ("founding_years", "cities", "countries", "headcounts")
PHRASES = [(phrase, name) for name in NAMES for phrase in getattr(sentences, name)]


def told(text: str) -> dict[str, Any]:
    found = dict(said(text, PHRASES))
    for value in found.values():
        stands = " ".join(text[value.start : value.end].split())
        assert stands == value.value or int(re.sub(r"\D", "", stands)) == value.value
    return {name: value.value for name, value in found.items()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The company was founded in 1957 and is headquartered in Barretos, Brazil.",
         {"founding_years": 1957, "cities": "Barretos", "countries": "Brazil"}),
        ("Ume Tools S.A. makes tools. Ume Tools S.A. was incorporated in 1932 and is based in Joinville, Brazil "
         "with additional offices in Ulm, Germany.",
         {"founding_years": 1932, "cities": "Joinville", "countries": "Brazil"}),
        ("# Pixel\nPixel was founded in May 2012 with the idea", {"founding_years": 2012}),
        ("Ume Tools, Inc. was incorporated under the laws of the State of Ohio on July 1, 1962.",
         {"founding_years": 1962}),
        ("The company was founded in Toledo, Ohio, in 1903 and", {"founding_years": 1903}),
        ("A empresa foi fundada em São Luís em março de 1971.", {"founding_years": 1971}),
        ("Quem somos. A empresa nasceu em 2013 de uma pergunta", {"founding_years": 2013}),
        ("O fundador da empresa nasceu em 1950.", {}),
        ("The company was founded in St. Louis, Missouri in 1903.", {"founding_years": 1903}),
        ("The company was founded in Recife, went public in 1994.", {}),
        ("A empresa foi fundada em Recife, abriu filial em 1994.", {}),
        ("The company was founded in Oslo. The Bergen Shop in 1990", {}),
        ("The company was founded in Toledo and opened a shop in 1990.", {}),
        ("We are headquartered in Austin, Texas. Our plants", {"cities": "Austin"}),
        ("The firm was founded in 1889 by the journeyman", {"founding_years": 1889}),
        ("Fundada em 14 de março de 1998 por três químicos, a empresa", {"founding_years": 1998}),
        ("About Ume: founded in 2011, the company designs", {"founding_years": 2011}),
        ("The mill, founded in 1952, also supplies", {"founding_years": 1952}),
        ("At the end of 2023 the Group had 1,874 employees", {"headcounts": 1874}),
        ("(the “Company”) employed approximately 740 full-time employees.", {"headcounts": 740}),
        ("A fábrica dá emprego a 410 trabalhadores. Somos hoje 410 pessoas.", {"headcounts": 410}),
        ("The company was founded in 1957 and has its head office in Karlstad, Sweden.",
         {"founding_years": 1957, "cities": "Karlstad", "countries": "Sweden"}),
        ("İnci İplik makes yarn. The company was founded in 1957.", {"founding_years": 1957}),
    ],
)  # fmt: skip
def test_a_sentence_about_the_company_says_it(text: str, expected: dict[str, Any]) -> None:
    assert told(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Standards. Founded in 1946, ISO is a federation.",
        "Standards of all kinds. The ITU was founded in 1865.",
        "Ume Conferencing, Inc., founded in 1988, is a subsidiary.",
        "The parent company had 1,123 employees.",
        "The Company's international operations are based in Aurora, Illinois.",
        "Our bids are based in part upon the cost. 84% of our employees are based in the United States.",
        "The company was founded in 1957. The company was founded in 1962.",
        "The company is headquartered in a former mill, on the hill.",
        "It has 297 employees and a loyal crew of 20 people.",
        "The company has between 20 and 30 employees.",
        "The company has 12.5 employees.",
        "",
    ],
)
def test_a_sentence_about_another_or_two_that_differ_say_nothing(text: str) -> None:
    assert told(text) == {}


WORDS = st.sampled_from(
    ["The company", "Ume", "was", "founded in", "1957", "and", "is", "headquartered in", "Ulm", ",", "Germany", ".",
     "has", "20", "employees", "we", "somos", "pessoas", "İ", "\n", "”"]
)  # fmt: skip


@given(st.text() | st.lists(WORDS, max_size=25).map(" ".join))
def test_what_is_said_stands_in_the_text(text: str) -> None:
    told(text)
