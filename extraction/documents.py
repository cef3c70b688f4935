"""Documents, their pieces, and dead letters.

A Piece is what a chunk holds of a document; it maps the chunk's characters back to the document's. A DeadLetter is
a document that gave nothing, with the fault that kept it out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from extraction.errors import Fault


@dataclass(frozen=True, slots=True)
class KnownCompany:
    """What the input knows of the company that a document is about, before anything is read."""

    name: str | None = None
    website: str | None = None

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
    def known(self) -> KnownCompany:
        """What the input knows of its company."""
        return KnownCompany(self.company_name, self.website)

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
