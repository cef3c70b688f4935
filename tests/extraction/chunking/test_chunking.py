"""Chunks hold a document whole and in order, to the character, each within its budget of tokens."""

import gc
import weakref
from dataclasses import replace

import pytest
from hypothesis import given

from actors.servers.llamacpp import local_model
from extraction.chunking.chunker import Chunker, chunk_id
from extraction.chunking.tokenizers import ByteCounter, BytePairCounter, load_counter, render
from extraction.config.settings import Limits, load
from extraction.documents import Known
from extraction.errors import Fault, OperatorError
from tests.extraction.chunkers import (
    DOCUMENTS,
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


@given(texts.filter(str.strip), titles)
def test_chunks_are_exact_ordered_whole_and_within_budget(text: str, title: str | None) -> None:
    for counter in (Characters(), ByteCounter(), Words()):
        check(chunker_of(counter), [document(text, title)])


@pytest.mark.parametrize("name", ["gemma-3-270m", "smollm2-135m-instruct"])
def test_real_tokens_are_within_budget(name: str) -> None:
    model = local_model(name)
    counter = load_counter(str(model.path))
    chunker = chunker_of(counter, 200, template=model.template)
    documents = [path.read_text("utf-8") for path in sorted(DOCUMENTS.glob("*.md"))]
    odd = [
        "<|im_end|>" * 90,
        "漢字かな" * 200,
        "\U0001f9ff" * 150,
        "a" * 3_000,
        "1234567890" * 90,
        "ﬁe\u0301\u200b" * 200,
    ]
    for text in [*documents, "\n\n".join(documents), *odd]:
        check(chunker, [document(text, "Ein Titel")])
    for chunk in chunks_of(chunker, document(documents[0])):
        whole = counter.count(render(model.template, PROMPT.messages(Vineyard, chunk.content)))
        # SentencePiece may join the text's first signs to the template's.
        assert abs(whole - chunk.prompt_tokens) <= (0 if isinstance(counter, BytePairCounter) else 1)


def test_a_document_that_fits_is_one_chunk() -> None:
    for group in (None, 300):
        (chunk,) = chunks_of(chunker_of(Characters(), 800, group=group), document("  Ana makes wine.\n", "Port"))
        assert chunk.content == "# Port\n\nAna makes wine."
        (piece,) = chunk.pieces
        assert (piece.start, piece.end, piece.at, piece.source_path) == (2, 17, 8, "a.parquet#row=7")
        assert (piece.document_id, piece.document_type, piece.document_date) == ("d1", "news", "2024")
        assert (piece.length, piece.edits) == (15, ())


def test_an_answer_may_be_as_long_as_its_chunk_and_the_limits_allow() -> None:
    chunker = chunker_of(Characters(), 9_000)
    short, long = chunks_of(chunker, document("a")), chunks_of(chunker, document("long " * 1_500))
    assert short[0].max_tokens < long[0].max_tokens <= chunker.limits.max_output_tokens


def test_a_chunk_s_id_depends_on_fingerprint_and_content_only() -> None:
    one = chunks_of(chunker_of(Characters()), document("Ana makes wine.", document_id="d1"))
    other = chunks_of(chunker_of(Words(), 900), document("\n Ana makes wine. ", document_id="d2"))
    assert one[0].chunk_id == other[0].chunk_id
    ids = {chunk_id("f", "text"), chunk_id("g", "text"), chunk_id("f", "Text"), chunk_id("f", "\ud800")}
    assert len(ids) == 4
    assert all(len(each) == 64 for each in ids)


def test_a_document_of_too_many_chunks_is_a_dead_letter_and_others_are_not() -> None:
    large, small = (
        document("".join(f"Ana makes wine {n}.\n" for n in range(100))),
        document("Rui makes port.", document_id="d2"),
    )
    count = len(chunks_of(chunker_of(Characters()), large))
    assert len(chunks_of(chunker_of(Characters(), chunks=count), large)) == count
    chunks, (letter,) = chunker_of(Characters(), chunks=count - 1).chunks([large, small])
    assert [piece.document_id for chunk in chunks for piece in chunk.pieces] == ["d2"]
    assert (letter.document_id, letter.source_path, letter.stage) == ("d1", "a.parquet#row=7", "plan")
    assert letter.fault is Fault.TOO_LARGE
    assert "Ana" not in letter.message
    assert f"more than limits.max_chunks_per_document = {count - 1}" in letter.message


def test_white_space_of_a_thousand_lengths_is_no_trouble() -> None:
    check(chunker_of(Characters()), [document("".join("Ana" + "\n" * length for length in range(1_100)))])


def test_limits_that_leave_no_room_are_the_operator_s_mistake() -> None:
    overhead = chunker_of(Words()).overhead
    with pytest.raises(
        OperatorError, match=rf"max_chunk_tokens = {overhead + 63} leaves 63 tokens .* takes {overhead},"
    ):
        chunker_of(Words(), overhead + 63)
    limits = Limits(max_chunk_tokens=3_000, system_prompt_overhead=2_990)
    with pytest.raises(OperatorError, match=r"= 3,000 leaves 10 tokens .* reserves 2,990\. Raise the first or"):
        Chunker(model=Vineyard, prompt=PROMPT, limits=limits, counter=Words(), template=None, fingerprint="f")


def test_a_prompt_and_its_answer_have_to_fit_the_context() -> None:
    limits = Limits(max_chunk_tokens=30_000, system_prompt_overhead=100, context_length=32_000)
    with pytest.raises(
        OperatorError, match=r"= 30,000 and .* = 4,096 together exceed limits\.context_length = 32,000"
    ):
        Chunker(model=Vineyard, prompt=PROMPT, limits=limits, counter=Words(), template=None, fingerprint="f")


@pytest.mark.parametrize("name", ["extract", "demo"])
def test_the_shipped_limits_fit_the_context(name: str) -> None:
    limits = load(DOCUMENTS.parents[1] / f"{name}.yaml").limits
    assert limits.max_chunk_tokens + limits.max_output_tokens <= limits.context_length


def test_what_was_split_is_not_kept() -> None:
    counter = Characters()
    gone = weakref.ref(counter)
    chunks_of(chunker_of(counter), document("Ana makes wine. " * 90))
    del counter
    gc.collect()
    assert gone() is None


@given(texts.filter(str.strip))
def test_a_known_company_is_named_before_the_text(text: str) -> None:
    asked = replace(document(text, "Port"), company_name="Ana <|im_end|>\nBrandt", website="ana.example")
    for group in (None, 300):
        for chunk in chunks_of(chunker_of(Characters(), 800, group=group), asked):
            assert chunk.content.startswith("COMPANY: Ana ‹|im_end|> Brandt, ana.example\n\n")
            assert chunk.known == Known("Ana <|im_end|>\nBrandt", "ana.example")
            for piece in chunk.pieces:
                assert piece.text(chunk.content) in chunk.content
        check(chunker_of(Characters(), 800, group=group), [asked])
