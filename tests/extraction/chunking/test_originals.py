"""Documents come back from their chunks as their owner wrote them."""

from hypothesis import given
from hypothesis import strategies as st

from extraction.documents import Original, Part, originals
from tests.extraction.chunkers import Characters, chunker_of, chunks_of, document, read, texts


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
    one = Original("d", parts=[Part(0, "Ana makes wine.", "a"), Part(20, "Rui makes port in Porto.", "b")])
    assert one.around(10, 14, 6) == ("makes ", "wine", ".")
    assert one.around(30, 34, 100) == ("Rui makes ", "port", " in Porto.")
    assert one.around(16, 18, 5) is None
    assert one.around(40, 60, 5) is None
