"""Originals: documents put together again from the chunks that were made of them, as their owner wrote them."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field

from extraction.chunking.chunking import Chunk


@dataclass(frozen=True, slots=True)
class Part:
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
    parts: list[Part] = field(default_factory=list)

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
    found: dict[str, Original] = {}
    for chunk in chunks:
        for piece in chunk.pieces:
            document = found.setdefault(
                piece.document_id,
                Original(piece.document_id, piece.document_type, piece.document_date, piece.source_path),
            )
            start, _, text = piece.cut(chunk.content, 0, piece.length)
            said = piece.text(chunk.content)
            unread = tuple(
                (edit.start - start, edit.end - start, said[edit.at : edit.at + edit.length])
                for edit in piece.edits
                if start <= edit.start < edit.end <= start + len(text)
            )
            document.parts.append(Part(start, text, chunk.chunk_id, unread))
    for document in found.values():
        document.parts.sort(key=lambda part: (part.start, part.end))
    return list(found.values())
