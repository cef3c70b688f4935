"""Headings are found as Markdown, reports and filings write them, and nothing else is taken for one."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.chunking.splitting import SHORTEST, Outline, Splitter, TokenOffsets, halves, heading_level


def pieces_of(text: str, limit: int) -> list[str]:
    """The pieces of a text, one character a token."""
    splitter = Splitter(text, Outline(text), TokenOffsets(text, len))
    pieces, start = [], 0
    while start < len(text):
        end = splitter.end_of_piece(start, limit)
        assert start < end <= start + limit or not text[start:end].strip()[limit:]
        pieces.append(text[start:end])
        start = end
    return pieces


PARAGRAPH = "Pumps of steel and of brass, made in Porto. They last. "
SECTION = f"{PARAGRAPH}\n\n{PARAGRAPH}\n\n{PARAGRAPH}\n\n"
ROW = "| Pump | 12 kg | steel |\n"


def test_a_text_that_fits_is_one_piece() -> None:
    assert pieces_of(SECTION, 400) == [SECTION]


def test_sections_begin_pieces() -> None:
    text = "".join(f"## Section {n}\n\n{SECTION}" for n in range(6))
    pieces = pieces_of(text, 400)
    assert len(pieces) == 3
    assert all(piece.startswith("## Section") for piece in pieces)


def test_higher_sections_rather_than_lower_ones() -> None:
    text = f"# One\n\n{SECTION}## One and a half\n\n{PARAGRAPH}\n\n# Two\n\n{SECTION}"
    assert [piece[:5] for piece in pieces_of(text, 350)] == ["# One", "# Two"]


def test_a_heading_stays_with_what_follows() -> None:
    for limit in range(150, 400, 7):
        text = "".join(f"# PART {'I' * n}\n\nITEM {n}. PUMPS\n\n{SECTION}" for n in range(1, 4))
        for piece in pieces_of(text, limit):
            last = piece.rstrip().split("\n")[-1]
            assert not last.startswith(("# PART", "ITEM")), limit


def test_else_paragraphs_begin_pieces() -> None:
    pieces = pieces_of(SECTION * 4, 200)
    assert all(piece.startswith("Pumps") and piece.rstrip().endswith("They last.") for piece in pieces)


def test_rows_of_a_table_stay_whole() -> None:
    for limit in range(30, 200, 9):
        table = "".join(pieces_of(ROW * 40, limit))
        assert table == ROW * 40
        assert all(
            piece.startswith("| Pump") and piece.endswith("steel |\n") for piece in pieces_of(ROW * 40, limit)
        )


def test_a_long_row_that_fits_a_piece_is_not_cut() -> None:
    long = f"| {PARAGRAPH * 3}|\n"
    assert len(long) == 169
    assert long in pieces_of(f"{ROW}{long}{long}{ROW}", 170)


def test_a_line_that_fits_no_piece_is_cut_at_sentences_then_at_words() -> None:
    assert all(piece.rstrip().endswith((".", "brass,")) for piece in pieces_of(PARAGRAPH * 20, 150))
    assert all(piece.endswith(" ") for piece in pieces_of("word " * 100, 60))
    assert pieces_of("x" * 100, 60) == ["x" * 50, "x" * 50]


def test_no_tiny_piece_is_left() -> None:
    for length in range(1, 40):
        pieces = pieces_of("A line of text.\n" * length, 100)
        assert min(map(len, pieces)) > 30 or len(pieces) == 1


parts = st.sampled_from(
    ["# A\n", "ITEM 1. B\n\n", "word ", "word.\n", "\n\n", "\n", " ", ROW, PARAGRAPH, "x" * 300, "。"]
)


@given(st.lists(parts, max_size=60).map("".join), st.integers(20, 400))
def test_pieces_are_the_text(text: str, limit: int) -> None:
    assert "".join(pieces_of(text, limit)) == text


@given(st.text(max_size=50).map(lambda text: text * 60), st.integers(0, 3_000))
def test_the_ruler_knows_what_lies_before(text: str, place: int) -> None:
    offsets, place = TokenOffsets(text, len), min(place, len(text))
    assert offsets.total == len(text)
    assert abs(offsets.tokens_before(place) - place) < 0.01
    assert abs(offsets.position_of(place) - place) <= 1


REPORT = """Annual report

PART I

ITEM 1. BUSINESS

We make pumps.

PRODUCTS

Pumps of steel.

1. Pumps for wells

2.1 Pumps for ships

ITEM 2. PROPERTIES

A plant in Porto.

PART II

