"""A caption names what stands behind, under, above or around it, and nothing else."""

import re
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.captions import REACH, TABLE, Caption, Taken, Where, by_first_word, taken
from extraction.keys import text_key
from extraction.shapes import only


def capital_words(text: str) -> Taken | None:
    found = re.search(r"[A-Z]{3,}", text)
    return Taken(found[0], *found.span()) if found else None


def seen(text: str, *where: Where, words: str = "opened in") -> list[Any]:
    captions = by_first_word([(Caption((words,), where, capital_words), "field")])
    found = list(taken(text, captions))
    for of, value in found:
        assert of == "field"
        assert text[value.start : value.end] == value.value
    return [value.value for _, value in found]


def test_a_value_stands_behind_a_colon() -> None:
    for text in ("Opened in: ULM", "- **Opened in:** ULM or BONN", "x | OPENED IN: ULM |"):
        assert seen(text, "behind") == ["ULM"]
    for text in ("Opened in ULM", "Opened in a year: ULM", "It opened in: ULM", "Opened in:\nULM"):
        assert seen(text, "behind") == []


def test_a_value_stands_under_a_cell_that_is_the_caption() -> None:
    for text in ("OPENED IN\nULM", "| Opened in: | ULM |", "|Opened in|\n|---|\n|ULM|", "**Opened in:**\n\n ULM"):
        assert seen(text, "under") == ["ULM"]
    closed = "Opened in:\nClosed in: ULM"
    for text in ("Opened in: ULM", "Opened in a\nULM", closed, "Opened in", "Opened in | ULM | BONN"):
        assert seen(text, "under") == []


def test_a_caption_that_stands_in_brackets_names_what_is_above_it() -> None:
    assert seen("BONN\n(Opened in the year given)", "above") == ["BONN"]
    assert seen("BONN" + " " * REACH + "\n(Opened in)", "above") == []


def test_a_line_and_a_table_and_a_page() -> None:
    assert seen("ULM\nOpened in the town of BONN\nWIEN", "line", "above") == ["BONN"]
    assert seen("ULM\nOpened in a town\nWIEN", "line", "above") == ["ULM"]
    assert seen("ULM\nOpened in\tby\n1\tWIEN", "table") == ["WIEN"]
    assert seen("Opened in\n" + " " * TABLE + "WIEN", "table") == []
    assert seen("ULM\nOpened in: BONN", "page") == ["ULM"]
    assert seen("ulm\nOpened in: BONN", "page") == []
    assert seen("ulm\nOpened in: BONN", "page", "behind") == ["BONN"]


def test_words_are_the_caption_s_whatever_case_accents_and_signs() -> None:
    assert seen("RAZÃO  SOCIAL: ULM", "behind", words="razao social") == ["ULM"]
    assert seen("(I.R.S. Employer No.) ULM", "line", words="i r s employer") == ["ULM"]


def test_several_values_are_none() -> None:
    take = only(re.compile(r"[A-Z]{3}"), str.isupper, text_key)
    assert take("ULM or ulm") == Taken("ULM", 0, 3)
    assert take("ULM, ULM") == Taken("ULM", 0, 3)
    assert take("ULM or BON") is None


@pytest.mark.parametrize("where", get_args(Where))
@pytest.mark.parametrize(
    "text", ["opened in:\n" * 3_000, "opened in: x | " * 3_000, f"{'x' * 30_000}\nopened in: {'x' * 30_000}\nx"]
)
def test_a_take_reads_some_hundred_characters_for_each_caption(text: str, where: Where) -> None:
    read: list[int] = []

    def take(place: str) -> None:
        read.append(len(place))

    words = ("",) if where == "top" else ("opened in",)
    list(taken(text, by_first_word([(Caption(words, (where,), take), "field")]), begins=True))
    assert len(read) <= text.count("opened in")
    assert max(read, default=0) <= 750


@given(st.text(alphabet="Opened in:\n\t|ULM-(é *", max_size=80), st.sampled_from(get_args(Where)))
def test_any_text_can_be_looked_at(text: str, where: Where) -> None:
    seen(text, where)
