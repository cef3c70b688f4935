"""The reduce stage: the run's chunks and the ledger's answers become one profile a company.

Each task takes one chunk file, which holds all chunks of its companies, and the segments in which their
answers stand; nothing is shuffled, and nothing waits for a GPU.
"""

from dataclasses import asdict, dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

import pyarrow as pa
import ray.data
from pydantic import BaseModel, ValidationError

from extraction.arrow import struct_of
from extraction.chunking import Chunk
from extraction.documents import DeadLetter
from extraction.errors import Fault, OperatorError
from extraction.merging import Observation, Resolved, merge, observe, resolve
from jobs.ledger import Index
from jobs.plan import Plan, chunks_of, write_dead_letters
from jobs.run import Run
from jobs.storage import Written

PLACE = pa.struct(
    [("document_id", pa.string()), ("start", pa.int64()), ("end", pa.int64()), ("quote", pa.string())]
)
EVIDENCE = pa.struct(
    [
        ("field", pa.string()),
        ("value", pa.string()),
        ("chosen", pa.bool_()),
        ("grounded", pa.bool_()),
        ("support", pa.int32()),
        ("places", pa.list_(PLACE)),
    ]
)
MISSING = pa.struct(
    [
        ("chunk_id", pa.string()),
        ("document_id", pa.string()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("fault", pa.string()),
    ]
)
OWN = pa.schema(
    [
        ("documents", pa.list_(pa.string())),
        ("chunks_missing", pa.list_(MISSING)),
        ("evidence", pa.list_(EVIDENCE)),
    ]
)


@dataclass(frozen=True)
class Reduced:
    """What the stage wrote, and how many documents are in profiles and how many only in its dead letters."""

    profiles: tuple[Written, ...]
    dead_letters: tuple[Written, ...]
    in_profiles: int
    dead_documents: int


@dataclass(frozen=True)
class Company:
    """A company's profile row, if its documents say anything, and the documents that gave nothing."""

    row: dict[str, Any] | None
    dead_letters: list[DeadLetter]


def profile_schema(run: Run) -> pa.Schema:
    """The published table: company_id, the profile's fields as columns, then documents and evidence."""
    own = pa.schema([pa.field("company_id", pa.string())])
    columns = [*own, *struct_of(run.model), *OWN]
    names = [column.name for column in columns]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise OperatorError(f"profile: {run.settings.profile} may not name a field {twice.pop()!r}: rename it")
    return pa.schema(columns)


def reduce(run: Run, plan: Plan, index: Index) -> Reduced:
    """Merge and resolve everything that was planned and answered."""
    profile_schema(run)
    items = []
    for number, path in enumerate(plan.chunk_files):
        ids = run.storage.read_table(path, ["chunk_id"])["chunk_id"].combine_chunks()
        items.append({"number": number, "path": path, "segments": index.segments_of(ids)})
    if not items:
        return Reduced((), (), 0, 0)
    rows = (
        ray.data.from_items(items, override_num_blocks=len(items))
        .map_batches(reduce_files, batch_size=1, batch_format="pyarrow", fn_kwargs={"run": run})
        .take_all()
    )
    written = {kind: sorted((r for r in rows if r["kind"] == kind), key=lambda r: r["path"]) for kind in KINDS}
    return Reduced(
        profiles=tuple(Written.of(row) for row in written["profiles"]),
        dead_letters=tuple(Written.of(row) for row in written["dead_letters"]),
        in_profiles=sum(row["documents"] for row in written["profiles"]),
        dead_documents=sum(row["documents"] for row in written["dead_letters"]),
    )


KINDS = ("profiles", "dead_letters")


def reduce_files(batch: pa.Table, run: Run) -> pa.Table:
    """Ray Data: chunk files to rows that tell what was written for them."""
    told: list[dict[str, Any]] = []
    for item in batch.to_pylist():
        companies = _companies(run, item["path"], item["segments"])
        profiles = [company.row for company in companies if company.row]
        dead = [letter for company in companies for letter in company.dead_letters]
        if profiles:
            table = pa.Table.from_pylist(profiles, profile_schema(run))
            name = f"profiles/{run.run_id}/{item['number']:05}-{{sha}}.parquet"
            written = run.storage.write_table(name, table)
            documents = sum(len(row["documents"]) for row in profiles)
            told.append({"kind": "profiles", "documents": documents, **asdict(written)})
        if dead:
            written = write_dead_letters(run, "reduce", dead)
            told.append({"kind": "dead_letters", "documents": len(dead), **asdict(written)})
    return pa.Table.from_pylist(told, RESULT)


RESULT = pa.schema(
    [
        ("kind", pa.string()),
        ("documents", pa.int64()),
        ("path", pa.string()),
        ("rows", pa.int64()),
        ("bytes", pa.int64()),
        ("sha256", pa.string()),
    ]
)


def _companies(run: Run, path: str, segments: list[str]) -> list[Company]:
    table = run.storage.read_table(path)
    answers = run.ledger.read(segments, table["chunk_id"].combine_chunks())
    by_chunk = {row["chunk_id"]: row for row in answers.to_pylist()}
    chunks = sorted(chunks_of(table), key=lambda chunk: (chunk.company_id, chunk.pieces[0].document_id))
    return [
        _company(run, company_id, list(group), by_chunk)
        for company_id, group in groupby(chunks, key=attrgetter("company_id"))
    ]


def _company(run: Run, company_id: str, chunks: list[Chunk], answers: dict[str, dict[str, Any]]) -> Company:
    """Merge one company's answers. Every one of its documents is in the row or a dead letter."""
    evidence: frozenset[Observation] = frozenset()
    answered: set[str] = set()
    failed: dict[str, dict[str, Any]] = {}
    source = {piece.document_id: piece.source_path for chunk in chunks for piece in chunk.pieces}
    missing: list[dict[str, Any]] = []
    for chunk in chunks:
        answer = answers.get(chunk.chunk_id) or NOT_ASKED
        profile = _profile(run, answer)
        if profile is not None:
            evidence = merge(evidence, observe(profile, chunk.chunk_id, chunk.content, chunk.pieces))
            answered |= {piece.document_id for piece in chunk.pieces}
            continue
        for piece in chunk.pieces:
            failed.setdefault(piece.document_id, answer)
            place = {"document_id": piece.document_id, "start": piece.start, "end": piece.end}
            missing.append({"chunk_id": chunk.chunk_id, **place, "fault": answer["fault"]})
    resolved = resolve(run.model, evidence)
    if not _says_anything(resolved):
        failed |= dict.fromkeys(answered - set(failed), SAYS_NOTHING)
        answered = set()
    dead = [_dead_letter(d, source[d], failed[d]) for d in sorted(set(failed) - answered)]
    if not answered:
        return Company(None, dead)
    row = {
        "company_id": company_id,
        **resolved.values,
        "documents": sorted(answered),
        "chunks_missing": [m for m in missing if m["document_id"] in answered],
        "evidence": resolved.evidence,
    }
    return Company(row, dead)


def _profile(run: Run, answer: dict[str, Any]) -> BaseModel | None:
    """The profile in an answer; one that the profile model has since come to refuse counts as a fault."""
    if answer["reply"] is None:
        return None
    try:
        return run.model.model_validate_json(answer["reply"])
    except ValidationError:
        answer.update(fault=Fault.INVALID.value, message="the stored answer no longer fits the profile model")
        return None


NOT_ASKED: dict[str, Any] = {
    "reply": None,
    "fault": Fault.UNAVAILABLE.value,
    "message": "it was not asked",
    "attempts": 0,
}
SAYS_NOTHING: dict[str, Any] = {
    "fault": Fault.NO_COMPANY.value,
    "message": "nothing that was answered stands in the document: it seems to be about no company",
    "attempts": 1,
}


def _says_anything(resolved: Resolved) -> bool:
    return any(row["chosen"] for row in resolved.evidence)


def _dead_letter(document_id: str, source: str, answer: dict[str, Any]) -> DeadLetter:
    fault = Fault(answer["fault"])
    stage = "reduce" if fault is Fault.NO_COMPANY else "extract"
    return DeadLetter(document_id, source, stage, fault, answer["message"], answer["attempts"])
