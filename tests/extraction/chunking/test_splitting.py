"""Cuts are at the best place within reach, and what is cut is put together again without a loss."""

from hypothesis import given
from hypothesis import strategies as st

from extraction.chunking.splitting import Outline, Ruler, Splitter


def pieces_of(text: str, limit: int) -> list[str]:
    """The pieces of a text, one character a token."""
    splitter = Splitter(text, Outline(text), Ruler(text, len))
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
    ruler, place = Ruler(text, len), min(place, len(text))
    assert ruler.total == len(text)
    assert abs(ruler.tokens_before(place) - place) < 0.01
    assert abs(ruler.position_of(place) - place) <= 1
