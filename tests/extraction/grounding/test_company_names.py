"""Which names are of one company."""

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.grounding.company_names import company_key, same_company
from extraction.grounding.text_folding import digits_key, text_key

LATIN = st.text(
    st.characters(min_codepoint=0xC0, max_codepoint=0x17F, categories=["Lu", "Ll"]) | st.sampled_from("aZ9")
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("São Paulo", "SAO  PAULO"),
        ("sa\u0303o paulo", "são-paulo!"),
        ("Straße", "STRASSE"),
        ("snake_case", "Snake Case"),
        ("ﬁne １２", "fine 12"),
        (1874, "1874"),
    ],
)
def test_spellings_of_one_text_have_one_key(one: Any, other: Any) -> None:
    assert text_key(one) == text_key(other)


@pytest.mark.parametrize(
    ("one", "other"), [("राम", "रीमा"), ("กา", "กี"), ("株式会社東京", "株式会社大阪"), ("٣", "٤"), ("a1", "a 1")]
)
def test_other_texts_have_other_keys(one: str, other: str) -> None:
    assert text_key(one) != text_key(other)


def test_digits_key_leaves_the_signs_out() -> None:
    assert digits_key("12.345.678/0001-95") == "12345678000195"
    assert digits_key("12.abc.345/01DE-35") == digits_key("12ABC34501de35")


@given(st.text() | st.integers())
def test_a_key_is_its_own_key(value: str | int) -> None:
    for key in (text_key, digits_key):
        assert key(key(value)) == key(value)


@given(LATIN)
def test_accents_and_signs_change_no_key(text: str) -> None:
    assert text_key(unicodedata.normalize("NFD", text)) == text_key(text)
    assert text_key(f"«{text}»!") == text_key(text)


@given(st.text(st.characters(max_codepoint=127)))
def test_plain_text_has_the_key_that_it_has_among_accents(text: str) -> None:
    assert text_key(f"é {text}") == f"e {text_key(text)}".strip()


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
