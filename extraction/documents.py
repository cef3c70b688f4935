"""Documents as they come in: one row each, valid or with the fault that keeps it out."""

from dataclasses import dataclass, field
from typing import Any

from extraction.errors import Fault

CONTROL = {*range(0x20), *range(0x7F, 0xA0), 0xFEFF, *range(0xFFF9, 0xFFFD)}
UNSEEN = "".join(c for c in map(chr, range(0x10000)) if c.isspace() or ord(c) in CONTROL or c in "\u200b\u2060")


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
    """A document, or an unreadable piece of input, that gave nothing. Never holds a document's text."""

    document_id: str | None
    source_path: str
    stage: str
    fault: Fault
    message: str
    attempts: int = 0


@dataclass(slots=True)
class Intake:
    """What came of a company's rows: its documents, and a dead letter for each of the others."""

    documents: list[Document] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)


def admit(rows: list[dict[str, Any]], max_bytes: int) -> Intake:
    """Sort the rows of one company into documents and dead letters.

    Rows that repeat a document's id and text are the same document. A row that repeats the id with
    another text is a dead letter: which of the two is meant can't be known, and none is lost silently.
    """
    intake = Intake()
    seen: dict[str, Document] = {}
    for row in sorted(rows, key=lambda r: (r["source_path"], r["row"])):
        fault = _fault(row, max_bytes)
        if fault is None:
            document = Document(**{name: row[name] for name in Document.__slots__ if name in row})
            first = seen.setdefault(document.document_id, document)
            if first is document:
                intake.documents.append(document)
                continue
            if first.text == document.text:
                continue
            place = f"{first.source_path} row {first.row}"
            fault = (
                Fault.DUPLICATE_ID,
                f"the id stands at {place} with another text: give each document its own",
            )
        where = f"{row['source_path']}#row={row['row']}"
        intake.dead_letters.append(DeadLetter(row["document_id"], where, "plan", *fault))
    return intake


def _fault(row: dict[str, Any], max_bytes: int) -> tuple[Fault, str] | None:
    if row["document_id"] is None:
        return Fault.MISSING_ID, "the document has no document_id"
    if row.get("not_text"):
        return Fault.NOT_TEXT, "the text is not valid UTF-8"
    text = row["text"]
    if text is None or not text.strip(UNSEEN):
        return Fault.EMPTY, "the text is null, empty or only white space and control characters"
    size = len(text.encode("utf-8", errors="replace"))
    if size > max_bytes:
        return Fault.TOO_LARGE, f"{size:,} bytes are more than limits.max_document_bytes = {max_bytes:,}"
    return None
