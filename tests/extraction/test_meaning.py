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
        "Lund Lamps, 3 Mill Lane, Recife, Brazil",
        "Recife PE 50000-000",
        "Recife Pernambuco Brasil",
        "Recife, CO 80202",
        "Recife, Co. Kildare",
        "Recife, S.A. 5000",
        "Recife Bay Area",
        "Rodovia BR 101 km 7 Recife PE",
        "Cidade: Recife Estado: PE",
        "Recife Todos os direitos reservados",
        "50000 Recife Capital Social: 50.000",
        "Recife\nStock Exchange: none",
        "the City and County of Recife",
        "30 miles west of Olinda in Recife",
        "our outside sales team in Recife",
    ],
)
def test_a_city_stands_for_itself(text: str) -> None:
    assert Text(text).find("Recife", stands=is_city_itself)


@pytest.mark.parametrize(
    "text",
    [
        "listed on the Recife Stock Exchange",
        "a RECIFE STOCK EXCHANGE listed company",
        "The Bank of Recife Lund Trust, N.A.",
        "a degree of the University of\nRecife",
        "Universidade Federal de Recife",
        "Tribunal de Justiça de Recife",
        "the Southern District of Recife",
        "under the laws of the State of Recife",
        "the Recife Department of Finance",
        "more than 50 miles outside of the greater Recife area",
        "within 20 miles of Recife",
        "a 30 km de Recife",
        "Recife, Inc. is filing this report",
        "at 5:00 p.m., Recife City time, on that day",
        "Obras na praia de recife, Pernambuco",
    ],
)
def test_a_city_in_another_name_or_far_away_does_not(text: str) -> None:
    assert Text(text).find("Recife") is not None
    assert Text(text).find("Recife", stands=is_city_itself) is None


def test_a_text_without_capitals_names_cities_too() -> None:
    assert Text("rua xv, 100, recife - pe").find("Recife", stands=is_city_itself)


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
        (1952, "Serving the community since 1952", True),
        (1952, "Your trusted partner since 1952", True),
        (1952, "Seit dem 1. April 1952", True),
        (1952, "Lund Lamps EST. 1952", True),
        (1952, "se constituyó en 1952", True),
        (1952, "Companhia Aberta, 31 de dezembro de 1952", False),
        (1952, "a Constituição Federal de 1952", False),
        (1952, "its Certificate of Incorporation, as amended in 1952", False),
        (1952, "brasileiro, casado, nascido em 12/03/1952", False),
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
    ("text", "found"),
    [
        ("Team size: 7", True),
        ("7\tstaff", True),
        ("Employees\n7", True),
        ("# Funcionários\n\n**7**\n", True),
        ("We employ\n7\npeople", True),
        ("technicians of our field and airborne support team\n\n7\n\nIn addition to expanding", False),
        ("7 7 7 7", False),
    ],
)
def test_a_number_alone_in_its_line_counts_nobody(text: str, found: bool) -> None:
    assert (Text(text).find(7, stands=is_in_words) is not None) == found


@pytest.mark.parametrize(
    "text", ["7 " * 20_000, "founded" * 2_000, " in" * 20_000, "since " * 10_000 + "1952", "km " * 9_000]
)
def test_long_texts_take_no_longer(text: str) -> None:
    """Only what is around a place is looked at; a pattern that runs away would not come back."""
    span = (len(text) // 2, len(text) // 2 + 1)
    assert {type(tell(text, span)) for tell in (is_city_itself, is_founding, is_in_words)} == {bool}


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_surroundings_have_an_answer(before: str, behind: str) -> None:
    text, span = f"{before}Recife{behind}", (len(before), len(before) + len("Recife"))
    assert {type(tell(text, span)) for tell in (is_city_itself, is_founding, is_in_words)} == {bool}
