"""A document as it is read: its clean text, what it is called, and its pieces."""

from dataclasses import dataclass
from functools import cached_property

from extraction.chunking.cleaning import Clean
from extraction.chunking.outline import Outline
from extraction.chunking.splitting import Ruler, Splitter
from extraction.documents import Document
from extraction.pieces import Piece
from extraction.prompting.prompt import defused

LONGEST_TITLE = 200  # characters that are shown of a title, an address, a type or a date


@dataclass(frozen=True)
class Reading:
    """A document on its way into chunks. `tokens` is what it takes in a pack, its separator included."""

    document: Document
    clean: Clean
    ruler: Ruler
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
        return Splitter(self.clean.text, self.outline, self.ruler)

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
    told = (named, shown(document.document_type), shown(document.document_date))
    return defused(f"=== {' | '.join(filter(None, told)) or 'document'} ===")


def shown(name: str | None) -> str:
    """A title, an address, a type or a date in one line."""
    return " ".join((name or "").split())[:LONGEST_TITLE]
