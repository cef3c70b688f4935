"""Chunking: the documents of a company become chunks, each the text of one request.

A chunk is counted exactly in the model's tokens, may hold several small documents, and is traceable to the
character of each.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, Protocol, TypeVar

from pydantic import BaseModel

from extraction.chunking.chunk_identity import chunk_id
from extraction.chunking.cleaning import Boilerplate, Clean, clean
from extraction.chunking.splitting import Outline, Splitter, TokenOffsets
from extraction.chunking.tokenizers import TokenCounter, render_chat
from extraction.config.settings import Limits
from extraction.documents import UNKNOWN_COMPANY, DeadLetter, Document, KnownCompany, LongText, Piece
from extraction.errors import Fault, OperatorError
from extraction.prompting.prompt import Prompt, content_of, known_header, without_special_tokens

LONGEST_TITLE = 200  # characters that are shown of a title, an address, a type or a date


@dataclass(frozen=True)
class PreparedDocument:
    """A document on its way into chunks. `tokens` is what it takes in a pack, its separator included."""

    document: Document
    clean: Clean
    offsets: TokenOffsets
    separator: str
    tokens: int

    @property
    def document_id(self) -> str:
        """The document's id."""
        return self.document.document_id

    @cached_property
    def outline(self) -> Outline:
        """The headings of the text."""
        return Outline(self.clean.text)

    @cached_property
    def splitter(self) -> Splitter:
        """What finds the cuts."""
        return Splitter(self.clean.text, self.outline, self.offsets)

    def heading(self, start: int) -> str | None:
        """What goes before the piece that begins at `start`: the title and, further on, the section path."""
        title = shown(self.document.title)
        path = self.outline.path(start) if start > self.next_word(0) else ()
        names = [title, *(name for name in path if name.casefold() != title.casefold())]
        address = shown(self.document.url)
        return " > ".join(filter(None, names)) or (f"({address})" if address else None)

    def next_word(self, position: int) -> int:
        """The first character from a position on that is not white space; the text's end without one."""
        text = self.clean.text
        while position < len(text) and text[position].isspace():
            position += 1
        return position

    def stripped(self, start: int, end: int) -> tuple[int, int]:
        """A span of the text without white space at its ends."""
        start = self.next_word(start)
        return start, start + len(self.clean.text[start:end].rstrip())

    def piece(self, start: int, end: int, at: int) -> Piece:
        """The piece for a span of the text that stands at `at` in a chunk's content."""
        first, last, edits = self.clean.span(start, end)
        return Piece(
            document_id=self.document.document_id,
            start=first,
            end=last,
            at=at,
            length=end - start,
            document_type=self.document.document_type,
            document_date=self.document.document_date,
            source_path=self.document.place,
            edits=edits,
        )


def separator(document: Document) -> str:
    """The line before a document that shares its chunk with others."""
    named = shown(document.title) or shown(document.url)
    labels = (named, shown(document.document_type), shown(document.document_date))
    return without_special_tokens(f"=== {' | '.join(filter(None, labels)) or 'document'} ===")


def shown(name: str | None) -> str:
    """A title, a name, an address, a type or a date in one line, as long as such a thing may be."""
    return " ".join((name or "").split())[:LONGEST_TITLE]


ONE_IN = 16  # documents may end a pack that is half full


class Item(Protocol):
    """What is packed: a document that would take so many tokens in a pack."""

    @property
    def document_id(self) -> str: ...

    @property
    def tokens(self) -> int: ...


Packed = TypeVar("Packed", bound=Item)


def packs(items: Iterable[Packed], capacity: int) -> Iterator[list[Packed]]:
    """Fill packs of up to `capacity` tokens in the order given; what is larger is a pack of its own.

    A pack that is at least half full also ends behind a document whose id's digest says so. So a document
    that comes, goes or grows moves the bounds of the next few packs only: from the first bound that two
    fillings have in common, they are the same.
    """
    pack: list[Packed] = []
    filled = 0
    for item in items:
        if item.tokens > capacity:
            yield [item]
            continue
        if filled + item.tokens > capacity:
            yield pack
            pack, filled = [], 0
        pack.append(item)
        filled += item.tokens
        if 2 * filled >= capacity and ends_pack(item.document_id):
            yield pack
            pack, filled = [], 0
    if pack:
        yield pack


def ends_pack(document_id: str) -> bool:
    """Whether a pack may end behind this document before it is full."""
    digest = hashlib.sha256(document_id.encode("utf-8", errors="surrogatepass")).digest()
    return digest[0] % ONE_IN == 0


OUTPUT_FLOOR = 512  # tokens of an answer to a chunk of no length: the keys of a profile and some values
MIN_BUDGET = 64  # tokens; less room than this for a document's text is a mistake in the limits


