"""Output folders made by hand, so that what a score must be is known."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel

from actors.results import Result
from extraction.chunking.chunker import Chunk
from extraction.documents import Piece
from extraction.schema.company import ShortProfile
from jobs.state.ledger import LEDGERS, Ledger, LedgerWriter
from jobs.state.parquet_schemas import CHUNKS, published_table
from jobs.state.storage import Storage

RUN, FINGERPRINT = "20260101T000000Z-abcdef", "f" * 64
COUNTS = ("documents", "chunks", "chunks_answered", "chunks_from_ledger", "companies", "dead_letters")
Values = dict[str, Any]


def publish(folder: Path, profiles: dict[str, Values], model: type[BaseModel] = ShortProfile) -> Path:
    """Profiles by company_id, their values flat; an item of `evidence` is (field, value, chosen, grounded)
    or that with its confidence."""
    storage = Storage(str(folder))
    rows = [{"company_id": company_id, **_row(values, model)} for company_id, values in profiles.items()]
    table = published_table(rows, model)
    written = storage.write_table(f"profiles/{RUN}/{{sha}}.parquet", table)
    told: Values = {
        "run_id": RUN,
        "fingerprint": FINGERPRINT,
        "profile": f"{model.__module__}:{model.__name__}",
        "created_at": "2026-01-01T00:00:00+00:00",
        "versions": {},
    }
    told |= {
        "counts": {**dict.fromkeys(COUNTS, 0), "companies": len(rows)},
        "tokens": {},
        "profiles": [written.model_dump()],
        "dead_letters": [],
    } | {"versions": {}}
    storage.write("manifest.json", json.dumps(told).encode())
    return folder


def _row(values: Values, model: type[BaseModel]) -> Values:
    given = dict(values)
    names = ("field", "value", "chosen", "grounded", "confidence")
    evidence = [dict(zip(names, told, strict=False)) for told in given.pop("evidence", [])]
    empty: Values = {"documents": [], "chunks_missing": [], "conflicts": []}
    return {**empty, **given, "evidence": [{**row, "support": 1, "places": []} for row in evidence]}


def ask(folder: Path, questions: list[tuple[str, str, Result]], kind: str | None = None) -> None:
    """Plan and answer chunks: (company_id, text, answer), the answer's chunk_id being the chunk's. `kind` is the
    document_type of all."""
    storage = Storage(str(folder))
    chunks = [asdict(_chunk(company_id, text, answer.chunk_id, kind)) for company_id, text, answer in questions]
    storage.write_table(f"work/runs/{RUN}/chunks/{{sha}}.parquet", pa.Table.from_pylist(chunks, CHUNKS))
    ledger = Ledger(storage.under(LEDGERS), FINGERPRINT)
    LedgerWriter(ledger, RUN, "a").append([answer for _, _, answer in questions])


def reply(**values: Any) -> str:
    """A short profile as JSON, null or empty but for some fields."""
    empty = dict.fromkeys(ShortProfile.model_fields) | {"products": []}
    return json.dumps(empty | values)


def _chunk(company_id: str, text: str, chunk_id: str, kind: str | None) -> Chunk:
    piece = Piece(f"of-{chunk_id}", 0, len(text), 0, len(text), kind, None, "in.parquet#row=0")
    return Chunk(chunk_id, company_id, text, 100, 100, (piece,))
