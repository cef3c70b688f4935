"""Keys of texts are equal for what says the same, and are keys of themselves."""

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.grounding.company_names import digits_key, text_key

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
