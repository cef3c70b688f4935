"""Which names are of one company, and which texts are no names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.names import company_key, is_company_name, same_company

WORDS = st.lists(st.sampled_from(["Açaí", "Norte", "Tools", "B", "42", "Água", "Zinn"]), min_size=1, max_size=4)
FORMS = st.sampled_from(
    ["Inc.", "LTDA", "S.A.", "S/A", "Ltda ME", "EIRELI", "AB (publ)", "GmbH & Co. KG", "\\WA\\", "/DE/"]
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Quimbrava Tintas S.A.", "QUIMBRAVA TINTAS S/A"),
        ("Quimbrava Tintas Ltda ME", "Quimbrava Tintas EIRELI - EPP"),
        ("Acme Co., Ltd.", "ACME"),
        ("Acme Holdings Inc /DE/", "Acme Holdings, Inc."),
        ("ACME CO/", "Acme"),
        ("Tannvik AB (publ)", "Tannvik"),
        ("Tannvik A/S", "Tannvik ApS"),
        ("Acme Company (The)", "The Acme Company"),
        ("Acme & Sons", "Acme and Sons"),
        ("Silva & Cia. Ltda.", "Silva e Cia"),
        ("J. B. Acme Limited", "JB Acme Pvt. Ltd."),
        ("Acme’s Kitchen", "Acmes Kitchen"),
        ("Acme Sociedade Anônima", "ACME"),
        ("Grupo E S.A.", "Grupo E"),
    ],
)
def test_spellings_of_one_name_have_one_key(one: str, other: str) -> None:
    assert company_key(one) == company_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("Limited Brands", "Brands"), ("Ltd", "Inc"), ("Acme 1", "Acme 2"), ("Vitamin A", "Vitamin"), ("The", "A")],
)
def test_other_names_have_other_keys(one: str, other: str) -> None:
    assert company_key(one) != company_key(other)


@given(WORDS, FORMS)
def test_a_legal_form_and_capitals_change_no_key(words: list[str], form: str) -> None:
    name = " ".join(["Ypê", *words])
    assert company_key(f"{name} {form}") == company_key(name) == company_key(name.upper())


@given(
    st.text() | st.lists(st.sampled_from(["Acme", "S", "A", "&", "e", "The", "Co", "Inc.", "/DE/"])).map(" ".join)
)
def test_a_key_of_a_company_is_its_own_key_and_never_lost(text: str) -> None:
    key = company_key(text)
    assert company_key(key) == key
    assert key or not any(c.isascii() and c.isalnum() for c in text)


def test_a_name_may_end_with_any_number_of_legal_forms() -> None:
    assert company_key("Acme" + " OÜ" * 5_000) == "acme"
    assert company_key(" ".join(["ou"] * 5_000)) == "ou"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Serra Alta", "Serra Alta Cerâmica"),
        ("Serra Alta", "Cerâmica Serra Alta"),
        ("Acme", "Acme Tools Inc"),
        ("General Lanterns", "General Lanterns Finance"),
        ("WLM", "Western Lantern Makers"),
        ("BDN", "Banco do Nilo"),
        ("Lantern Works", "LanternWorks"),
    ],
)
def test_a_name_and_its_longer_form_are_alike(one: str, other: str) -> None:
    assert same_company(company_key(one), company_key(other))
    assert same_company(company_key(other), company_key(one))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("First", "First Bank"),
        ("First National", "First National Bank of Nowhere"),
        ("Therapeutics", "Acme Therapeutics"),
        ("Brasil", "Brasil Lanternas"),
        ("Steel", "Steel Lantern"),
        ("Acme Fund", "Acme Fund II"),
        ("Acme", "Acme 2"),
        ("Serra Alta", "Serra Baixa"),
        ("", "Acme"),
        ("", ""),
    ],
)
def test_a_word_that_many_names_share_makes_none_alike(one: str, other: str) -> None:
    assert not same_company(company_key(one), company_key(other))


@pytest.mark.parametrize(
    "name",
    ["Acme", "3W", "GE", "AT & Q", "Onboard.example", "Companhia de Lanternas do Norte - COLANOR", "4 Luas Ltda",
     "東京", "The Essential Lantern", "May Lanterns", "Society of 1890 Brewers", "Reading Lanterns plc", "refine",
     "Shell plc", "Market Lanterns Inc.", "Consolidated Lanterns", "Home Lanterns", "Executive Lanterns",
     "Mr. Lund Lamps", "Mr Lund", "MS Engenharia", "Amended Lanterns"],
)  # fmt: skip
def test_names_are_names(name: str) -> None:
    assert is_company_name(name)


@pytest.mark.parametrize(
    "text",
    ["", "-", "2024", "1,234", "December 31, 2023", "31 de dezembro de 2023", "CHICAGO, May 5, 2003", "June 30",
     "info@acme.example", "https://acme.example", "www.acme.example", "acme.example/en", "Company", "The Company",
     "the registrant", "Our company's name", "Inc.", "S.A.", "Co., Ltd.", "Ltda ME", "A Empresa", "N/A", "Unknown",
     "Not stated", "não informado", "Brazil", "Estados Unidos", "USA", "Delaware", "Form 10-K", "Table of Contents",
     "Item 12. Results of Operations", "PART II", "Item 9A", "Shell Company",
     "Large accelerated filer", "Principal Accountant Fees and Services", "Market Risk", "About us",
     "Commission File Number 001-36743", "Quem somos", "Condensed Consolidated Statements of Income",
     "Executive Officers of the Registrant", "Exhibit 99.1", "Mr. Lund",
     "Amended and Restated Bylaws of Lantern Corporation", "Certificate of Incorporation of Lantern, Inc.",
     "Nelson, New Zealand", "Capítulo 3",
     "U.S. Securities and Exchange Commission", "100 Lantern Boulevard", "none",
     "We are a company that makes lanterns for ships and sells them all over the whole world"],
)  # fmt: skip
def test_other_texts_are_no_names(text: str) -> None:
    assert not is_company_name(text)


@given(st.text() | st.integers())
def test_any_value_has_an_answer(value: str | int) -> None:
    assert isinstance(is_company_name(value), bool)


@given(st.text(), st.text())
def test_likeness_has_no_direction(one: str, other: str) -> None:
    assert same_company(company_key(one), company_key(other)) == same_company(company_key(other), company_key(one))
