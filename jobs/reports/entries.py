"""Entries of the page's data: a company with its evidence and the text that this stands in.

Fields, documents and chunks are named by number, which takes a third of the room.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from extraction.chunking.chunking import Chunk
from extraction.chunking.originals import originals

Row = dict[str, Any]
Numbers = Mapping[str, int]
UNKNOWN = -1  # the number of a document that nothing is known of


def entry(row: Row, chunks: Sequence[Chunk], answers: Mapping[str, Row], fields: Numbers) -> Row:
    """A published profile, with its documents as far as its chunks are given."""
    texts = texts_of(chunks, answers)
    documents = {document["id"]: n for n, document in enumerate(texts["documents"])}
    for document_id in row["documents"]:
        if document_id not in documents:
            documents[document_id] = len(documents)
            texts["documents"].append({"id": document_id, "parts": []})
    return {
        "id": row["company_id"],
        "evidence": [_evidence(e, fields, documents) for e in row["evidence"] if e["field"] in fields],
        "conflicts": [_conflict(c, fields, documents) for c in row["conflicts"] if c["field"] in fields],
        "missing": [
            [documents.get(m["document_id"], UNKNOWN), m["start"], m["end"], m["fault"]]
            for m in row["chunks_missing"]
        ],
        **texts,
    }


def _evidence(row: Row, fields: Numbers, documents: Numbers) -> list[Any]:
    told = fields[row["field"]], row["value"], int(row["chosen"]), int(row["grounded"]), row["support"]
    sure = None if row["confidence"] is None else round(row["confidence"], 3)
    return [*told, [_place(place, documents) for place in row["places"]], sure]


def _conflict(row: Row, fields: Numbers, documents: Numbers) -> list[Any]:
    others = [
        [other["value"], other["support"], other["newest"], other["place"] and _place(other["place"], documents)]
        for other in row["alternatives"]
    ]
    return [fields[row["field"]], row["chosen"], row["support"], row["rule"], others]


def _place(place: Row, documents: Numbers) -> list[Any]:
    return [documents.get(place["document_id"], UNKNOWN), place["start"], place["end"], place["quote"]]


def texts_of(chunks: Sequence[Chunk], answers: Mapping[str, Row]) -> Row:
    """Documents put together from chunks, and what became of each chunk."""
    numbers = {chunk.chunk_id: n for n, chunk in enumerate(chunks)}
    documents = [
        {
            "id": document.document_id,
            "type": document.document_type,
            "date": document.document_date,
            "source": document.source_path,
            "parts": [
                [part.start, part.text, numbers[part.chunk_id], *([part.unread] if part.unread else [])]
                for part in document.parts
            ],
        }
        for document in originals(chunks)
    ]
    told = [{"tokens": chunk.prompt_tokens, **answers.get(chunk.chunk_id, {})} for chunk in chunks]
    return {"documents": documents, "chunks": told}
