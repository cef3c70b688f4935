"""The reduce stage: the run's chunks and the ledger's answers become one profile a company.

Each task takes one chunk file, which holds all chunks of its companies, and the segments in which their
answers stand; nothing is shuffled, and nothing waits for a GPU.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain, groupby
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray.data
from pydantic import ValidationError

from extraction.chunking import Chunk
from extraction.documents import DeadLetter
from extraction.errors import Fault
from extraction.evidence import Evidence
from extraction.observing import observe
from extraction.resolving import Resolved, resolve
from jobs.ledger import Index
from jobs.plan import Plan, chunks_of, write_dead_letters
from jobs.profiles import profile_schema
from jobs.run import Run
from jobs.storage import Written

CHUNKS_READ = 500  # at a time: 16 MB of text at the default limits


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


def reduce(run: Run, plan: Plan, index: Index) -> Reduced:
    """Merge and resolve everything that was planned and answered."""
    profile_schema(run.model)
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
        companies = list(_companies(run, item["path"], item["segments"]))
        profiles = [company.row for company in companies if company.row]
        dead = [letter for company in companies for letter in company.dead_letters]
        if profiles:
            table = pa.Table.from_pylist(profiles, profile_schema(run.model))
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


def _companies(run: Run, path: str, segments: list[str]) -> Iterator[Company]:
    """The companies of a chunk file, whose rows stand together by company; a batch of chunks at a time."""
    ids = run.storage.read_table(path, ["chunk_id"])["chunk_id"].combine_chunks()
    answers = run.ledger.read(segments, ids)
    batches = (_answered(table, answers) for table in run.storage.read_batches(path, CHUNKS_READ))
    pairs = chain.from_iterable(batches)
    for company_id, group in groupby(pairs, key=lambda pair: pair[0].company_id):
        yield _company(run, company_id, group)


def _answered(chunks: pa.Table, answers: pa.Table) -> Iterator[tuple[Chunk, dict[str, Any]]]:
    """Chunks with what the ledger has of them."""
    theirs = answers.filter(pc.is_in(answers["chunk_id"], value_set=chunks["chunk_id"].combine_chunks()))
    by_chunk = {row["chunk_id"]: row for row in theirs.to_pylist()}
    for chunk in chunks_of(chunks):
        yield chunk, by_chunk.get(chunk.chunk_id, NOT_ASKED)


def _company(run: Run, company_id: str, chunks: Iterable[tuple[Chunk, dict[str, Any]]]) -> Company:
    """Merge one company's answers. Every one of its documents is in the row or a dead letter."""
    evidence = Evidence()
    answered: set[str] = set()
    failed: dict[str, dict[str, Any]] = {}
    source: dict[str, str] = {}
    missing: list[dict[str, Any]] = []
    for chunk, answer in chunks:
        source |= {piece.document_id: piece.source_path for piece in chunk.pieces}
        fault = _observe(run, chunk, answer, evidence)
        if fault is None:
            answered |= {piece.document_id for piece in chunk.pieces}
            continue
        for piece in chunk.pieces:
            failed.setdefault(piece.document_id, fault)
            place = {"document_id": piece.document_id, "start": piece.start, "end": piece.end}
            missing.append({"chunk_id": chunk.chunk_id, **place, "fault": fault["fault"]})
    resolved = resolve(run.model, evidence, run.settings.trust)
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
        "conflicts": resolved.conflicts,
    }
    return Company(row, dead)


def _observe(run: Run, chunk: Chunk, answer: dict[str, Any], evidence: Evidence) -> dict[str, Any] | None:
    """Take a chunk's answer into the evidence; what is wrong with it, if anything is."""
    if not answer["replies"]:
        return answer
    try:
        profiles = [run.model.model_validate_json(reply) for reply in answer["replies"]]
    except ValidationError:
        return {
            **answer,
            "fault": Fault.INVALID.value,
            "message": "the stored answer no longer fits the profile model",
        }
    for profile in profiles:
        for observation in observe(profile, chunk.chunk_id, chunk.content, chunk.pieces):
            evidence.add(observation)
    return None


NOT_ASKED: dict[str, Any] = {
    "replies": [],
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
