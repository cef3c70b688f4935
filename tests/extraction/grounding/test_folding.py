"""Folded text has a way back to its own characters."""

import sys

from hypothesis import given
from hypothesis import strategies as st

from extraction.grounding.text_search import lowered


def test_no_character_s_lower_case_moves_what_is_behind_it() -> None:
    for number in range(sys.maxunicode + 1):
        assert len(lowered(chr(number))) == 1


@given(st.text())
def test_a_text_in_lower_case_keeps_its_length(text: str) -> None:
    assert len(lowered(text)) == len(text)
    assert lowered(text) == text.lower() or "İ" in text
