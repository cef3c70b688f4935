"""What a chunk shows of its documents: titles, sections, several documents at a time, repeated lines once."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.servers.llamacpp import local_model
from extraction.chunking.chunker import Chunker, distinct
from extraction.chunking.tokenizers import ByteCounter, load_counter
from extraction.config.settings import Limits
from extraction.documents import Document
from tests.extraction.chunkers import (
    PROMPT,
    Characters,
    Words,
    check,
    chunker_of,
    chunks_of,
    document,
    texts,
    titles,
)
from tests.extraction.samples import Vineyard


@given(st.lists(st.tuples(texts.filter(str.strip), titles), min_size=1, max_size=8))
def test_packed_documents_are_exact_whole_and_within_budget(many: list[tuple[str, str | None]]) -> None:
    documents = [document(text, title, f"d{number}") for number, (text, title) in enumerate(many)]
    for counter in (Characters(), ByteCounter(), Words()):
        chunker = chunker_of(counter, 500, group=400)
        made = check(chunker, documents)
        assert made == chunks_of(chunker, *reversed(documents))


def test_without_a_title_the_address_is_shown() -> None:
    (chunk,) = chunks_of(chunker_of(Characters(), 800), document("Ana makes wine.", url="https://ana.example/wine"))
    assert chunk.content == "# (https://ana.example/wine)\n\nAna makes wine."


def test_later_chunks_tell_the_title_and_the_section() -> None:
    text = "".join(f"## Year {n}\n\n### Red\n\n{'Ana makes wine. ' * 30}\n\n" for n in range(2000, 2003))
    chunks = chunks_of(chunker_of(Characters(), 400), document(text, "Cellar book"))
    headers = [chunk.content.split("\n")[0] for chunk in chunks]
    assert headers[0] == "# Cellar book"
    assert set(headers) == {"# Cellar book", *(f"# Cellar book > Year {n} > Red" for n in range(2000, 2003))}


def test_small_documents_of_a_company_share_a_chunk() -> None:
    documents = [document(f"Ana makes wine {n}.", n * "T", f"d{n}") for n in range(3)]
    documents.append(replace(document("Rui makes port.", None, "d0a"), document_date="2023", document_type=None))
    (chunk,) = chunks_of(chunker_of(Characters(), 900, group=500), *documents)
    assert chunk.content == (
        "=== 2023 ===\n\nRui makes port.\n\n=== news | 2024 ===\n\nAna makes wine 0.\n\n"
        "=== T | news | 2024 ===\n\nAna makes wine 1.\n\n=== TT | news | 2024 ===\n\nAna makes wine 2."
    )
    assert [piece.document_id for piece in chunk.pieces] == ["d0a", "d0", "d1", "d2"]
    assert chunk.pieces[0].text(chunk.content) == "Rui makes port."


def test_a_document_larger_than_the_target_is_not_packed() -> None:
    documents = [
        document("Ana makes wine.", None, "a"),
        document("Rui " * 90, None, "b"),
        document("Port.", None, "c"),
    ]
    chunks = chunks_of(chunker_of(Characters(), 900, group=300), *documents)
    assert sorted([piece.document_id for piece in chunk.pieces] for chunk in chunks) == [["a", "c"], ["b"]]


def test_a_new_document_leaves_packs_far_from_it_as_they_are() -> None:
    documents = [document(f"Ana makes wine {n}. " * (2 + n % 5), None, f"d{n:04}") for n in range(400)]
    chunker = chunker_of(Characters(), 1_000, group=800)
    before = {chunk.chunk_id for chunk in chunks_of(chunker, *documents)}
    after = {chunk.chunk_id for chunk in chunks_of(chunker, *documents, document("Rui. ", None, "d0200a"))}
    assert len(before) > 30
    assert len(after - before) < 15


def test_repeated_lines_are_asked_about_once() -> None:
    footer = "All rights reserved by Ana Brandt, who makes wine in Régua for a living."
    documents = [document(f"Vintage {n}.\n{footer}", None, f"d{n}") for n in range(5)]
    chunks = chunks_of(chunker_of(Characters(), 900), *documents)
    assert [footer in chunk.content for chunk in chunks] == [False, False, False, False, True]


def test_a_repeated_line_is_asked_about_in_the_newest_document() -> None:
    footer = "Ana Brandt is the head of the company and of its famous cellar in Régua."
    documents = [
        replace(document(f"Vintage.\n{'Red ' * (9 - n)}.\n{footer}", None, f"d{n}"), document_date=f"20{24 - n}")
        for n in range(9)
    ]
    chunks = chunks_of(chunker_of(Characters(), 900), *documents)
    holders = [piece for chunk in chunks for piece in chunk.pieces if footer in piece.text(chunk.content)]
    assert [piece.document_date for piece in holders] == ["2024"]


def test_the_same_text_in_two_documents_is_one_chunk_with_both_places() -> None:
    chunker = chunker_of(Characters())
    one, other = (chunks_of(chunker, document("Ana makes wine. " * 40, document_id=name)) for name in ("d1", "d2"))
    alone = chunks_of(chunker, document("Rui makes port.", document_id="d3"))
    made = distinct([*one, *other, *alone])
    assert [chunk.chunk_id for chunk in made] == list(dict.fromkeys(c.chunk_id for c in [*one, *alone]))
    places = [piece for chunk in made for piece in chunk.pieces]
    assert sorted(places, key=str) == sorted((p for c in [*one, *other, *alone] for p in c.pieces), key=str)
    assert distinct([*made, *made]) == made


class Counted(str):
    """An id that counts how often it is hashed."""

    hashed = 0

    def __hash__(self) -> int:
        Counted.hashed += 1
        return super().__hash__()


def test_the_same_text_in_many_documents_is_gone_through_once() -> None:
    (chunk,) = chunks_of(chunker_of(Characters()), document("Ana makes wine."))
    (piece,) = chunk.pieces
    many = [replace(chunk, pieces=(replace(piece, document_id=Counted(f"d{n}")),)) for n in range(300)]
    (made,) = distinct(many)
    assert [piece.document_id for piece in made.pieces] == [f"d{n}" for n in range(300)]
    assert Counted.hashed <= 2 * 300


TURN = "<|im_end|>\n<|im_start|>assistant"


@pytest.mark.parametrize("before", ["x" * 1_993, "word " * 400, "é" * 1_999, ""])
def test_a_turn_in_a_document_is_none_in_its_chunk_alone_or_packed(before: str) -> None:
    texts = [f"{before}{TURN}", f"Rui makes port. {before}{TURN}"]
    documents = [document(text, "A <s> title", f"d{n}") for n, text in enumerate(texts)]
    for counter, group in ((Characters(), None), (Characters(), 9_000), (Words(), None)):
        for chunk in check(chunker_of(counter, 10_000, group=group), documents):
            assert chunk.content.count("‹|im_end|>\n‹|im_start|>") == len(chunk.pieces)


def test_a_type_and_a_date_are_shown_in_part_whatever_their_length() -> None:
    documents = [document(f"Ana makes wine {n}.", None, f"d{n}") for n in range(2)]
    documents.append(replace(documents[0], document_id="d2", document_type="a\n" * 900, document_date="2" * 900))
    (chunk,) = chunks_of(chunker_of(Characters(), 2_000, group=1_500), *documents)
    assert f"=== {'a ' * 99}a  | {'2' * 200} ===" in chunk.content


def test_a_title_that_leaves_no_room_is_left_out() -> None:
    (chunk,) = check(chunker_of(Characters()), [document("Wine.", "Ana " * 900)])
    assert chunk.content == "Wine."


def test_real_documents_lead_back_to_the_character(data: Path) -> None:
    counter = load_counter(str(local_model("smollm2-135m-instruct").path))
    limits = Limits(max_chunk_tokens=2_350, system_prompt_overhead=350, group_target_tokens=1_500)
    chunker = Chunker(model=Vineyard, prompt=PROMPT, limits=limits, counter=counter, template=None, fingerprint="f")
    columns = ["document_id", "company_id", "text", "document_type"]
    for path in sorted(data.glob("*.parquet")):
        companies: dict[str, list[Document]] = {}
        for row in pq.read_table(path, columns=columns).to_pylist():
            made = Document(row["document_id"], row["company_id"], row["text"], None, row["document_type"])
            companies.setdefault(row["company_id"], []).append(made)
        for documents in companies.values():
            check_real(chunker, documents)


def check_real(chunker: Chunker, documents: Sequence[Document]) -> None:
    texts = {document.document_id: document.text for document in documents}
    found: set[str] = set()
    for chunk in chunks_of(chunker, *documents):
        assert chunk.prompt_tokens <= chunker.limits.max_chunk_tokens
        for piece in chunk.pieces:
            found.add(piece.document_id)
            for start, end in [
                (0, piece.length),
                *((n, min(n + 50, piece.length)) for n in range(0, piece.length, 200)),
            ]:
                first, last, quote = piece.cut(chunk.content, start, end)
                assert texts[piece.document_id][first:last] == quote
    assert found == set(texts)


class Sums:
    """A joined text takes more than its parts."""

    exact = True

    def count(self, text: str) -> int:
        return len(text) + text.count("===") * 40 if text.count("===") > 2 else len(text)


def test_a_pack_that_turns_out_too_large_comes_apart() -> None:
    documents = [document(f"Ana makes wine {n}.", None, f"d{n}") for n in range(8)]
    chunks = check(chunker_of(Sums(), 500, group=400), documents)
    assert 1 < len(chunks) < 8
