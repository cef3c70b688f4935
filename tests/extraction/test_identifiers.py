"""Only numbers that can be of their scheme are accepted, and one number has one key."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum.br import cnpj

from extraction.identifiers import (
    identifier_key,
    industry_code_key,
    is_cnpj,
    is_ein,
    is_identifier,
    is_industry_code,
    is_tax_id,
    is_ticker,
    tax_id_key,
    ticker_key,
)


@given(st.from_regex(r"[0-9][0-9A-Z]{11}", fullmatch=True).filter(lambda base: base.strip("0")))
def test_a_cnpj_has_check_digits_with_signs_or_without(base: str) -> None:
    number = base + cnpj.calc_check_digits(base)
    written = cnpj.format(number)
    assert is_cnpj(number) and is_cnpj(written) and is_cnpj(f"CNPJ: {written.lower()}") and is_tax_id(written)
    assert tax_id_key(written) == number == tax_id_key(f"CNPJ nº {written}")
    wrong = number[:-1] + str((int(number[-1]) + 1) % 10)
    assert not is_cnpj(wrong)


@pytest.mark.parametrize("number", ["12-3456780", "123456780", "EIN 12-3456780", "12–3456780", "12-3456780."])
def test_an_ein_is_two_digits_and_seven(number: str) -> None:
    assert is_ein(number) and is_tax_id(number)
    assert tax_id_key(number) == "123456780"


@pytest.mark.parametrize(
    "text",
    [
        "07-3456780",
        "123-45-6780",
        "12-345678",
        "(312) 555-0142",
        "12-3456789",
        "11-1111111",
        "2024-05-31",
        "",
        "EIN",
    ],
)
def test_other_numbers_are_no_ein(text: str) -> None:
    assert not is_ein(text)


@pytest.mark.parametrize("number", ["PT 501234560", "VAT DE123456788", "12.345.678/0001-95"])
def test_numbers_of_other_countries_are_tax_numbers(number: str) -> None:
    assert is_tax_id(number)


@pytest.mark.parametrize(
    "text",
    ["(312) 555-0142", "+55 11 3333-4444", "120,338,948", "01452-002", "98109-5210", "Acme", "PT 501234565", "2024",
     "000000000", "12.345.678/0001-90"],
)  # fmt: skip
def test_other_numbers_are_no_tax_numbers(text: str) -> None:
    assert not is_tax_id(text)


@pytest.mark.parametrize(
    "symbol",
    ["ACME", "A", "ACME3", "ACME34", "ACM27A", "AC.B", "AC-A.TO", "AC 32A", "A PRA", "ACM/27", "ACME3.SA", "7203.T",
     "0X40.L", "NYSE: ACM", "(NASDAQ: ACME)", "B3: ACME3", "Ticker: ACME"],
)  # fmt: skip
def test_symbols_are_tickers(symbol: str) -> None:
    assert is_ticker(symbol)


@pytest.mark.parametrize(
    "text",
    [
        "acme",
        "Acme",
        "apple",
        "NASDAQ",
        "NYSE",
        "N/A",
        "U.S",
        "10-K",
        "12-3456780",
        "2024",
        "ACMELANTERNS",
        "",
        "COMMON",
    ],
)
def test_words_and_numbers_are_no_tickers(text: str) -> None:
    assert not is_ticker(text)


def test_a_symbol_is_one_with_its_exchange_or_without() -> None:
    assert ticker_key("NYSE: ACM") == ticker_key("acm") == "ACM"
    assert ticker_key("ACME3.SA") == ticker_key("B3: ACME3") == "ACME3"
    assert ticker_key("AC.B") == ticker_key("AC-B") != ticker_key("AC.A")


def item(scheme: str, value: Any, issuer: str | None = None) -> dict[str, Any]:
    return {"scheme": scheme, "value": value, "issuer": issuer}


@pytest.mark.parametrize(
    "good",
    [item("CNPJ", "12.345.678/0001-95"), item("EIN", "12-3456780"), item("CIK", "0000012345"),
     item("TICKER", "ACME"),
     item("LEI", "5299ACMEXY0000000Q64"), item("ISIN", "BRACMEACNOR8"),
     item("VAT", "DE123456788"), item("DUNS", "12-345-6780"),
     item("VAT", "501234560", "Portugal"), item("COMPANY_NUMBER", "SC123456"), item("OTHER", "Reg. 4411")],
)  # fmt: skip
def test_an_identifier_is_checked_by_its_scheme(good: dict[str, Any]) -> None:
    assert is_identifier(good)


@pytest.mark.parametrize(
    "bad",
    [item("CNPJ", "12.345.678/0001-90"), item("EIN", "07-3456780"), item("CIK", "12345678901"), item("CIK", "0000"),
     item("TICKER", "Acme"), item("LEI", "5299ACMEXY0000000Q65"), item("ISIN", "BRACMEACNOR9"),
     item("VAT", "DE123456789"),
     item("DUNS", "12345"), item("DUNS", "123456789"), item("COMPANY_NUMBER", "unknown"), item("OTHER", None),
     item("EIN", "12-34５6780x")],
)  # fmt: skip
def test_invalid_identifiers_are_refused(bad: dict[str, Any]) -> None:
    assert not is_identifier(bad)


def test_one_number_has_one_key_in_its_scheme() -> None:
    assert identifier_key(item("CIK", "0000012345")) == identifier_key(item("CIK", "CIK 12345", "SEC"))
    assert identifier_key(item("EIN", "12-3456780")) == identifier_key(item("EIN", "123456780"))
    assert identifier_key(item("EIN", "123456780")) != identifier_key(item("DUNS", "123456780"))
    assert identifier_key(item("TICKER", "NYSE: ACM")) == "TICKER ACM"
    assert identifier_key("12.345") == "12345"


SCHEMES = st.sampled_from(
    ["CNPJ", "EIN", "CIK", "LEI", "VAT", "ISIN", "DUNS", "COMPANY_NUMBER", "TICKER", "OTHER", None]
)
VALUES = st.none() | st.integers() | st.text() | st.text(st.sampled_from("0123456789-./ ABCDE²٣５"))


@given(SCHEMES, VALUES, st.none() | st.text() | st.sampled_from(["Germany", "BR", "Portugal"]))
def test_any_item_has_an_answer(scheme: str | None, value: Any, issuer: str | None) -> None:
    one = {"scheme": scheme, "value": value, "issuer": issuer}
    assert isinstance(is_identifier(one), bool)
    assert identifier_key(one) == identifier_key(dict(reversed(one.items())))
    assert not is_identifier(value)


@given(VALUES)
def test_any_value_has_an_answer(value: Any) -> None:
    for check in (is_cnpj, is_ein, is_tax_id, is_ticker):
        assert isinstance(check(value), bool)
    assert tax_id_key(str(value).lower()) == tax_id_key(value)
    assert ticker_key(value) == ticker_key(ticker_key(value))


@pytest.mark.parametrize(
    ("system", "code", "key"),
    [("CNAE", "6201-5/01", "CNAE 6201501"), ("CNAE", "62.01-5-01", "CNAE 6201501"), ("CNAE", "62015", "CNAE 62015"),
     ("CNAE", "CNAE 2.3: 62.01‑5/01 - Desenvolvimento de programas", "CNAE 6201501"),
     ("CNAE", "J 6201", "CNAE 6201"), ("NAICS", "51", "NAICS 51"), ("NAICS", "511210", "NAICS 511210"),
     ("NAICS", "NAICS 2017: 511210", "NAICS 511210"), ("SIC", "SIC code 3571", "SIC 3571"), ("SIC", "35", "SIC 35"),
     ("SIC", "3571 (Electronic computers)", "SIC 3571"), ("SIC", "62012", "SIC 62012"),
     ("NACE", "J62.01", "NACE 6201"), ("NACE", "NACE Rev. 2: J62.01", "NACE 6201"), ("NACE", "62.0", "NACE 620"),
     ("ISIC", "ISIC Rev.4 6201", "ISIC 6201"), ("GICS", "45103010", "GICS 45103010"),
     ("GICS", "4510", "GICS 4510")],
)  # fmt: skip
def test_an_industry_code_has_the_digits_of_its_system(system: str, code: str, key: str) -> None:
    assert is_industry_code({"system": system, "code": code})
    assert industry_code_key({"system": system, "code": code}) == key


@pytest.mark.parametrize(
    ("system", "code"),
    [("CNAE", "620150"), ("CNAE", "62"), ("NAICS", "5112101"), ("NAICS", "5"), ("NAICS", "J51"), ("SIC", "357100"),
     ("SIC", "D3571"), ("SIC", "0000"), ("SIC", "10-K"), ("SIC", "2,500 people"), ("SIC", "12 stores"),
     ("NACE", "62015"), ("NACE", "J"), ("ISIC", "62.01.1"), ("GICS", "451"), ("GICS", "451030101"),
     ("GICS", "Software"), ("NAICS", ""), ("NAICS", None), ("UNSPSC", "4323"), (None, "3571")],
)  # fmt: skip
def test_other_codes_are_refused(system: str | None, code: str | None) -> None:
    assert not is_industry_code({"system": system, "code": code})


def test_one_code_of_two_systems_is_two() -> None:
    assert industry_code_key({"system": "NACE", "code": "62.01"}) == industry_code_key(
        {"code": "J6201", "system": "NACE"}
    )
    assert industry_code_key({"system": "NACE", "code": "6201"}) != industry_code_key(
        {"system": "ISIC", "code": "6201"}
    )


@given(st.sampled_from(["CNAE", "NAICS", "SIC", "NACE", "ISIC", "GICS", None]) | st.text(), VALUES)
def test_any_code_has_an_answer(system: str | None, code: Any) -> None:
    one = {"system": system, "code": code}
    assert isinstance(is_industry_code(one), bool)
    assert industry_code_key(one).startswith(f"{system} ")
    assert not is_industry_code(code)
    if is_industry_code(one):
        bare = {"system": system, "code": industry_code_key(one).removeprefix(f"{system} ")}
        assert is_industry_code(bare) and industry_code_key(bare) == industry_code_key(one)
