"""A value that stands in a text says something of the company only where its words say that."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.grounding import Text
from extraction.meaning import is_city_itself, is_founding, is_in_words


@pytest.mark.parametrize(
    "text",
    [
        "It is based in Recife.",
        "Location: Recife",
        "Lund Lamps, 3 Mill Lane, Recife, Brazil",
        "Recife Brasil",
        "Recife PE 50000-000",
        "Recife South Carolina",
        "Recife City",
        "Recife, CO 80202",
        "Recife, SA",
        "Rodovia BR 101 km 7 Recife PE",
        "Cidade: Recife Estado: PE",
        "Lund Lamps Recife Tel. (81) 5555-0100",
        "Lund Lamps Recife Website www.lund.example",
        "Recife Bay Area",
        "A fábrica em Recife Nordeste",
        "Im Werk in Recife Lampen",
        "Recife\nLamps and more",
        "the city of Recife",
        "Recife, Lund Lamps",
    ],
)
def test_a_city_stands_for_itself(text: str) -> None:
    assert Text(text).find("Recife", stands=is_city_itself)


@pytest.mark.parametrize(
    "text",
    [
        "listed on the Recife Stock Exchange",
        "The Bank of Recife Lund Trust, N.A.",
        "a degree of the University of Recife",
        "Universidade de Recife",
        "the Southern District of Recife",
        "the Recife Department of Finance",
        "more than 50 miles outside of the greater Recife area",
        "within 20 miles of Recife",
        "Recife, Inc. is filing this report",
        "Recife Ltda abriu",
        "Recife Co. is closed",
        "at 5:00 p.m., Recife City time, on that day",
    ],
)
def test_a_city_in_another_name_or_far_away_does_not(text: str) -> None:
    assert Text(text).find("Recife") is not None
    assert Text(text).find("Recife", stands=is_city_itself) is None


@pytest.mark.parametrize(
    ("year", "text", "found"),
    [
        (2019, "Relatório publicado em 15 de abril de 2019", False),
        (2019, "A loja abriu em 2019", True),
        (2020, "Bericht, Seite 3, 2020", False),
        (2020, "Besteht seit 2020", True),
        (1952, "FUNDAÇÃO: 1952", True),
        (1952, "Established 1952", True),
        (1952, "Lamps since 1952", True),
        (1952, "Lund Lamps, est. 1952", True),
        (1952, "The firm dates back to 1952", True),
        (1952, "It was formed in 1952", True),
        (1952, "It formed a venture in 1952", False),
        (1994, "Mr. Lund has served as a director of the Company since 1994", False),
        (1994, "presidente do conselho desde 1994", False),
        (1994, "Its president founded it in 1994", True),
        (1994, "The company was incorporated in the State of Delaware on July 1, 1994", True),
        (1994, "the 1994 Annual Report to Shareholders incorporated herein by reference", False),
        (1994, "Lund's 1994 Plan, incorporated by reference to Exhibit 10", False),
        (1994, "a profound change in 1994", False),
        (1994, "Plan of 1994, as amended to this day and in force, incorporated by reference", False),
        (1994, "in 1994 the court upheld the constitutionality of the law", False),
        (1994, "the 1994 Act establishes two rates", False),
        (1994, "over four years beginning in 1994. Since 1989", False),
    ],
)
def test_a_year_is_one_of_founding(year: int, text: str, found: bool) -> None:
    assert (Text(text).find(year, stands=is_founding) is not None) == found


@pytest.mark.parametrize(
    ("text", "found"), [("Team size: 7", True), ("our team\n\n7\n\nof experts", False), ("7\tstaff", True)]
)
def test_a_number_alone_in_its_line_counts_nobody(text: str, found: bool) -> None:
    assert (Text(text).find(7, stands=is_in_words) is not None) == found


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_surroundings_have_an_answer(before: str, behind: str) -> None:
    text, span = f"{before}Recife{behind}", (len(before), len(before) + len("Recife"))
    assert {type(tell(text, span)) for tell in (is_city_itself, is_founding, is_in_words)} == {bool}
