"""Every row becomes a document, or a dead letter that says why, whatever the order of rows."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.chunking.chunker import Original, OriginalPart, originals
from extraction.chunking.cleaning import Clean
from extraction.documents import Document, Edit, Piece, admit, original_span
from extraction.errors import Fault
from tests.extraction.chunkers import Characters, chunker_of, chunks_of, document, read, texts

SECRET = "the text of a document"


def row(number: int, document_id: str | None = "d1", text: str | None = SECRET, **more: Any) -> dict[str, Any]:
    blank = dict.fromkeys(("title", "url", "document_type", "document_date"))
    given_ = {
        "document_id": document_id,
        "company_id": "c1",
        "text": text,
        "source_path": "a.parquet",
        "row": number,
    }
    return {**blank, **given_, "not_text": False, "unreadable": None, **more}


def test_a_good_row_is_a_document() -> None:
    intake = admit([row(3, title="T", document_type="news", document_date="2024", url="a.example")], 1_000)
    assert intake.dead_letters == []
    assert intake.documents == [Document("d1", "c1", SECRET, "T", "news", "2024", "a.parquet", 3, "a.example")]
    assert intake.documents[0].place == "a.parquet#row=3"


@pytest.mark.parametrize(
    ("bad", "fault", "message"),
    [
        (row(0, None), Fault.MISSING_ID, "no document_id"),
        (row(0, text=None), Fault.EMPTY, "null, empty or only white space"),
        (row(0, text=""), Fault.EMPTY, "empty"),
        (row(0, text=" \n\u00a0"), Fault.EMPTY, "white space"),
        (row(0, text="\x00\ufeff \x07\u200b"), Fault.EMPTY, "control characters"),
        (row(0, text=None, not_text=True), Fault.NOT_TEXT, "not valid UTF-8"),
        (row(0, text="é" * 51), Fault.TOO_LARGE, r"102 bytes .* limits\.max_document_bytes = 100"),
    ],
)
def test_a_faulty_row_is_a_dead_letter(bad: dict[str, Any], fault: Fault, message: str) -> None:
    intake = admit([bad, row(1, "d2")], 100)
    assert [document.document_id for document in intake.documents] == ["d2"]
    (letter,) = intake.dead_letters
    assert (letter.document_id, letter.source_path, letter.stage, letter.fault) == (
        bad["document_id"],
        "a.parquet#row=0",
        "plan",
        fault,
    )
    with pytest.raises(ValueError, match=message):
        raise ValueError(letter.message)


def test_a_text_of_the_greatest_size_is_admitted() -> None:
    assert len(admit([row(0, text="é" * 50)], 100).documents) == 1


def test_the_same_id_and_text_is_the_same_document() -> None:
    intake = admit([row(1, title="again"), row(0), row(0, source_path="b.parquet")], 100)
    assert [(document.row, document.title) for document in intake.documents] == [(0, None)]
    assert intake.dead_letters == []


def test_the_same_id_with_another_text_is_a_dead_letter_and_the_first_stays() -> None:
    intake = admit([row(2, text="third"), row(1, text="second"), row(0, text="first")], 100)
    assert [document.text for document in intake.documents] == ["first"]
    assert [letter.source_path for letter in intake.dead_letters] == ["a.parquet#row=1", "a.parquet#row=2"]
    for letter in intake.dead_letters:
        assert letter.fault is Fault.DUPLICATE_ID
        assert "a.parquet row 0" in letter.message


rows = st.lists(
    st.tuples(
        st.sampled_from([None, "d1", "d2"]),
        st.sampled_from([None, "", "one", "two", "long" * 30]),
        st.booleans(),
        st.sampled_from(["a.parquet", "b.parquet"]),
    ),
    max_size=12,
).map(lambda many: [row(n, i, t, not_text=b, source_path=p) for n, (i, t, b, p) in enumerate(many)])


@given(rows, st.integers())
def test_the_order_of_rows_changes_nothing_and_no_row_is_lost(given_: list[dict[str, Any]], seed: int) -> None:
    intake = admit(given_, 100)
    shuffled = list(given_)
    Random(seed).shuffle(shuffled)
    assert admit(shuffled, 100) == intake
    texts = {document.document_id: document.text for document in intake.documents}
    assert len(texts) == len(intake.documents)
    dead = {letter.source_path for letter in intake.dead_letters}
    for each in given_:
        known = texts.get(each["document_id"] or "") == each["text"]
        assert known or f"{each['source_path']}#row={each['row']}" in dead


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
