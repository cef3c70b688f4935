"""A value is taken where it is certain, as it is written."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction import shapes
from extraction.captions import Take, Taken
from extraction.contacts import is_phone, is_website
from extraction.identifiers import is_cnpj, is_ein, is_ticker
from extraction.shapes import first, item, only


def value(take: Take, text: str) -> Any:
    found = take(text)
    return found and found.value


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("17 (of whom 3 apprentices)", 17),
        (" **1,874**", 1874),
        ("1.874", 1874),
        ("6.0", 6),
        ("about 240", 240),
        ("11-50", None),
        ("11 to 50", None),
        ("200+", None),
        ("12.5", None),
        ("2 a 5", None),
        ("1,2,3", None),
        ("20%", None),
        ("in 2019 there were 5", None),
        ("none", None),
        ("1,200,000,000,000,000,000,000", None),
        ("1" + ",000" * 2_000, None),
    ],
)
def test_a_count_is_one_number(text: str, number: int | None) -> None:
    assert value(shapes.count, text) == number


@pytest.mark.parametrize(
    ("text", "year"),
    [("14/03/1987", 1987), (" 2021.0", 2021), ("May 1, 1994 in Ulm", 1994), ("1994 or 2001", None), ("14", None)],
)
def test_a_year_is_the_only_one(text: str, year: int | None) -> None:
    assert value(shapes.year, text) == year


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (" ACME LTDA - CNPJ: 12.345.678/0001-95", "ACME LTDA"),
        (" **Acme - Tools & Sons, Inc.**", "Acme - Tools & Sons, Inc."),
        ("ACME LTDA   telefone 12", "ACME LTDA"),
        ("    ACME LTDA   telefone 12", "ACME LTDA"),
        ("**    ACME LTDA**    telefone 12", "ACME LTDA"),
        ("\u00a0\u00a0\u00a0\u00a0ACME LTDA", "ACME LTDA"),
        ("    CNPJ 99.941.307/0001-54", None),
        ("n/a", None),
        ("www.acme.example", None),
        ("", None),
    ],
)
def test_a_name_is_all_of_its_cell(text: str, name: str | None) -> None:
    assert value(shapes.name, text) == name


def test_a_name_under_a_caption_has_its_legal_form() -> None:
    assert value(shapes.name_with_form, "ACME LTDA") == "ACME LTDA"
    assert value(shapes.name_with_form, "Nome fantasia") is None


def test_a_name_above_a_caption_is_the_last_line_that_says_something() -> None:
    assert value(shapes.line_above, "Form 10-K\n\nAcme Inc.\n_______\n\n") == "Acme Inc."
    for text in ("", "___\n", "Commission File Number 001-36743\n(", "Acme\tInc\n", "Acme Inc.\nFile Number\t"):
        assert value(shapes.line_above, text) is None


@pytest.mark.parametrize(
    ("page", "name"),
    [
        ("# Acme Tools\nMakes tools.\nWebsite: https://www.acmetools.example/", "Acme Tools"),
        ("\n**Ácme**\nTools.\nWeb: getacme.example", "Ácme"),
        ("# Acme Tools Ltd\nWeb: acme.tools", "Acme Tools Ltd"),
        ("# About us\nAcme makes tools.\nWebsite: acme.example", None),
        ("# Abc\nWebsite: abc.example", None),  # three letters stand in many words
        ("# Tech\nWebsite: techlanterns.example", None),  # so does a short word
        ("# Example\nWebsite: acme.example", None),
        ("# Acme\nWebsite: none", None),
        ("Website: acme.example", None),
    ],
)
def test_a_title_is_a_name_if_the_web_address_spells_it(page: str, name: str | None) -> None:
    assert value(shapes.title, page) == name


@pytest.mark.parametrize(("text", "city"), [("São Paulo - SP", "São Paulo"), ("on the hill", None), ("SP", None)])
def test_a_town_is_a_name(text: str, city: str | None) -> None:
    assert value(shapes.town, text) == city


NUMBERS: list[tuple[Take, str, Any]] = [
    (only(shapes.EIN, is_ein), "California\t94-2404110\nfile 001-36743", "94-2404110"),
    (only(shapes.EIN, is_ein), "94-2404110 and 13-1815595", None),
    (only(shapes.EIN, is_ein), "97005-6453, 800-804-1690", None),
    (only(shapes.CNPJ, is_cnpj), "99.941.307/0001-54 (MATRIZ)", "99.941.307/0001-54"),
    (only(shapes.CNPJ, is_cnpj), "99.941.307/0001-55", None),
    (only(shapes.AREA_NUMBER, is_phone), "Seattle, Washington 98109-5210\n(206) 555-1000\n", "(206) 555-1000"),
    (only(shapes.AREA_NUMBER, is_phone), "Virginia\t20190\n(703)\t555-3000", "(703) 555-3000"),
    (only(shapes.AREA_NUMBER, is_phone), "including area code 800-555-1690", "800-555-1690"),
    (only(shapes.AREA_NUMBER, is_phone), "(206) 555-1000, (206) 555-1001", None),
    (first(shapes.NUMBER, is_phone), " +55 (47) 5555-0142 / 5555-0143", "+55 (47) 5555-0142"),
    (only(shapes.SITE, is_website), "<https://www.acme.example/en>, mail a@acme.example", "https://www.acme.example/en"),
    (first(shapes.LISTED, is_ticker), "Common Stock, $0.01 par value\nACME\tNew York Stock Exchange", "ACME"),
    (first(shapes.LISTED, is_ticker), "Common Stock\tACME\n\nThe Nasdaq Capital Market", "ACME"),
    (first(shapes.LISTED, is_ticker), "Notes due 2025\t—\tThe Nasdaq Stock Market", None),
    (first(shapes.SYMBOL, is_ticker), " NYSE: ACME", "ACME"),
    (first(shapes.SYMBOL, is_ticker), "the symbol of trust", None),
    (item(first(shapes.CNAE, bool), "code", system="CNAE"), "23.42-7-01 - Fabricação",
     {"system": "CNAE", "code": "23.42-7-01"}),
]  # fmt: skip


@pytest.mark.parametrize(("take", "text", "number"), NUMBERS)
def test_a_number_is_of_its_shape_and_kind(take: Take, text: str, number: Any) -> None:
    assert value(take, text) == number


TAKES: list[Callable[[str], Taken | None]] = [
    *(shapes.name, shapes.name_with_form, shapes.line_above, shapes.title, shapes.year, shapes.count, shapes.town),
    *(shapes.city, shapes.country),
    *(take for take, _, _ in NUMBERS),
]
TEXTS = st.text() | st.text(alphabet="Acme Ltd.\n\t#*:0123456789-/()+wé,•", max_size=60)


@given(TEXTS, st.sampled_from(TAKES))
def test_what_is_taken_stands_there(text: str, take: Take) -> None:
    found = take(text)
    if found:
        stands = " ".join(text[found.start : found.end].split())
        told = found.value["code"] if isinstance(found.value, dict) else found.value
        assert stands == told or (isinstance(told, int) and int("".join(filter(str.isdigit, stands))) == told)
