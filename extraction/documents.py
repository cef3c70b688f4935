"""Documents and their pieces.

A row of the input becomes a Document, or a DeadLetter with the fault that keeps it out. A Piece is what a chunk
holds of a document; it maps the chunk's characters back to the document's.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from extraction.errors import Fault

CONTROL_CHARACTER = {*range(0x20), *range(0x7F, 0xA0), 0xFEFF, *range(0xFFF9, 0xFFFD)}
INVISIBLE = "".join(
    c for c in map(chr, range(0x10000)) if c.isspace() or ord(c) in CONTROL_CHARACTER or c in "\u200b\u2060"
)


@dataclass(frozen=True, slots=True)
class Known:
    """What the input knows of the company that a document is about, before anything is read."""

    name: str | None = None
    website: str | None = None

    def __bool__(self) -> bool:
        return bool(self.name or self.website)


NOTHING_KNOWN = Known()


@dataclass(frozen=True, slots=True)
class Document:
    """A document: `text` as the input holds it, so that offsets into it mean something to its owner."""

    document_id: str
    company_id: str
    text: str
    title: str | None = None
    document_type: str | None = None
    document_date: str | None = None
    source_path: str = ""
    row: int = 0
    url: str | None = None
    company_name: str | None = None
    website: str | None = None

    @property
    def known(self) -> Known:
        """What the input knows of its company."""
        return Known(self.company_name, self.website)

    @property
    def place(self) -> str:
        """Where the input holds it."""
        return f"{self.source_path}#row={self.row}"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A document, or an unreadable piece of input, that gave nothing. Never holds a document's text.

    `documents` is how many it stands for: all rows of what can't be read, 1 where nobody knows them.
    """

    document_id: str | None
    source_path: str
    stage: str
    fault: Fault
    message: str
    attempts: int = 0
    documents: int = 1


@dataclass(slots=True)
class Intake:
    """What came of a company's rows: its documents, a dead letter for each of the others, and how many rows repeat
    a document."""

    documents: list[Document] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    repeated: int = 0


SeenDocuments = dict[str, tuple[str, bytes]]  # by id: where a document stands, and a digest of its text


def admit(rows: list[dict[str, Any]], max_bytes: int, seen: SeenDocuments | None = None) -> Intake:
    """Sort rows of one company into documents and dead letters; `seen` are its documents in rows before these.

    Rows that repeat a document's id and text are the same document. A row that repeats the id with
    another text is a dead letter: which of the two is meant can't be known, and none is lost silently.
    """
    intake, seen = Intake(), {} if seen is None else seen
    for row in sorted(rows, key=lambda r: (r["source_path"], r["row"])):
        fault = _fault(row, max_bytes)
        if fault is None:
            document = Document(**{name: row[name] for name in Document.__slots__ if name in row})
            digest = hashlib.blake2b(document.text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
            if document.document_id not in seen:
                seen[document.document_id] = f"{document.source_path} row {document.row}", digest
                intake.documents.append(document)
                continue
            place, of_first = seen[document.document_id]
            if of_first == digest:
                intake.repeated += 1
                continue
            fault = (
                Fault.DUPLICATE_ID,
                f"the id stands at {place} with another text: give each document its own",
            )
        where = f"{row['source_path']}#row={row['row']}"
        intake.dead_letters.append(DeadLetter(row["document_id"], where, "plan", *fault))
    return intake


def _fault(row: dict[str, Any], max_bytes: int) -> tuple[Fault, str] | None:
    for each in row.get("unclear") or ():
        if each["column"] in ("document_id", "company_id"):
            return Fault.MISSING_ID, f"the document's {each['column']} means nothing: {each['why']}"
    if row["document_id"] is None:
        return Fault.MISSING_ID, "the document has no document_id"
    if row.get("not_text"):
        return Fault.NOT_TEXT, "the text is not valid UTF-8"
    text = row["text"]
    if text is None or not text.strip(INVISIBLE):
        return Fault.EMPTY, "the text is null, empty or only white space and control characters"
    size = len(text.encode("utf-8", errors="replace"))
    if size > max_bytes:
        return Fault.TOO_LARGE, f"{size:,} bytes are more than limits.max_document_bytes = {max_bytes:,}"
    return None


@dataclass(frozen=True, slots=True)
class Edit:
    """Where a text says something else than its document: `[at, at + length)` of the text stands for
    `document.text[start:end] == original`. Length 0 is something left out.
    """

    at: int
    length: int
    start: int
    end: int
    original: str


@dataclass(frozen=True, slots=True)
class Piece:
    """`document.text[start:end]`, which stands at `at` in the chunk's content and takes `length` characters there.

    Where the content says something else than the document, `edits` tell, in order, `at` counted from the
    piece's beginning.
    """

    document_id: str
    start: int
    end: int
    at: int
    length: int
    document_type: str | None
    document_date: str | None
    source_path: str
    edits: tuple[Edit, ...] = ()

    def text(self, content: str) -> str:
        """The piece as it stands in the chunk's content."""
        return content[self.at : self.at + self.length]

    def cut(self, content: str, start: int, end: int) -> tuple[int, int, str]:
        """(start, end, quote) in the document for the span [start, end) of the piece's text.

        `document.text[start:end] == quote`. A span that touches an edit takes the whole of it.
        """
        if not self.edits:
            return self.start + start, self.start + end, content[self.at + start : self.at + end]
        return original_span(self.text(content), self.edits, start, end, offset=self.start)


def original_span(
    text: str, edits: Sequence[Edit], start: int, end: int, *, offset: int = 0
) -> tuple[int, int, str]:
    """(start, end, quote) in the original for the span [start, end) of a text with edits, as `Piece.cut`.

    `offset` is where the text begins in the original, as far as no edit says otherwise.
    """
    touched = [edit for edit in edits if edit.at < end and edit.at + edit.length > start]
    if touched:
        start, end = min(start, touched[0].at), max(end, touched[-1].at + touched[-1].length)
    before = [edit for edit in edits if edit.at + edit.length <= start]
    parts, here = [], start
    for edit in touched:
        parts += [text[here : edit.at], edit.original]
        here = edit.at + edit.length
    quote = "".join([*parts, text[here:end]])
    behind = before[-1] if before else Edit(0, 0, offset, offset, "")
    first = behind.end + start - (behind.at + behind.length)
    return first, first + len(quote), quote
