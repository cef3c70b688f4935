"""Numbers are refused by their standard alone, and one number has one key."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum.br import cnpj

from extraction.grounding.identifiers import (
    identifier_key,
    industry_code_key,
    is_identifier,
    is_tax_id,
    number_key,
    numbers_in,
    ticker_key,
)


@given(st.from_regex(r"[0-9][0-9A-Z]{11}", fullmatch=True).filter(lambda base: base.strip("0")))
def test_a_cnpj_has_check_digits_with_signs_or_without(base: str) -> None:
    number = base + cnpj.calc_check_digits(base)
    written = cnpj.format(number)
    assert is_identifier(item("CNPJ", number)) and is_identifier(item("CNPJ", f"CNPJ: {written}"))
    assert is_tax_id(written)
    assert number_key(written) == number == number_key(f"CNPJ nº {written}")
    wrong = number[:-1] + str((int(number[-1]) + 1) % 10)
    assert not is_identifier(item("CNPJ", wrong))


def item(scheme: str, value: Any, issuer: str | None = None) -> dict[str, Any]:
    return {"scheme": scheme, "value": value, "issuer": issuer}


@pytest.mark.parametrize(
    ("text", "countries", "found"),
    [
        ("CNPJ nº 12.345.678/0001-95, proc. 00053-00108854/2020-24", (), [("CNPJ", "12.345.678/0001-95")]),
        ("EIN 12-3456780, tel. (312) 555-0142, file 001-36743", (), [("EIN", "12-3456780")]),
        ("USt-IdNr. DE123456788, HRB 12345", (), [("VAT", "DE123456788")]),
        ("LEI: 5299ACMEXY0000000Q64.", (), [("LEI", "5299ACMEXY0000000Q64")]),
        ("n. 12.345.678/0001-95.The next sentence", (), [("CNPJ", "12.345.678/0001-95")]),
        ("COMMISSION FILE NUMBER 1-3619", ("US",), []),
        ("ISIN BRACMEACNOR8", (), [("ISIN", "BRACMEACNOR8")]),
        ("SIREN 732 829 320", ("FR",), [("COMPANY_NUMBER", "732 829 320")]),
        ("SIREN 732 829 320", (), []),
        ("born 2021-12-31, 12.345.678/0001-90, 98109-5210, +55 11 3333-4444", ("US", "BR"), []),
    ],
)
def test_numbers_are_found_by_their_standard(text: str, countries: tuple[str, ...], found: list[Any]) -> None:
    assert [(n.scheme, text[n.start : n.end]) for n in numbers_in(text, countries)] == found


@pytest.mark.parametrize("number", ["PT 501234560", "VAT DE123456788", "12.345.678/0001-95", "12-3456780"])
def test_numbers_of_any_country_are_tax_numbers(number: str) -> None:
    assert is_tax_id(number)


@pytest.mark.parametrize("text", ["Acme", "2024", "12.345.678/0001-90", "", "NL"])
def test_other_texts_are_no_tax_numbers(text: str) -> None:
    assert not is_tax_id(text)


@pytest.mark.parametrize("symbol", ["PAR", "FORM", "ASX", "USA", "9984", "600519"])
def test_any_symbol_is_one(symbol: str) -> None:
    assert is_identifier(item("TICKER", symbol))
    assert ticker_key(f"NYSE: {symbol.lower()}") == ticker_key(symbol) == symbol


@pytest.mark.parametrize(
    "good",
    [item("CNPJ", "12.345.678/0001-95"), item("EIN", "12-3456780"), item("CIK", "0000012345"),
     item("LEI", "5299ACMEXY0000000Q64"), item("ISIN", "BRACMEACNOR8"), item("VAT", "DE123456788"),
     item("DUNS", "12-345-6780"), item("COMPANY_NUMBER", "SC123456"), item("OTHER", "Reg. 4411")],
)  # fmt: skip
def test_an_identifier_is_checked_by_its_scheme(good: dict[str, Any]) -> None:
    assert is_identifier(good)


@pytest.mark.parametrize(
    "bad",
    [item("CNPJ", "12.345.678/0001-90"), item("EIN", "07-3456780"), item("LEI", "5299ACMEXY0000000Q65"),
     item("ISIN", "BRACMEACNOR9"), item("OTHER", None), item("DUNS", "-")],
)  # fmt: skip
def test_what_a_standard_refuses_is_no_identifier(bad: dict[str, Any]) -> None:
    assert not is_identifier(bad)


def test_one_number_has_one_key_in_its_scheme() -> None:
    assert identifier_key(item("CIK", "0000012345")) == identifier_key(item("CIK", "CIK 12345", "SEC"))
    assert identifier_key(item("EIN", "12-3456780")) == identifier_key(item("EIN", "123456780"))
    assert identifier_key(item("EIN", "123456780")) != identifier_key(item("DUNS", "123456780"))
    assert identifier_key("12.345") == "12345"
    assert industry_code_key({"system": "CNAE", "code": "62.01-5-01"}) == "CNAE 6201501"
    assert industry_code_key({"system": "NACE", "code": "6201"}) != industry_code_key(
        {"system": "ISIC", "code": "6201"}
    )


VALUES = st.none() | st.integers() | st.text() | st.text(st.sampled_from("0123456789-./ ABCDE²٣５"))
SCHEMES = st.sampled_from(["CNPJ", "EIN", "CIK", "LEI", "VAT", "ISIN", "DUNS", "TICKER", "OTHER", None])


@given(SCHEMES, VALUES)
def test_any_value_has_an_answer(scheme: str | None, value: Any) -> None:
    one = {"scheme": scheme, "value": value, "issuer": None}
    assert isinstance(is_identifier(one), bool) and isinstance(is_tax_id(str(value)), bool)
    assert identifier_key(one) == identifier_key(dict(reversed(one.items())))
    text = str(value)
    for number in numbers_in(text, ("BR", "US", "DE")):
        assert 0 <= number.start < number.end <= len(text)
