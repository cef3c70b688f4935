"""Validates rows of the input: each becomes a Document, or a DeadLetter with the fault that keeps it out."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

from extraction.documents import DeadLetter, Document
from extraction.errors import Fault

CONTROL_CHARACTER = {*range(0x20), *range(0x7F, 0xA0), 0xFEFF, *range(0xFFF9, 0xFFFD)}


INVISIBLE = "".join(
    c for c in map(chr, range(0x10000)) if c.isspace() or ord(c) in CONTROL_CHARACTER or c in "\u200b\u2060"
)


@dataclass(slots=True)
class ValidDocuments:
    """What came of a company's rows: its documents, a dead letter for each of the others, and how many rows repeat
    a document."""

    documents: list[Document] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    repeated: int = 0


SeenDocuments = dict[str, tuple[str, bytes]]  # by id: where a document stands, and a digest of its text


def validated(rows: list[dict[str, Any]], max_bytes: int, seen: SeenDocuments | None = None) -> ValidDocuments:
    """Sort rows of one company into documents and dead letters; `seen` are its documents in rows before these.

    Rows that repeat a document's id and text are the same document. A row that repeats the id with
    another text is a dead letter: which of the two is meant can't be known, and none is lost silently.
    """
    valid, seen = ValidDocuments(), {} if seen is None else seen
    for row in sorted(rows, key=lambda r: (r["source_path"], r["row"])):
        fault = _fault(row, max_bytes)
        if fault is None:
            document = Document(**{name: row[name] for name in Document.__slots__ if name in row})
            digest = hashlib.blake2b(document.text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
            if document.document_id not in seen:
                seen[document.document_id] = f"{document.source_path} row {document.row}", digest
                valid.documents.append(document)
                continue
            place, of_first = seen[document.document_id]
            if of_first == digest:
                valid.repeated += 1
                continue
            fault = (
                Fault.DUPLICATE_ID,
                f"the id stands at {place} with another text: give each document its own",
            )
        where = f"{row['source_path']}#row={row['row']}"
        valid.dead_letters.append(DeadLetter(row["document_id"], where, "plan", *fault))
    return valid


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
