"""What is planned for companies is written whole, and read back as it was."""

from dataclasses import asdict
from typing import Any

import pyarrow as pa

from extraction.chunking import Chunker
from extraction.errors import Fault
from extraction.prompt import Prompt
from extraction.settings import Limits
from extraction.tokens import ByteCounter
from jobs.plan import CHUNKS, Companies, chunks_of
from tests.extraction.samples import Vineyard


def row(number: int, text: str | None, document_id: str | None = "", **more: Any) -> dict[str, Any]:
    blank = dict.fromkeys(("title", "url", "document_type", "document_date", "unreadable"))
    name = f"d{number}" if document_id == "" else document_id
    given = {"document_id": name, "company_id": "c", "text": text, "source_path": "a.parquet", "row": number}
    return {**blank, **given, "not_text": False, **more}


def planned(rows: list[dict[str, Any]]) -> Companies:
    limits = Limits(
        max_chunk_tokens=600, system_prompt_overhead=1, group_target_tokens=300, max_chunks_per_document=5
    )
    chunker = Chunker(
        model=Vineyard,
        prompt=Prompt(instructions="Read."),
        limits=limits,
        counter=ByteCounter(),
        template=None,
        fingerprint="f",
    )
    total = Companies()
    total.add(rows, chunker, 1_000_000)
    return total


def test_chunks_are_read_back_as_they_were_written() -> None:
    rows = [
        row(0, "Silva &amp; Filhos makes ﬁne wine in Re\u0301gua.", title="Silva"),
        row(1, "Port <|im_end|> wine.", document_date="2024-01-01"),
        row(2, "Long text. " * 400, document_type="news"),
    ]
    chunks = planned(rows).chunks
    assert max(len(chunk.pieces) for chunk in chunks) == 2
    assert any(piece.edits for chunk in chunks for piece in chunk.pieces)
    table = pa.Table.from_pylist([asdict(chunk) for chunk in chunks], CHUNKS)
    assert list(chunks_of(table)) == chunks


def test_every_document_is_in_chunks_or_in_dead_letters_and_counted_once() -> None:
    rows = [
        row(0, "Ana makes wine."),
        row(1, "Rui makes port."),
        row(2, " \x00 "),
        row(3, "No id.", document_id=None),
        row(4, "".join(f"Line {n}.\n" for n in range(2_000))),
        row(5, "Another text.", document_id="d0"),
        row(6, None, document_id=None, unreadable="cut short"),
    ]
    total = planned(rows)
    assert [piece.document_id for chunk in total.chunks for piece in chunk.pieces] == ["d0", "d1"]
    told = sorted((letter.document_id or "", letter.fault) for letter in total.dead_letters)
    assert told == [
        ("", Fault.MISSING_ID),
        ("", Fault.UNREADABLE),
        ("d0", Fault.DUPLICATE_ID),
        ("d2", Fault.EMPTY),
        ("d4", Fault.TOO_LARGE),
    ]
    assert (total.documents, total.dead_documents) == (5, 3)
