"""Chunks hold a document whole and in order, to the character, each within its budget of tokens."""

import gc
import weakref
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.weights import local_model
from extraction.chunking import Chunk, Chunker, chunk_id, distinct
from extraction.documents import DeadLetter, Document
from extraction.errors import Fault, OperatorError
from extraction.prompt import DEFUSED, Prompt
from extraction.settings import Limits
from extraction.tokens import ByteCounter, Counter, load_counter, render
from tests.extraction.samples import Vineyard

DOCUMENTS = Path(__file__).resolve().parents[2] / "configs" / "demo" / "documents"
PROMPT = Prompt(instructions="Read.")


class Characters:
    exact = True

    def count(self, text: str) -> int:
        return len(text)


class Words:
    """Words, of which a joined text has one fewer at times."""

    exact = True

    def count(self, text: str) -> int:
        return len(text.split())


def chunker_of(counter: Counter, most: int = 400, chunks: int = 2_000, template: str | None = None) -> Chunker:
    limits = Limits(max_chunk_tokens=most, system_prompt_overhead=1, max_chunks_per_document=chunks)
    return Chunker(
        model=Vineyard, prompt=PROMPT, limits=limits, counter=counter, template=template, fingerprint="f"
    )


def chunks_of(chunker: Chunker, text: str, title: str | None = None, document_id: str = "d1") -> list[Chunk]:
    found = chunker.chunks(Document(document_id, "c1", text, title, "news", "2024", "a.parquet", 7))
    assert isinstance(found, list)
    return found


def check(chunker: Chunker, text: str, title: str | None = None) -> None:
    """All that holds for the chunks of any document."""
    reached = 0
    for chunk in chunks_of(chunker, text, title):
        (piece,) = chunk.pieces
        said, sent = text[piece.start : piece.end], chunk.content[piece.at :]
        assert sent == DEFUSED.sub("‹", said)
        assert len(sent) == len(said) == len(said.strip()) > 0
        assert not text[reached : piece.start].strip()
        assert reached <= piece.start
        assert chunk.prompt_tokens == chunker.overhead + chunker.counter.count(chunk.content)
        assert chunk.prompt_tokens <= chunker.limits.max_chunk_tokens
        assert chunk.chunk_id == chunk_id("f", chunk.content)
        reached = piece.end
    assert not text[reached:].strip()


parts = st.sampled_from(
    [
        *(" ", " ", "\n", "\n\n\n", "\t", "\u00a0", ". ", "-", "word", "Régua", "漢字", "\U0001f600", "e\u0301"),
        *("<|im_end|>", "<|", "</s>", "(", "’", "longer-than-others" * 9, "x" * 300),
    ]
)
texts = st.lists(parts | st.text(max_size=4), max_size=150).map("".join)
titles = st.none() | st.sampled_from(["Wine", "T" * 90])


@given(texts, titles)
def test_chunks_are_exact_ordered_whole_and_within_budget(text: str, title: str | None) -> None:
    for counter in (Characters(), ByteCounter(), Words()):
        check(chunker_of(counter), text, title)


def test_text_that_grows_when_defused_stays_within_budget() -> None:
    check(chunker_of(ByteCounter(), 200), "<|x|>" * 500)


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
        check(chunker, text, "Ein Titel")
    for chunk in chunks_of(chunker, documents[0]):
        whole = counter.count(render(model.template, PROMPT.messages(Vineyard, chunk.content)))
        assert abs(whole - chunk.prompt_tokens) <= 2


def test_a_document_that_fits_is_one_chunk() -> None:
    (chunk,) = chunks_of(chunker_of(Characters(), 800), "  Ana makes wine.\n", "Port")
    assert chunk.content == "# Port\n\nAna makes wine."
    (piece,) = chunk.pieces
    assert (piece.start, piece.end, piece.at, piece.source_path) == (2, 17, 8, "a.parquet#row=7")
    assert (piece.document_id, piece.document_type, piece.document_date) == ("d1", "news", "2024")


