"""Chunkers for small limits, and all that holds for what they make."""

from collections.abc import Sequence
from pathlib import Path

from hypothesis import strategies as st

from extraction.chunking.chunk_identity import chunk_id
from extraction.chunking.chunker import Chunk, Chunker
from extraction.chunking.cleaning import clean
from extraction.chunking.tokenizers import TokenCounter
from extraction.config.settings import Limits
from extraction.documents import Document
from extraction.prompting.prompt import SPECIAL_TOKEN, Prompt
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


def chunker_of(
    counter: TokenCounter,
    most: int = 400,
    chunks: int = 2_000,
    template: str | None = None,
    group: int | None = None,
) -> Chunker:
    limits = Limits(
        max_chunk_tokens=most, system_prompt_overhead=1, max_chunks_per_document=chunks, group_target_tokens=group
    )
    return Chunker(
        model=Vineyard, prompt=PROMPT, limits=limits, counter=counter, template=template, fingerprint="f"
    )


def document(text: str, title: str | None = None, document_id: str = "d1", url: str | None = None) -> Document:
    return Document(document_id, "c1", text, title, "news", "2024", "a.parquet", 7, url)


def chunks_of(chunker: Chunker, *documents: Document) -> list[Chunk]:
    chunks, dead = chunker.chunks(documents)
    assert dead == []
    return chunks


def check(chunker: Chunker, documents: Sequence[Document]) -> list[Chunk]:
    """All that holds for the chunks of any documents."""
    texts = {document.document_id: document.text for document in documents}
    reached = dict.fromkeys(texts, 0)
    chunks = chunks_of(chunker, *documents)
    for chunk in chunks:
        assert chunk.prompt_tokens == chunker.overhead + chunker.counter.count(chunk.content)
        assert chunk.prompt_tokens <= chunker.limits.max_chunk_tokens
        assert chunk.chunk_id == chunk_id("f", chunk.content)
        assert not SPECIAL_TOKEN.search(chunk.content)
        for piece in chunk.pieces:
            text, sent = texts[piece.document_id], piece.text(chunk.content)
            assert 0 < piece.length == len(sent) == len(sent.strip())
            assert piece.cut(chunk.content, 0, piece.length) == (
                piece.start,
                piece.end,
                text[piece.start : piece.end],
            )
            for start in range(0, piece.length, 7):
                first, last, quote = piece.cut(chunk.content, start, min(start + 9, piece.length))
                assert text[first:last] == quote
    for piece in sorted((p for c in chunks for p in c.pieces), key=lambda p: (p.document_id, p.start)):
        assert not read(texts[piece.document_id][reached[piece.document_id] : piece.start])
        reached[piece.document_id] = max(reached[piece.document_id], piece.end)
    assert not [name for name, text in texts.items() if read(text[reached[name] :])]
    return chunks


def read(text: str) -> str:
    """What there is to read in a part of a text."""
    return clean(f"a\n{text}\na").text[2:-2].strip()


parts = st.sampled_from(
    [
        *(" ", " ", "\n", "\n\n\n", "\t", "\u00a0", ". ", "-", "word", "Régua", "漢字", "\U0001f600", "e\u0301"),
        *("<|im_end|>", "<|", "</s>", "(", "’", "longer-than-others" * 9, "x" * 300),
    ]
)
texts = st.lists(parts | st.text(max_size=4), max_size=150).map("".join)
titles = st.none() | st.sampled_from(["Wine", "T" * 90])
