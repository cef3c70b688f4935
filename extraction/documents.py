"""Documents, their pieces, and dead letters.

A Piece is what a chunk holds of a document; it maps the chunk's characters back to the document's. A DeadLetter is
a document that gave nothing, with the fault that kept it out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import pyarrow as pa

from extraction.errors import Fault

# Types of columns that are none of Python's (see `extraction.schema.arrow_types.schema_of`).
Int32 = Annotated[int, pa.int32()]
LongText = Annotated[str, pa.large_string()]


@dataclass(frozen=True, slots=True)
class KnownCompany:
    """What the input knows of the company that a document is about, before anything is read."""

    name: Annotated[str | None, "Its name"] = None
    website: Annotated[str | None, "Its website"] = None

    def __bool__(self) -> bool:
        return bool(self.name or self.website)


UNKNOWN_COMPANY = KnownCompany()


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
    def place(self) -> str:
        """Where the input holds it."""
        return f"{self.source_path}#row={self.row}"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A document, or an unreadable piece of input, that gave nothing."""

    document_id: Annotated[str | None, "The document; null where the row has no id or can't be read"]
    source_path: Annotated[str, "File or URL and row (`#row=`, from 0) of the input"]
    stage: Annotated[str, "The stage that gave it up: `plan`, `extract` or `reduce`"]
    fault: Annotated[Fault, "The reason: a fault such as `empty`"]
    message: Annotated[str, "The reason in words, with names and limits; never a part of the document"]
    attempts: Annotated[Int32, "Requests that were made for it"] = 0
    documents: Annotated[
        int,
        "Documents that it stands for: 1, or the rows of a file or row group that can't be read, where they "
        "are known",
    ] = 1


@dataclass(frozen=True, slots=True)
class Edit:
    """Where a text says something else than its document: `[at, at + length)` of the text stands for
    `document.text[start:end] == original`. Length 0 is something left out.
    """

    at: Annotated[int, "First changed character, counted from the beginning of the part in the content"]
    length: Annotated[int, "Characters that stand there now"]
    start: Annotated[int, "First of the characters that they replace in the document's text"]
    end: Annotated[int, "Character after the last of these"]
    original: Annotated[LongText, "The characters that they replace"]


@dataclass(frozen=True, slots=True)
class Piece:
    """`document.text[start:end]`, which stands at `at` in the chunk's content and takes `length` characters there.

    Where the content says something else than the document, `edits` tell, in order, `at` counted from the
    piece's beginning.
    """

    document_id: Annotated[str, "The document"]
    start: Annotated[int, "First character of the part in the document's text"]
    end: Annotated[int, "Character after its last one"]
    at: Annotated[int, "First character of the part in the content"]
    length: Annotated[int, "Characters that it has there"]
    document_type: Annotated[str | None, "Kind of the document"]
    document_date: Annotated[str | None, "Date of the document"]
    source_path: Annotated[str, "File or URL and row of the input"]
    edits: Annotated[tuple[Edit, ...], "Where cleaning changed the text"] = ()

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
