"""A span of a chunk leads back to the characters of its document."""

from hypothesis import given
from hypothesis import strategies as st

from extraction.chunking.chunker import Original, OriginalPart, originals
from extraction.chunking.cleaning import Clean
from extraction.documents import Edit, Piece, original_span
from tests.extraction.chunkers import Characters, chunker_of, chunks_of, document, read, texts

letters = st.text("ab \n", max_size=8)
# A text as runs: what is kept as it is, and what is read as something else.
runs = st.lists(st.tuples(letters, st.none() | st.text("xyz", max_size=4)), max_size=8)


def built(parts: list[tuple[str, str | None]]) -> tuple[str, str, tuple[Edit, ...]]:
    """The original, the text that is read, and the edits between them."""
    original = read = ""
    edits = []
    for said, instead in parts:
        if instead is not None and (said or instead):
            edits.append(Edit(len(read), len(instead), len(original), len(original) + len(said), said))
        original, read = original + said, read + (said if instead is None else instead)
    return original, read, tuple(edits)


@given(runs, st.data())
def test_a_cut_is_the_document_s_own_text(parts: list[tuple[str, str | None]], data: st.DataObject) -> None:
    original, read, edits = built(parts)
    piece = Piece("d", 0, len(original), 3, len(read), None, None, "", edits)
    start = data.draw(st.integers(0, len(read)))
    end = data.draw(st.integers(start, len(read)))
    first, last, quote = piece.cut(f"## {read} more", start, end)
    assert original[first:last] == quote
    if not [e for e in edits if e.at < end and e.at + e.length > start]:
        assert quote == read[start:end]


@given(runs, st.data())
def test_parts_of_a_clean_text_lead_back_too(parts: list[tuple[str, str | None]], data: st.DataObject) -> None:
    original, read, edits = built(parts)
    begin = data.draw(st.integers(0, len(read)))
    stop = data.draw(st.integers(begin, len(read)))
    first, last, within = Clean(read, edits).span(begin, stop)
    assert first <= last
    piece = Piece("d", first, last, 0, stop - begin, None, None, "", within)
    start = data.draw(st.integers(0, stop - begin))
    end = data.draw(st.integers(start, stop - begin))
    cut = piece.cut(read[begin:stop], start, end)
    assert original[cut[0] : cut[1]] == cut[2]
    if start < end:
        assert cut == original_span(read, edits, begin + start, begin + end)
        assert first <= cut[0] <= cut[1] <= last


def test_a_span_takes_the_whole_of_an_edit_that_it_touches() -> None:
    piece = Piece("d", 10, 21, 0, 7, None, None, "", (Edit(2, 1, 12, 17, "&amp;"), Edit(5, 0, 19, 20, "\x00")))
    content = "A &B CD"
    assert piece.cut(content, 0, 2) == (10, 12, "A ")
    assert piece.cut(content, 2, 3) == (12, 17, "&amp;")
    assert piece.cut(content, 0, 7) == (10, 22, "A &amp;B \x00CD")
    assert piece.cut(content, 3, 5) == (17, 19, "B ")
    assert piece.cut(content, 5, 7) == (20, 22, "CD")


def test_a_text_without_edits_is_only_moved() -> None:
    piece = Piece("d", 100, 105, 4, 5, None, None, "")
    assert piece.text("### Hello there") == "Hello"
    assert piece.cut("### Hello there", 1, 3) == (101, 103, "el")


@given(st.lists(texts.filter(lambda text: bool(read(text))), min_size=1, max_size=2), st.booleans())
def test_parts_are_the_documents_own_text_and_miss_nothing_to_read(many: list[str], packed: bool) -> None:
    given = {f"d{number}": text for number, text in enumerate(many)}
    chunker = chunker_of(Characters(), 500, group=400 if packed else None)
    chunks = chunks_of(chunker, *(document(text, None, name) for name, text in given.items()))
    found = originals(chunks)
    assert {one.document_id for one in found} == set(given)
    for one in found:
        text, reached = given[one.document_id], 0
        assert (one.document_type, one.document_date, one.source_path) == ("news", "2024", "a.parquet#row=7")
        for part in one.parts:
            assert text[part.start : part.end] == part.text
            assert not read(text[reached : part.start])
            reached = part.end
            for start, end, instead in part.unread:
                assert 0 <= start < end <= len(part.text)
                assert instead != part.text[start:end]
        assert not read(text[reached:])


def test_what_cleaning_changed_is_marked() -> None:
    (one,) = originals(chunks_of(chunker_of(Characters()), document("CafÃ© Lúrio <|im_end|> opens.")))
    (part,) = one.parts
    assert next((part.text[start:end], instead) for start, end, instead in part.unread) == ("Ã©", "é")


def test_the_words_around_a_place() -> None:
    one = Original(
        "d", parts=[OriginalPart(0, "Ana makes wine.", "a"), OriginalPart(20, "Rui makes port in Porto.", "b")]
    )
    assert one.around(10, 14, 6) == ("makes ", "wine", ".")
    assert one.around(30, 34, 100) == ("Rui makes ", "port", " in Porto.")
    assert one.around(16, 18, 5) is None
    assert one.around(40, 60, 5) is None