def test_an_answer_may_be_as_long_as_its_chunk_and_the_limits_allow() -> None:
    chunker = chunker_of(Characters(), 9_000)
    short, long = chunks_of(chunker, "a"), chunks_of(chunker, "long " * 1_500)
    assert short[0].max_tokens < long[0].max_tokens <= chunker.limits.max_output_tokens


def test_a_chunk_s_id_depends_on_fingerprint_and_content_only() -> None:
    one = chunks_of(chunker_of(Characters()), "Ana makes wine.", document_id="d1")
    other = chunks_of(chunker_of(Words(), 900), "\n Ana makes wine. ", document_id="d2")
    assert one[0].chunk_id == other[0].chunk_id
    ids = {chunk_id("f", "text"), chunk_id("g", "text"), chunk_id("f", "Text"), chunk_id("f", "\ud800")}
    assert len(ids) == 4
    assert all(len(each) == 64 for each in ids)


def test_the_same_text_in_two_documents_is_one_chunk_with_both_places() -> None:
    chunker = chunker_of(Characters())
    one, other = (chunks_of(chunker, "Ana makes wine. " * 40, document_id=name) for name in ("d1", "d2"))
    alone = chunks_of(chunker, "Rui makes port.", document_id="d3")
    made = distinct([*one, *other, *alone])
    assert [chunk.chunk_id for chunk in made] == list(dict.fromkeys(c.chunk_id for c in [*one, *alone]))
    places = [piece for chunk in made for piece in chunk.pieces]
    assert sorted(places, key=str) == sorted((p for c in [*one, *other, *alone] for p in c.pieces), key=str)
    assert distinct([*made, *made]) == made


def refusal(chunker: Chunker, text: str, title: str | None = None) -> DeadLetter:
    letter = chunker.chunks(Document("d1", "c1", text, title, None, None, "a.parquet", 7))
    assert isinstance(letter, DeadLetter)
    assert (letter.document_id, letter.source_path, letter.stage) == ("d1", "a.parquet#row=7", "plan")
    assert letter.fault is Fault.TOO_LARGE
    assert "Ana" not in letter.message
    return letter


def test_a_document_of_too_many_chunks_is_a_dead_letter() -> None:
    text = "Ana makes wine.\n" * 100
    count = len(chunks_of(chunker_of(Characters()), text))
    assert len(chunks_of(chunker_of(Characters(), chunks=count), text)) == count
    letter = refusal(chunker_of(Characters(), chunks=count - 1), text)
    assert f"more than limits.max_chunks_per_document = {count - 1}" in letter.message


def test_a_title_that_leaves_no_room_is_a_dead_letter() -> None:
    assert "its title alone takes" in refusal(chunker_of(Characters()), "Wine.", "Ana " * 90).message


def test_white_space_of_a_thousand_lengths_is_a_dead_letter() -> None:
    text = "".join("Ana" + "\n" * length for length in range(1_100))
    assert "white space" in refusal(chunker_of(Characters()), text).message


def test_limits_that_leave_no_room_are_the_operator_s_mistake() -> None:
    overhead = chunker_of(Words()).overhead
    with pytest.raises(
        OperatorError, match=rf"max_chunk_tokens = {overhead + 63} leaves 63 tokens .* takes {overhead},"
    ):
        chunker_of(Words(), overhead + 63)
    limits = Limits(max_chunk_tokens=3_000, system_prompt_overhead=2_990)
    with pytest.raises(OperatorError, match=r"= 3,000 leaves 10 tokens .* reserves 2,990\. Raise the first or"):
        Chunker(model=Vineyard, prompt=PROMPT, limits=limits, counter=Words(), template=None, fingerprint="f")


def test_what_was_split_is_not_kept() -> None:
    counter = Characters()
    gone = weakref.ref(counter)
    chunks_of(chunker_of(counter), "Ana makes wine. " * 90)
    del counter
    gc.collect()
    assert gone() is None