@dataclass(frozen=True, slots=True)
class Chunk:
    """One request. The content's first line says what is known of the company."""

    chunk_id: Annotated[str, "SHA-256 of fingerprint and content: its key in the ledger"]
    company_id: Annotated[str, "The company"]
    content: Annotated[LongText, "The last message of the request: the text with what stands before it"]
    prompt_tokens: Annotated[int, "Tokens of the whole prompt"]
    max_tokens: Annotated[int, "Most tokens of the reply"]
    pieces: Annotated[tuple[Piece, ...], "The parts of documents that it holds"]
    known: Annotated[KnownCompany, "What the input knows of the company"] = UNKNOWN_COMPANY


class Chunker:
    """Splits and packs documents for one prompt, tokenizer and set of limits."""

    def __init__(
        self,
        *,
        model: type[BaseModel],
        prompt: Prompt,
        limits: Limits,
        counter: TokenCounter,
        template: str | None,
        fingerprint: str,
    ) -> None:
        self.counter, self.limits, self.fingerprint = counter, limits, fingerprint
        self.overhead = counter.count(render_chat(template, prompt.messages(model, "")))
        self.budget = limits.max_chunk_tokens - max(limits.system_prompt_overhead, self.overhead)
        self.pack_tokens = min(limits.group_target_tokens or 0, self.budget)
        if self.budget < MIN_BUDGET:
            raise OperatorError(
                f"limits.max_chunk_tokens = {limits.max_chunk_tokens:,} leaves {self.budget:,} tokens for the "
                f"document: the prompt takes {self.overhead:,}, limits.system_prompt_overhead reserves "
                f"{limits.system_prompt_overhead:,}. Raise the first or shorten the prompt"
            )
        if limits.max_chunk_tokens + limits.max_output_tokens > limits.context_length:
            raise OperatorError(
                f"limits.max_chunk_tokens = {limits.max_chunk_tokens:,} and limits.max_output_tokens = "
                f"{limits.max_output_tokens:,} together exceed limits.context_length = "
                f"{limits.context_length:,}: lower one of the first two"
            )

    def chunks(self, documents: Sequence[Document]) -> tuple[list[Chunk], list[DeadLetter]]:
        """The chunks of one company's documents, and a dead letter for each document that has none.

        The documents' order does not matter: they are taken by date, then by id.
        """
        known = known_of(documents)
        made = [each for pack in packs(self._read(documents), self.pack_tokens) for each in self._pack(pack, known)]
        chunks = [each for each in made if isinstance(each, Chunk)]
        return distinct(chunks), [each for each in made if isinstance(each, DeadLetter)]

    def _read(self, documents: Sequence[Document]) -> Iterator[PreparedDocument]:
        ordered = sorted(documents, key=lambda document: (document.document_date or "", document.document_id))
        boilerplate = Boilerplate(ordered)
        for document in ordered:
            text = clean(document.text, boilerplate.left_out(document.text))
            offsets, line = TokenOffsets(text.text, self.counter.count), separator(document)
            yield PreparedDocument(
                document, text, offsets, line, offsets.total + self.counter.count(f"\n\n{line}\n\n")
            )

    def _pack(self, pack: Sequence[PreparedDocument], known: KnownCompany) -> Sequence[Chunk | DeadLetter]:
        """One chunk of several documents, or those of a document that is alone."""
        if len(pack) == 1:
            return self._alone(pack[0], known)
        content = known_header(known)
        pieces: list[Piece] = []
        for prepared in pack:
            start, end = prepared.stripped(0, len(prepared.clean.text))
            content += ("\n\n" if pieces else "") + f"{prepared.separator}\n\n"
            pieces.append(prepared.piece(start, end, len(content)))
            content += prepared.clean.text[start:end]
        tokens = self.counter.count(content)
        if tokens > self.budget:  # counts of parts do not quite add up
            middle = len(pack) // 2
            return [*self._pack(pack[:middle], known), *self._pack(pack[middle:], known)]
        return [self._chunk(pack[0].document.company_id, content, tokens, pieces, known)]

    def _alone(self, prepared: PreparedDocument, known: KnownCompany) -> Sequence[Chunk | DeadLetter]:
        """The chunks of a document in its order, or a dead letter that says why it has none."""
        most = self.limits.max_chunks_per_document
        chunks: list[Chunk] = []
        start = prepared.next_word(0)
        while start < len(prepared.clean.text):
            if len(chunks) == most:
                why = f"the document is too large: it makes more than limits.max_chunks_per_document = {most:,}"
                return [DeadLetter(prepared.document_id, prepared.document.place, "plan", Fault.TOO_LARGE, why)]
            end, chunk = self._next(prepared, start, known)
            chunks.append(chunk)
            start = prepared.next_word(end)
        return chunks

    def _next(self, prepared: PreparedDocument, start: int, known: KnownCompany) -> tuple[int, Chunk]:
        """The chunk of a document that begins at `start`, and where the next may begin."""
        heading, header = prepared.heading(start), known_header(known)
        limit = self.budget - self.counter.count(header + content_of(heading, "")[0])
        if 2 * limit < self.budget:
            heading, limit = None, self.budget
        while True:
            end = prepared.splitter.end_of_piece(start, limit)
            _, stop = prepared.stripped(start, end)
            content, at = content_of(heading, prepared.clean.text[start:stop])
            tokens = self.counter.count(header + content)
            if tokens <= self.budget or limit == 1:
                piece = prepared.piece(start, stop, len(header) + at)
                return end, self._chunk(prepared.document.company_id, header + content, tokens, [piece], known)
            limit = max(1, min(limit - (tokens - self.budget), limit * 19 // 20))

    def _chunk(
        self, company_id: str, content: str, tokens: int, pieces: Sequence[Piece], known: KnownCompany
    ) -> Chunk:
        return Chunk(
            chunk_id=chunk_id(self.fingerprint, content),
            company_id=company_id,
            content=content,
            prompt_tokens=self.overhead + tokens,
            max_tokens=min(self.limits.max_output_tokens, OUTPUT_FLOOR + tokens),
            pieces=tuple(pieces),
            known=known,
        )


def known_of(documents: Sequence[Document]) -> KnownCompany:
    """What the input knows of a company: the first name and website that its documents come with, by their ids."""
    ordered = sorted(documents, key=lambda document: document.document_id)
    return KnownCompany(
        next(filter(None, (shown(d.company_name) for d in ordered)), None),
        next(filter(None, (shown(d.website) for d in ordered)), None),
    )


def distinct(chunks: Sequence[Chunk]) -> list[Chunk]:
    """One chunk for each question; the same text in several documents keeps all its places."""
    by_id: dict[str, list[Chunk]] = {}
    for chunk in chunks:
        by_id.setdefault(chunk.chunk_id, []).append(chunk)
    return [replace(same[0], pieces=_places(same)) if len(same) > 1 else same[0] for same in by_id.values()]


def _places(chunks: Sequence[Chunk]) -> tuple[Piece, ...]:
    return tuple(dict.fromkeys(piece for chunk in chunks for piece in chunk.pieces))


@dataclass(frozen=True, slots=True)
class OriginalPart:
    """`document.text[start:start + len(text)] == text`, which a chunk asked about. `unread` are the spans of it,
    counted from its beginning, that cleaning left out or changed: (start, end, what was read)."""

    start: int
    text: str
    chunk_id: str
    unread: tuple[tuple[int, int, str], ...] = ()

    @property
    def end(self) -> int:
        """Where it ends in the document."""
        return self.start + len(self.text)


@dataclass
class Original:
    """What chunks hold of a document: its parts in order. Between them was white space, what cleaning left out, or
    what is missing."""

    document_id: str
    document_type: str | None = None
    document_date: str | None = None
    source_path: str = ""
    parts: list[OriginalPart] = field(default_factory=list)

    def around(self, start: int, end: int, width: int) -> tuple[str, str, str] | None:
        """The words before a span, in it and after it; None where no part holds it."""
        number = bisect_right(self.parts, start, key=lambda part: part.start) - 1
        for part in reversed(self.parts[: number + 1]):
            if end <= part.end:
                first, last = start - part.start, end - part.start
                text = part.text
                return text[max(0, first - width) : first], text[first:last], text[last : last + width]
        return None


def originals(chunks: Iterable[Chunk]) -> list[Original]:
    """The documents that some chunks were made of, in order of their first chunk."""
    documents: dict[str, Original] = {}
    for chunk in chunks:
        for piece in chunk.pieces:
            document = documents.setdefault(
                piece.document_id,
                Original(piece.document_id, piece.document_type, piece.document_date, piece.source_path),
            )
            start, _, text = piece.cut(chunk.content, 0, piece.length)
            content = piece.text(chunk.content)
            unread = tuple(
                (edit.start - start, edit.end - start, content[edit.at : edit.at + edit.length])
                for edit in piece.edits
                if start <= edit.start < edit.end <= start + len(text)
            )
            document.parts.append(OriginalPart(start, text, chunk.chunk_id, unread))
    for document in documents.values():
        document.parts.sort(key=lambda part: (part.start, part.end))
    return list(documents.values())
