"""Every row becomes a document, or a dead letter that says why, whatever the order of rows."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.document_validation import validated
from extraction.documents import Document
from extraction.errors import Fault

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
    intake = validated([row(3, title="T", document_type="news", document_date="2024", url="a.example")], 1_000)
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
    intake = validated([bad, row(1, "d2")], 100)
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
    assert len(validated([row(0, text="é" * 50)], 100).documents) == 1


def test_the_same_id_and_text_is_the_same_document() -> None:
    intake = validated([row(1, title="again"), row(0), row(0, source_path="b.parquet")], 100)
    assert [(document.row, document.title) for document in intake.documents] == [(0, None)]
    assert intake.dead_letters == []


def test_the_same_id_with_another_text_is_a_dead_letter_and_the_first_stays() -> None:
    intake = validated([row(2, text="third"), row(1, text="second"), row(0, text="first")], 100)
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
    intake = validated(given_, 100)
    shuffled = list(given_)
    Random(seed).shuffle(shuffled)
    assert validated(shuffled, 100) == intake
    texts = {document.document_id: document.text for document in intake.documents}
    assert len(texts) == len(intake.documents)
    dead = {letter.source_path for letter in intake.dead_letters}
    for each in given_:
        known = texts.get(each["document_id"] or "") == each["text"]
        assert known or f"{each['source_path']}#row={each['row']}" in dead
