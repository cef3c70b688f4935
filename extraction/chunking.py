"""Documents into chunks: what is asked in one request, counted exactly and traceable to the character."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import semchunk
from pydantic import BaseModel

from extraction.documents import DeadLetter, Document
from extraction.errors import Fault, OperatorError
from extraction.prompt import Prompt, content_of
from extraction.settings import Limits
from extraction.tokens import Counter, render

OUTPUT_FLOOR = 512  # tokens of an answer to a chunk of no length: the keys of a profile and some values
MIN_BUDGET = 64  # tokens; less room than this for a document's text is a mistake in the limits


@dataclass(frozen=True, slots=True)
class Piece:
    """`document.text[start:end]`, which stands at `at` in the chunk's content."""

    document_id: str
    start: int
    end: int
    at: int
    document_type: str | None
    document_date: str | None
    source_path: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """One request: `content` is its last message, `prompt_tokens` counts all of them with the template."""

    chunk_id: str
    company_id: str
    content: str
    prompt_tokens: int
    max_tokens: int
    pieces: tuple[Piece, ...]


class Chunker:
    """Splits documents for one prompt, tokenizer and set of limits."""

    def __init__(
        self,
        *,
        model: type[BaseModel],
        prompt: Prompt,
        limits: Limits,
        counter: Counter,
        template: str | None,
        fingerprint: str,
    ) -> None:
        self.counter, self.limits, self.fingerprint = counter, limits, fingerprint
        self.overhead = counter.count(render(template, prompt.messages(model, "")))
        self.budget = limits.max_chunk_tokens - max(limits.system_prompt_overhead, self.overhead)
        if self.budget < MIN_BUDGET:
            raise OperatorError(
                f"limits.max_chunk_tokens = {limits.max_chunk_tokens:,} leaves {self.budget:,} tokens for the "
                f"document: the prompt takes {self.overhead:,}, limits.system_prompt_overhead reserves "
                f"{limits.system_prompt_overhead:,}. Raise the first or shorten the prompt"
            )

    def chunks(self, document: Document) -> list[Chunk] | DeadLetter:
        """The chunks of a document in its order, or why it has none."""
        header = self.counter.count(content_of(document.title, "")[0])
        limit = self.budget - header
        most = self.limits.max_chunks_per_document
        if limit < MIN_BUDGET:
            return self._refuse(document, f"its title alone takes {header:,} tokens")
        chunks: list[Chunk] = []
        try:
            for start, end in self._split(document, 0, len(document.text), limit):
                if len(chunks) == most:
                    return self._refuse(document, f"it makes more than limits.max_chunks_per_document = {most:,}")
                chunks.append(self._chunk(document, start, end))
        except RecursionError:  # semchunk goes one call deeper for each length of white space
            return self._refuse(document, "it holds white space of hundreds of different lengths")
        return chunks

    def _split(self, document: Document, begin: int, stop: int, limit: int) -> Iterator[tuple[int, int]]:
        """Spans that fit the budget, of about `limit` tokens, without white space at their ends."""
        # Memoized, semchunk would keep every text that it ever counted.
        splitter = semchunk.chunkerify(self.counter.count, chunk_size=limit, memoize=False)
        _, spans = splitter(document.text[begin:stop], offsets=True)
        for start, end in spans:
            piece = document.text[begin + start : begin + end]
            left, right = len(piece) - len(piece.lstrip()), len(piece.rstrip())
            if left > right:
                continue
            span = begin + start + left, begin + start + right
            # Counts of parts do not quite add up, and what is defused takes more: the message itself is counted.
            content, _ = content_of(document.title, piece.strip())
            if self.counter.count(content) > self.budget and limit > 1:
                yield from self._split(document, *span, limit * 9 // 10)
            else:
                yield span

    def _chunk(self, document: Document, start: int, end: int) -> Chunk:
        content, at = content_of(document.title, document.text[start:end])
        tokens = self.counter.count(content)
        piece = Piece(
            document_id=document.document_id,
            start=start,
            end=end,
            at=at,
            document_type=document.document_type,
            document_date=document.document_date,
            source_path=f"{document.source_path}#row={document.row}",
        )
        return Chunk(
            chunk_id=chunk_id(self.fingerprint, content),
            company_id=document.company_id,
            content=content,
            prompt_tokens=self.overhead + tokens,
            max_tokens=min(self.limits.max_output_tokens, OUTPUT_FLOOR + tokens),
            pieces=(piece,),
        )

    def _refuse(self, document: Document, why: str) -> DeadLetter:
        where = f"{document.source_path}#row={document.row}"
        return DeadLetter(document.document_id, where, "plan", Fault.TOO_LARGE, f"the document is too large: {why}")


def chunk_id(fingerprint: str, content: str) -> str:
    """The name of a question: the same fingerprint and content are the same question, wherever asked."""
    return hashlib.sha256(f"{fingerprint}\n{content}".encode("utf-8", errors="surrogatepass")).hexdigest()


def distinct(chunks: Sequence[Chunk]) -> list[Chunk]:
    """One chunk for each question; the same text in several documents keeps all its places."""
    merged: dict[str, Chunk] = {}
    for chunk in chunks:
        first = merged.get(chunk.chunk_id)
        if first is None:
            merged[chunk.chunk_id] = chunk
        else:
            pieces = tuple(dict.fromkeys(first.pieces + chunk.pieces))
            merged[chunk.chunk_id] = Chunk(
                first.chunk_id, first.company_id, first.content, first.prompt_tokens, first.max_tokens, pieces
            )
    return list(merged.values())
