"""Halving: two parts, nothing lost, and a cut where a reader would make one."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.chunking.splitting import SHORTEST, halves

HEADER = "# Acme Widgets\n\n"
ROW = "| Graz | 1987 | bolts and nuts. And more |\n"
SENTENCE = "Acme Widgets sells bolts in Graz. "

BLOCKS = st.sampled_from(["word ", SENTENCE, "line\n", "end.\n\n", ROW, "\n\n", "x" * 90, "。", "# Head\n", "é̄ "])
TEXTS = (st.text(min_size=SHORTEST) | st.lists(BLOCKS, min_size=20, max_size=200).map("".join)).filter(
    lambda text: len(text) >= SHORTEST and not text.startswith("# ")
)
ROWS = st.lists(st.sampled_from([ROW, SENTENCE, "Words and words\n", ROW + "\n"]), min_size=30).map("".join)


def parts(content: str) -> tuple[str, str, str]:
    """The first part, what is said again, and the rest."""
    found = halves(content)
    assert found
    first, second = found
    assert content.startswith(first)
    rest = content[len(first) :]
    assert second.endswith(rest)
    return first, second.removesuffix(rest), rest


@given(st.sampled_from(["", HEADER]), TEXTS)
def test_the_parts_are_the_whole(header: str, text: str) -> None:
    first, again, rest = parts(header + text)
    assert len(first) > len(header) and rest
    assert again == header


@given(ROWS)
def test_no_row_of_a_table_is_cut_where_there_is_another_place(text: str) -> None:
    cut = len(parts(text)[0])
    assert not any(row.start() < cut < row.end() for row in re.finditer(r"^\|.*\|$", text, re.MULTILINE))


@pytest.mark.parametrize(
    ("text", "at"),
    [
        (SENTENCE * 12 + "\n\n" + SENTENCE * 10 + "\n" + SENTENCE, "paragraph"),
        (SENTENCE * 12 + "\n" + SENTENCE * 10, "line"),
        (SENTENCE * 20, "sentence"),
        ("word " * 100, "word"),
        ("x" * 500, "nowhere"),
        ("语" * 300 + "。" + "语" * 290, "sentence"),
        (ROW * 12, "line"),
        ("Short.\n\n" + "word " * 100, "word"),
        ("Short.\n\n" + "x" * 500, "paragraph"),
        ("| " + "word " * 100 + "|", "word"),
        ("Title\n| " + "word " * 100 + "|", "line"),
    ],
)
def test_the_cut_is_at_the_best_break_near_the_middle(text: str, at: str) -> None:
    first, _, _ = parts(text)
    ends = {"paragraph": ("\n\n",), "line": ("\n",), "sentence": (". ", "。"), "word": ("d ",), "nowhere": ("x",)}
    assert first.endswith(ends[at])
    if at not in ("paragraph", "line"):
        assert abs(len(first) - len(text) / 2) < len(text) / 4


@pytest.mark.parametrize("text", ["", "short", "x" * (SHORTEST - 1), HEADER + "x" * (SHORTEST - 1)])
def test_what_is_short_stays_whole(text: str) -> None:
    assert halves(text) is None


def test_the_title_is_said_again() -> None:
    text = SENTENCE * 8
    assert parts(f"{HEADER}{text}\n\n{text}")[1] == HEADER
    assert parts(f"{HEADER}{text}\n\n# Products\n\n{text}")[1] == HEADER
    assert parts(f"{text}\n\n{HEADER}{text}")[1] == ""


def test_in_a_pack_the_line_before_the_document_that_is_cut_is_said_again() -> None:
    one, two, three = (f"=== {name} | news ===\n\n" for name in ("One", "Two", "Three"))
    text = SENTENCE * 8
    pack = f"{one}Short.\n\n{two}{text}\n\n{text}\n\n{three}Short."
    assert parts(pack)[1:] == (two, f"{text}\n\n{three}Short.")
    pack = f"{one}{text}\n\n{two}{text}"
    assert parts(pack) == (f"{one}{text}\n\n", "", f"{two}{text}")


def test_the_company_that_is_meant_is_said_again() -> None:
    known = "COMPANY: Acme Widgets, www.acme.example\n\n"
    found = halves(known + HEADER + SENTENCE * 30)
    assert found
    assert all(part.startswith(known + HEADER) for part in found)