The end."""


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("# Acme", 1),
        ("### Products ###", 3),
        ("PART II.", 1),
        ("Parte IV", 1),
        ("Capítulo 3 – Estoques", 1),
        ("Item 1A. Risk Factors", 2),
        ("ITEM 7 Management", 2),
        ("Seção 2: Contatos", 2),
        ("Cláusula IX", 2),
        ("RISK FACTORS", 3),
        ("QUEM SOMOS E ONDE ESTAMOS", 3),
        ("3. Products and services", 4),
        ("3.2 Products", 5),
    ],
)
def test_a_heading_has_a_level(line: str, level: int) -> None:
    assert heading_level(line, alone=True) == level


@pytest.mark.parametrize(
    "line",
    [
        "",
        "#hashtag",
        "We make pumps.",
        "Part of the plant burnt down",
        "Section 5 of the act applies",
        "Item 3 is sold out",
        "| NAME | PRICE |",
        "NAME      PRICE      WEIGHT",
        "TOTAL\t1,200",
        "1,200,000",
        "ACME LTD.",
        "12 employees work in Porto, which is a town in Portugal; they make pumps of all kinds.",
        "ITEM 1. " + "x" * 200,
    ],
)
def test_other_lines_are_no_headings(line: str) -> None:
    assert heading_level(line, alone=True) == 0


def test_capitals_and_numbers_are_headings_behind_a_blank_line_only() -> None:
    assert heading_level("RISK FACTORS") == heading_level("3. Products") == 0
    assert heading_level("Item 3. Products") == 2


def test_underlined_lines_are_headings() -> None:
    outline = Outline("Acme\n====\nMakes pumps.\n\nProducts\n--------\nPumps.\n\nA\nB\n---\n")
    assert [(heading.name, heading.level) for heading in outline.headings] == [("Acme", 1), ("Products", 2)]
    assert outline.ends_at(9) and not outline.ends_at(4)


def test_a_place_stands_below_its_headings() -> None:
    outline = Outline(REPORT)
    assert outline.path(REPORT.index("PART I\n")) == ()
    assert outline.path(REPORT.index("ITEM 2")) == ("PART I",)
    assert outline.path(REPORT.index("2.1 Pumps")) == ("ITEM 1. BUSINESS", "PRODUCTS", "1. Pumps for wells")
    assert outline.path(REPORT.index("The end")) == ("PART II",)


lines = st.sampled_from(
    ["# A", "ITEM 1. B", "SOME CAPITALS", "text", "", " ", "====", "---", "1. Some", "\r", "\t# C "]
)


@given(st.lists(lines, max_size=20).map("\n".join))
def test_headings_are_whole_lines_in_order(text: str) -> None:
    reached = 0
    for heading in Outline(text).headings:
        assert reached <= heading.start < heading.end
        assert text[heading.start : heading.end].strip().strip("# \t").startswith(heading.name.split()[0])
        assert not text[text.rfind("\n", 0, heading.start) + 1 : heading.start].strip()
        assert text[heading.end : heading.end + 1] in ("\n", "")
        reached = heading.end


@given(st.lists(st.integers(1, 4), max_size=30), st.integers(0, 200))
def test_a_path_holds_the_last_heading_of_each_level_that_no_higher_one_ended(levels: list[int], at: int) -> None:
    outline = Outline("\n".join("#" * level + f" H{n:03}" for n, level in enumerate(levels)))
    before = [heading for heading in outline.headings if heading.start < at]
    here = [heading for heading in outline.headings if heading.start == at]
    open_ = [
        heading
        for n, heading in enumerate(before)
        if all(later.level > heading.level for later in [*before[n + 1 :], *here])
    ]
    assert outline.path(at) == tuple(heading.name for heading in open_[-3:])


HEADER = "# Acme Widgets\n\n"
TABLE_ROW = "| Graz | 1987 | bolts and nuts. And more |\n"
SENTENCE = "Acme Widgets sells bolts in Graz. "

BLOCKS = st.sampled_from(
    ["word ", SENTENCE, "line\n", "end.\n\n", TABLE_ROW, "\n\n", "x" * 90, "。", "# Head\n", "é̄ "]
)
TEXTS = (st.text(min_size=SHORTEST) | st.lists(BLOCKS, min_size=20, max_size=200).map("".join)).filter(
    lambda text: len(text) >= SHORTEST and not text.startswith("# ")
)
ROWS = st.lists(st.sampled_from([TABLE_ROW, SENTENCE, "Words and words\n", TABLE_ROW + "\n"]), min_size=30).map(
    "".join
)


def halves_of(content: str) -> tuple[str, str, str]:
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
    first, again, rest = halves_of(header + text)
    assert len(first) > len(header) and rest
    assert again == header


@given(ROWS)
def test_no_row_of_a_table_is_cut_where_there_is_another_place(text: str) -> None:
    cut = len(halves_of(text)[0])
    assert not any(row.start() < cut < row.end() for row in re.finditer(r"^\|.*\|$", text, re.MULTILINE))


@pytest.mark.parametrize(
    ("text", "end"),
    [
        (SENTENCE * 10 + "\n\n" + SENTENCE * 10 + "\n" + SENTENCE, "\n\n"),
        (SENTENCE * 20, ". "),
        ("Short.\n\n" + "word " * 100, "d "),
        ("x" * 500, "x"),
    ],
)
def test_both_parts_are_much_shorter(text: str, end: str) -> None:
    first, _, rest = halves_of(text)
    assert first.endswith(end)
    assert max(len(first), len(rest)) <= 0.7 * len(text)


@pytest.mark.parametrize("text", ["", "short", "x" * (SHORTEST - 1), HEADER + "x" * (SHORTEST - 1)])
def test_what_is_short_stays_whole(text: str) -> None:
    assert halves(text) is None


def test_the_title_is_said_again() -> None:
    text = SENTENCE * 8
    assert halves_of(f"{HEADER}{text}\n\n{text}")[1] == HEADER
    assert halves_of(f"{HEADER}{text}\n\n# Products\n\n{text}")[1] == HEADER
    assert halves_of(f"{text}\n\n{HEADER}{text}")[1] == ""


def test_in_a_pack_the_line_before_the_document_that_is_cut_is_said_again() -> None:
    one, two, three = (f"=== {name} | news ===\n\n" for name in ("One", "Two", "Three"))
    text = SENTENCE * 8
    pack = f"{one}Short.\n\n{two}{text}\n\n{text}\n\n{three}Short."
    assert halves_of(pack)[1:] == (two, f"{text}\n\n{three}Short.")
    pack = f"{one}{text}\n\n{two}{text}"
    assert halves_of(pack) == (f"{one}{text}\n\n", "", f"{two}{text}")


def test_the_company_that_is_meant_is_said_again() -> None:
    known = "COMPANY: Acme Widgets, www.acme.example\n\n"
    found = halves(known + HEADER + SENTENCE * 30)
    assert found
    assert all(part.startswith(known + HEADER) for part in found)
