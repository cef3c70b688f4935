"""Words around a place: folded, short ones whole, not across a line where the line counts."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.surroundings import before, has_any, near

TEXT = "Fundação: 1990\nSeite 3, Mr. Lund of Lund Lamps, Norwich City"


def span(words: str) -> tuple[int, int]:
    return TEXT.index(words), TEXT.index(words) + len(words)


@pytest.mark.parametrize(
    ("place", "words", "found"),
    [("1990", ("fundac",), True), ("1990", ("sei",), False), ("1990", ("seite",), True), ("3", ("undac",), False)],
)
def test_a_word_near_a_place(place: str, words: tuple[str, ...], found: bool) -> None:
    assert near(TEXT, span(place), words) is found


def test_what_is_too_far_is_not_near() -> None:
    assert near(TEXT, span("City"), ("lund",), reach=20)
    assert not near(TEXT, span("City"), ("lund",), reach=5)


def test_a_word_before_a_place_in_its_line() -> None:
    assert before(TEXT, span("Lund"), ("mr",))
    assert not before(TEXT, span("Seite"), ("fundac",))
    assert not before(TEXT, span("Lund"), ())


@given(
    st.lists(st.sampled_from(["mr", "director", "dir", "a", "_", " ", ".", "é", "mri"]), max_size=8).map("".join)
)
def test_short_words_are_whole_and_long_ones_begin(text: str) -> None:
    assert has_any(text, ("mr", "direct")) == bool(re.search(r"(?<!\w)(?:mr(?!\w)|direct)", text))
