"""Which names are of one company."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.grounding.company_names import company_key, same_company

WORDS = st.lists(st.sampled_from(["Açaí", "Norte", "Tools", "B", "42", "Água", "Zinn"]), min_size=1, max_size=4)
FORMS = st.sampled_from(["Inc.", "LTDA", "S.A.", "S/A", "GmbH", "Sp. z o.o.", "OÜ", "Pvt. Ltd."])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Quimbrava Tintas S.A.", "QUIMBRAVA TINTAS S/A"),
        ("Acme Co., Ltd.", "ACME"),
        ("Tannvik A/S", "Tannvik ApS"),
        ("The Acme Company", "Acme"),
        ("Acme & Sons", "Acme and Sons"),
        ("Silva & Filhos", "Silva e Filhos"),
        ("J. B. Acme Limited", "JB Acme Pvt. Ltd."),
        ("Acme’s Kitchen", "Acmes Kitchen"),
    ],
)
def test_spellings_of_one_name_have_one_key(one: str, other: str) -> None:
    assert company_key(one) == company_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("Limited Brands", "Brands"), ("Ltd", "Inc"), ("Acme 1", "Acme 2"), ("The", "A")],
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
        ("Acme", "Acme 2"),
        ("Serra Alta", "Serra Baixa"),
        ("", "Acme"),
        ("", ""),
    ],
)
def test_other_names_are_not_alike(one: str, other: str) -> None:
    assert not same_company(company_key(one), company_key(other))


@given(st.text(), st.text())
def test_likeness_has_no_direction(one: str, other: str) -> None:
    assert same_company(company_key(one), company_key(other)) == same_company(company_key(other), company_key(one))
